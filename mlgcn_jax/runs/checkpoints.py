"""Checkpoints: orbax behind one file, with a checksum of every saved file.

Orbax writes a step atomically but does not notice bits that flip later; a step counts
only while every file agrees with the checksums that were written beside it.
"""

import hashlib
import json
import os
import pathlib
import shutil
from concurrent import futures
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from mlgcn_jax.runs import run_folder, train_state

CHECKSUMS = "checksums.json"


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or does not fit the model."""


class Checkpoints:
    """Writes the checkpoints of one run. One process owns a run's folder at a time."""

    def __init__(self, directory: pathlib.Path, *, keep: int):
        """Opens the folder, creating it; leftovers of saves cut short are removed.

        Args:
            directory: the run's checkpoint folder.
            keep: how many of the newest steps stay.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover)
        self._directory = directory.resolve()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep)
        self._manager = ocp.CheckpointManager(self._directory, options=options)
        self._finisher = futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: futures.Future[None] | None = None

    def save(self, state: train_state.TrainState) -> None:
        """Saves the state in the background; waits for the save before it, if any.

        Raises:
            CheckpointError: this save or the one before it failed (a full disk, say).
        """
        self.wait()
        step = int(jax.device_get(state.step))
        items: dict[str, Any] = {
            "variables": ocp.args.StandardSave(state.variables._asdict()),
            "optimizer": ocp.args.StandardSave(
                {"step": state.step, "opt_state": state.opt_state}
            ),
        }
        if state.ema is not None:
            items["ema"] = ocp.args.StandardSave(state.ema._asdict())
        try:
            # Returns once the arrays are copied: the state may be donated then.
            self._manager.save(step, args=ocp.args.Composite(**items))
        except Exception as error:
            raise self._save_error(step, error) from error
        self._saving = self._finisher.submit(self._finish, step)

    def wait(self) -> None:
        """Returns once the save under way is on disk, checksums included.

        Raises:
            CheckpointError: it failed.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def close(self) -> None:
        """Waits for the save under way and lets go of the folder."""
        try:
            self.wait()
        finally:
            self._finisher.shutdown()
            self._manager.close()

    def _finish(self, step: int) -> None:
        try:
            self._manager.wait_until_finished()
            step_directory = self._directory / str(step)
            run_folder.write_json(
                step_directory / CHECKSUMS, _checksums(step_directory)
            )
        except Exception as error:
            raise self._save_error(step, error) from error

    def _save_error(self, step: int, error: Exception) -> CheckpointError:
        free_mb = shutil.disk_usage(self._directory).free // 2**20
        return CheckpointError(
            f"saving step {step} to {self._directory} failed: {_first_line(error)} "
            f"({free_mb} MB free there); steps saved before it are whole: make room "
            "and start the same command again to go on from them"
        )


def latest_step(directory: pathlib.Path) -> int | None:
    """Returns the newest step whose files are whole; None where nothing was saved.

    Each damaged one is passed over with a warning.

    Raises:
        CheckpointError: there are checkpoints, and every one is damaged.
    """
    steps = _saved_steps(directory)
    for step in steps:
        damage = _damage(directory / str(step))
        if damage is None:
            return step
        logging.warning("checkpoint of step %d is not used: %s", step, damage)
    if steps:
        raise CheckpointError(
            f"all checkpoints in {directory} are damaged (steps {steps}); restore the "
            "folder from a copy, or remove it to start anew"
        )
    return None


def set_damaged_aside(directory: pathlib.Path, *, newer_than: int) -> None:
    """Renames damaged steps after `newer_than`, so that they can be saved again."""
    for step in _saved_steps(directory):
        if step > newer_than:
            shutil.rmtree(directory / f"damaged-{step}", ignore_errors=True)
            os.replace(directory / str(step), directory / f"damaged-{step}")


def restore_train_state(
    directory: pathlib.Path, step: int, abstract: train_state.TrainState
) -> train_state.TrainState:
    """Returns the whole state of a step, laid out like `abstract`.

    Raises:
        CheckpointError: the checkpoint does not fit.
    """
    items = {
        "variables": abstract.variables._asdict(),
        "optimizer": {"step": abstract.step, "opt_state": abstract.opt_state},
    }
    if abstract.ema is not None:
        items["ema"] = abstract.ema._asdict()
    restored = _restore(directory, step, items)
    ema = train_state.Variables(**restored["ema"]) if abstract.ema is not None else None
    return train_state.TrainState(
        variables=train_state.Variables(**restored["variables"]),
        ema=ema,
        **restored["optimizer"],
    )


def restore_variables(
    directory: pathlib.Path, step: int, abstract: train_state.Variables, *, ema: bool
) -> train_state.Variables:
    """Returns the model's variables alone, or their moving average.

    Raises:
        CheckpointError: the checkpoint does not fit.
    """
    item = "ema" if ema else "variables"
    restored = _restore(directory, step, {item: abstract._asdict()})
    return train_state.Variables(**restored[item])


def _restore(
    directory: pathlib.Path, step: int, abstract_items: dict[str, Any]
) -> dict[str, Any]:
    items = {
        name: ocp.args.StandardRestore(abstract)
        for name, abstract in abstract_items.items()
    }
    with ocp.CheckpointManager(directory.resolve()) as manager:
        try:
            restored = manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # orbax raises bare Exceptions too
            raise CheckpointError(
                f"checkpoint of step {step} in {directory} does not fit the model: "
                f"{_first_line(error)}"
            ) from error
    return {name: restored[name] for name in items}


def _saved_steps(directory: pathlib.Path) -> list[int]:
    """Returns the steps that were finished, newest first."""
    if not directory.is_dir():
        return []
    names = (entry.name for entry in directory.iterdir() if entry.is_dir())
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def _damage(step_directory: pathlib.Path) -> str | None:
    """Returns what is wrong with a step's files, None where they are whole."""
    try:
        expected = json.loads((step_directory / CHECKSUMS).read_text())
    except (OSError, ValueError):
        return f"{CHECKSUMS} is missing or unreadable (the save was cut short)"
    found = _checksums(step_directory)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name in expected and expected[name] != found[name]:
            return f"{name} has changed since it was saved (checksum)"
    return None


def _checksums(step_directory: pathlib.Path) -> dict[str, str]:
    checksums = {}
    for path in sorted(step_directory.rglob("*")):
        if path.is_file() and not path.name.startswith(CHECKSUMS):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            checksums[path.relative_to(step_directory).as_posix()] = digest
    return checksums


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
