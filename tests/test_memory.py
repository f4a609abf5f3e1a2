"""What is said where memory runs out: arrays that no machine holds are asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlgcn_jax.training import memory


@pytest.mark.parametrize(
    "fill",
    [
        lambda: np.zeros(2**55, np.uint8),
        lambda: jax.block_until_ready(jax.jit(lambda: jnp.zeros(2**53))()),
    ],
)
def test_too_little_memory_is_said_with_what_to_do(fill):
    with pytest.raises(memory.OutOfMemoryError, match=r"use a smaller config\.batch"):
        with memory.exhaustion_told():
            fill()


def test_other_errors_pass():
    for error in (jax.errors.JaxRuntimeError("UNAVAILABLE: x"), ValueError("y")):
        with pytest.raises(type(error), match=str(error)):
            with memory.exhaustion_told():
                raise error
