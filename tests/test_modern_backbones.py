"""ConvNeXt and ViT: what they drop, hand out, compute again and refuse. Torch-free."""

import bare_models
import configurations
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_steps
from flax import nnx

from mlgcn_jax.evaluation import scoring
from mlgcn_jax.models import block_layers, convnext, cpu_forms, registry, vit
from mlgcn_jax.runs import mesh as meshes

NAMES = ("convnext_test", "vit_test_patch16")


def make(name: str, **options):
    """With layer scales that are not near zero, so that every block counts."""
    case = bare_models.make_case(
        name,
        fill=lambda shape: np.random.default_rng(1).normal(0.3, 0.3, shape),
        image_size=64,
        **options,
    )
    return nnx.split(case.model.backbone)


def run(parts, image, *, train: bool = False, key=None):
    return jax.jit(
        lambda state, image, key: nnx.merge(parts[0], state)(
            image, train=train, key=key
        )
    )(parts[1], image, key)


@pytest.fixture(scope="module")
def image():
    return jax.random.normal(jax.random.key(0), (2, 64, 64, 3))


@pytest.mark.parametrize("name", NAMES)
def test_features_and_taps_are_in_the_compute_type(name: str, image):
    features = run(make(name, dtype=jnp.bfloat16), image)
    assert features.feature_map.dtype == jnp.bfloat16
    assert {x.dtype for x in features.taps.values()} == {jnp.dtype(jnp.bfloat16)}
    exact = run(make(name), image)
    assert exact.feature_map.dtype == jnp.float32
    scale = float(jnp.abs(exact.feature_map).max())
    difference = features.feature_map.astype(jnp.float32) - exact.feature_map
    assert float(jnp.abs(difference).max()) < 0.1 * scale


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        (
            "convnext_test",
            {f"stage{i + 1}": (16 >> i, (24, 32, 48, 64)[i]) for i in range(4)},
        ),
        (
            "vit_test_patch16",
            {f"block{i + 1}": (4, 64) for i in range(6)} | {"class_token": (1, 64)},
        ),
    ],
)
def test_taps_are_those_that_are_named(name: str, taps, image):
    parts = make(name)
    features = run(parts, image)
    assert set(nnx.merge(*parts).tap_names) == set(taps)
    shapes = {key: x.shape for key, x in features.taps.items()}
    assert shapes == {key: (2, side, side, c) for key, (side, c) in taps.items()}


def test_a_vit_without_a_class_token_hands_none_out(image):
    features = run(make("vit_test_patch16", class_token=False), image)
    assert "class_token" not in features.taps
    assert features.feature_map.shape == (2, 4, 4, 64)


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_dropped_in_training_with_a_key_alone(name: str, image):
    parts = make(name, drop_path_rate=0.5)
    key = jax.random.key(3)
    plain = run(parts, image).feature_map
    for same in (run(parts, image, train=True), run(parts, image, key=key)):
        np.testing.assert_array_equal(same.feature_map, plain)
    dropped = run(parts, image, train=True, key=key).feature_map
    assert np.abs(dropped - plain).max() > 1e-3
    again = run(parts, image, train=True, key=key).feature_map
    np.testing.assert_array_equal(again, dropped)
    other = run(parts, image, train=True, key=jax.random.key(4)).feature_map
    assert np.abs(other - dropped).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_at_rate_zero_nothing_is_dropped(name: str, image):
    parts = make(name, drop_path_rate=0.0)
    found = run(parts, image, train=True, key=jax.random.key(0)).feature_map
    np.testing.assert_array_equal(found, run(parts, image).feature_map)


def test_dropout_of_a_vit_drops_values(image):
    parts = make("vit_test_patch16", drop_path_rate=0.0, dropout_rate=0.2)
    found = run(parts, image, train=True, key=jax.random.key(0)).feature_map
    assert np.abs(found - run(parts, image).feature_map).max() > 1e-3


def test_a_path_is_dropped_of_whole_images_and_its_mean_stays():
    x = jnp.full((4000, 3, 2), 2.0)
    y = block_layers.drop_path(x, rate=0.25, key=jax.random.key(0))
    per_image = np.asarray(y).reshape(4000, -1)
    assert (per_image == per_image[:, :1]).all()
    np.testing.assert_allclose(np.unique(y), [0.0, 2.0 / 0.75], rtol=1e-6)
    # The share of 4,000 images that keep it has a deviation of 0.0068.
    assert abs((per_image[:, 0] > 0).mean() - 0.75) < 0.03
    values = block_layers.dropout(x, rate=0.25, key=jax.random.key(0))
    assert len(np.unique(np.asarray(values).reshape(4000, -1), axis=0)) > 2
    assert abs(float(values.mean()) - 2.0) < 0.05


