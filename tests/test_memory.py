"""What is said where memory runs out: arrays that no machine holds are asked for."""

import configurations
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlgcn_jax.devices import program_memory
from mlgcn_jax.training import memory, train, train_step


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


def told(monkeypatch, *, limit: int | None) -> str:
    """What is said of 100 images, 11,000 bytes, 1,000 of them the state, that fail."""
    monkeypatch.setattr(memory, "device_bytes", lambda: limit)
    monkeypatch.setattr(program_memory, "peak_bytes", lambda _: 11_000)
    with pytest.raises(memory.OutOfMemoryError) as info:
        with memory.exhaustion_told() as exhaustion:
            state = jax.device_put(jnp.zeros(250), jax.devices()[0])
            exhaustion.step = memory.Step(
                jax.jit(lambda state: state), (state,), batch_size=100, multiple_of=8
            )
            raise MemoryError("gone")
    return str(info.value)


def test_the_batch_that_fits_is_said(monkeypatch):
    """100 images need 10,000 bytes beside the state: for 45 there are 4,500."""
    said = told(monkeypatch, limit=5_500)
    assert "use a smaller config.batch_size (about 40 images fit: 100 need" in said
    for limit in (None, 1_000, 1_700):  # unknown; not even the state; less than eight
        assert "images fit" not in told(monkeypatch, limit=limit)


def test_a_run_says_which_batch_fits(data_dir, tmp_path, monkeypatch):
    """The device is full at the first step, and has memory for a part of it."""
    create = train_step.create_train_step

    def create_failing(*arguments, **options):
        step = create(*arguments, **options)

        def fail(*_):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

        fail.lower = step.lower
        return fail

    monkeypatch.setattr(train_step, "create_train_step", create_failing)
    monkeypatch.setattr(memory, "device_bytes", lambda: 2**20)
    config = configurations.tiny(data_dir, batch_size=48)
    with pytest.raises(memory.OutOfMemoryError, match=r"about \d+ images fit: 48 need"):
        train.train_and_evaluate(config, tmp_path)
