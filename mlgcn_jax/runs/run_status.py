"""A run's folder -> how far the run is and how its processes are, running or dead.

Only small files are read, and those that are missing, damaged or half written are named
among the problems; nothing here needs JAX or changes anything.
"""

import json
import os
import pathlib
import socket
import time
from collections.abc import Collection, Iterator
from typing import Any

from mlgcn_jax.data import files
from mlgcn_jax.runs import checksums, heartbeats, run_paths

_LATE_INTERVALS = 3  # a heartbeat that is older is late
_CONFIG_KEYS = (
    "model.backbone",
    "model.head",
    "model.pooling",
    "model.dtype",
    "image_size",
    "batch_size",
    "num_epochs",
    "optimizer.learning_rate",
    "seed",
)
_FIGURES = ("images_per_s", "data_wait_share", "step_s")

Status = dict[str, Any]


def read(
    workdir: pathlib.Path, *, check_checkpoints: bool = False, now: float | None = None
) -> Status:
    """Returns the state of a run, as JSON has it; None where something is not known.

    Args:
        workdir: folder of the run.
        check_checkpoints: read them whole and compare their checksums.
        now: seconds since 1970, against which heartbeats are late.

    Raises:
        FileNotFoundError: the folder is missing, or holds nothing of a run.
    """
    paths = run_paths.RunPaths(workdir)
    problems: list[str] = []
    config = _read_json(paths.config, problems)
    beats = heartbeats.read(paths.heartbeats)
    _check_is_run(paths, has_beats=bool(beats.heartbeats or beats.problems))
    problems += beats.problems
    now = time.time() if now is None else now
    processes = _processes(beats.heartbeats, now)
    first = beats.heartbeats.get(0, {})
    checkpoints = _checkpoints(paths.checkpoints, check=check_checkpoints)
    kept = {checkpoint["step"] for checkpoint in checkpoints}
    curves = _read_curves(paths.metrics_log, kept, problems)
    last = curves.pop("last")
    step = max((x for x in (first.get("step"), last.get("step")) if x), default=0)
    num_steps, steps_per_epoch = first.get("num_steps"), first.get("steps_per_epoch")
    figures = {name: _figure(last, name) for name in _FIGURES}
    alive = any(process["alive"] for process in processes)
    left_s = None
    if figures["step_s"] and num_steps:
        left_s = figures["step_s"] * (num_steps - step)
    return {
        "workdir": str(workdir),
        "state": _state(processes),
        "alive": alive,
        "step": step,
        "num_steps": num_steps,
        "done_share": step / num_steps if num_steps else None,
        "steps_per_epoch": steps_per_epoch,
        "epoch": step / steps_per_epoch if steps_per_epoch else None,
        "left_s": left_s,
        "loss": _figure(last, "loss"),
        **figures,
        **curves,
        "evaluation": _evaluation(paths.metrics, problems),
        "checkpoints": checkpoints,
        "processes": processes,
        "stuck_reports": [str(path) for path in sorted(workdir.glob("stuck-*.txt"))],
        "config": {key: _get(config, key) for key in _CONFIG_KEYS},
        "dataset": _read_json(paths.dataset, problems).get("directory"),
        "problems": problems,
    }


def _check_is_run(paths: run_paths.RunPaths, *, has_beats: bool) -> None:
    if not paths.workdir.is_dir():
        raise FileNotFoundError(
            f"{paths.workdir} is not a folder; give the --workdir of `mlgcn train`"
        )
    of_run = (paths.config, paths.metrics_log, paths.checkpoints)
    if not has_beats and not any(path.exists() for path in of_run):
        raise FileNotFoundError(
            f"{paths.workdir} is not a run, or one that has not begun: found no "
            "config.json, heartbeats, metrics.jsonl or checkpoints in it; give the "
            "--workdir of `mlgcn train`"
        )


def _read_json(path: pathlib.Path, problems: list[str]) -> dict[str, Any]:
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(str(error))
        return {}


