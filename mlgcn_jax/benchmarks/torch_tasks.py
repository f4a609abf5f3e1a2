"""PyTorch's side of each measure, at its best: channels last, fused Adam, autocast."""

import pathlib
import time
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from mlgcn_jax.benchmarks import cases, tasks, torch_model, trials
from mlgcn_jax.data import dataset, input_pipeline, stored_jpeg
from mlgcn_jax.models.heads import gcn

Model = Callable[[torch.Tensor], torch.Tensor]

torch.backends.cudnn.benchmark = True


def create_model(backbone: str = cases.BACKBONE) -> torch_model.MLGCN:
    """Returns the reference model on the GPU where there is one."""
    config = cases.make_config()
    graph = cases.make_graph(cases.NUM_LABELS, embedding_dim=config.graph.embedding_dim)
    model = torch_model.MLGCN(
        torch_model.DENSENETS[backbone](),
        graph,
        hidden_features=config.model.hidden_features,
    )
    return to_device(model)


def create_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Returns Adam as in the paper."""
    rate = cases.make_config().optimizer.learning_rate
    return torch.optim.Adam(model.parameters(), lr=rate, fused=True)


def train_step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    image: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Does one whole update: flips, forward, loss, backward, Adam; returns the loss."""
    flip = torch.rand(len(image), 1, 1, 1, device=image.device) < 0.5
    image = torch.where(flip, image.flip(3), image)
    loss = nn.functional.binary_cross_entropy_with_logits(model(image), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.inference_mode()
def score(
    model: Model, image: UInt8[np.ndarray, "b h w 3"]
) -> Float32[np.ndarray, "b l"]:
    """Returns sigmoid scores."""
    return torch.sigmoid(model(image_to_device(image))).cpu().numpy()


def train(
    *,
    batch_size: int | None = None,
    image_size: int,
    compiled: bool = False,
    **model: str,
) -> tasks.Task:
    """One whole update.

    Args:
        batch_size: None: as many images as fit, of the model that is not compiled.
        image_size: side in pixels.
        compiled: by `torch.compile`.
        model: its `dtype` and `backbone`.
    """
    if batch_size is None:
        batch_size = _largest_batch(image_size, **model)
    run = _train_step(batch_size, image_size, compiled=compiled, **model)
    return tasks.Task(run, {"images": batch_size}, _memory_used)


def infer(
    *,
    batch_size: int,
    image_size: int,
    compiled: bool = False,
    dtype: str = "float32",
    backbone: str = cases.BACKBONE,
) -> tasks.Task:
    """Scores of a batch, from NumPy to NumPy."""
    model = create_model(backbone).eval()
    image = cases.make_batch(batch_size, image_size).image
    computed = in_precision(torch.compile(model) if compiled else model, dtype)
    return tasks.Task(
        lambda: score(computed, image), {"images": batch_size}, _memory_used
    )


def _train_step(
    batch_size: int,
    image_size: int,
    *,
    compiled: bool = False,
    dtype: str = "float32",
    backbone: str = cases.BACKBONE,
) -> Callable[[], object]:
    model = create_model(backbone).train()
    optimizer = create_optimizer(model)
    image, labels = _batch(batch_size, image_size)
    computed = in_precision(torch.compile(model) if compiled else model, dtype)
    return lambda: train_step(computed, optimizer, image, labels).item()


def _memory_used() -> dict[str, int]:
    """Returns what the GPU has held at most; nothing of a CPU's memory."""
    if device() == "cpu":
        return {}
    return {"peak_bytes": torch.cuda.max_memory_allocated()}


def _largest_batch(image_size: int, **model: str) -> int:
    """Returns with how many images a step does not run out of memory, by trying."""
    _, memory_bytes = torch.cuda.mem_get_info()

    def peak_bytes(images: int) -> int | None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            _train_step(images, image_size, compiled=False, **model)()
        except torch.OutOfMemoryError:
            return None
        return torch.cuda.max_memory_allocated()

    found = trials.find_largest_batch(peak_bytes, memory_bytes=memory_bytes)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return found


def compile_step(
    *,
    batch_size: int,
    image_size: int,
    dtype: str = "float32",
    backbone: str = cases.BACKBONE,
) -> tasks.Task:
    """Time to the first forward and backward of `torch.compile`."""
    model = in_precision(torch.compile(create_model(backbone).train()), dtype)
    image, labels = _batch(batch_size, image_size)
    start = time.perf_counter()
    nn.functional.binary_cross_entropy_with_logits(model(image), labels).backward()
    _wait()
    return tasks.Task(tasks.nothing, {"cold_s": time.perf_counter() - start})


def head(*, num_labels: int) -> tasks.Task:
    """Classifiers from the label graph and the gradient, by a sparse product."""
    config = cases.make_config()
    graph = cases.make_graph(num_labels, embedding_dim=config.graph.embedding_dim)
    edges = np.stack([graph.receivers, graph.senders])
    adjacency = torch.sparse_coo_tensor(
        torch.from_numpy(edges),
        torch.from_numpy(np.asarray(graph.edge_weights)),
        (num_labels, num_labels),
        is_coalesced=True,
    )
    adjacency = adjacency.to(device()).to_sparse_csr()
    nodes = torch.from_numpy(np.asarray(graph.embeddings)).to(device())
    hidden_features = config.model.hidden_features
    gc1 = torch_model.GraphConvolution(config.graph.embedding_dim, hidden_features)
    gc2 = torch_model.GraphConvolution(hidden_features, cases.NUM_FEATURES)
    gc1, gc2 = gc1.to(device()), gc2.to(device())

    def run() -> None:
        hidden = nn.functional.leaky_relu(gc1(nodes, adjacency), gcn.LEAKY_RELU_SLOPE)
        gc2(hidden, adjacency).sum().backward()
        _wait()

    return tasks.Task(run)


class _Pictures(torch.utils.data.Dataset):
    """Decodes and letterboxes as ours does, JPEG bytes that are in memory already."""

    def __init__(self, source: dataset.Examples, image_size: int):
        self._source = list(source)
        self._image_size = image_size

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        example = self._source[index]
        image = np.empty((self._image_size, self._image_size, 3), np.uint8)
        stored_jpeg.letterbox(example["image"], image)
        return image, input_pipeline.multi_hot([example["labels"]], cases.NUM_LABELS)[0]


def read(
    *, batch_size: int, image_size: int, folder: str, num_threads: int
) -> tasks.Task:
    """One pass of a DataLoader with worker processes that stay."""
    source = dataset.open_dataset(pathlib.Path(folder)).examples("train")
    loader = torch.utils.data.DataLoader(
        _Pictures(source, image_size),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_threads,
        persistent_workers=True,
        multiprocessing_context="spawn",  # what reads array_record survives no fork
    )

    def run() -> None:
        for _ in loader:
            pass

    return tasks.Task(run, {"images": len(source)})


def device() -> str:
    """Returns the GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def in_precision(model: Model, dtype: str) -> Model:
    """Returns a model with products in a type, and logits in float32."""
    if dtype == "float32":
        return model

    def computed(image: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device(), getattr(torch, dtype)):
            return model(image).float()

    return computed


def to_device(model: torch_model.MLGCN) -> torch_model.MLGCN:
    """Returns the model where and as it is quickest."""
    return model.to(device()).to(memory_format=torch.channels_last)


def image_to_device(
    image: UInt8[np.ndarray, "b h w 3"],
) -> UInt8[torch.Tensor, "b 3 h w"]:
    """Returns a batch of pictures, channels last in memory as they were."""
    return torch.from_numpy(image).to(device()).permute(0, 3, 1, 2)


def _wait() -> None:
    """Waits for what the GPU has been given."""
    if device() == "cuda":
        torch.cuda.synchronize()


def _batch(batch_size: int, image_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    batch = cases.make_batch(batch_size, image_size)
    return image_to_device(batch.image), torch.from_numpy(batch.labels).to(device())


TASKS: dict[str, Callable[..., tasks.Task]] = {
    "T": train,
    "I": infer,
    "P": read,
    "C": compile_step,
    "G": head,
}
