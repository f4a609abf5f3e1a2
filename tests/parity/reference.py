"""PyTorch's side of the parity tests: the model of golden_case as it trains."""

import copy
from typing import NamedTuple

import golden_case
import numpy as np
import torch

from mlgcn_jax.benchmarks import cases, torch_model

STAGES = ("conv0", "pool0", *(f"denseblock{i}" for i in range(1, 5)))
STAGES += ("transition1", "transition2", "transition3", "norm5")


class Case(NamedTuple):
    """A model in float64 (the rounding is ours alone) and what it starts from."""

    model: torch_model.MLGCN
    weights: dict[str, np.ndarray]
    image: torch.Tensor
    labels: torch.Tensor


class Training(NamedTuple):
    """What some updates did; arrays by PyTorch's names."""

    logits: np.ndarray  # of the first step
    gradients: dict[str, np.ndarray]  # of the first step
    losses: list[float]
    weights: dict[str, np.ndarray]  # after the last


def make_case(backbone: str, batch: cases.Batch, *, offset: float = 0.0) -> Case:
    """The model with given weights."""
    config = golden_case.make_config(backbone)
    graph = golden_case.make_graph(config)
    model = torch_model.MLGCN(
        torch_model.DENSENETS[backbone](),
        graph,
        hidden_features=config.model.hidden_features,
    )
    shapes = {name: tuple(x.shape) for name, x in tensors_of(model).items()}
    weights = golden_case.make_weights(shapes, offset=offset)
    model.load_state_dict({name: torch.from_numpy(x) for name, x in weights.items()})
    image = torch.from_numpy(batch.image).permute(0, 3, 1, 2)  # [b, 3, h, w]
    labels = torch.from_numpy(batch.labels)
    return Case(model.double(), weights, image, labels.double())


def tensors_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Parameters and running statistics."""
    return {
        name: x.detach().clone().numpy()
        for name, x in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def watch(case: Case) -> dict[str, np.ndarray]:
    """Output of every stage that the next forward passes, NHWC."""
    seen: dict[str, np.ndarray] = {}
    for name, stage in case.model.features.named_children():
        if name in STAGES:
            stage.register_forward_hook(
                lambda _, __, y, name=name: seen.update(
                    {name: y.detach().numpy().transpose(0, 2, 3, 1).copy()}
                )
            )
    return seen


def nearest_maxima(case: Case) -> float:
    """How much less the second largest of a map is than the largest, relatively.

    The least of all maps that max pooling sees in the first training step.
    """
    model = copy.deepcopy(case.model).train()  # running statistics move
    maps: list[torch.Tensor] = []
    model.features.register_forward_hook(lambda _, __, y: maps.append(y))
    with torch.no_grad():
        model(case.image)
    first, second = torch.relu(maps[0]).flatten(2).topk(2, dim=2).values.unbind(2)
    return ((first - second) / first).min().item()


def train(case: Case, *, num_steps: int, learning_rate: float) -> Training:
    """Updates of the paper's Adam on the same batch."""
    model = case.model.train()
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    losses: list[float] = []
    logits, gradients = np.zeros(0), {}
    for step in range(num_steps):
        y = model(case.image)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(y, case.labels)
        adam.zero_grad()
        loss.backward()
        if step == 0:
            logits = y.detach().numpy().copy()
            gradients = {
                name: p.grad.numpy().copy()
                for name, p in model.named_parameters()
                if p.grad is not None
            }
        adam.step()
        losses.append(loss.item())
    return Training(logits, gradients, losses, tensors_of(model))
