import configurations
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import graph_convolution, registry
from mlgcn_jax.models.heads import gcn

NUM_LABELS = 6


def random_graph(num_labels: int = NUM_LABELS, *, dim: int = 5, seed: int = 0):
    """A graph with edges at random, and the dense matrix that says the same."""
    rng = np.random.default_rng(seed)
    dense = rng.random((num_labels, num_labels)) * (
        rng.random((num_labels, num_labels)) < 0.4
    )
    np.fill_diagonal(dense, 0.8)
    receivers, senders = np.nonzero(dense)
    graph = label_graph.LabelGraph(
        senders=jnp.asarray(senders, jnp.int32),
        receivers=jnp.asarray(receivers, jnp.int32),
        edge_weights=jnp.asarray(dense[receivers, senders], jnp.float32),
        embeddings=jnp.asarray(rng.normal(size=(num_labels, dim)), jnp.float32),
    )
    return graph, jnp.asarray(dense, jnp.float32)


@pytest.mark.parametrize(("width_in", "width_out"), [(3, 7), (7, 3)])
def test_graph_convolution_is_the_dense_product(width_in: int, width_out: int):
    graph, dense = random_graph()
    layer = graph_convolution.GraphConvolution(width_in, width_out, rngs=nnx.Rngs(0))
    nodes = jax.random.normal(jax.random.key(0), (NUM_LABELS, width_in))
    expected = dense @ nodes @ layer.kernel[...]
    np.testing.assert_allclose(layer(nodes, graph), expected, rtol=1e-5, atol=1e-6)


def test_no_nodes_stand_for_the_identity():
    graph, dense = random_graph()
    layer = graph_convolution.GraphConvolution(NUM_LABELS, 4, rngs=nnx.Rngs(0))
    expected = dense @ jnp.eye(NUM_LABELS) @ layer.kernel[...]
    np.testing.assert_allclose(layer(None, graph), expected, rtol=1e-5, atol=1e-6)


def test_gcn_head_by_hand():
    graph, dense = random_graph()
    head = gcn.GCNHead(
        NUM_LABELS,
        4,
        embedding="cooccurrence",
        embedding_dim=5,
        hidden_features=3,
        pooling="max",
        rngs=nnx.Rngs(0),
    )
    hidden = np.asarray(dense @ graph.embeddings @ head.gc1.kernel[...])
    hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    expected = np.asarray(dense) @ hidden @ np.asarray(head.gc2.kernel[...])
    classifiers = head(graph)
    np.testing.assert_allclose(classifiers.weights, expected, rtol=1e-4, atol=1e-6)
    features = jax.random.normal(jax.random.key(1), (2, 4))
    np.testing.assert_allclose(
        classifiers.logits(features), features @ expected.T, rtol=1e-4, atol=1e-5
    )


def test_gcn_head_is_equivariant_to_the_order_of_labels():
    graph, dense = random_graph()
    head = gcn.GCNHead(
        NUM_LABELS,
        4,
        embedding="cooccurrence",
        embedding_dim=5,
        hidden_features=3,
        pooling="max",
        rngs=nnx.Rngs(0),
    )
    order = np.random.default_rng(1).permutation(NUM_LABELS)
    permuted_dense = np.asarray(dense)[np.ix_(order, order)]
    receivers, senders = np.nonzero(permuted_dense)
    permuted = label_graph.LabelGraph(
        jnp.asarray(senders, jnp.int32),
        jnp.asarray(receivers, jnp.int32),
        jnp.asarray(permuted_dense[receivers, senders]),
        graph.embeddings[order],
    )
    np.testing.assert_allclose(
        head(permuted).weights, head(graph).weights[order], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("embedding", ["cooccurrence", "one_hot", "learned"])
@pytest.mark.parametrize("head", sorted(registry.HEADS))
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_model_gives_float32_logits(embedding: str, head: str, pooling: str):
    config = configurations.tiny(
        graph__embedding=embedding,
        model__head=head,
        model__pooling=pooling,
        model__dtype="bfloat16",
    )
    graph, _ = random_graph()

    def forward(image):
        model = registry.create_model(config, num_labels=NUM_LABELS, rngs=nnx.Rngs(0))
        params = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
        return model(image, graph, train=True)

    image = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.uint8)
    logits = jax.eval_shape(forward, image)
    assert logits.shape == (2, NUM_LABELS)
    assert logits.dtype == jnp.float32


def test_bfloat16_scores_are_near_those_of_float32():
    graph, _ = random_graph()
    image = jax.random.randint(jax.random.key(0), (4, 32, 32, 3), 0, 256, jnp.int32)
    logits = []
    for dtype in ("float32", "bfloat16"):
        config = configurations.tiny(model__dtype=dtype)

        @jax.jit
        def forward(image, graph, config=config):
            model = registry.create_model(
                config, num_labels=NUM_LABELS, rngs=nnx.Rngs(0)
            )
            return model(image, graph, train=True)

        logits.append(forward(image.astype(jnp.uint8), graph))
    spread = float(jnp.std(logits[0]))
    # Eight bits of mantissa through a dozen layers: a few percent of the spread.
    np.testing.assert_allclose(logits[1], logits[0], atol=0.1 * spread)
    assert not np.array_equal(logits[0], logits[1])


@pytest.mark.parametrize("key", ["backbone", "head", "pooling", "dtype"])
def test_an_unknown_name_is_an_error_that_lists_the_known(key: str):
    config = configurations.tiny(**{f"model__{key}": "none_such"})
    with pytest.raises(ValueError, match=rf"config\.model\.{key}='none_such'.*use one"):
        registry.create_model(config, num_labels=2, rngs=nnx.Rngs(0))


def test_an_image_that_is_too_small_is_an_error():
    config = configurations.tiny()
    graph, _ = random_graph()
    model = registry.create_model(config, num_labels=NUM_LABELS, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="at least 5 px"):
        model(jnp.zeros((1, 4, 4, 3), jnp.uint8), graph, train=False)
