"""Gathers and their gradients, which scatter: inside and outside of jit."""

import jax
import numpy as np

from mlgcn_jax.doctor.numbers import block


def blocks() -> list[block.Block]:
    """Returns gathers of rows and of columns; outside of jit they run as they are."""
    return [rows(), columns()]


def rows() -> block.Block:
    """Returns rows of a table, some of them often."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 8), np.float32)
    indices = rng.integers(0, 50, 300).astype(np.int32)
    d_y = rng.standard_normal((300, 8), np.float32)
    d_table = np.zeros(table.shape)
    np.add.at(d_table, indices, d_y)
    return block.Block(
        "gather of rows",
        _rows,
        (table, indices, d_y),
        (table[indices], d_table),
        "float32",
    )


def columns() -> block.Block:
    """Returns `x[:, indices, :]`, whose gradient a libtpu zeroes (jax 39025)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 20, 8), np.float32)
    indices = rng.integers(0, 20, 30).astype(np.int32)
    d_y = rng.standard_normal((4, 30, 8), np.float32)
    d_x = np.zeros(x.shape)
    np.add.at(d_x.swapaxes(0, 1), indices, d_y.swapaxes(0, 1))
    return block.Block(
        "gather of columns",
        _columns,
        (x, indices, d_y),
        (x[:, indices], d_x),
        "float32",
    )


def _rows(table: jax.Array, indices: jax.Array, d_y: jax.Array) -> tuple:
    y, pull_back = jax.vjp(lambda table: table[indices], table)
    return y, *pull_back(d_y)


def _columns(x: jax.Array, indices: jax.Array, d_y: jax.Array) -> tuple:
    y, pull_back = jax.vjp(lambda x: x[:, indices, :], x)
    return y, *pull_back(d_y)
