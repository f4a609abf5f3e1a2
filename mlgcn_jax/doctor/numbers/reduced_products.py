"""Products that are reduced at once, and other reductions that XLA got wrong.

By default XLA for CPUs gives them to YNNPACK, which computes them as garbage in jaxlib
0.10.2, 0.11.2 and 0.12.0; the last two are of jax issues 39103, 39257 and 40412.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlgcn_jax.doctor.numbers import block

# With YNNPACK's reductions jaxlib 0.10.2 and 0.11.0 end the process here, or never end.
MAY_CRASH = "sum over seven dimensions"


def blocks() -> list[block.Block]:
    """Returns the forms, each with its answer."""
    rng = np.random.default_rng(0)
    e, wide, doubled = _positive_definite()
    v = np.arange(1, 6).astype(np.float32)
    w, x = (rng.standard_normal(s).astype(np.float32) for s in ((64, 32), (100, 64)))
    rows = np.stack([np.arange(32769), *np.zeros((2, 32769))], 1).astype(np.float32)
    u7, v7 = rng.standard_normal((2, 3, 1, 2, 2, 8, 8, 8)).astype(np.float32)
    of_sum = wide.sum(2)[:, None, :] + wide.sum(1)[:, :, None]
    of_mean = np.broadcast_to(x.astype(np.float64).sum(0)[:, None] / 3200, w.shape)
    squares = rows[:, 0].astype(np.float64) ** 2
    forms = (
        (
            "product with a number, reduced",
            _times_number,
            (e, np.float32(2)),
            doubled,
        ),
        ("bilinear form", _bilinear, (e, v), v * (wide.sum(2) ** 2).sum(1)),
        ("gradient of a product's sum", jax.grad(_sum_of_product), (e,), of_sum),
        ("gradient of a product's mean", jax.grad(_mean_of_product), (w, x), of_mean),
        ("squares of 32,769 small products", _squared_rows, (rows,), squares),
        (MAY_CRASH, _sum_over_seven, (u7, v7), (u7 * v7.astype(np.float64)).sum(3)),
    )
    return [times_constant(), *(block.Block(*form, "product") for form in forms)]


def times_constant() -> block.Block:
    """Returns the shortest of the forms, which three releases get wrong."""
    e, _, doubled = _positive_definite()
    name = "product with a constant, reduced"
    return block.Block(name, _times_constant, (e,), doubled, "product")


def _positive_definite() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices whose sums do not cancel, in two types, and what two forms make."""
    roots = np.random.default_rng(1).standard_normal((5, 60, 60)).astype(np.float32)
    e = roots @ roots.transpose(0, 2, 1)
    wide = e.astype(np.float64)
    return e, wide, (wide.sum(2, keepdims=True) * 2 * wide).sum((1, 2))


def _times_constant(e: Float[Array, "b i j"]) -> Float[Array, " b"]:
    return jnp.sum((e @ jnp.full(e.shape, 2.0, e.dtype)) * e, (1, 2))


def _times_number(e: Float[Array, "b i j"], c: Float[Array, ""]) -> Float[Array, " b"]:
    return jnp.sum((e @ jnp.broadcast_to(c, e.shape)) * e, (1, 2))


def _bilinear(e: Float[Array, "b i j"], v: Float[Array, " b"]) -> Float[Array, " b"]:
    wide = jnp.broadcast_to(v[:, None, None], e.shape)
    return jnp.einsum("bij,bjk,bik->b", e, wide, e)


def _sum_of_product(e: Float[Array, "b i j"]) -> Float[Array, ""]:
    return jnp.sum(e @ e)


def _mean_of_product(
    w: Float[Array, "c d"], x: Float[Array, "b c"]
) -> Float[Array, ""]:
    return jnp.mean(x @ w)


def _squared_rows(x: Float[Array, "n 3"]) -> Float[Array, " n"]:
    """Jax 39103: 0.8 % off from some row on."""
    return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(x)


def _sum_over_seven(
    u: Float[Array, "a b c d e f g"], v: Float[Array, "a b c d e f g"]
) -> Float[Array, "a b c e f g"]:
    """Jax 39257 and 40412: a crash, or a loop without end."""
    return jnp.sum(u * v, axis=3)
