import fcntl
import json
import pathlib
import struct

import configurations
import crawl_folders
import pytest
from tensorboardX.proto import event_pb2

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


def test_a_run_made_before_a_key_existed_goes_on(tmp_path, datasets):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    written = json.loads(folder.config.read_text())
    for key in ("accumulation_steps", "remat", "stuck_after_s", "checkpoint_store"):
        del written[key]
    del written["build"]["negatives"], written["optimizer"]["frozen_backbone_epochs"]
    folder.config.write_text(json.dumps(written))
    assert folder.read_config().to_dict() == configurations.tiny().to_dict()
    folder.reopen(configurations.tiny(), datasets[0])
    with pytest.raises(ValueError, match=r"accumulation_steps: 1 -> 2"):
        folder.reopen(configurations.tiny(accumulation_steps=2), datasets[0])


KEYS = ("initial_weights", "graph__embedding_file")


def make_run_with_a_file(tmp_path, datasets, key) -> run_folder.RunFolder:
    """A run whose config names the file `first`."""
    (tmp_path / "first").write_bytes(b"content")
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.workdir.mkdir()
    create(folder, configurations.tiny(**{key: str(tmp_path / "first")}), datasets[0])
    return folder


@pytest.mark.parametrize("key", KEYS)
def test_a_file_that_a_config_names_is_known_by_its_content(tmp_path, datasets, key):
    folder = make_run_with_a_file(tmp_path, datasets, key)
    moved = tmp_path / "moved"
    (tmp_path / "first").rename(moved)
    config = configurations.tiny(**{key: str(moved)})
    folder.reopen(config, datasets[0])
    assert folder.read_config().to_dict() == config.to_dict()
    moved.write_bytes(b"another")
    message = rf"another config \({key.replace('__', '.')}: .*moved has other content"
    with pytest.raises(ValueError, match=message):
        folder.reopen(config, datasets[0])
    with pytest.raises(ValueError, match=r"moved -> none"):
        folder.reopen(configurations.tiny(), datasets[0])


def test_a_file_at_the_same_place_with_other_content_is_another(tmp_path, datasets):
    folder = make_run_with_a_file(tmp_path, datasets, KEYS[0])
    (tmp_path / "first").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"has other content, SHA-256 ed7002b439e9"):
        folder.reopen(folder.read_config(), datasets[0])


@pytest.mark.parametrize("place", ["first", "elsewhere"])
def test_a_file_that_is_gone_is_said_and_not_needed(tmp_path, datasets, caplog, place):
    folder = make_run_with_a_file(tmp_path, datasets, KEYS[0])
    (tmp_path / "first").unlink()
    config = configurations.tiny(initial_weights=str(tmp_path / place))
    folder.reopen(config, datasets[0])
    assert f"{place} is not there; it is not needed any more" in caplog.text


def test_a_file_of_a_run_without_its_checksum(tmp_path, datasets, caplog):
    """As every run was before there were checksums: what can be known is known."""
    folder = make_run_with_a_file(tmp_path, datasets, KEYS[0])
    folder.named_files.unlink()
    first, other = tmp_path / "first", tmp_path / "other"
    config = configurations.tiny(initial_weights=str(other))
    other.write_bytes(b"another")
    with pytest.raises(ValueError, match=r"other has other content"):
        folder.reopen(config, datasets[0])
    other.write_bytes(first.read_bytes())
    folder.reopen(folder.read_config(), datasets[0])
    folder.check_same_config(config)
    assert "taken for" not in caplog.text
    first.unlink()
    folder.reopen(config, datasets[0])
    assert "is taken for the file that was" in caplog.text


