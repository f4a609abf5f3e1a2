import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from mlgcn_jax.devices import compiler
from mlgcn_jax.models import forms, gpu_forms, layers


def random_map(*shape: int, seed: int = 0, mean: float = 0.0) -> jax.Array:
    values = np.random.default_rng(seed).normal(mean, 1.0, shape)
    return jnp.asarray(values, jnp.float32)


def test_batch_norm_by_hand():
    norm = layers.BatchNorm(1, dtype=jnp.float32)
    norm.scale[...] = jnp.asarray([2.0])
    norm.bias[...] = jnp.asarray([1.0])
    x = jnp.asarray([1.0, 2.0, 3.0, 6.0]).reshape(1, 2, 2, 1)  # mean 3, variance 3.5
    y = norm(x, train=True).reshape(-1)
    np.testing.assert_allclose(y, 1 + 2 * (x.reshape(-1) - 3) / np.sqrt(3.5), rtol=1e-4)
    # Running values start at 0 and 1; the variance is unbiased, 14 / 3.
    np.testing.assert_allclose(norm.mean[...], [0.1 * 3], rtol=1e-6)
    np.testing.assert_allclose(norm.var[...], [0.9 + 0.1 * 14 / 3], rtol=1e-6)


def test_batch_norm_in_evaluation_uses_the_running_statistics():
    norm = layers.BatchNorm(3, dtype=jnp.float32)
    norm.mean[...] = jnp.asarray([1.0, 2.0, 3.0])
    norm.var[...] = jnp.asarray([4.0, 1.0, 0.25])
    x = random_map(2, 4, 4, 3)
    expected = (np.asarray(x) - [1, 2, 3]) / np.sqrt(np.asarray([4, 1, 0.25]) + 1e-5)
    np.testing.assert_allclose(norm(x, train=False), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(norm.mean[...], [1.0, 2.0, 3.0])


def test_variance_keeps_its_digits_far_from_zero():
    x = random_map(4, 8, 8, 2, mean=1000.0)
    statistics = layers.batch_statistics(x)
    exact = np.asarray(x, np.float64).var((0, 1, 2))
    np.testing.assert_allclose(statistics.var, exact, rtol=1e-4)


def test_bfloat16_maps_have_float32_statistics():
    x = random_map(4, 8, 8, 2).astype(jnp.bfloat16)
    statistics = layers.batch_statistics(x)
    assert statistics.mean.dtype == statistics.var.dtype == jnp.float32
    norm = layers.BatchNorm(2, dtype=jnp.bfloat16)
    assert norm(x, train=True).dtype == jnp.bfloat16
    assert norm.mean[...].dtype == jnp.float32


@pytest.mark.parametrize("form", ["plain", "cpu", "gpu"])
@pytest.mark.parametrize("size", [7, 8, 15, 16])
def test_max_pool_is_that_of_lax(size: int, form: forms.Form):
    x = random_map(2, size, size + 1, 3)
    expected = lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, 3, 3, 1),
        (1, 2, 2, 1),
        ((0, 0), (1, 1), (1, 1), (0, 0)),
    )

    def ours(x):
        return layers.max_pool_3x3_stride_2(x, form=form)

    np.testing.assert_array_equal(ours(x), expected)

    def weighted_sum(pool):
        return jax.grad(lambda x: jnp.sum(jnp.sin(pool(x))))(x)

    np.testing.assert_allclose(
        weighted_sum(ours),
        weighted_sum(
            lambda x: lax.reduce_window(
                x,
                -jnp.inf,
                lax.max,
                (1, 3, 3, 1),
                (1, 2, 2, 1),
                ((0, 0), (1, 1), (1, 1), (0, 0)),
            )
        ),
        rtol=1e-6,
    )


def test_on_a_gpu_the_first_of_equal_maxima_gets_the_gradient():
    x = jnp.ones((1, 3, 3, 1)).at[0, 0, 0].set(0.0)
    gradient = jax.grad(lambda x: gpu_forms.max_pool_3x3_stride_2(x).sum())(x)
    # Windows of rows 0-1 and 1-2, columns likewise; each names its first one.
    expected = [[0, 2, 0], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_norm_and_relu_of_several_maps_are_those_of_one(dtype):
    """Value and gradient, against the plain formula; the scale has both signs."""
    maps = tuple(random_map(2, 4, 5, c).astype(dtype) for c in (3, 1, 4))
    scale = jnp.linspace(-1.5, 2.0, 8)
    offset = jnp.linspace(0.5, -0.5, 8)
    weight = random_map(2, 4, 5, 8)

    def plain(maps, scale, offset):
        x = jnp.concatenate(maps, axis=-1).astype(jnp.float32)
        y = jax.nn.relu(x * scale[None, None, None] + offset[None, None, None])
        return y.astype(dtype)

    def with_gradient(form):
        def loss(*arguments):
            return jnp.sum(form(*arguments).astype(jnp.float32) * weight)

        value = form(maps, scale, offset)
        return value, jax.grad(loss, argnums=(0, 1, 2))(maps, scale, offset)

    jax.tree.map(
        # One rounding to bfloat16 in the plain form may be two here.
        lambda a, b: np.testing.assert_allclose(
            np.float32(a), np.float32(b), rtol=1e-2 if dtype == jnp.bfloat16 else 1e-5
        ),
        with_gradient(gpu_forms.norm_relu),
        with_gradient(plain),
    )


def test_statistics_in_bfloat16_are_those_of_its_values():
    """Far from zero too: a mean of twenty standard deviations."""
    x = (random_map(4, 16, 16, 5) + 20.0).astype(jnp.bfloat16)
    values = np.asarray(x, np.float64)
    mean, var = compiler.jit(layers.batch_statistics)(x)
    np.testing.assert_allclose(mean, values.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, values.var((0, 1, 2)), rtol=1e-3)


def test_average_pool_leaves_an_odd_edge():
    x = jnp.arange(5 * 4, dtype=jnp.float32).reshape(1, 5, 4, 1)
    pooled = layers.average_pool_2x2(x)[0, :, :, 0]
    np.testing.assert_array_equal(pooled, [[2.5, 4.5], [10.5, 12.5]])


def test_a_bfloat16_kernel_s_gradient_is_summed_in_float32():
    """Over 8,192 positions, of which each rounds by 2^-9."""
    x = random_map(8, 32, 32, 64).astype(jnp.bfloat16)
    weight = random_map(8, 32, 32, 32, seed=1).astype(jnp.bfloat16)

    def loss(x, kernel):
        y = layers.convolve(x, kernel) * weight
        return y.astype(jnp.float32).sum()

    kernel = random_map(1, 1, 64, 32).astype(jnp.bfloat16)
    _, gradient = compiler.jit(jax.grad(loss, (0, 1)))(x, kernel)
    gradient = np.asarray(gradient, np.float64)[0, 0]
    values = (np.asarray(a, np.float64) for a in (x, weight))
    expected = np.einsum("bhwc,bhwd->cd", *values)
    atol = 0.006 * np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("kernel_size", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)]
)
def test_convolution_is_that_of_flax(kernel_size: int, stride: int):
    ours = layers.Convolution(
        4, 6, kernel_size, stride=stride, dtype=jnp.float32, rngs=nnx.Rngs(0)
    )
    padding = kernel_size // 2
    theirs = nnx.Conv(
        4,
        6,
        (kernel_size, kernel_size),
        strides=stride,
        padding=[(padding, padding)] * 2,
        use_bias=False,
        rngs=nnx.Rngs(1),
    )
    theirs.kernel[...] = ours.kernel[...]
    x = random_map(2, 9, 8, 4)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
