"""What the doctor says of folders, cache, decoders, versions, flags and devices."""

import errno
import fcntl
import importlib.metadata
import json
import pathlib
import shutil
import types

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from mlgcn_jax.devices import compiler
from mlgcn_jax.doctor import (
    cache,
    decoding,
    devices,
    examination,
    findings,
    fingerprints,
    folders,
    known_faults,
    report,
    settings,
    together,
    versions,
)
from mlgcn_jax.runs import coordinator


def by_name(found) -> dict[str, findings.Finding]:
    return {finding.name: finding for finding in found}


def test_a_folder_that_can_be_used_and_is_not_there_yet(tmp_path):
    found = list(folders.check({"workdir": tmp_path / "runs" / "new"}))
    assert [finding.status for finding in found] == ["ok"] * 3
    assert [finding.value for finding in found][:2] == ["can be written to", "hold"]
    assert list(tmp_path.iterdir()) == []  # nothing is left


def test_folders_that_cannot_be_written_to_are_faults(tmp_path):
    (tmp_path / "file").write_text("")
    places = {"workdir": tmp_path / "file" / "run", "cache": pathlib.Path("/proc/x")}
    places |= {"temporary folder": tmp_path}
    found = by_name(folders.check(places))
    faults = [name for name, finding in found.items() if finding.status == "fault"]
    assert faults == [f"workdir {tmp_path}/file/run", "cache /proc/x"]
    assert "make it writable" in found[faults[0]].advice
    assert found[f"temporary folder {tmp_path}: writing"].status == "ok"


