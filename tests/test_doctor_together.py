"""How the doctor compares processes, and the report of them all."""

import json
import shutil

import pytest
from doctor_findings import by_name

from mlgcn_jax.doctor import examination, findings, fingerprints, report, together
from mlgcn_jax.runs import coordinator


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
