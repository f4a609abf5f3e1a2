"""Our side of the parity tests and goldens: the same model, batch and updates."""

from typing import NamedTuple

import golden_case
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mlgcn_jax.benchmarks import cases
from mlgcn_jax.devices import compiler
from mlgcn_jax.evaluation import scoring
from mlgcn_jax.learning.losses import cross_entropy
from mlgcn_jax.models import forms, layers, torch_weights
from mlgcn_jax.models.normalization import IMAGENET
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state
from mlgcn_jax.training import program


class Case(NamedTuple):
    """A model on one device, with given weights."""

    config: ml_collections.ConfigDict
    graphdef: nnx.GraphDef
    variables: train_state.Variables
    mesh: Mesh
    batch: cases.Batch


def make_case(backbone: str, batch: cases.Batch, weights=None) -> Case:
    """Weights by PyTorch's names; drawn as the goldens' where none are given."""
    config = golden_case.make_config(backbone)
    graphdef, abstract = train_state.model_structure(
        config,
        num_labels=golden_case.NUM_LABELS,
        form=forms.here(),
    )
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
    model = nnx.merge(graphdef, *zeros)
    if weights is None:
        names = torch_weights.to_torch(*zeros, model=model)
        weights = golden_case.make_weights({n: x.shape for n, x in names.items()})
    params, batch_stats, report = torch_weights.from_torch(weights, *zeros, model=model)
    assert not report.missing and not report.left_out
    mesh = meshes.arrange(jax.devices()[:1], label_shards=1)
    variables = train_state.Variables(params, batch_stats)
    placed = jax.device_put(variables, meshes.replicated(mesh))
    return Case(config, graphdef, placed, mesh, batch)


def place_graph(case: Case):
    graph = golden_case.make_graph(case.config)
    return jax.device_put(graph, meshes.replicated(case.mesh))


def stages(case: Case) -> dict[str, jax.Array]:
    """Output of every stage in evaluation, and the logits, by torchvision's names."""

    @compiler.jit
    def forward(variables, image, graph):
        model = nnx.merge(case.graphdef, *variables)
        f = model.backbone.features
        mean, std = (
            jnp.asarray(values).reshape(1, 1, 1, 3)
            for values in (IMAGENET.mean, IMAGENET.std)
        )
        seen = {"conv0": f.conv0((image / 255.0 - mean) / std)}
        x = jax.nn.relu(f.norm0(seen["conv0"], train=False))
        x = seen["pool0"] = layers.max_pool_3x3_stride_2(x)
        for i in range(1, f.num_blocks + 1):
            maps, _ = getattr(f, f"denseblock{i}")(x, train=False)
            x = seen[f"denseblock{i}"] = jnp.concatenate(maps, axis=-1)
            if i < f.num_blocks:
                x = getattr(f, f"transition{i}")(maps, train=False, statistics=None)
                seen[f"transition{i}"] = x
        seen["norm5"] = f.norm5(x, train=False)
        seen["logits"] = model(image, graph, train=False)
        return seen

    return forward(case.variables, case.batch.image, place_graph(case))


def scores(case: Case) -> np.ndarray:
    """Scores in evaluation, as `mlgcn evaluate` and `mlgcn predict` compute them."""
    batch_size, image_size = case.batch.image.shape[:2]
    scorer = scoring.Scorer(
        case.graphdef, case.mesh, image_size=image_size, batch_size=batch_size
    )
    scorer.load(case.variables, place_graph(case))
    return scorer(case.batch.image)


def first_gradient(case: Case) -> tuple[jax.Array, dict[str, np.ndarray]]:
    """Logits and gradients of a training step, by PyTorch's names."""

    @compiler.jit
    def gradient(variables, image, labels, graph):
        def loss(params):
            model = nnx.merge(case.graphdef, params, variables.batch_stats)
            logits = model(image, graph, train=True)
            loss = cross_entropy.sigmoid_cross_entropy(logits, labels).mean()
            return loss, logits

        return jax.grad(loss, has_aux=True)(variables.params)

    found, logits = gradient(case.variables, *case.batch, place_graph(case))
    model = nnx.merge(case.graphdef, *case.variables)
    return logits, torch_weights.to_torch(found, {}, model=model)


def train(
    case: Case, *, num_steps: int, learning_rate: float
) -> tuple[list[float], dict[str, np.ndarray]]:
    """Losses of the real train step, and the weights after it by PyTorch's names."""
    case.config.optimizer.learning_rate = learning_rate
    made = program.create_program(
        case.config, case.mesh, num_labels=golden_case.NUM_LABELS
    )
    copied = compiler.jit(lambda tree: jax.tree.map(jnp.copy, tree))(case.variables)
    state = made.create_state()._replace(variables=copied)
    batch = jax.device_put(case.batch._asdict(), meshes.batch_sharded(case.mesh))
    history = []
    for _ in range(num_steps):
        state, metrics = made.step(state, batch, place_graph(case))
        history.append(float(metrics["loss"]))
    model = nnx.merge(case.graphdef, *state.variables)
    return history, torch_weights.to_torch(*state.variables, model=model)
