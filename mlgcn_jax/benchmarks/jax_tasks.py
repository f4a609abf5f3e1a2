"""Our side of each measure: `TASKS[measure](**case)` -> task, what is known of it."""

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

from mlgcn_jax.benchmarks import cases, traces
from mlgcn_jax.data import dataset, input_pipeline
from mlgcn_jax.devices import compiler
from mlgcn_jax.evaluation import scoring
from mlgcn_jax.models import registry
from mlgcn_jax.planning import costs
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import memory as run_memory
from mlgcn_jax.training import optimizer, train_step

Task = tuple[Callable[[], object], dict[str, Any]]

_KERNELS = 10


class _Training:
    """A train step with all that it takes."""

    def __init__(self, batch_size: int, image_size: int, dtype: str = "float32"):
        self.config = cases.make_config(dtype)
        self.mesh = meshes.create_mesh()
        schedule = optimizer.create_schedule(
            self.config, steps_per_epoch=1, num_steps=1
        )
        self.tx = optimizer.create_optimizer(self.config, schedule, steps_per_epoch=1)
        self.graphdef, _ = train_state.model_structure(
            self.config, num_labels=cases.NUM_LABELS
        )
        self.step = train_step.create_train_step(
            self.config,
            self.graphdef,
            self.tx,
            schedule,
            self.mesh,
            num_labels=cases.NUM_LABELS,
        )
        graph = cases.make_graph(
            cases.NUM_LABELS, embedding_dim=self.config.graph.embedding_dim
        )
        self.graph = jax.device_put(graph, meshes.replicated(self.mesh))
        batch = cases.make_batch(batch_size, image_size)
        self.batch = jax.device_put(batch._asdict(), meshes.batch_sharded(self.mesh))

    def create_state(self) -> train_state.TrainState:
        return train_state.create_train_state(
            self.config, self.tx, self.mesh, num_labels=cases.NUM_LABELS
        )


def train(*, batch_size: int, image_size: int, dtype: str = "float32") -> Task:
    """One whole update: flips, forward, loss, backward, Adam."""
    training = _Training(batch_size, image_size, dtype)
    state = training.create_state()
    lowered = training.step.lower(state, training.batch, training.graph)
    step = lowered.compile()
    planned = costs.of_compiled(step)

    def task() -> None:
        nonlocal state
        state, metrics = step(state, training.batch, training.graph)
        jax.block_until_ready((state, metrics))

    return task, {
        "flops": costs.count_flops(lowered),
        "bytes_accessed": planned.bytes_accessed,
        "planned_peak_bytes": planned.peak_bytes,
    }


def kernels(*, batch_size: int, image_size: int, dtype: str = "float32") -> Task:
    """The same update, and the kernels that take most of its time."""
    task, facts = train(batch_size=batch_size, image_size=image_size, dtype=dtype)
    task()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            task()
        found = traces.most_expensive(pathlib.Path(folder), most=_KERNELS)
    facts["kernels"] = [kernel._asdict() for kernel in found]
    return task, facts


def memory() -> dict[str, Any]:
    """Returns what the device is and has held at most; nothing of a CPU's memory."""
    device = jax.local_devices()[0]
    facts: dict[str, Any] = {"device": device.device_kind}
    used = run_memory.in_use()
    if "device_peak_memory_bytes" in used:
        facts["peak_bytes"] = used["device_peak_memory_bytes"]
    return facts


def infer(*, batch_size: int, image_size: int, dtype: str = "float32") -> Task:
    """Scores of a batch, from NumPy to NumPy."""
    training = _Training(batch_size, image_size, dtype)
    scorer = scoring.Scorer(
        training.graphdef, training.mesh, image_size=image_size, batch_size=batch_size
    )
    scorer.load(training.create_state().variables, training.graph)
    image = cases.make_batch(batch_size, image_size).image
    return lambda: scorer(image), {}


def compile_step(*, batch_size: int, image_size: int) -> Task:
    """Time to the first step's program, cold and from the persistent cache."""
    training = _Training(batch_size, image_size)
    state = jax.eval_shape(training.create_state)
    state = meshes.with_sharding(state, meshes.replicated(training.mesh))

    def compile_once() -> float:
        jax.clear_caches()
        start = time.perf_counter()
        training.step.lower(state, training.batch, training.graph).compile()
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        cold_s = compile_once()
        warm_s = compile_once()
    return lambda: None, {"cold_s": cold_s, "warm_s": warm_s}


def dispatch(*, batch_size: int, image_size: int) -> Task:
    """Host time of a step: how long the call takes that starts it."""
    training = _Training(batch_size, image_size)
    state = training.create_state()
    host_s = []
    for _ in range(20):
        start = time.perf_counter()
        state, metrics = training.step(state, training.batch, training.graph)
        host_s.append(time.perf_counter() - start)
        jax.block_until_ready((state, metrics))
    return lambda: None, {"host_s": float(np.median(host_s))}


def head(*, num_labels: int) -> Task:
    """Classifiers from the label graph, and the gradient of the head's parameters."""
    config = cases.make_config()
    made = cases.make_graph(num_labels, embedding_dim=config.graph.embedding_dim)
    graph = jax.tree.map(jnp.asarray, made)
    graphdef, params = nnx.split(
        registry.HEADS["gcn"](config, num_labels, cases.NUM_FEATURES, nnx.Rngs(0))
    )

    @compiler.jit
    def gradient(params, graph):
        def loss(params):
            return nnx.merge(graphdef, params)(graph).weights.sum()

        return jax.grad(loss)(params)

    return lambda: jax.block_until_ready(gradient(params, graph)), {}


def read(
    *,
    batch_size: int,
    image_size: int,
    folder: str,
    num_threads: int = cases.NUM_THREADS,
) -> Task:
    """One pass over a split, so that nothing is read ahead while others are timed."""
    data = dataset.open_dataset(pathlib.Path(folder))

    def task() -> None:
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

    return task, {}


TASKS: dict[str, Callable[..., Task]] = {
    "T": train,
    "U": kernels,
    "I": infer,
    "C": compile_step,
    "H": dispatch,
    "P": read,
    "G": head,
}
