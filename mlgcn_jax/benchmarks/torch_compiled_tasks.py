"""PyTorch's side once more, with `torch.compile`."""

import functools
from collections.abc import Callable

from mlgcn_jax.benchmarks import torch_tasks

memory = torch_tasks.memory

TASKS: dict[str, Callable[..., torch_tasks.Task]] = {
    "T": functools.partial(torch_tasks.train, compiled=True),
    "I": functools.partial(torch_tasks.infer, compiled=True),
}