def test_the_rate_grows_evenly():
    assert block_layers.drop_path_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert block_layers.drop_path_rates(0.3, 1) == [0.0]
    backbone = nnx.eval_shape(
        lambda: convnext.ConvNeXt(
            depths=(1, 2),
            widths=(4, 8),
            drop_path_rate=0.1,
            dtype=jnp.float32,
            rngs=nnx.Rngs(0),
        )
    )
    rates = [
        module.drop_path_rate
        for _, module in nnx.iter_modules(backbone)
        if isinstance(module, convnext.Block)
    ]
    assert sorted(rates) == pytest.approx([0.0, 0.05, 0.1])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_computed_again_is_the_same(name: str, image):
    key = jax.random.key(5)

    def gradient(*, remat: bool):
        graphdef, state = make(name, remat=remat)

        def loss(state):
            features = nnx.merge(graphdef, state)(image, train=True, key=key)
            return jnp.sum(jnp.sin(features.feature_map))

        lowered = jax.jit(jax.grad(loss)).lower(state)
        return lowered.as_text(), nnx.to_pure_dict(lowered.compile()(state))

    text, expected = gradient(remat=False)
    text_again, found = gradient(remat=True)
    assert "optimization_barrier" in text_again and "optimization_barrier" not in text
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max()
        ),
        found,
        expected,
    )


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (100, r"100 x 100 px .* patches of 16 px; use a multiple of 16 .* such as 96"),
        ((64, 72), "64 x 72 px are not made of whole patches"),
        (8, "such as 16"),
    ],
)
def test_a_vit_of_no_whole_patches_is_refused_when_it_is_made(size, message: str):
    with pytest.raises(ValueError, match=message):
        registry.BACKBONES["vit_test_patch16"](
            image_size=size, dtype=jnp.float32, rngs=nnx.Rngs(0)
        )


def test_a_vit_refuses_images_of_another_size():
    with pytest.raises(ValueError, match="images of 32 x 32 px, expected 64 x 64"):
        run(make("vit_test_patch16"), jnp.zeros((1, 32, 32, 3)))


@pytest.mark.parametrize("size", [(40, 48), (33, 64)])
def test_convnext_takes_images_of_any_size(size):
    features = run(make("convnext_test"), jnp.zeros((1, *size, 3)))
    assert features.feature_map.shape == (1, size[0] // 32, size[1] // 32, 64)


def test_a_layer_norm_is_the_formula():
    """(1, 3) has the mean 2 and the deviation 1."""
    norm = block_layers.Norm(jnp.array([2.0, 2.0]), jnp.array([0.5, 0.0]))
    found = norm(jnp.array([[1.0, 3.0]]))
    np.testing.assert_allclose(found, [[-1.5, 2.0]], rtol=1e-5)


def test_patches_are_a_convolution_that_leaves_the_rest(image):
    patches = block_layers.PatchConvolution(
        3, 5, 4, dtype=jnp.float32, rngs=nnx.Rngs(0)
    )
    x = image[:, :14, :10]
    expected = jax.lax.conv_general_dilated(
        x,
        patches.kernel[...],
        (4, 4),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    assert expected.shape == (2, 3, 2, 5)
    np.testing.assert_allclose(patches(x), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 6, 5, 3), (1, 1, 1, 4)])
def test_the_depthwise_form_of_cpus_is_the_convolution(shape):
    x, d_y = jax.random.normal(jax.random.key(0), (2, *shape))
    kernel = jax.random.normal(jax.random.key(1), (7, 7, 1, shape[-1]))
    expected, pull_back = jax.vjp(block_layers.depthwise, x, kernel)
    expected_gradients = pull_back(d_y)
    found, pull_back = jax.vjp(cpu_forms.depthwise_convolution, x, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for ours, theirs in zip(pull_back(d_y), expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_positions_of_the_same_grid_stay_and_others_are_told():
    positions = np.random.default_rng(0).normal(size=(1, 17, 4)).astype(np.float32)
    same = vit.resample_positions(positions, (4, 4), num_others=1)
    np.testing.assert_allclose(same, positions, atol=1e-6)
    with pytest.raises(ValueError, match="17 position embeddings are not those of a"):
        vit.resample_positions(positions, (4, 4), num_others=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_trains_it_with_drop_path_and_infers(name: str):
    config = configurations.tiny(
        model__backbone=name, model__drop_path_rate=0.3, model__pooling="average"
    )
    mesh = meshes.arrange(jax.devices()[:1], label_shards=1)
    case = train_steps.Case(config, mesh, num_labels=3)
    state, history = case.train(2)
    again, _ = case.train(2)
    jax.tree.map(np.testing.assert_array_equal, state.variables, again.variables)
    assert np.isfinite([step["loss"] for step in history]).all()
    graphdef, graph = case.program().graphdef, case.graph_on_devices()
    scorer = scoring.Scorer(graphdef, mesh, image_size=32, batch_size=8)
    scorer.load(state.variables, graph)
    image = case.batch(5)["image"]

    @jax.jit
    def plain(variables, image):
        model = nnx.merge(graphdef, *variables)
        return jax.nn.sigmoid(model(image, graph, train=False))

    expected = plain(state.variables, jnp.asarray(image))
    np.testing.assert_allclose(scorer(image), expected, rtol=0, atol=1e-5)
