"""The same layers and models in the plain form, which every platform can compute."""

import functools
from collections.abc import Callable

from mlgcn_jax.benchmarks import form_tasks, tasks

TASKS: dict[str, Callable[..., tasks.Task]] = {
    "F": functools.partial(form_tasks.compare, form="plain")
}
