"""A_hat @ nodes in every form against SciPy in float64; no scatter of floats in it."""

import functools

import configurations
import float_scatters
import jax
import jax.numpy as jnp
import numpy as np
import plain_form
import pytest
import scipy.sparse
from jax.sharding import PartitionSpec
from train_steps import Case

from mlgcn_jax.evaluation import scoring
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import adjacency_product, mesh_axes
from mlgcn_jax.runs import mesh as meshes

EPSILON = 2.0**-24  # half a unit in the last place of 1, float32


def make_graph(pairs: np.ndarray, num_labels: int, *, ordered: bool = True):
    """Edges `[e, 2]` (receiver, sender) with random weights, sorted by receiver."""
    pairs = np.asarray(pairs, np.int32).reshape(-1, 2)
    receivers, senders = pairs[np.argsort(pairs[:, 0], kind="stable")].T
    assert not len(pairs) or pairs.max() < num_labels
    return label_graph.LabelGraph(
        senders=senders,
        receivers=receivers,
        edge_weights=np.random.default_rng(2)
        .normal(size=len(pairs))
        .astype(np.float32),
        embeddings=None,
        by_sender=np.argsort(senders).astype(np.int32) if ordered else None,
    )


def random_pairs(num_labels: int, num_edges: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, num_labels, (num_edges, 2))