def _get(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _figure(tree: dict[str, Any], name: str) -> float | int | None:
    return tree[name] if heartbeats.is_number(tree.get(name)) else None


def _read_curves(
    path: pathlib.Path, kept: Collection[int], problems: list[str]
) -> dict[str, Any]:
    """Returns the last line with a loss, the last validation and the best ones.

    That is the best of all, and the best of those whose checkpoint was kept.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        problems.append(str(error))
        content = b""
    validations = [
        {"step": line["step"], "mAP": _figure(line, "validation/mAP")}
        for line in map(_parse, _lines_with(b'"validation/', content))
        if line is not None
    ]
    last, damaged = {}, 0
    for line in _last_lines(content):
        parsed = _parse(line)
        if parsed is None:
            damaged += line.endswith(b"\n")  # without: it is being written
        elif "loss" in parsed:
            last = parsed
            break
    if damaged:
        problems.append(f"{path}: {damaged} damaged line(s) at its end are passed over")
    known = [v for v in validations if v["mAP"] is not None]
    usable = [v for v in known if v["step"] in kept]
    return {
        "last": last,
        "validation": validations[-1] if validations else None,
        "best_validation": max(known, key=lambda v: v["mAP"], default=None),
        "best_kept_validation": max(usable, key=lambda v: v["mAP"], default=None),
    }


def _lines_with(word: bytes, content: bytes) -> Iterator[bytes]:
    """Yields the lines that hold a word; few of a long run's do."""
    position = content.find(word)
    while position >= 0:
        start = content.rfind(b"\n", 0, position) + 1
        end = content.find(b"\n", position)
        end = len(content) if end < 0 else end
        yield content[start:end]
        position = content.find(word, end)


def _last_lines(content: bytes) -> Iterator[bytes]:
    """Yields the lines from the last one on backwards."""
    end = len(content)
    while end > 0:
        start = content.rfind(b"\n", 0, end - 1) + 1
        yield content[start:end]
        end = start


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    has_step = isinstance(content, dict) and isinstance(content.get("step"), int)
    return content if has_step else None


def _evaluation(path: pathlib.Path, problems: list[str]) -> dict[str, Any] | None:
    """Returns what `mlgcn evaluate` found last."""
    found = _read_json(path, problems)
    if not found:
        return None
    return {
        "split": found.get("split"),
        "step": found.get("step"),
        "mAP": _figure(found, "mAP"),
    }


def _checkpoints(directory: pathlib.Path, *, check: bool) -> list[dict[str, Any]]:
    """Returns the steps that are saved, newest first, and what damages them."""
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError:  # nothing is saved yet
        names = []
    steps = sorted((int(name) for name in names if name.isdecimal()), reverse=True)
    return [
        {
            "step": step,
            "checked": check,
            "damage": _find_damage(directory / str(step)) if check else None,
        }
        for step in steps
    ]


def _find_damage(checkpoint: pathlib.Path) -> str | None:
    try:
        damage = checksums.find_damage(checkpoint)
    except OSError as error:
        damage = str(error)
    # A run at work removes old ones.
    return damage if checkpoint.is_dir() else "removed meanwhile"


def _processes(beats: dict[int, dict[str, Any]], now: float) -> list[dict[str, Any]]:
    """Returns every process that the run has or should have, in their order."""
    if not beats:
        return []
    newest = max(beats.values(), key=lambda beat: beat["time"])
    numbers = sorted({*range(newest["num_processes"]), *beats})
    return [
        {"process": number, **beats[number], **_judge(beats[number], now)}
        if number in beats
        else {"process": number, "alive": False, "verdict": "no heartbeat"}
        for number in numbers
    ]


def _judge(beat: dict[str, Any], now: float) -> dict[str, Any]:
    """Returns whether a process is alive, and a word for it."""
    age_s = now - beat["time"]
    late = age_s > _LATE_INTERVALS * beat["interval_s"]
    if beat["state"].startswith(heartbeats.ENDED):
        alive, verdict = False, beat["state"]
    elif beat["host"] == socket.gethostname() and not _exists(beat["pid"]):
        alive, verdict = False, "dead"
    elif late:  # stopped or stuck, or its host or the way to its disk is gone
        alive, verdict = False, "silent"
    else:
        alive, verdict = True, beat["state"]
    return {"alive": alive, "verdict": verdict, "age_s": age_s}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True


def _state(processes: list[dict[str, Any]]) -> str | None:
    """Returns a word for the whole run: what is worst about its processes."""
    verdicts = [process["verdict"] for process in processes]
    for bad in (heartbeats.FAILED, "dead", "silent", "no heartbeat"):
        for verdict in verdicts:
            if verdict.startswith(bad):
                return verdict
    return verdicts[0] if verdicts else None
