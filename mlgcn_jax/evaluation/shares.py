"""A split scored by all processes of a run together, each a share of it."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32

from mlgcn_jax.data import source
from mlgcn_jax.evaluation import evaluate
from mlgcn_jax.runs import processes


def score_split(
    scorer: Callable[[np.ndarray], np.ndarray],
    data: source.Source,
    split: str,
    *,
    image_size: int,
    batch_size: int,
    num_threads: int,
    pad_colour: str,
    before_batch: Callable[[], None],
) -> tuple[Float32[np.ndarray, "n l"], Bool[np.ndarray, "n l"]]:
    """Returns scores and labels of a split in its order, the same in every process.

    Process p of n scores the examples p, p + n, ... by itself; at the end all send each
    other what they have.

    Args:
        scorer: Scores the images of this process, see `evaluate.predict_split`.
        data: The dataset.
        split: Name of the split.
        image_size: Side of the images, px.
        batch_size: Images that this process scores at a time.
        num_threads: That read images.
        pad_colour: Of the border, one of `letterboxes.PAD_COLOURS`.
        before_batch: Called before each batch, equally often in every process.
    """
    num_examples, num_labels = data.num_examples(split), len(data.vocabulary)
    share = slice(processes.index(), None, processes.count())
    num_mine = len(range(num_examples)[share])
    num_most = -(-num_examples // processes.count())
    scores = np.zeros((num_most, num_labels), np.float32)
    labels = np.zeros((num_most, num_labels), bool)
    if num_mine:
        predictions = evaluate.predict_split(
            scorer,
            data,
            split,
            image_size=image_size,
            batch_size=batch_size,
            num_threads=num_threads,
            pad_colour=pad_colour,
            before_batch=before_batch,
            share=share,
        )
        scores[:num_mine] = predictions.scores
        labels[:num_mine] = predictions.labels
    for _ in range(-(-num_most // batch_size) - -(-num_mine // batch_size)):
        before_batch()
    gathered = processes.gather((scores, labels))  # each [processes, num_most, l]
    all_scores, all_labels = (
        x.swapaxes(0, 1).reshape(-1, num_labels)[:num_examples] for x in gathered
    )
    return all_scores, all_labels
