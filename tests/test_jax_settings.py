"""JAX as users have set it: the same numbers, and a line for what cannot hold."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import configurations
import jax
import numpy as np
import pytest
from run_logs import TINY_CONFIG

from mlgcn_jax.data import dataset
from mlgcn_jax.evaluation import evaluate
from mlgcn_jax.runs import checkpoints, jax_settings, trained_model
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import train

REPLACED = {
    "jax_enable_x64": (jax.enable_x64, True),
    "jax_numpy_dtype_promotion": (jax.numpy_dtype_promotion, "strict"),
    "jax_default_prng_impl": (jax.default_prng_impl, "unsafe_rbg"),
    "jax_threefry_partitionable": (jax.threefry_partitionable, False),
    "jax_disable_jit": (jax.disable_jit, True),
    "jax_transfer_guard": (jax.transfer_guard, "disallow_explicit"),
}
HOLDING = {
    "jax_debug_nans": (jax.debug_nans, True),
    "jax_debug_key_reuse": (jax.debug_key_reuse, True),
    "jax_default_matmul_precision": (jax.default_matmul_precision, "highest"),
    "jax_legacy_prng_key": (jax.legacy_prng_key, "error"),
    "jax_transfer_guard": (jax.transfer_guard, "disallow"),
}


@pytest.fixture(scope="module")
def plain(data_dir, tmp_path_factory) -> pathlib.Path:
    """A run of two epochs with JAX as it is."""
    workdir = tmp_path_factory.mktemp("plain")
    assert train.train_and_evaluate(configurations.tiny(data_dir), workdir) is None
    return workdir


def scores_of(workdir: pathlib.Path, data_dir: pathlib.Path) -> np.ndarray:
    mesh = meshes.create_mesh()
    model = trained_model.open_run(workdir, mesh)
    data = dataset.open_dataset(data_dir)
    evaluate.evaluate_run(model, data, mesh, split="validation")
    return np.load(workdir / "predictions.npz")["scores"]


@pytest.fixture(scope="module")
def expected(plain, data_dir) -> np.ndarray:
    return scores_of(plain, data_dir)


@pytest.mark.parametrize(
    "settings", [REPLACED, HOLDING], ids=["replaced", "as they are"]
)
def test_a_run_goes_on_to_the_same_numbers(
    plain, expected, data_dir, tmp_path, caplog, settings
):
    """Begun without the settings and ended with them: the same bits."""
    workdir = shutil.copytree(plain, tmp_path / "run")
    newest, _ = checkpoints.saved_steps(workdir / "checkpoints")
    shutil.rmtree(workdir / "checkpoints" / str(newest))
    jax_settings._say_replaced.cache_clear()
    with contextlib.ExitStack() as stack:
        for context, value in settings.values():
            stack.enter_context(context(value))
        train.train_and_evaluate(configurations.tiny(data_dir), workdir)
        scores = scores_of(workdir, data_dir)
        left = {name: getattr(jax.config, name) for name in settings}
    assert left == {name: value for name, (_, value) in settings.items()}
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, expected)
    said = [name for name in settings if f"{name}=" in caplog.text]
    assert said == (list(settings) if settings is REPLACED else [])


def test_what_a_seed_means_is_not_changed():
    jax.config.update("jax_random_seed_offset", 7)
    try:
        with pytest.raises(ValueError, match=r"jax_random_seed_offset=7 would change"):
            with jax_settings.usable():
                pass
    finally:
        jax.config.update("jax_random_seed_offset", 0)


def mlgcn(*arguments: str, status: int, **environment: str) -> str:
    """Runs a stage in a process; returns what it says."""
    command = [sys.executable, "-m", "mlgcn_jax.cli", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    return done.stderr


def test_the_environment_is_no_other(plain, data_dir, tmp_path):
    """Of one device, so not of the same bits as the fixture's eight."""
    call = ("train", f"--config={TINY_CONFIG}", f"--config.data_dir={data_dir}")
    environment = {
        "JAX_ENABLE_X64": "1",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_TRANSFER_GUARD": "disallow_explicit",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
    }
    workdir = tmp_path / "run"
    said = mlgcn(*call, f"--workdir={workdir}", status=0, **environment)
    assert said.count("does not hold here") == 4
    losses = [
        [json.loads(line)["loss"] for line in path.read_text().splitlines()[:3]]
        for path in (workdir / "metrics.jsonl", plain / "metrics.jsonl")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize("platform", ["cuda", "abacus"])
def test_a_platform_that_is_not_there_is_told_in_a_line(plain, platform):
    said = mlgcn("weights", str(plain), "w.npz", status=1, JAX_PLATFORMS=platform)
    last = said.splitlines()[-1]
    assert f"error: JAX has no device with JAX_PLATFORMS={platform} (" in last
    assert "Traceback" not in said


def test_a_setting_that_jax_does_not_know_is_told_in_a_line():
    said = mlgcn("graph", "none", status=2, JAX_ENABLE_X64="perhaps")
    assert said.count("\n") == 1
    assert "a setting of JAX in the environment" in said and "JAX_ENABLE_X64" in said
