"""PyTorch's side once more, with `torch.compile`."""

import functools
from collections.abc import Callable

from mlgcn_jax.benchmarks import tasks, torch_tasks

TASKS: dict[str, Callable[..., tasks.Task]] = {
    "T": functools.partial(torch_tasks.train, compiled=True),
    "I": functools.partial(torch_tasks.infer, compiled=True),
}
