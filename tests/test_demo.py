"""`mlgcn demo`: the crawl for real, what comes after it by its commands alone."""

import socket

import crawl_runs
import pytest

from mlgcn_jax.commands import demo

STAGES = ["list", "fetch", "export", "build", "train", "evaluate", "predict"]


@pytest.fixture
def commands(monkeypatch):
    """Runs only the crawl; the list of all commands."""
    asked = []
    run = demo._mlgcn

    def run_the_crawl(*arguments, **environment):
        words = [str(argument) for argument in arguments]
        asked.append(words)
        if words[0] == "crawl" and len(asked) <= 3:
            return run(*words, **environment)
        return 0

    monkeypatch.setattr(demo, "_mlgcn", run_the_crawl)
    return asked


def stages(commands: list[list[str]]) -> list[str]:
    return [words[1] if words[0] == "crawl" else words[0] for words in commands]


def test_the_demo_crawls_the_sample_and_goes_on_at_the_same_address(tmp_path, commands):
    assert demo.main(["mlgcn demo", str(tmp_path)]) == 0
    assert stages(commands) == STAGES
    assert crawl_runs.states(tmp_path / "crawl") == {"done": 2715, "unusable": 1}
    assert (tmp_path / "crawl" / "metadata.jsonl").is_file()
    *_, first, second, third = commands[-1]
    assert len({first, second, third}) == 3
    addresses = [word for word in commands[0] if word.startswith("--api_url")]
    assert demo.main(["mlgcn demo", str(tmp_path)]) == 0
    assert addresses == [w for w in commands[7] if w.startswith("--api_url")]


def test_the_first_stage_that_fails_is_the_last(tmp_path, monkeypatch):
    asked = []

    def fail_to_build(*arguments, **environment):
        asked.append(arguments)
        return 1 if arguments[0] == "build" else 0

    monkeypatch.setattr(demo, "_mlgcn", fail_to_build)
    assert demo.main(["mlgcn demo", str(tmp_path)]) == 1
    assert [words[0] for words in asked] == ["crawl", "crawl", "crawl", "build"]


def test_a_folder_of_other_things_is_not_crawled_into(tmp_path, commands):
    (tmp_path / "crawl").mkdir()
    with pytest.raises(ValueError, match=r"other things than a demo \(crawl\)"):
        demo.main(["mlgcn demo", str(tmp_path)])
    assert not commands
    assert [path.name for path in tmp_path.iterdir()] == ["crawl"]


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        (tmp_path / "port").write_text(str(other.getsockname()[1]))
        with pytest.raises(OSError, match=r"in use"):
            demo.main(["mlgcn demo", str(tmp_path)])
