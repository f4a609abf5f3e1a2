"""The status of a run as text for people."""

import datetime
import pathlib
import time
from typing import Any

from mlgcn_jax.runs import epochs
from mlgcn_jax.runs.run_status import Status

_GIB = 2**30


def format_status(status: Status) -> str:
    """Returns the status as a table of names and values."""
    rows = {
        "run": f"{status['workdir']}: {status['state'] or 'no heartbeat'}",
        "config": _config(status["config"]),
        "dataset": status["dataset"] or "-",
        "progress": _progress(status),
        "loss": _number(status["loss"], ".4f"),
        "validation": _validation(status),
        "speed": _speed(status),
        "checkpoints": _checkpoints(status["checkpoints"]),
    }
    if status["evaluation"]:
        found = status["evaluation"]
        rows["evaluation"] = (
            f"mAP {_number(found['mAP'], '.3f')} of the {found['split']} split at step "
            f"{found['step']}"
        )
    lines = [f"{name:12} {value}" for name, value in rows.items()]
    lines += [f"{'process':12} {_process(process)}" for process in status["processes"]]
    lines += [f"{'was stuck':12} {_stuck(path)}" for path in status["stuck_reports"]]
    lines += [f"{'problem':12} {problem}" for problem in status["problems"]]
    return "\n".join(lines)


def _config(config: dict[str, Any]) -> str:
    if not any(config.values()):
        return "-"
    return (
        f"{config['model.backbone']}-{config['model.head']}-{config['model.pooling']}, "
        f"{config['image_size']} px, batch {config['batch_size']}, "
        f"{config['model.dtype']}, rate {config['optimizer.learning_rate']}, "
        f"seed {config['seed']}"
    )


def _progress(status: Status) -> str:
    if not status["num_steps"]:
        return f"step {status['step']} of -"
    text = (
        f"step {status['step']} of {status['num_steps']} "
        f"({100 * status['done_share']:.1f}%)"
    )
    if status["steps_per_epoch"]:
        epoch = epochs.format_epoch(status["step"], status["steps_per_epoch"])
        text += f", epoch {epoch} of {status['config']['num_epochs']}"
    if status["left_s"]:
        left = datetime.timedelta(seconds=round(status["left_s"]))
        text += f", {left} left" if status["alive"] else f", {left} of work left"
    return text


def _validation(status: Status) -> str:
    last, best = status["validation"], status["best_validation"]
    if last is None:
        return "-"
    text = f"mAP {_number(last['mAP'], '.3f')} at step {last['step']}"
    if best is None:
        return text
    kept = status["best_kept_validation"]
    if best != kept:
        text += f", best {best['mAP']:.3f} at step {best['step']} (not kept)"
        if kept is None:
            return text
    of_those = "of those kept " if best != kept else ""
    return f"{text}, {of_those}best {kept['mAP']:.3f} at step {kept['step']}"


def _speed(status: Status) -> str:
    if status["images_per_s"] is None:
        return "-"
    return (
        f"{status['images_per_s']:.0f} images/s, "
        f"{_number(status['step_s'], '.3g')} s a step, "
        f"{_number(status['data_wait_share'], '.0%')} waiting for data"
    )


def _checkpoints(found: list[dict[str, Any]]) -> str:
    if not found:
        return "-"
    steps = ", ".join(
        f"{one['step']} DAMAGED: {one['damage']}" if one["damage"] else str(one["step"])
        for one in found
    )
    return f"{steps} ({'checked' if found[0]['checked'] else 'not read; --check does'})"


def _process(process: dict[str, Any]) -> str:
    number, verdict = process["process"], process["verdict"]
    if "host" not in process:
        return f"{number}: no heartbeat yet"
    text = f"{number} of {process['num_processes']}, pid {process['pid']} on "
    text += f"{process['host']}: "
    if verdict in ("dead", "silent"):
        text += f"{verdict} since {_clock(process['time'])}, when it was "
        text += process["state"]
    elif process["alive"]:
        text += f"{verdict}, heartbeat {_ago(process['age_s'])} ago"
        if "last_sign" in process:
            silence_s = process["time"] - process["last_sign"] + process["age_s"]
            text += f", last sign of work {_ago(silence_s)} ago"
    else:
        text += f"{verdict} at {_clock(process['time'])}"
    if "host_memory_bytes" in process:
        text += f"; {process['host_memory_bytes'] / _GIB:.2f} GiB on the host"
    if "device_peak_memory_bytes" in process:
        text += f", {process['device_peak_memory_bytes'] / _GIB:.2f}"
        if "device_memory_bytes" in process:
            text += f" of {process['device_memory_bytes'] / _GIB:.2f}"
        text += " GiB on a device at most"
    return text


def _stuck(path: str) -> str:
    try:
        return f"at {_clock(pathlib.Path(path).stat().st_mtime)}, see {path}"
    except OSError:  # gone since
        return f"see {path}"


def _number(value: float | int | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _ago(seconds: float | int) -> str:
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    return str(datetime.timedelta(seconds=round(seconds)))


def _clock(seconds: float | int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
