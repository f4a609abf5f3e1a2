"""PyTorch's side of the whole run, with the step of its other measures."""

import pathlib
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from mlgcn_jax.benchmarks import tasks, torch_model, torch_tasks, whole_run


class Torch:
    """A `whole_run.Side`."""

    def __init__(self, prepared: whole_run.Prepared):
        """Creates the model with the initial weights."""
        config = prepared.config
        model = torch_model.MLGCN(
            torch_model.DENSENETS[config.model.backbone](),
            prepared.graph,
            hidden_features=config.model.hidden_features,
        )
        weights = prepared.read_weights()
        model.load_state_dict({name: torch.tensor(x) for name, x in weights.items()})
        self._model = torch_tasks.to_device(model)
        self._optimizer = torch_tasks.create_optimizer(self._model)

    def update(self, batch: dict[str, np.ndarray], learning_rate: float) -> None:
        """Does one step."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        torch_tasks.train_step(
            self._model.train(),
            self._optimizer,
            torch_tasks.image_to_device(batch["image"]),
            torch.from_numpy(batch["labels"]).to(torch_tasks.device()),
        )

    def begin_scoring(self) -> None:
        """Gets ready for `score` with what was learnt so far."""
        self._model.eval()

    def score(self, image: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b l"]:
        """Returns sigmoid scores."""
        return torch_tasks.score(self._model, image)


def train(*, folder: str, threshold_map: float) -> tasks.Task:
    """Trains once, when it is made; nothing is left to repeat."""
    facts = whole_run.run(pathlib.Path(folder), Torch, threshold_map=threshold_map)
    return tasks.Task(tasks.nothing, facts)


TASKS: dict[str, Callable[..., tasks.Task]] = {"R": train}
