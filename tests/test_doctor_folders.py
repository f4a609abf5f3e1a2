"""What the doctor says of folders, cache, decoders and the dataset."""

import errno
import fcntl
import pathlib
import shutil
import types

import jax
import numpy as np
import pytest
from doctor_findings import by_name
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from mlgcn_jax.doctor import cache, decoding, folders


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
