import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from mlgcn_jax.models import densenet, registry

# Published sizes with 1,000 classes, less the classifier.
NUM_PARAMETERS = {
    "densenet_tiny": None,  # ours, no published size
    "densenet121": 7_978_856 - 1024 * 1000 - 1000,
    "densenet169": 14_149_480 - 1664 * 1000 - 1000,
    "densenet201": 20_013_928 - 1920 * 1000 - 1000,
}


def structure(name: str):
    return nnx.eval_shape(
        lambda: registry.BACKBONES[name](dtype=jnp.float32, rngs=nnx.Rngs(0))
    )


def test_every_backbone_has_its_published_size():
    assert NUM_PARAMETERS.keys() == registry.BACKBONES.keys()
    for name, expected in NUM_PARAMETERS.items():
        params = nnx.to_pure_dict(nnx.state(structure(name), nnx.Param))
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        if expected is not None:
            assert count == expected, name


def test_submodules_have_torchvision_names():
    params = nnx.to_pure_dict(nnx.state(structure("densenet121"), nnx.Param))
    paths = {
        "/".join(key.key for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    }
    for path in (
        "features/conv0/kernel",
        "features/norm0/scale",
        "features/denseblock1/denselayer1/norm1/scale",
        "features/denseblock3/denselayer24/conv2/kernel",
        "features/transition3/conv/kernel",
        "features/norm5/bias",
    ):
        assert path in paths


def plain_densenet(params, x, *, block_sizes):
    """Independent oracle: lax.conv, reduce_window, each layer's own statistics."""

    def conv(x, kernel, stride=1, padding=0):
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((padding, padding), (padding, padding)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def norm_relu(x, p):
        mean = x.mean((0, 1, 2), keepdims=True)
        var = x.var((0, 1, 2), keepdims=True)
        scale, bias = (p[name].reshape(1, 1, 1, -1) for name in ("scale", "bias"))
        return jax.nn.relu(scale * (x - mean) / jnp.sqrt(var + 1e-5) + bias)

    def pool(x, start, op, window, padding):
        return lax.reduce_window(
            x,
            start,
            op,
            (1, window, window, 1),
            (1, 2, 2, 1),
            ((0, 0), (padding, padding), (padding, padding), (0, 0)),
        )

    f = params["features"]
    x = norm_relu(conv(x, f["conv0"]["kernel"], 2, 3), f["norm0"])
    x = pool(x, -jnp.inf, lax.max, 3, 1)
    for i, num_layers in enumerate(block_sizes, start=1):
        for j in range(1, num_layers + 1):
            layer = f[f"denseblock{i}"][f"denselayer{j}"]
            new = conv(norm_relu(x, layer["norm1"]), layer["conv1"]["kernel"])
            new = conv(norm_relu(new, layer["norm2"]), layer["conv2"]["kernel"], 1, 1)
            x = jnp.concatenate([x, new], axis=-1)
        if i < len(block_sizes):
            transition = f[f"transition{i}"]
            x = conv(norm_relu(x, transition["norm"]), transition["conv"]["kernel"])
            x = pool(x, 0.0, lax.add, 2, 0) / 4
    return norm_relu(x, f["norm5"])


def test_training_forward_and_gradient_agree_with_the_plain_form():
    block_sizes = (2, 3)
    model = densenet.DenseNet(
        growth_rate=4,
        block_sizes=block_sizes,
        num_init_features=6,
        dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    )
    graphdef, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    params = nnx.to_pure_dict(params)
    batch_stats = nnx.to_pure_dict(batch_stats)
    # Scales and offsets away from 1 and 0, or half of the arithmetic would not show.
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
    params = jax.tree.map(
        lambda p: p + 0.2 * jax.random.normal(next(keys), p.shape), params
    )
    x = jax.random.normal(jax.random.key(2), (3, 37, 32, 3))
    weight = jax.random.normal(jax.random.key(3), (3, 5, 4, 19))

    def ours(params):
        merged = nnx.merge(graphdef, params, batch_stats)
        y = merged(x, train=True)
        assert y.shape == weight.shape
        return jnp.sum(y * weight)

    def plain(params):
        return jnp.sum(plain_densenet(params, x, block_sizes=block_sizes) * weight)

    value, gradient = jax.jit(jax.value_and_grad(ours))(params)
    expected, expected_gradient = jax.jit(jax.value_and_grad(plain))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
        gradient,
        expected_gradient,
    )


def test_running_statistics_are_those_of_every_layer():
    model = densenet.DenseNet(
        growth_rate=4,
        block_sizes=(2,),
        num_init_features=6,
        dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    )
    x = jax.random.normal(jax.random.key(2), (2, 16, 16, 3))
    model(x, train=True)
    # The second layer reads the first layer's input too: equal statistics of those.
    block = model.features.denseblock1
    np.testing.assert_array_equal(
        block.denselayer2.norm1.mean[:6], block.denselayer1.norm1.mean[...]
    )
    np.testing.assert_array_equal(
        model.features.norm5.var[:10], block.denselayer2.norm1.var[...]
    )
    assert not np.allclose(block.denselayer2.norm1.mean[6:], 0)


@pytest.mark.parametrize("name", sorted(registry.BACKBONES))
def test_smallest_image_is_the_smallest(name: str):
    backbone = structure(name)
    smallest = backbone.min_image_size_px
    for size, expected in ((smallest, 1), (smallest - 1, 0)):
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        out = nnx.eval_shape(lambda m, x: m(x, train=False), backbone, image)
        assert out.shape[1:3] == (expected, expected)
