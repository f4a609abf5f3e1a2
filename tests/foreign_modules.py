"""Modules that know nothing of this project, as a user's package would have them."""

import jax
import jax.numpy as jnp
from flax import linen, nnx


class NnxTower(nnx.Module):
    """A list of layers, batch norm, dropout: all that a run has to keep."""

    def __init__(self, *, width: int = 8, rngs: nnx.Rngs):
        self.convs = nnx.List(
            [
                nnx.Conv(3 if i == 0 else width, width, (3, 3), strides=2, rngs=rngs)
                for i in range(2)
            ]
        )
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        for conv in self.convs:
            x = jax.nn.relu(conv(x))
        return self.dropout(self.norm(x))


class LinenTower(linen.Module):
    """The same in Linen, pooled at its end."""

    width: int = 8

    @linen.compact
    def __call__(self, x, train: bool = True):
        x = linen.relu(linen.Conv(self.width, (3, 3), strides=4)(x))
        x = linen.BatchNorm(use_running_average=not train)(x)
        x = linen.Dropout(0.5, deterministic=not train)(x)
        return x.mean((1, 2))


class MapHead(linen.Module):
    """A head that sees the map."""

    num_labels: int

    @linen.compact
    def __call__(self, feature_map, deterministic: bool):
        x = linen.Dropout(0.5, deterministic=deterministic)(feature_map)
        return linen.Dense(self.num_labels)(x).max((1, 2))


class Counting(nnx.Module):
    """Holds a variable that is neither a parameter nor a statistic."""

    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(3, 4, rngs=rngs)
        self.calls = nnx.Cache(jnp.zeros(()))

    def __call__(self, x):
        return self.linear(x)


class Failing(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(5, 4, rngs=rngs)  # images have 3 channels

    def __call__(self, x):
        return self.linear(x)


class Pair(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(3, 4, rngs=rngs)

    def __call__(self, x):
        return self.linear(x), x


class Half(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(3, 4, param_dtype=jnp.bfloat16, rngs=rngs)

    def __call__(self, x):
        return self.linear(x)


class Needy(nnx.Module):
    def __init__(self, depth: int, *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(3, depth, rngs=rngs)

    def __call__(self, x):
        return self.linear(x)


class NormedHead(linen.Module):
    num_labels: int

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.BatchNorm(use_running_average=not train)(x)
        return linen.Dense(self.num_labels)(x).max((1, 2))


class WideHead(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(x)


class NoModule:
    pass


def no_class(x):
    raise RuntimeError("not made to be called")
