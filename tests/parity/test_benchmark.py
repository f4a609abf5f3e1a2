"""The contestants of `mlgcn benchmark` run, and compute the same model."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from mlgcn_jax.benchmarks import cases, jax_tasks, measures, race, torch_model
from mlgcn_jax.graph import label_graph
from mlgcn_jax.models import graph_convolution


@pytest.mark.parametrize("module", ["jax_tasks", "torch_tasks"])
def test_a_contestant_is_timed_in_turns(module):
    contestants = {name: race.Contestant(module, {}) for name in ("a", "b")}
    results = race.race(contestants, "G", {"num_labels": 40}, rounds=3)
    assert results.keys() == {"a", "b"}
    assert all(result.seconds > 0 for result in results.values())


def test_a_contestant_that_fails_is_an_error():
    with pytest.raises(ValueError, match="a ended with status 1"):
        race.race({"a": race.Contestant("jax_tasks", {})}, "none", {}, rounds=1)


def test_a_row_has_the_ratio_of_the_medians():
    text = measures.format_table("T", [{"case": "8x128", "jax_s": 0.5, "ratio": 2.0}])
    assert text.splitlines()[1:] == [" case  jax_s  ratio", "8x128    0.5      2"]


def test_the_reference_convolves_over_the_same_graph():
    graph = cases.make_graph(12, embedding_dim=5)
    assert isinstance(graph, label_graph.LabelGraph)
    theirs = torch_model.GraphConvolution(5, 3)
    nodes = torch.from_numpy(np.asarray(graph.embeddings))
    expected = theirs(nodes, torch_model.dense_adjacency(graph)).detach().numpy()
    ours = graph_convolution.GraphConvolution(5, 3, rngs=nnx.Rngs(0))
    ours.kernel[...] = theirs.weight.detach().numpy()
    on_device = jax.tree.map(jax.numpy.asarray, graph)
    np.testing.assert_allclose(
        ours(on_device.embeddings, on_device), expected, rtol=1e-4, atol=1e-5
    )


def test_every_measure_of_pytorch_has_one_of_ours():
    assert set(jax_tasks.TASKS) == set(measures.MEASURES)
