"""Copies of checkpoints in an object store, here one of fsspec that keeps files.

What epath does with s3:// is real, the store behind it is not; `tests/s3_server.py`
does the same by hand with a server that speaks S3.
"""

import pathlib
import shutil

import configurations
import fsspec
import jax
import numpy as np
import pytest
from etils.epath import backend
from fsspec.implementations import local
from run_logs import curves, final_state

from mlgcn_jax.runs import checkpoint_store, checkpoints, checksums, run_folder
from mlgcn_jax.training import train


class Buckets(local.LocalFileSystem):
    """s3://BUCKET/... in a folder; a file of it may break off."""

    protocol = "s3"
    root = ""
    broken = ""

    def __init__(self, **options):
        super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path):
        path = str(path)
        return f"{cls.root}/{path[5:]}" if path.startswith("s3://") else path

    def open(self, path, mode="rb", **options):
        if "w" in mode and type(self).broken and type(self).broken in path:
            with super().open(path, mode, **options) as writer:
                writer.write(b"{")
            raise OSError(f"503 Slow Down: {path}")
        return super().open(path, mode, **options)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr(Buckets, "root", str(tmp_path / "stored"))
    fsspec.register_implementation("s3", Buckets, clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield tmp_path / "stored" / "bucket"
    fsspec.register_implementation("s3", "s3fs.S3FileSystem", clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()


def config(data_dir, store="s3://bucket/run"):
    return configurations.tiny(data_dir, num_epochs=4, checkpoint_store=store)


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory) -> pathlib.Path:
    """A folder with an undisturbed run and its store, which is a folder too."""
    folder = tmp_path_factory.mktemp("finished")
    train.train_and_evaluate(config(data_dir, str(folder / "store")), folder / "run")
    return folder


@pytest.fixture
def stored(bucket, finished) -> pathlib.Path:
    """The same store as s3://bucket/run, without its newest step."""
    shutil.copytree(finished / "store", bucket / "run")
    newest, _ = steps_in(finished / "store")[::-1]
    shutil.rmtree(bucket / "run" / str(newest))
    return bucket / "run"


def steps_in(store: pathlib.Path) -> list[int]:
    return sorted(int(path.parent.name) for path in store.glob("*/checksums.json"))


def losses(run: pathlib.Path) -> list[float]:
    return [line["loss"] for line in curves(run) if "loss" in line]


def check_same(run: pathlib.Path, other: pathlib.Path) -> None:
    assert losses(run) == losses(other)
    ours, theirs = final_state(run), final_state(other)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def flip_a_bit(step: pathlib.Path) -> None:
    path = max(step.rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_store_has_what_the_folder_has(finished):
    store, here = finished / "store", finished / "run" / "checkpoints"
    steps = checkpoints.saved_steps(here)
    assert steps_in(store) == sorted(steps) and len(steps) == 2
    for step in steps:
        assert checksums.find_damage(store / str(step)) is None
    for name in ("config.json", "labels.csv", "label_graph.npz", "metrics.jsonl"):
        assert (store / name).exists()


def test_a_lost_run_goes_on_from_the_store(stored, finished, data_dir, tmp_path):
    (step,) = steps_in(stored)
    train.train_and_evaluate(config(data_dir), tmp_path / "run")
    check_same(tmp_path / "run", finished / "run")
    assert steps_in(stored) == steps_in(finished / "store")
    assert min(steps_in(stored)) == step


def test_what_a_lost_run_kept_for_good_comes_back(bucket, finished, data_dir, tmp_path):
    """Not the newest alone: the others would go from the store too."""
    shutil.copytree(finished / "store", bucket / "run")
    older, newest = steps_in(bucket / "run")
    folder = run_folder.RunFolder(tmp_path / "run")
    store = checkpoint_store.CheckpointStore("s3://bucket/run", folder)
    store.fetch_newer(config(data_dir))
    assert checkpoints.saved_steps(folder.checkpoints) == [newest, older]
    assert checksums.find_damage(folder.checkpoints / str(older)) is None
    store.follow()
    assert steps_in(bucket / "run") == [older, newest]


@pytest.mark.parametrize("place", [".", "checkpoints", "copies/here"])
def test_a_store_that_would_be_lost_with_the_run_is_refused(tmp_path, place):
    folder = run_folder.RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match="lies in the run's own folder"):
        checkpoint_store.CheckpointStore(str(folder.workdir / place), folder)


def test_a_damaged_copy_is_passed_over(bucket, finished, data_dir, tmp_path):
    shutil.copytree(finished / "store", bucket / "run")
    older, newest = steps_in(bucket / "run")
    flip_a_bit(bucket / "run" / str(newest))
    folder = run_folder.RunFolder(tmp_path / "run")
    store = checkpoint_store.CheckpointStore("s3://bucket/run", folder)
    store.fetch_newer(config(data_dir))
    assert checkpoints.saved_steps(folder.checkpoints) == [older]
    assert [path.name for path in folder.checkpoints.iterdir()] == [str(older)]


def test_checkpoints_that_are_all_damaged_are_fetched(
    stored, finished, data_dir, tmp_path
):
    shutil.copytree(finished / "run", tmp_path / "run")
    folder = run_folder.RunFolder(tmp_path / "run")
    for step in checkpoints.saved_steps(folder.checkpoints):
        flip_a_bit(folder.checkpoints / str(step))
    store = checkpoint_store.CheckpointStore("s3://bucket/run", folder)
    store.fetch_newer(config(data_dir))
    (step,) = steps_in(stored)
    assert checkpoints.latest_step(folder.checkpoints) == step


def test_what_is_newer_here_stays(stored, finished, data_dir, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "run")
    folder = run_folder.RunFolder(tmp_path / "run")
    before = sorted(tmp_path.rglob("run/**/*"))
    store = checkpoint_store.CheckpointStore("s3://bucket/run", folder)
    store.fetch_newer(config(data_dir))
    assert sorted(tmp_path.rglob("run/**/*")) == before


def test_the_store_of_another_run_is_refused(stored, data_dir, tmp_path):
    other = config(data_dir)
    other.seed = 1
    with pytest.raises(
        ValueError, match=r"s3://bucket/run holds a run of another.*seed"
    ):
        train.train_and_evaluate(other, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
    assert checkpoints.saved_steps(tmp_path / "run" / "checkpoints") == []


@pytest.mark.parametrize("file", ["variables", "checksums.json"])
def test_a_copy_cut_short_does_not_count_and_is_made_again(
    bucket, finished, tmp_path, monkeypatch, file
):
    folder = run_folder.RunFolder(finished / "run")
    newest, _ = checkpoints.saved_steps(folder.checkpoints)
    store = checkpoint_store.CheckpointStore("s3://bucket/run", folder)
    monkeypatch.setattr(Buckets, "broken", f"{newest}/{file}")
    with pytest.raises(ValueError, match=r"could not be copied \(503 Slow Down"):
        with checkpoint_store.following(store) as copy:
            copy()
    assert newest not in steps_in(bucket / "run")
    (bucket / "run" / "3" / "variables").mkdir(parents=True)  # of an older step
    monkeypatch.setattr(Buckets, "broken", "")
    with checkpoint_store.following(store):
        pass
    assert steps_in(bucket / "run") == steps_in(finished / "store")
    assert checksums.find_damage(bucket / "run" / str(newest)) is None
    assert not (bucket / "run" / "3").exists()


def test_run_files_in_a_store_stay_whole(bucket, finished, monkeypatch):
    shutil.copytree(finished / "store", bucket / "run")
    before = (bucket / "run" / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(Buckets, "broken", "metrics.jsonl")
    folder = run_folder.RunFolder(finished / "run")
    store = checkpoint_store.CheckpointStore("s3://bucket/run", folder)
    with pytest.raises(OSError, match="503"):
        store.follow()
    assert (bucket / "run" / "metrics.jsonl").read_bytes() == before


def test_a_store_without_its_package_says_which(tmp_path):
    folder = run_folder.RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match=r"pip install gcsfs"):
        checkpoint_store.CheckpointStore("gs://bucket/run", folder)


def test_a_store_out_of_reach_says_why(tmp_path):
    folder = run_folder.RunFolder(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ValueError, match=r"cannot be reached: (NotADirectory|FileExists)"
    ):
        checkpoint_store.CheckpointStore(str(tmp_path / "file"), folder)
