"""Flax modules of others as backbone and head: same states, same random numbers."""

import configurations
import jax
import numpy as np
import pytest
from flax import nnx
from train_steps import Case

from mlgcn_jax.evaluation import scoring
from mlgcn_jax.models import registry
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import train_state

NUM_LABELS = 3
TOWERS = ("foreign_modules:NnxTower", "foreign_modules:LinenTower")


def make_case(num_devices: int = 1, **overrides) -> Case:
    mesh = meshes.arrange(jax.devices()[:num_devices], label_shards=1)
    return Case(configurations.tiny(**overrides), mesh, NUM_LABELS)


def make_model(**overrides):
    return registry.create_model(
        configurations.tiny(**overrides), num_labels=NUM_LABELS, rngs=nnx.Rngs(0)
    )


def run(case: Case, state, batch: int):
    """One step of a state that is kept."""
    made = case.program()
    copied = jax.tree.map(lambda x: x + 0, state)
    placed = jax.device_put(case.batch(batch), meshes.batch_sharded(case.mesh))
    return made.step(copied, placed, made.place_graph(case.graph()))


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("head", ["gcn", "foreign_modules:MapHead"])
def test_it_trains_and_scores(tower: str, head: str):
    case = make_case(model__backbone=tower, model__head=head)
    before, _ = case.train(0)
    state, history = case.train(4)
    assert np.isfinite([step["loss"] for step in history]).all()

    def moved(a, b):
        return bool((np.asarray(a) != np.asarray(b)).any())

    flags = jax.tree.map(moved, state.variables, before.variables)
    assert all(jax.tree.leaves(flags)), flags  # parameters and running statistics
    scorer = scoring.Scorer(
        case.program().graphdef, case.mesh, image_size=32, batch_size=8
    )
    scorer.load(state.variables, case.graph_on_devices())
    scores = scorer(case.batch(9)["image"])
    # Without any randomness, and each image alone: the running statistics count.
    np.testing.assert_array_equal(scores, scorer(case.batch(9)["image"]))
    alone = scorer(case.batch(9)["image"][:1])
    np.testing.assert_allclose(alone, scores[:1], rtol=1e-5)


@pytest.mark.parametrize("tower", TOWERS)
def test_what_is_random_depends_on_seed_and_step_alone(tower: str):
    case = make_case(model__backbone=tower, flip=False)
    state, _ = case.train(0)
    first, again = (run(case, state, 0)[0] for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    # The same images in the next step: other units are dropped.
    later, _ = run(case, state._replace(step=state.step + 1), 0)
    loss_of = [float(run(case, s, 0)[1]["loss"]) for s in (state, state)]
    assert loss_of[0] == loss_of[1]
    params = jax.tree.leaves(first.variables.params)
    assert any(
        (np.asarray(a) != np.asarray(b)).any()
        for a, b in zip(params, jax.tree.leaves(later.variables.params), strict=True)
    )


def test_micro_batches_drop_other_units():
    """Twice the same images in a step: with one key both halves would be equal."""
    overrides = {"model__backbone": TOWERS[0], "flip": False, "accumulation_steps": 2}
    case = make_case(**overrides)
    one = make_case(**(overrides | {"accumulation_steps": 1}))
    state, _ = case.train(0)
    batch = {name: np.repeat(x[:4], 2, axis=0) for name, x in case.batch().items()}
    half = {name: x[:4] for name, x in case.batch().items()}
    graph = case.graph_on_devices()
    _, both = case.program().step(jax.tree.map(lambda x: x + 0, state), batch, graph)
    _, single = one.program().step(jax.tree.map(lambda x: x + 0, state), half, graph)
    assert float(both["loss"]) != pytest.approx(float(single["loss"]), rel=1e-4)


@pytest.mark.parametrize("tower", TOWERS)
def test_devices_change_nothing(tower: str):
    losses = [
        [m["loss"] for m in make_case(n, model__backbone=tower).train(3)[1]]
        for n in (1, 8)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_its_parameters_have_its_own_names():
    model = make_model(model__backbone=TOWERS[0])
    graphdef, variables = train_state.model_structure(
        configurations.tiny(model__backbone=TOWERS[0]), num_labels=NUM_LABELS
    )
    del graphdef
    tower = variables.params["backbone"]["module"]["params"]
    assert set(tower) == {"convs", "norm"}
    assert set(tower["convs"]) == {"0", "1"}
    assert model.backbone.num_features == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"model__backbone": "no.such:Thing"},
            r"backbone='no.such:Thing': module no.such cannot be",
        ),
        (
            {"model__backbone": "foreign_modules:None_"},
            r"foreign_modules\.py\) has no None_",
        ),
        ({"model__backbone": "foreign_modules:NoModule"}, "no module of Flax"),
        (
            {"model__backbone": "foreign_modules:__name__"},
            "is a str, expected a class",
        ),
        ({"model__backbone": "foreign_modules:no_class"}, r"lacks \['x'\]"),
        ({"model__backbone": "foreign_modules:Needy"}, r"lacks \['depth'\]"),
        ({"model__backbone": "foreign_modules:Counting"}, r"holds \['calls'\]"),
        ({"model__backbone": "foreign_modules:Failing"}, "fails where it is called"),
        ({"model__backbone": "foreign_modules:Pair"}, "returns tuple for 2 images"),
        ({"model__backbone": "foreign_modules:Half"}, r"linear\.bias of bfloat16"),
        ({"model__head": "foreign_modules:NormedHead"}, "running statistics"),
        ({"model__head": "foreign_modules:WideHead"}, r"expected the logits of 3"),
        ({"model__backbone": TOWERS[0], "remat": True}, r"no option \['remat'\]"),
        ({"model__drop_path_rate": 0.1}, r"no option \['drop_path_rate'\]"),
        ({"model__head": "csra", "model__csra__num_heads": 3}, "num_heads=3"),
    ],
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)
def test_what_cannot_work_is_refused_with_the_reason(overrides, message: str):
    with pytest.raises(ValueError, match=message):
        make_model(**overrides)


def test_the_error_of_others_is_under_ours():
    with pytest.raises(ValueError, match="fails where it is called") as caught:
        make_model(model__backbone="foreign_modules:Failing")
    assert caught.value.__cause__ is not None


def test_options_reach_the_constructor():
    config = configurations.tiny(model__backbone="foreign_modules:NnxTower")
    config.model.backbone_options.width = 5
    model = registry.create_model(config, num_labels=NUM_LABELS, rngs=nnx.Rngs(0))
    assert model.backbone.num_features == 5
    config.model.backbone_options.depth = 5
    with pytest.raises(ValueError, match=r"no option \['depth'\]; .* \['width'\]"):
        registry.create_model(config, num_labels=NUM_LABELS, rngs=nnx.Rngs(0))
