"""What `launch` and `compare` build for a config, and where they build nothing."""

import pathlib
import shutil
import time
from concurrent import futures

import configurations
import crawl_folders
import pytest

from mlgcn_jax.data import dataset, file_lock
from tfds_pixiv import build

VOCABULARY = "label,aliases\nwarm,red\ncold,blue|green\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    """A crawl folder, a vocabulary and the dataset of both."""
    folder = tmp_path_factory.mktemp("made")
    crawl_folders.make_crawl_folder(folder / "crawl")
    (folder / "mine.csv").write_text(VOCABULARY)
    build.build_as_configured(config_of(folder))
    return folder


@pytest.fixture
def folder(made, tmp_path) -> pathlib.Path:
    return shutil.copytree(made, tmp_path / "copy")


def config_of(folder: pathlib.Path, **changed: str):
    named = {"data_dir": "data", "build__source": "crawl", "build__labels": "mine.csv"}
    paths = {key: str(folder / name) for key, name in (named | changed).items()}
    return configurations.tiny(**paths)


def listing(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.rglob("*"))


def test_a_dataset_is_known_by_its_content(folder):
    built = dataset.open_dataset(folder / "data")
    assert built.directory.parent.name == "mine"
    (folder / "mine.csv").rename(folder / "renamed.csv")
    (folder / "crawl").rename(folder / "moved")
    before = listing(folder)
    moved = {"build__source": "moved", "build__labels": "renamed.csv"}
    build.build_as_configured(config_of(folder, **moved))
    assert listing(folder) == before
    (folder / "renamed.csv").write_text(VOCABULARY.replace("|green", ""))
    with pytest.raises(ValueError, match=r"vocabulary_sha256 differ.*build\.source=\)"):
        build.build_as_configured(config_of(folder, **moved))
    assert listing(folder) == before


@pytest.mark.parametrize("below", ["", "tfds_pixiv", "tfds_pixiv/mine/1.0.0"])
def test_nothing_is_built_beside_another_dataset(folder, below):
    """The quick start's sample, say, beside one's own."""
    config = configurations.tiny(folder / "data" / below, build__source="sample")
    before = listing(folder)
    with pytest.raises(ValueError, match="was built from other pictures"):
        build.build_as_configured(config)
    assert listing(folder) == before


def test_nothing_is_built_beside_two_datasets(folder):
    one = folder / "data" / "tfds_pixiv" / "mine"
    shutil.copytree(one, one.with_name("other"))
    with pytest.raises(ValueError, match="holds 2 datasets"):
        build.build_as_configured(config_of(folder))


@pytest.mark.parametrize("found", ["a.png", "metadata.jsonl", "checkpoints/4/x"])
def test_nothing_is_built_among_other_things(folder, found):
    path = folder / "other" / found
    path.parent.mkdir(parents=True)
    path.touch()
    before = listing(folder)
    message = rf"other holds other things than a dataset \({found.split('/')[0]}\)"
    with pytest.raises(ValueError, match=message):
        build.build_as_configured(config_of(folder, data_dir="other"))
    assert listing(folder) == before


def test_what_killed_builds_and_systems_leave_is_no_content(folder):
    for name in ("downloads", "tfds_pixiv", "unpacked.x1", ".snapshot", "lost+found"):
        (folder / "left" / name).mkdir(parents=True)
    build.build_as_configured(config_of(folder, data_dir="left"))
    assert dataset.open_dataset(folder / "left").vocabulary.labels == ("warm", "cold")


@pytest.mark.parametrize("gone", ["crawl", "mine.csv"])
def test_a_run_goes_on_where_the_source_is_gone(folder, caplog, gone):
    (folder / gone).rename(folder / "away")
    with pytest.raises(FileNotFoundError, match=gone):
        build.build_as_configured(config_of(folder))
    build.build_as_configured(config_of(folder), begun=True)
    assert "the run goes on with the dataset in" in caplog.text
    shutil.rmtree(folder / "data")
    with pytest.raises(FileNotFoundError, match=gone):
        build.build_as_configured(config_of(folder), begun=True)


def test_of_two_builds_at_once_the_second_waits_and_finds_the_first_s(folder, caplog):
    (folder / "data").rename(folder / "built")
    with futures.ThreadPoolExecutor() as pool, caplog.at_level("INFO"):
        with file_lock.held(folder / "data" / ".building", work="building"):
            second = pool.submit(build.build_as_configured, config_of(folder))
            while "another process is building in" not in caplog.text:
                assert not second.done()
                time.sleep(0.01)
            shutil.copytree(folder / "built", folder / "data", dirs_exist_ok=True)
        second.result(timeout=60)
    assert listing(folder / "data") == [
        folder / "data" / path.relative_to(folder / "built")
        for path in listing(folder / "built")
    ]


def test_a_lock_whose_file_is_gone_keeps_out_whoever_waited(tmp_path):
    """Of many who want it at once each is in alone."""
    inside = []

    def enter(_: int) -> None:
        with file_lock.held(tmp_path / "x" / "lock", work="counting"):
            inside.append(1)
            time.sleep(0.001)
            assert sum(inside) == 1
            inside.append(-1)

    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(64)))
    assert not (tmp_path / "x" / "lock").exists()
