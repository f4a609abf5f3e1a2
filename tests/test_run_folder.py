import fcntl
import json

import configurations
import crawl_folders
import pytest

from mlgcn_jax.data import dataset, labels
from mlgcn_jax.graph import from_dataset
from mlgcn_jax.runs import metric_writer, run_folder


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> list[dataset.Dataset]:
    """Two with the same labels and other pictures."""
    built = []
    for num_works in (12, 16):
        folder = tmp_path_factory.mktemp("data")
        crawl = crawl_folders.make_crawl_folder(folder / "crawl", num_works=num_works)
        built.append(crawl_folders.build_dataset(crawl, folder / "built"))
    return built


def create(folder: run_folder.RunFolder, config, data: dataset.Dataset) -> None:
    graph, counted = from_dataset.create_label_graph(config.graph, data)
    folder.create(config, data, graph, counted)


def test_the_config_is_read_back(tmp_path, datasets):
    folder = run_folder.RunFolder(tmp_path)
    config = configurations.tiny(optimizer__learning_rate=0.125)
    create(folder, config, datasets[0])
    assert folder.read_config().to_dict() == config.to_dict()
    assert labels.read_vocabulary(folder.labels).labels == crawl_folders.LABELS


def test_the_same_config_goes_on_and_another_is_an_error(tmp_path, datasets):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    moved = configurations.tiny(log_every_steps=7, data_dir="moved")
    folder.reopen(moved, datasets[0])
    changed = configurations.tiny(optimizer__learning_rate=0.5)
    message = r"run of another config \(optimizer.learning_rate: 0.001 -> 0.5\)"
    with pytest.raises(ValueError, match=message):
        folder.reopen(changed, datasets[0])
    assert folder.read_config().optimizer.learning_rate == 0.001


def test_another_dataset_is_an_error(tmp_path, datasets):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    with pytest.raises(ValueError, match="a run on another dataset"):
        folder.reopen(configurations.tiny(), datasets[1])


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run.*--workdir"):
        run_folder.RunFolder(tmp_path).read_config()


def test_two_runs_on_one_workdir(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    with folder.locked():
        with pytest.raises(ValueError, match=r"another run \(process \d+\)"):
            with run_folder.RunFolder(tmp_path).locked():
                pass
    with folder.locked():  # free again
        pass


def test_a_lock_left_by_a_dead_process_is_no_lock(tmp_path):
    (tmp_path / ".lock").write_text("4242")
    with run_folder.RunFolder(tmp_path).locked():
        with (tmp_path / ".lock").open() as file:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_curves_go_on_where_the_checkpoint_is(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    writer = metric_writer.MetricWriter(folder, step=0)
    for step in (1, 2, 3):
        writer.write(step, {"loss": 1.0 / step, "validation": {"mAP": None, "CF1": 1}})
    writer.close()
    with folder.metrics_log.open("a") as file:
        file.write('{"step": 4, "lo')  # killed while it wrote
    writer = metric_writer.MetricWriter(folder, step=2)
    writer.write(3, {"loss": 9.0})
    writer.close()
    lines = [json.loads(line) for line in folder.metrics_log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[1] == {"step": 2, "loss": 0.5, "validation/CF1": 1}
    assert lines[2] == {"step": 3, "loss": 9.0}
    assert list(folder.tensorboard.glob("events.out.tfevents.*"))
