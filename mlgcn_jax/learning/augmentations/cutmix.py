"""CutMix (Yun et al. 2019, arXiv:1905.04899)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from mlgcn_jax.data import options
from mlgcn_jax.learning.augmentations import boxes, contract, partners

OPTIONS = {
    "cutmix": options.Option(0.0, "share of images with a box of another", 0, 1),
    "cutmix_alpha": options.Option(
        1.0, "of the kept share's distribution, Beta(alpha, alpha)", 0.01, 100
    ),
}


def cut_mix(
    batch: contract.Batch, key: Key[Array, ""], *, probability: float, alpha: float
) -> contract.Batch:
    """Returns images with a box of another, and labels mixed by the area it takes.

    Sides of the box are sqrt(1 - lambda) of those of the part that is picture in both,
    lambda of Beta(alpha, alpha). Differs from the paper: the box lies in that part, so
    that no border is pasted and none is pasted over, and it lies in it wholly, where
    the paper cuts what hangs out.
    """
    image = batch["image"]
    b, side = image.shape[:2]
    is_key, beta_key, place_key = jax.random.split(key, 3)
    is_mixed = jax.random.bernoulli(is_key, probability, (b,))
    lambda_ = jax.random.beta(beta_key, alpha, alpha, (b,))
    cut = jnp.where(is_mixed, jnp.sqrt(1 - lambda_), 0.0)

    size = batch["size"]
    common = jnp.minimum(size, partners.of_each(size))
    # What is picture even where it was mirrored and lies a column further right.
    common = common.at[:, 1].add(-((side - common[:, 1]) % 2))
    within = boxes.of_pictures(common, side)
    box = boxes.anywhere(
        jnp.round(cut * within.height).astype(jnp.int32),
        jnp.round(cut * within.width).astype(jnp.int32),
        within,
        place_key,
    )
    share = box.area() / jnp.maximum(size[:, 0] * size[:, 1], 1)
    return batch | {
        "image": jnp.where(box.mask(side), partners.of_each(image), image),
        "labels": partners.mix_labels(batch["labels"], share),
    }
