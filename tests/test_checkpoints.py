import json
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlgcn_jax.runs import checkpoints, checksums, train_state


def make_state(step: int, *, ema: bool = False) -> train_state.TrainState:
    rng = np.random.default_rng(step)
    variables = train_state.Variables(
        params={"head": {"kernel": jnp.asarray(rng.normal(size=(64, 64)))}},
        batch_stats={"norm": {"mean": jnp.asarray(rng.normal(size=64))}},
    )
    return train_state.TrainState(
        step=jnp.asarray(step, jnp.int32),
        variables=variables,
        ema=jax.tree.map(lambda x: 2 * x, variables) if ema else None,
        opt_state=optax.adam(1e-3).init(variables.params),
    )


def abstract(state: train_state.TrainState) -> train_state.TrainState:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def save(directory: pathlib.Path, *steps: int, keep: int = 5, ema: bool = False):
    saver = checkpoints.Checkpoints(directory, keep=keep)
    for step in steps:
        saver.save(make_state(step, ema=ema))
    saver.close()


def data_files(directory: pathlib.Path, step: int) -> list[pathlib.Path]:
    """Files of a step, the largest first."""
    files = [path for path in (directory / str(step)).rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: -path.stat().st_size)


@pytest.mark.parametrize("ema", [False, True])
def test_a_state_comes_back_bit_for_bit(tmp_path, ema: bool):
    save(tmp_path, 3, ema=ema)
    expected = make_state(3, ema=ema)
    assert checkpoints.latest_step(tmp_path) == 3
    restored = checkpoints.restore_train_state(tmp_path, 3, abstract(expected))
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, restored, expected)
    variables = checkpoints.restore_variables(
        tmp_path, 3, abstract(expected).variables, ema=ema
    )
    of_model = expected.ema if ema else expected.variables
    jax.tree.map(np.testing.assert_array_equal, variables, of_model)


def test_only_the_newest_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3, keep=2)
    steps = sorted(int(p.name) for p in tmp_path.iterdir() if p.name.isdecimal())
    assert steps == [2, 3]


def test_nothing_saved_is_none(tmp_path):
    assert checkpoints.latest_step(tmp_path / "absent") is None


def flip_a_bit(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, pathlib.Path.unlink])
def test_a_damaged_step_is_passed_over_with_a_warning(tmp_path, caplog, damage):
    save(tmp_path, 1, 2)
    damage(data_files(tmp_path, 2)[0])
    with caplog.at_level("WARNING"):
        assert checkpoints.latest_step(tmp_path) == 1
    assert "checkpoint of step 2 is not used" in caplog.text
    checkpoints.set_damaged_aside(tmp_path, newer_than=1)
    save(tmp_path, 2)  # the step can be saved again
    assert checkpoints.latest_step(tmp_path) == 2


def test_a_step_without_checksums_is_damaged(tmp_path, caplog):
    save(tmp_path, 1, 2)
    (tmp_path / "2" / checksums.FILE_NAME).unlink()
    with caplog.at_level("WARNING"):
        assert checkpoints.latest_step(tmp_path) == 1
    assert "checksums.json is missing" in caplog.text


def test_only_damaged_steps_are_an_error(tmp_path):
    save(tmp_path, 1)
    flip_a_bit(data_files(tmp_path, 1)[0])
    with pytest.raises(checkpoints.CheckpointError, match=r"damaged \(steps \[1\]\)"):
        checkpoints.latest_step(tmp_path)


def test_a_checkpoint_of_another_model_is_an_error(tmp_path):
    save(tmp_path, 1)
    other = make_state(1)
    kernel = jax.ShapeDtypeStruct((64, 65), jnp.float32)
    params = {"head": {"kernel": kernel}}
    variables = other.variables._replace(params=params)
    message = r"does not fit the model: params/head/kernel is \(64, 64\) there and "
    with pytest.raises(checkpoints.CheckpointError, match=message):
        checkpoints.restore_variables(tmp_path, 1, variables, ema=False)


def test_checksums_name_every_file(tmp_path):
    save(tmp_path, 1)
    listed = json.loads((tmp_path / "1" / checksums.FILE_NAME).read_text())
    found = {
        path.relative_to(tmp_path / "1").as_posix() for path in data_files(tmp_path, 1)
    }
    assert set(listed) == found - {checksums.FILE_NAME}
    assert len(listed) > 3


SAVE_IN_A_LOOP = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import test_checkpoints as t
from mlgcn_jax.runs import checkpoints
saver = checkpoints.Checkpoints(pathlib.Path({directory!r}), keep=2)
saver.save(t.make_state(1)); saver.wait(); print("saved", flush=True)
{then}
"""


def python(code: str, **arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **arguments,
    )


def test_a_kill_while_saving_leaves_the_step_before(tmp_path):
    then = "for step in range(2, 10000): saver.save(t.make_state(step))"
    code = SAVE_IN_A_LOOP.format(
        tests=str(pathlib.Path(__file__).parent), directory=str(tmp_path), then=then
    )
    with python(code) as process:
        assert process.stdout.readline() == "saved\n"
        process.stdout.close()
        while not list(tmp_path.glob("saving-*")):
            assert process.poll() is None
        process.kill()
    step = checkpoints.latest_step(tmp_path)
    assert step is not None
    expected = make_state(step)
    restored = checkpoints.restore_train_state(tmp_path, step, abstract(expected))
    jax.tree.map(np.testing.assert_array_equal, restored, expected)
    # Leftovers go when the folder is opened again.
    save(tmp_path, 10**6)
    assert not list(tmp_path.glob("saving-*"))


@pytest.mark.parametrize(("saved", "left"), [([], None), ([1], 1)])
def test_a_kill_before_the_checksums_are_written_is_a_save_cut_short(
    tmp_path, caplog, saved, left
):
    """Even where only one checkpoint is kept, and where it was the first of all."""
    if saved:
        save(tmp_path, *saved)
    code = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import test_checkpoints as t
from mlgcn_jax.runs import checkpoints, checksums
checksums.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
t.save(pathlib.Path({str(tmp_path)!r}), 2, keep=1)
"""
    with python(code) as process:
        process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert checkpoints.latest_step(tmp_path) == left
    with caplog.at_level("WARNING"):
        save(tmp_path, 2, keep=1)
    assert "saving-2 is removed: its save was cut short" in caplog.text
    assert checkpoints.saved_steps(tmp_path) == [2]


def test_a_disk_that_takes_no_more_is_an_error_and_keeps_the_step_before(tmp_path):
    """The kernel refuses to let files grow past a limit, as a full disk would."""
    then = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    saver.save(t.make_state(2)); saver.close()
except checkpoints.CheckpointError as error:
    print(error, flush=True)
"""
    code = SAVE_IN_A_LOOP.format(
        tests=str(pathlib.Path(__file__).parent), directory=str(tmp_path), then=then
    )
    with python(code) as process:
        output, _ = process.communicate(timeout=120)
    assert "saving step 2 to" in output and "MB free there" in output
    assert checkpoints.latest_step(tmp_path) == 1