def hubs(num_labels: int) -> np.ndarray:
    """All labels to one, one to all, and each to itself."""
    every = np.arange(num_labels)
    first, third = np.full((2, num_labels), [[1], [num_labels // 3]])
    pairs = [[first, every], [every, third], [every, every]]
    return np.unique(np.concatenate([np.stack(p, 1) for p in pairs]), axis=0)


GRAPHS = {
    "one label": (1, [[0, 0]]),
    "no edge, few labels": (5, []),
    "no edge": (300, []),
    "one edge": (300, [[299, 7]]),
    "all edges": (40, np.argwhere(np.ones((40, 40)))),
    "dense, many labels": (200, random_pairs(200, 6000)),
    "the same edge often, few labels": (6, [[2, 3]] * 7 + [[2, 4], [5, 5]]),
    "isolated labels": (400, 100 + random_pairs(200, 500)),
    "edges twice": (300, random_pairs(300, 3000)),
    "hubs": (2000, hubs(2000)),
    "one hub has all edges": (1000, [[998, j] for j in range(999)] * 5),
    # 31, 32, 33 edges of a label: a row of them, and one more or less.
    "rows to the edge": (
        300,
        [[i, j] for i, n in ((3, 31), (4, 32), (5, 33), (6, 64)) for j in range(n)],
    ),
}


@functools.cache
def product_and_gradients():
    def call(graph, weights, nodes, d_product):
        def multiply(weights, nodes):
            weighted = graph._replace(edge_weights=weights)
            return adjacency_product.multiply(weighted, nodes)

        product, pull_back = jax.vjp(multiply, weights, nodes)
        return product, *pull_back(d_product)

    return jax.jit(call)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("name", GRAPHS)
def test_product_and_both_gradients_are_those_of_scipy(name, ordered):
    num_labels, pairs = GRAPHS[name]
    graph = make_graph(pairs, num_labels, ordered=ordered)
    rng = np.random.default_rng(3)
    nodes, d_product = rng.normal(size=(2, num_labels, 12)).astype(np.float32)
    found = product_and_gradients()(graph, graph.edge_weights, nodes, d_product)

    def expect(weights, nodes, d_product):
        weights, nodes, d_product = map(np.float64, (weights, nodes, d_product))
        edges = weights, (graph.receivers, graph.senders)
        matrix = scipy.sparse.coo_array(edges, shape=(num_labels, num_labels)).tocsr()
        d_weights = (d_product[graph.receivers] * nodes[graph.senders]).sum(1)
        return matrix @ nodes, d_weights, matrix.T @ d_product

    expected = expect(graph.edge_weights, nodes, d_product)
    # What is added up, whatever its signs, is what rounding is relative to.
    sizes = expect(*map(np.abs, (graph.edge_weights, nodes, d_product)))
    for actual, wanted, size in zip(found, expected, sizes, strict=True):
        assert actual.dtype == jnp.float32
        # At most a row, two blocks and a product of sums one after another: a bound
        # on the rounding of each, of which most cancels (1e-6 is never reached).
        assert (np.abs(actual - wanted) <= 16 * EPSILON * size).all()


def test_long_sums_keep_their_digits():
    """A million edges of one label: 1e6 ones and, first, 1e7, which a running
    difference would leave in every later digit."""
    num_edges = 1_000_000
    graph = label_graph.LabelGraph(
        senders=np.arange(num_edges, dtype=np.int32) % 300,
        receivers=np.sort(np.r_[np.zeros(9), np.full(num_edges - 9, 299)]).astype(
            np.int32
        ),
        edge_weights=np.r_[np.full(9, 1e7), np.ones(num_edges - 9)].astype(np.float32),
        embeddings=None,
    )
    graph = jax.tree.map(jnp.asarray, graph)
    nodes = jnp.ones((5000, 1))  # so many labels that it is no dense product
    found = jax.jit(adjacency_product.multiply)(graph, nodes)[:, 0]
    assert found[0] == 9e7
    assert found[299] == num_edges - 9
    assert not found[1:299].any() and not found[300:].any()


@pytest.mark.parametrize("num_labels", [40, 300])
def test_under_vmap_scan_and_remat(num_labels):
    graph = make_graph(random_pairs(num_labels, 900), num_labels)
    nodes = jax.random.normal(jax.random.key(0), (3, num_labels, 6))
    weights = jnp.stack([graph.edge_weights, -graph.edge_weights, graph.edge_weights])

    def loss(multiply, weights, nodes):
        product = multiply(graph._replace(edge_weights=weights), nodes)
        return (product**2).sum()

    plain = functools.partial(loss, plain_form.multiply)
    ours = functools.partial(loss, adjacency_product.multiply)

    def scanned(weights, nodes):
        add = lambda total, x: (total + jax.checkpoint(ours)(*x), None)  # noqa: E731
        return jax.lax.scan(add, 0.0, (weights, nodes))[0]

    expected = jax.vmap(jax.grad(plain, (0, 1)))(weights, nodes)
    for found in (
        jax.jit(jax.vmap(jax.grad(ours, (0, 1))))(weights, nodes),
        jax.jit(jax.grad(scanned, (0, 1)))(weights, nodes),
    ):
        for actual, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("num_labels", "num_edges"), [(40, 900), (600, 5000)])
def test_split_features_are_the_same_numbers(num_labels, num_edges):
    """Each of eight devices has a part of the features, and all edges."""
    graph = make_graph(random_pairs(num_labels, num_edges), num_labels)
    mesh = meshes.create_mesh(label_shards=8)
    nodes, d_product = jax.random.normal(jax.random.key(0), (2, num_labels, 32))

    def split(graph, weights, nodes, d_product):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            nodes = mesh_axes.lay_out(nodes, None, mesh_axes.LABEL_AXIS)
            return product_and_gradients()(graph, weights, nodes, d_product)

    everything = graph, graph.edge_weights, nodes, d_product
    on_devices = jax.device_put(everything, meshes.replicated(mesh))
    found = jax.jit(split)(*on_devices)
    assert found[0].sharding.spec == PartitionSpec(None, mesh_axes.LABEL_AXIS)
    expected = product_and_gradients()(*everything)
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)


def test_messages_are_never_written_out():
    """Temporaries of 20 bytes an edge and a few times the nodes; not 4 c an edge."""
    num_labels, num_edges, c = 2000, 200_000, 256
    graph = make_graph(random_pairs(num_labels, num_edges), num_labels)
    nodes = jax.ShapeDtypeStruct((num_labels, c), jnp.float32)
    call = product_and_gradients()
    compiled = call.lower(graph, graph.edge_weights, nodes, nodes).compile()
    messages = 4 * num_edges * c
    assert compiled.memory_analysis().temp_size_in_bytes < messages / 4


EMBEDDINGS = ["cooccurrence", "one_hot", "learned"]


def lower_step(embedding: str, num_labels: int) -> jax.stages.Lowered:
    case = Case(
        configurations.tiny(graph__embedding=embedding),
        meshes.create_mesh(),
        num_labels,
    )
    return case.lower()


@pytest.mark.parametrize("num_labels", [24, 200])  # a dense product, rows of edges
@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_the_step_scatters_no_floats(embedding, num_labels, monkeypatch):
    lowered = lower_step(embedding, num_labels)
    assert float_scatters.in_program(lowered.as_text("hlo")) == []
    monkeypatch.setattr(adjacency_product, "multiply", plain_form.multiply)
    lowered = lower_step(embedding, num_labels)
    assert float_scatters.in_program(lowered.as_text("hlo"))


def test_the_compiled_step_scatters_no_floats(monkeypatch):
    compiled = lower_step("learned", 200).compile()
    assert float_scatters.in_program(compiled.as_text()) == []
    monkeypatch.setattr(adjacency_product, "multiply", plain_form.multiply)
    compiled = lower_step("learned", 200).compile()
    assert float_scatters.in_program(compiled.as_text())


@pytest.mark.parametrize(
    ("backbone", "dtype"),
    [
        ("densenet_tiny", "float32"),
        ("densenet_tiny", "bfloat16"),
        ("resnet50", "float32"),
    ],
)
def test_no_step_for_a_gpu_scatters_floats(backbone, dtype):
    """Before compilation: max pooling and norms in the forms for GPUs, micro-batches,
    layers that are computed again."""
    config = configurations.tiny(
        model__backbone=backbone,
        model__dtype=dtype,
        remat=True,
        accumulation_steps=2,
        batch_size=16,
    )
    case = Case(config, meshes.create_mesh(), 200, form="gpu")
    assert float_scatters.in_program(case.lower().as_text("hlo")) == []


def test_validation_scatters_no_floats():
    case = Case(configurations.tiny(), meshes.create_mesh(), 200)
    variables = case.abstract_state().variables
    graphdef = case.program().graphdef
    scorer = scoring.Scorer(graphdef, case.mesh, image_size=32, batch_size=8)
    image = jax.ShapeDtypeStruct((8, 32, 32, 3), jnp.uint8)
    lowered = scorer._fold.lower(variables, case.graph())
    assert float_scatters.in_program(lowered.as_text("hlo")) == []
    lowered = scorer._score.lower(lowered.out_info, image)
    assert float_scatters.in_program(lowered.as_text("hlo")) == []


def test_scatters_are_found_in_text():
    """As printed: of floats, of a tuple with some, of integers, of a pooling."""
    hlo = """
  ROOT %a = f32[4]{0} scatter(%x, %i, %u), update_window_dims={1}, to_apply=%add
  %b = (s32[2]{0}, bf16[4,2]{1,0:T(8,128)}) scatter(%x, %y, %i, %u, %v), to_apply=%add
  %c = s32[40,40]{1,0} scatter(%x, %i, %u), to_apply=%min
  %d = f32[2,8,8,3]{3,2,1,0} select-and-scatter(%x, %u, %zero), window={size=1x3x3x1}
  %e = f32[4]{0} fusion(%x, %scatter), kind=kLoop, calls=%scatter(computation)
"""
    lines = [line.strip() for line in hlo.strip().splitlines()]
    assert float_scatters.in_program(hlo) == [lines[0], lines[1], lines[3]]
