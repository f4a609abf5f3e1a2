import jax
import jax.numpy as jnp
import numpy as np
import plain_form
import pytest
from flax import nnx

from mlgcn_jax.models import densenet


def plain_densenet(params, x, *, block_sizes):
    """Independent oracle: lax.conv, reduce_window, each layer's own statistics."""
    conv, norm_relu = plain_form.conv, plain_form.norm_relu
    f = params["features"]
    x = norm_relu(conv(x, f["conv0"]["kernel"], 2, 3), f["norm0"])
    x = plain_form.max_pool(x)
    for i, num_layers in enumerate(block_sizes, start=1):
        for j in range(1, num_layers + 1):
            layer = f[f"denseblock{i}"][f"denselayer{j}"]
            new = conv(norm_relu(x, layer["norm1"]), layer["conv1"]["kernel"])
            new = conv(norm_relu(new, layer["norm2"]), layer["conv2"]["kernel"], 1, 1)
            x = jnp.concatenate([x, new], axis=-1)
        if i < len(block_sizes):
            transition = f[f"transition{i}"]
            x = conv(norm_relu(x, transition["norm"]), transition["conv"]["kernel"])
            x = plain_form.average_pool(x)
    return norm_relu(x, f["norm5"])


@pytest.mark.parametrize("form", ["plain", "cpu", "gpu"])
def test_training_forward_and_gradient_agree_with_the_plain_form(form):
    block_sizes = (2, 3)
    model = densenet.DenseNet(
        growth_rate=4,
        block_sizes=block_sizes,
        num_init_features=6,
        dtype=jnp.float32,
        form=form,
        rngs=nnx.Rngs(0),
    )
    plain_form.assert_trains_like(
        model,
        lambda params, x: plain_densenet(params, x, block_sizes=block_sizes),
        map_shape=(3, 5, 4, 19),
    )


def test_gradient_in_bfloat16_is_near_that_in_float32():
    """As near as that of the plain form in bfloat16: what is rounded is not the same.

    One block without a pooling layer, whose kinks would hide the rest.
    """
    x = jax.random.normal(jax.random.key(2), (4, 8, 8, 6))

    def gradient(form, dtype):
        block = densenet.DenseBlock(
            *(6, 3),
            growth_rate=4,
            bottleneck_factor=4,
            dtype=dtype,
            form=form,
            rngs=nnx.Rngs(0),
        )
        weight = jax.random.normal(jax.random.key(3), (4, 8, 8, 18))

        def loss(block):
            maps, _ = block(x.astype(dtype), train=True)
            y = jnp.concatenate(maps, axis=-1).astype(jnp.float32)
            return jnp.sum(jnp.sin(y) * weight)

        return nnx.to_pure_dict(nnx.jit(nnx.grad(loss))(block))

    exact = gradient("cpu", jnp.float32)

    def distances(of):
        return jax.tree.map(
            lambda a, b: np.linalg.norm(a - b) / np.linalg.norm(b), of, exact
        )

    plain = jax.tree.leaves(distances(gradient("plain", jnp.bfloat16)))
    ours = jax.tree.leaves(distances(gradient("gpu", jnp.bfloat16)))
    assert np.mean(ours) < 1.2 * np.mean(plain)
    assert np.max(ours) < 1.5 * np.max(plain)


@pytest.mark.parametrize("form", ["plain", "cpu", "gpu"])
def test_running_statistics_are_those_of_every_layer(form):
    model = densenet.DenseNet(
        growth_rate=4,
        block_sizes=(2,),
        num_init_features=6,
        dtype=jnp.float32,
        form=form,
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
