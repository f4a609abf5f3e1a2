"""Config + sizes of a dataset -> the train step, compiled for devices and not run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.data import config_dict, error_text
from mlgcn_jax.devices import compiler, program_memory
from mlgcn_jax.graph import label_graph
from mlgcn_jax.planning import costs, dataset_sizes
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import program


class Memory(NamedTuple):
    """What a step needs of each device whatever its images, in bytes.

    Attributes:
        parameters: with the running statistics, and the averages of both.
        optimizer: its state.
        graph: the label graph.
        head_temporaries: what the classifiers and their gradient need beside, compiled
            by themselves; a step may put activations in the same place afterwards.
    """

    parameters: int
    optimizer: int
    graph: int
    head_temporaries: int

    @property
    def state(self) -> int:
        """What a run holds from step to step."""
        return self.parameters + self.optimizer


class CompiledStep(NamedTuple):
    """A step that was compiled; without costs and with a reason where it was not.

    Attributes:
        flops: arithmetic, on all devices.
        memory: what it needs whatever its images.
        costs: to each device; None where the compiler gave up for want of memory.
        reason: that it gave then.
    """

    flops: float
    memory: Memory
    costs: costs.Costs | None
    reason: str = ""


class _Lowered(NamedTuple):
    """The step of `training.train`, and the head's part of it, before compilation."""

    step: jax.stages.Lowered
    head: jax.stages.Lowered
    state: train_state.TrainState
    graph: label_graph.LabelGraph


def compile_step(
    config: config_dict.ConfigDict,
    mesh: Mesh,
    sizes: dataset_sizes.DatasetSizes,
) -> CompiledStep:
    """Compiles the step of a config for the devices of a mesh.

    Args:
        config: of a run; `batch_size` images over all devices, as in training.
        mesh: of devices that need not be there.
        sizes: of the dataset and its label graph.
    """
    lowered = lower(config, mesh, sizes)
    # Nothing is run, and perhaps on no GPU: the variants of a kernel are not tried.
    on_gpus = meshes.platform_of(mesh) == "gpu"
    options: Any = {"xla_gpu_autotune_level": 0} if on_gpus else None
    state = lowered.state
    head: Any = lowered.head.compile(compiler_options=options).memory_analysis()
    memory = Memory(
        parameters=program_memory.bytes_of((state.variables, state.ema)),
        optimizer=program_memory.bytes_of((state.opt_state, state.step)),
        graph=program_memory.bytes_of(lowered.graph),
        head_temporaries=head.temp_size_in_bytes,
    )
    flops = costs.count_flops(lowered.step)
    try:
        compiled = lowered.step.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        return CompiledStep(flops, memory, None, error_text.first_line(error))
    return CompiledStep(flops, memory, costs.of_compiled(compiled))


def lower(
    config: config_dict.ConfigDict,
    mesh: Mesh,
    sizes: dataset_sizes.DatasetSizes,
) -> _Lowered:
    """Returns the step as it is written for those devices; see `compile_step`."""
    made = program.create_program(config, mesh, num_labels=sizes.num_labels)
    state = made.abstract_state()
    graph = _graph(made, num_edges=sizes.num_edges)
    return _Lowered(
        step=made.step.lower(state, _batch(config, sizes.num_labels), graph),
        head=_lower_head(made, state.variables, graph),
        state=state,
        graph=graph,
    )


def _lower_head(
    made: program.Program,
    variables: train_state.Variables,
    graph: label_graph.LabelGraph,
) -> jax.stages.Lowered:
    """Returns the head's way to the scorer and back, alone."""
    params, batch_stats = variables

    def there_and_back(head: Any, graph: label_graph.LabelGraph) -> Any:
        def make_scorer(head: Any) -> Any:
            model = nnx.merge(made.graphdef, params | {"head": head}, batch_stats)
            return model.scorer(graph)

        with jax.sharding.use_abstract_mesh(made.mesh.abstract_mesh):
            scorer, pull_back = jax.vjp(make_scorer, head)
            return pull_back(scorer)

    program_of_head = compiler.jit(
        there_and_back, platform=meshes.platform_of(made.mesh)
    )
    return program_of_head.lower(params["head"], graph)


def _batch(
    config: config_dict.ConfigDict, num_labels: int
) -> dict[str, jax.ShapeDtypeStruct]:
    b, size = config.batch_size, config.image_size
    return {
        "image": jax.ShapeDtypeStruct((b, size, size, 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((b, num_labels), jnp.float32),
        "size": jax.ShapeDtypeStruct((b, 2), jnp.int32),
    }


def _graph(made: program.Program, *, num_edges: int) -> label_graph.LabelGraph:
    """Returns the shapes of a graph and how it is laid out, in place of its arrays."""
    options = made.config.graph
    nodes = (made.num_labels, options.embedding_dim)
    layout = made.graph_sharding()
    has_embeddings = options.embedding in ("cooccurrence", "file")
    shapes: Any = layout._replace(
        senders=((num_edges,), jnp.int32),
        receivers=((num_edges,), jnp.int32),
        edge_weights=((num_edges,), jnp.float32),
        by_sender=((num_edges,), jnp.int32),
        embeddings=(nodes, jnp.float32) if has_embeddings else None,
    )
    parts: Any = [
        None if shape is None else jax.ShapeDtypeStruct(*shape, sharding=sharding)
        for shape, sharding in zip(shapes, layout, strict=True)
    ]
    return label_graph.LabelGraph(*parts)