def no_locks(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize(
    ("flock", "value"),
    [(no_locks, "Function not implemented"), (lambda *_: None, "given twice")],
)
def test_locks_that_do_not_hold_are_faults(tmp_path, monkeypatch, flock, value):
    monkeypatch.setattr(fcntl, "flock", flock)
    finding = by_name(folders.check({"workdir": tmp_path}))[
        f"workdir {tmp_path}: locks"
    ]
    assert (finding.status, finding.value) == ("fault", value)
    assert "flock" in finding.advice


@pytest.mark.parametrize(
    ("free", "status"), [(2**20, "fault"), (2**29, "warning"), (2**31, "ok")]
)
def test_little_room_is_told(tmp_path, monkeypatch, free, status):
    usage = types.SimpleNamespace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    finding = by_name(folders.check({"workdir": tmp_path}))[f"workdir {tmp_path}: free"]
    assert finding.status == status


@pytest.fixture
def use_cache(tmp_path):
    """Makes JAX use another folder for what it compiles."""
    before = jax.config.jax_compilation_cache_dir

    def use(folder):
        jax.config.update("jax_compilation_cache_dir", folder and str(folder))
        jax_cache.reset_cache()

    yield use
    use(before)


def test_a_cache_is_read_back_until_its_entries_are_damaged(tmp_path, use_cache):
    use_cache(tmp_path)
    for _ in range(2):  # new, and as another process left it
        (finding,) = cache.check()
        assert finding.status == "ok", finding
        assert str(finding.value).startswith("read back in ")
    entries = list(tmp_path.glob("*-cache"))
    assert len(entries) == 1
    entries[0].write_bytes(b"no entry")
    (finding,) = cache.check()
    assert finding.status == "fault"
    assert "Error reading persistent compilation cache" in str(finding.value)
    assert "empty that folder" in finding.advice


def test_a_cache_that_cannot_be_written_to_is_a_fault(tmp_path, use_cache):
    (tmp_path / "file").write_text("")
    use_cache(tmp_path / "file" / "cache")
    (finding,) = cache.check()
    assert finding.status == "fault"
    assert "Not a directory" in str(finding.value)


def test_a_cache_that_is_off_is_told(use_cache):
    use_cache(None)
    (finding,) = cache.check()
    assert (finding.status, finding.value) == ("warning", "off")


def test_every_decoder_gives_the_stored_pixels(data_dir):
    found = list(decoding.check(data_dir))
    assert [finding.status for finding in found] == ["ok"] * 5


@pytest.mark.parametrize(("levels", "status"), [(1, "warning"), (40, "fault")])
def test_other_pixels_are_told(tmp_path, monkeypatch, levels, status):
    shutil.copytree(decoding._PICTURES, tmp_path, dirs_exist_ok=True)
    pixels = np.load(tmp_path / "jpeg_pixels.npy")
    pixels[5, 5, 1] ^= levels
    np.save(tmp_path / "jpeg_pixels.npy", pixels)
    (tmp_path / "picture.webp").write_bytes(b"RIFF")
    monkeypatch.setattr(decoding, "_PICTURES", tmp_path)
    found = by_name(decoding.check(None))
    assert found["JPEG by libjpeg-turbo"].status == status
    assert found["JPEG by Pillow"].status == status
    assert found["PNG by Pillow"].status == "ok"
    assert found["WebP by Pillow"].status == "fault"


def test_a_dataset_that_is_not_there_is_a_fault(tmp_path):
    finding = list(decoding.check(tmp_path))[-1]
    assert finding.status == "fault"
    assert "holds no dataset" in str(finding.value)


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


def test_code_is_known_by_its_content(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 2\n")
    before = fingerprints.code(tmp_path)
    assert list(before) == ["b.py", "models/a.py"]
    (tmp_path / "models" / "a.py").write_text("x = 1 \n")
    (tmp_path / "c.py").write_text("")
    after = fingerprints.code(tmp_path)
    assert fingerprints.differences(before, after) == ["c.py", "models/a.py"]


def test_a_dataset_is_known_by_the_ends_of_its_shards(tmp_path, data_dir):
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    assert fingerprints.data(copy) == fingerprints.data(data_dir)
    shard = sorted(copy.rglob("*.array_record*"))[0]
    with shard.open("r+b") as file:
        file.seek(100)
        flipped = bytes([file.read(1)[0] ^ 1])
        file.seek(100)
        file.write(flipped)
    found = fingerprints.differences(
        fingerprints.data(copy), fingerprints.data(data_dir)
    )
    assert found == [shard.name]


@pytest.fixture
def four_processes(monkeypatch):
    """The first of four, the third tells nothing, the last has other code."""
    code = {"a.py": "1"}
    told = {
        0: {"code": code, "data": {"metadata": "5"}},
        1: {"code": code, "data": {"metadata": "5"}},
        3: {"code": {**code, "b.py": "2"}, "data": {"metadata": "6"}},
    }
    monkeypatch.setattr(coordinator, "index", lambda: 0)
    monkeypatch.setattr(coordinator, "count", lambda: 4)
    monkeypatch.setattr(coordinator, "tell", lambda *_: None)
    monkeypatch.setattr(fingerprints, "take", lambda _: dict(told[0]))

    def hear(name, process, *, timeout_s):
        assert timeout_s >= 1
        if process not in told:
            return None
        finding = findings.Finding("part", "name", process=process)
        usable = {"devices": {"usable": "True"}}
        return json.dumps(
            told[process] | usable if name == "fingerprints" else [finding.to_dict()]
        )

    monkeypatch.setattr(coordinator, "hear", hear)


def test_who_is_silent_or_other_among_four_is_told(four_processes):
    exam = examination.Examination(process=0)
    assert not together.compare(exam, None, can_send=True, end=0.0)
    found = by_name(exam.found)
    assert found["code"].value == "process 3: b.py"
    assert found["data"].value == "process 3: metadata"
    assert found["devices"].value == "the same in 3"
    assert found["silent"].value == "process 2 of 4"
    assert found["silent"].status == "fault"
    exam = examination.Examination(process=0)
    assert together.collect_reports(exam, end=0.0) == [2]
    assert [f.process for f in exam.found] == [1, 3, 0]
    assert exam.found[-1].value == "process 2 of 4"


def test_the_table_says_what_is_wrong_and_what_to_do():
    found = [
        findings.Finding(
            "numbers", "sums", 1.23e-3, "at most 1e-05 off", "fault", "do"
        ),
        findings.Finding("numbers", "sums", 1e-9, "at most 1e-05 off", process=1),
        findings.Finding("folders", "tmp", "full", status="warning", process=1),
        findings.Finding("versions", "jax", "0.10.1"),
    ]
    text = report.to_text(found, num_processes=2, seconds=3.2)
    assert text.splitlines() == [
        "FAULT   numbers   sums  0.0012 (expected at most 1e-05 off)",
        "                  -> do",
        "WARNING folders   process 1: tmp  full",
        "ok      versions  jax  0.10.1",
        "1 fault, 1 warning among 4 findings of 2 processes, 3 s",
    ]
    content = report.to_json(found, num_processes=2, seconds=3.2)
    assert content["status"] == "fault"
    assert content["versions"] == {"jax": "0.10.1"}
    assert content["findings"][0] == {
        "part": "numbers",
        "name": "sums",
        "value": 1.23e-3,
        "expected": "at most 1e-05 off",
        "status": "fault",
        "advice": "do",
        "process": 0,
    }
