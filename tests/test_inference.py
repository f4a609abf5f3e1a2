"""The folded form against the plain one, and programs for batches of any size."""

import configurations
import jax
import numpy as np
import pytest
from flax import nnx

from mlgcn_jax.benchmarks import cases
from mlgcn_jax.evaluation import scoring
from mlgcn_jax.models import forms, inference
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state


def make_model(form: forms.Form = "cpu", **overrides):
    """A model whose every norm does something: random statistics, scale and bias."""
    config = configurations.tiny(**overrides)
    graphdef, abstract = train_state.model_structure(
        config, num_labels=cases.NUM_LABELS, form=form
    )
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if leaf.ndim == 4 else 100.0
        return (rng.standard_normal(leaf.shape) / fan_in**0.5).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(draw, abstract)
    graph = cases.make_graph(cases.NUM_LABELS, embedding_dim=config.graph.embedding_dim)
    return graphdef, variables, graph


def plain_scores(graphdef, variables, graph, image):
    """The definition: the model itself, in evaluation."""

    @jax.jit
    def score(variables, image):
        model = nnx.merge(graphdef, *variables)
        return jax.nn.sigmoid(model(image, graph, train=False))

    return np.asarray(score(variables, image))


@pytest.mark.parametrize(
    "overrides",
    [
        {"model__backbone": "densenet_tiny"},
        {"model__backbone": "densenet121"},
        {"model__backbone": "resnet50"},
        {"model__pooling": "average", "model__head": "linear"},
        {"form": "plain"},
        {"form": "gpu"},
        {"form": "plain", "model__backbone": "resnet50"},
    ],
    ids=lambda overrides: "-".join(overrides.values()),
)
def test_folded_scores_are_the_plain_ones(overrides):
    graphdef, variables, graph = make_model(**overrides)
    # 37 px: maps with odd sides, whose last row and column are treated apart.
    image = cases.make_batch(2, 37).image
    folded = jax.jit(lambda v: inference.fold(nnx.merge(graphdef, *v), graph))
    got = jax.jit(lambda folded, image: folded(image))(folded(variables), image)
    expected = plain_scores(graphdef, variables, graph, image)
    assert expected.std() > 0.01  # scores that say something
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_bfloat16_folds_in_float32():
    graphdef, variables, graph = make_model(model__dtype="bfloat16")
    image = cases.make_batch(2, 32).image
    score = jax.jit(
        lambda v, image: inference.fold(nnx.merge(graphdef, *v), graph)(image)
    )
    expected = plain_scores(graphdef, variables, graph, image)
    # bfloat16 has 8 bits: each form is as far as that from the exact scores.
    np.testing.assert_allclose(score(variables, image), expected, rtol=0, atol=2e-2)


def make_scorer(batch_size: int, num_devices: int = 8):
    mesh = meshes.arrange(jax.devices()[:num_devices], label_shards=1)
    graphdef, variables, graph = make_model()
    scorer = scoring.Scorer(graphdef, mesh, image_size=32, batch_size=batch_size)
    variables, graph = jax.device_put((variables, graph), meshes.replicated(mesh))
    scorer.load(variables, graph)
    return scorer, graphdef, variables, graph


@pytest.mark.parametrize("num_devices", [1, 8])
def test_scores_do_not_depend_on_the_company(num_devices: int):
    scorer, graphdef, variables, graph = make_scorer(24, num_devices)
    image = cases.make_batch(24, 32).image
    expected = plain_scores(graphdef, variables, graph, image)
    for num_images in (1, 3, 8, 13, 24):
        scores = scorer(image[:num_images])
        assert scores.shape == (num_images, cases.NUM_LABELS)
        np.testing.assert_allclose(scores, expected[:num_images], rtol=0, atol=2e-6)


def test_few_images_take_a_small_program_and_new_variables_no_new_one(monkeypatch):
    compiled = []
    compile_lowered = jax.stages.Lowered.compile

    def count(lowered, *args, **kwargs):
        compiled.append(lowered.in_avals[0][1].shape[0])
        return compile_lowered(lowered, *args, **kwargs)

    monkeypatch.setattr(jax.stages.Lowered, "compile", count)
    scorer, _, variables, graph = make_scorer(24)
    image = cases.make_batch(24, 32).image
    scorer.compile(3)
    for num_images in (1, 8, 9, 16, 17, 24):
        before = scorer(image[:num_images])
    assert compiled == [8, 16, 24]  # multiples of the devices
    scorer.load(jax.tree.map(lambda x: 0.5 * x, variables), graph)
    assert np.abs(scorer(image) - before).max() > 1e-3
    assert compiled == [8, 16, 24]


def test_more_images_than_the_batch_are_refused():
    scorer, *_ = make_scorer(8)
    with pytest.raises(ValueError, match="9 images in a batch; give 1 to 8"):
        scorer(cases.make_batch(9, 32).image)
