"""Our side of each measure: `TASKS[measure](**case)` is its task."""

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mlgcn_jax.benchmarks import cases, jax_mesh, tasks, traces, trials
from mlgcn_jax.data import dataset, input_pipeline
from mlgcn_jax.devices import compiler
from mlgcn_jax.evaluation import scoring
from mlgcn_jax.models import forms
from mlgcn_jax.models.heads import gcn
from mlgcn_jax.planning import costs, dataset_sizes, steps
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import memory, program

_KERNELS = 10
# The compiler does not count what cuDNN needs beside, nor memory that is in pieces.
_USABLE = 0.95


class _Training:
    """A program with a batch and a label graph on the device."""

    def __init__(
        self,
        batch_size: int,
        image_size: int,
        *,
        form: forms.Form | None = None,
        **model: Any,
    ):
        self.program = program.create_program(
            cases.make_config(**model),
            jax_mesh.create_mesh(),
            num_labels=cases.NUM_LABELS,
            form=form,
        )
        embedding_dim = self.program.config.graph.embedding_dim
        graph = cases.make_graph(cases.NUM_LABELS, embedding_dim=embedding_dim)
        self.graph = self.program.place_graph(graph)
        batch = cases.make_batch(batch_size, image_size)._asdict()
        batch["size"] = np.full((batch_size, 2), image_size, np.int32)  # no border
        self.batch = jax.device_put(batch, meshes.batch_sharded(self.program.mesh))


def train(
    *,
    batch_size: int | None = None,
    image_size: int,
    form: forms.Form | None = None,
    **model: Any,
) -> tasks.Task:
    """One whole update: flips, forward, loss, backward, Adam.

    Args:
        batch_size: None: as many images as fit.
        image_size: side in pixels.
        form: of the model's layers; None: that of the platform.
        model: of `cases.make_config`.
    """
    if batch_size is None:
        batch_size = _largest_batch(image_size, **model)
    training = _Training(batch_size, image_size, form=form, **model)
    state = training.program.create_state()
    lowered = training.program.step.lower(state, training.batch, training.graph)
    step = lowered.compile()
    planned = costs.of_compiled(step)

    def run() -> None:
        nonlocal state
        state, metrics = step(state, training.batch, training.graph)
        jax.block_until_ready((state, metrics))

    facts = {
        "images": batch_size,
        "device": jax.local_devices()[0].device_kind,
        "flops": costs.count_flops(lowered),
        "bytes_accessed": planned.bytes_accessed,
        "planned_peak_bytes": planned.peak_bytes,
    }
    return tasks.Task(run, facts, _memory_used)


def kernels(*, batch_size: int, image_size: int, **model: Any) -> tasks.Task:
    """The same update, and the kernels that take most of its time."""
    task = train(batch_size=batch_size, image_size=image_size, **model)
    task.run()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            task.run()
        found = traces.most_expensive(pathlib.Path(folder), most=_KERNELS)
    return task._replace(
        facts={**task.facts, "kernels": [kernel._asdict() for kernel in found]}
    )


def _memory_used() -> dict[str, int]:
    """Returns what the device has held at most; nothing of a CPU's memory."""
    used = memory.in_use()
    names = {"device_peak_memory_bytes": "peak_bytes"}
    return {name: used[key] for key, name in names.items() if key in used}


def _largest_batch(image_size: int, **model: Any) -> int:
    """Returns for how many images the device has memory, by the compiler's count.

    Raises:
        ValueError: the device does not say how much it has, or too few fit.
    """
    memory_bytes = memory.device_bytes()
    if memory_bytes is None:
        raise ValueError("this device does not say how much memory it has")
    mesh = jax_mesh.create_mesh()
    sizes = dataset_sizes.assumed(num_labels=cases.NUM_LABELS)

    def peak_bytes(images: int) -> int | None:
        config = cases.make_config(**model)
        config.batch_size, config.image_size = images, image_size
        compiled = steps.compile_step(config, mesh, sizes)
        return compiled.costs.peak_bytes if compiled.costs else None

    return trials.find_largest_batch(
        peak_bytes, memory_bytes=int(_USABLE * memory_bytes)
    )


def infer(
    *,
    batch_size: int,
    image_size: int,
    form: forms.Form | None = None,
    **model: Any,
) -> tasks.Task:
    """Scores of a batch, from NumPy to NumPy."""
    training = _Training(batch_size, image_size, form=form, **model)
    scorer = scoring.Scorer(
        training.program.graphdef,
        training.program.mesh,
        image_size=image_size,
        batch_size=batch_size,
    )
    scorer.load(training.program.create_state().variables, training.graph)
    image = cases.make_batch(batch_size, image_size).image
    return tasks.Task(lambda: scorer(image), {"images": batch_size}, _memory_used)


def compile_step(*, batch_size: int, image_size: int, **model: Any) -> tasks.Task:
    """Time to the first step's program, cold and from the persistent cache."""
    training = _Training(batch_size, image_size, **model)
    state = training.program.abstract_state()

    def compile_once() -> float:
        jax.clear_caches()
        start = time.perf_counter()
        training.program.step.lower(state, training.batch, training.graph).compile()
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        cold_s = compile_once()
        warm_s = compile_once()
    return tasks.Task(tasks.nothing, {"cold_s": cold_s, "warm_s": warm_s})


def dispatch(*, batch_size: int, image_size: int, **model: Any) -> tasks.Task:
    """Host time of a step: how long the call takes that starts it."""
    training = _Training(batch_size, image_size, **model)
    state = training.program.create_state()
    host_s = []
    for _ in range(20):
        start = time.perf_counter()
        state, metrics = training.program.step(state, training.batch, training.graph)
        host_s.append(time.perf_counter() - start)
        jax.block_until_ready((state, metrics))
    return tasks.Task(tasks.nothing, {"host_s": float(np.median(host_s))})


def head(*, num_labels: int) -> tasks.Task:
    """Classifiers from the label graph, and the gradient of the head's parameters."""
    config = cases.make_config()
    made = cases.make_graph(num_labels, embedding_dim=config.graph.embedding_dim)
    graph = jax.tree.map(jnp.asarray, made)
    head = gcn.GCNHead(
        num_labels,
        cases.NUM_FEATURES,
        embedding=config.graph.embedding,
        embedding_dim=config.graph.embedding_dim,
        hidden_features=config.model.hidden_features,
        pooling=config.model.pooling,
        rngs=nnx.Rngs(0),
    )
    graphdef, params = nnx.split(head)

    @compiler.jit
    def gradient(params, graph):
        def loss(params):
            return nnx.merge(graphdef, params)(graph).weights.sum()

        return jax.grad(loss)(params)

    return tasks.Task(lambda: jax.block_until_ready(gradient(params, graph)))


def read(
    *, batch_size: int, image_size: int, folder: str, num_threads: int
) -> tasks.Task:
    """One pass over a split, so that nothing is read ahead while others are timed."""
    data = dataset.open_dataset(pathlib.Path(folder))

    def run() -> None:
        batches = input_pipeline.evaluation_batches(
            data,
            "train",
            image_size=image_size,
            batch_size=batch_size,
            num_threads=num_threads,
        )
        with contextlib.closing(batches):
            for _ in batches:
                pass

    return tasks.Task(run, {"images": data.num_examples("train")})


TASKS: dict[str, Callable[..., tasks.Task]] = {
    "T": train,
    "U": kernels,
    "I": infer,
    "C": compile_step,
    "H": dispatch,
    "P": read,
    "G": head,
}
