"""What the doctor says of releases, drivers, devices and flags."""

import importlib.metadata
import types

import jax
import pytest
from doctor_findings import by_name

from mlgcn_jax.devices import compiler
from mlgcn_jax.doctor import devices, known_faults, settings, versions


@pytest.mark.parametrize(
    ("installed", "platform", "chip", "threads"),
    [
        ({"jaxlib": "0.10.1"}, "cpu", "cpu", []),
        (
            {"jaxlib": "0.10.2"},
            "cpu",
            "cpu",
            ["seen here", "jax 39103", "jax 39257, 40412", "jax 37465, xla 46351"],
        ),
        ({"jaxlib": "0.12.0.1"}, "cpu", "cpu", ["seen here", "seen here"]),
        ({"jaxlib": "0.11.1"}, "gpu", "NVIDIA H100", ["xla 47203, jax 39959"]),
        (
            {"jaxlib": "0.11.0"},
            "gpu",
            "NVIDIA RTX A6000",
            [
                "jax 38806, xla 46225",
                "xla 47203, jax 39959",
                "jax 40633 (CUDA 13)",
            ],
        ),
        ({"jaxlib": "0.10.2", "libtpu": "0.0.42"}, "tpu", "TPU v5", ["jax 39025"]),
        ({"jaxlib": "0.11.2", "libtpu": "0.0.48"}, "tpu", "TPU v5", ["xla 49143"]),
        (
            {"jaxlib": "0.11.0.dev20260601"},
            "cpu",
            "cpu",
            ["jax 39257, 40412", "jax 37465, xla 46351"],
        ),
        ({}, "cpu", "cpu", []),
    ],
)
def test_what_is_known_against_releases(installed, platform, chip, threads):
    found = known_faults.against(installed, platform=platform, chip=chip)
    assert [fault.threads for fault in found] == threads
    assert all(fault.cure or fault.advice for fault in found)


def test_packages_that_do_not_go_together_are_told(monkeypatch):
    recorded = {"jax": "0.10.1", "jaxlib": "0.10.1", "jax-cuda12-plugin": "0.9.2"}

    def version(name):
        if name not in recorded:
            raise importlib.metadata.PackageNotFoundError(name)
        return recorded[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = by_name(versions.check())
    assert found["jax-cuda12-plugin"].status == "warning"
    assert "0.10.1, as jaxlib" in found["jax-cuda12-plugin"].expected
    assert found["jaxlib"].status == "ok"
    assert "libtpu" not in found


@pytest.mark.parametrize(
    ("script", "driver"),
    [
        ("echo 550.54.15; echo 550.54.15", "550.54.15"),
        ("echo 'Failed to initialize NVML'; exit 9", None),
    ],
)
def test_the_driver_is_what_nvidia_smi_says(monkeypatch, tmp_path, script, driver):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert versions.installed().get("NVIDIA driver") == driver


def test_the_memory_of_devices_is_shown(monkeypatch):
    stats = {"bytes_in_use": 2**30, "bytes_limit": 60 * 2**30}  # of an H100
    device = types.SimpleNamespace(
        platform="gpu", device_kind="NVIDIA H100", memory_stats=lambda: stats
    )
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    (finding,) = devices.check()
    assert finding.value == "NVIDIA H100, 1.0 of 60.0 GiB in use"


def test_gpus_that_jax_does_not_see_are_told(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr("mlgcn_jax.runs.machine.Machine.num_gpus", lambda _: 4)
    finding = list(devices.check())[-1]
    assert (finding.value, finding.status) == (4, "warning")
    assert "mlgcn-jax[cuda12]" in finding.advice


@pytest.mark.parametrize(
    ("flags", "status"),
    [("+reduce", "fault"), ("reduce", "fault"), ("-reduce", "ok"), ("", "ok")],
)
def test_flags_that_make_numbers_wrong_are_faults(monkeypatch, flags, status):
    monkeypatch.setenv("XLA_FLAGS", f"--{compiler.YNN_FUSIONS}={flags} --xla_x=1")
    compiler._is_set_by_user.cache_clear()
    found = by_name(settings.check())
    compiler._is_set_by_user.cache_clear()
    finding = found[f"XLA_FLAGS --{compiler.YNN_FUSIONS}"]
    assert finding.status == status
    assert "(respected)" in str(finding.value)
    assert (compiler.YNN_FUSIONS in finding.advice) == (status == "fault")
    assert found["XLA_FLAGS --xla_x"].value == "1 (respected)"