def test_an_epoch_is_a_pass_but_in_runs_of_before_it_was(tmp_path, datasets):
    """Those had an epoch of whole batches; they keep it, also when they go on twice."""
    config, data = configurations.tiny(batch_size=4), datasets[0]
    num_examples = data.num_examples("train")
    assert num_examples % 4
    folder = run_folder.RunFolder(tmp_path)
    create(folder, config, data)
    assert folder.read_epochs(config) == (num_examples, 4)
    folder.reopen(config, data)
    assert folder.read_epochs(config) == (num_examples, 4)
    written = json.loads(folder.dataset.read_text())
    del written["examples_per_epoch"]
    folder.dataset.write_text(json.dumps(written))
    for _ in range(2):
        folder.reopen(config, data)
        assert folder.read_epochs(config) == (num_examples // 4 * 4, 4)


def test_a_run_knows_how_large_its_pictures_were_stored(tmp_path):
    """Runs of before this was written go by the build of their config."""
    crawl = crawl_folders.make_crawl_folder(tmp_path / "crawl", num_works=12)
    data = crawl_folders.build_dataset(crawl, tmp_path / "built", max_side_px=48)
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.workdir.mkdir()
    config = configurations.tiny()
    create(folder, config, data)
    assert folder.read_max_side_px(config) == 48
    written = json.loads(folder.dataset.read_text())
    del written["max_side_px"]
    folder.dataset.write_text(json.dumps(written))
    assert folder.read_max_side_px(config) == 512
    assert folder.read_max_side_px(configurations.tiny(build__max_side=64)) == 64
    folder.reopen(config, data)
    assert folder.read_max_side_px(config) == 48


def test_a_new_run_has_no_results_of_one_that_was_there_before(tmp_path, datasets):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    results = (folder.metrics, folder.per_label, folder.predictions)
    for path in results:
        path.touch()
    folder.reopen(configurations.tiny(), datasets[0])
    assert all(path.exists() for path in results)
    create(folder, configurations.tiny(), datasets[0])
    assert not any(path.exists() for path in results)


def test_another_dataset_is_an_error(tmp_path, datasets):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    with pytest.raises(ValueError, match="a run on another dataset"):
        folder.reopen(configurations.tiny(), datasets[1])


@pytest.mark.parametrize("name", ["labels.csv", "label_graph.npz", "checksums.json"])
def test_a_run_with_a_changed_file_is_an_error(tmp_path, datasets, name):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=rf"is damaged: .*{name}"):
        folder.check_whole()
    with pytest.raises(ValueError, match=rf"is damaged: .*{name}"):
        folder.reopen(configurations.tiny(), datasets[0])


def test_a_run_of_before_checksums_gets_them(tmp_path, datasets):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    folder.checksums.unlink()
    # In a run of today their absence is damage.
    with pytest.raises(ValueError, match=r"checksums\.json is missing"):
        folder.check_whole()
    written = json.loads(folder.config.read_text())
    del written["initial_weights"]
    folder.config.write_text(json.dumps(written))
    folder.check_whole()
    folder.reopen(configurations.tiny(), datasets[0])
    folder.check_whole()
    assert folder.checksums.is_file()


@pytest.mark.parametrize("content", ["", "[]", '{"seed": 0', "\udcff"])
@pytest.mark.parametrize("name", ["config.json", "dataset.json"])
def test_a_damaged_json_file_is_named(tmp_path, datasets, name, content):
    folder = run_folder.RunFolder(tmp_path)
    create(folder, configurations.tiny(), datasets[0])
    (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        folder.reopen(configurations.tiny(), datasets[0])


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
    # Killed in the first line, or damaged: what can be read stays.
    folder.metrics_log.write_bytes(b'3\n{"step": 1, "loss": 2.0}\n\xff{}\n')
    metric_writer.MetricWriter(folder, step=5).close()
    assert folder.metrics_log.read_text() == '{"step": 1, "loss": 2.0}\n'


def test_the_last_validation_is_known_again(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    writer = metric_writer.MetricWriter(folder, step=0)
    assert writer.last_validated == 0
    writer.write(4, {"loss": 1.0})
    writer.write(4, {"validation": {"CF1": 0.5}})
    writer.write(6, {"validation": {"CF1": 0.5}})
    assert writer.last_validated == 6
    writer.close()
    for step, expected in ((6, 6), (5, 4), (3, 0)):
        reopened = metric_writer.MetricWriter(folder, step=step)
        assert reopened.last_validated == expected
        reopened.close()


def test_the_best_validation_is_that_of_the_steps_that_are_there(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    writer = metric_writer.MetricWriter(folder, step=0)
    assert writer.best_validated() == 0
    for step, value in ((2, 0.5), (4, 0.75), (6, None), (8, 0.75), (10, 0.25)):
        writer.write(step, {"validation": {"mAP": value, "CF1": 0.5}})
    writer.close()
    reopened = metric_writer.MetricWriter(folder, step=9)
    for known in (writer, reopened):
        assert known.best_validated() == 4  # the first of equals
        assert known.best_validated({2, 3, 6}) == 2
        assert known.best_validated({3, 6}) == 0
    assert writer.best_validated({10}) == 10
    assert reopened.best_validated({10}) == 0  # it has not come so far yet
    reopened.close()


def tensorboard_scalars(folder: pathlib.Path) -> list[tuple[int, str, float]]:
    """What the event files hold; each record is length, checksum, data, checksum."""
    scalars = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                scalars.append((event.step, value.tag, value.simple_value))
    return scalars


def test_tensorboard_has_the_same_numbers(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    writer = metric_writer.MetricWriter(folder, step=0)
    writer.write(1, {"loss": 0.5})
    writer.write(2, {"validation": {"mAP": None, "top3": {"CF1": 0.25}}})
    writer.close()
    assert tensorboard_scalars(folder.tensorboard) == [
        (1, "loss", 0.5),
        (2, "validation/top3/CF1", 0.25),
    ]
