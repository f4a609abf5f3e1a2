"""Checkpoints: orbax behind one file, with a checksum of every saved file.

A step is written to a folder named `saving-STEP`, gets its checksums, and then its
name: a folder with a step's name was saved whole, whenever the process was killed. Bits
that flip later are found by the checksums.
"""

import contextlib
import os
import pathlib
import shutil
import warnings
from collections.abc import Callable
from concurrent import futures
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from mlgcn_jax.data import error_text
from mlgcn_jax.runs import checksums, processes, train_state

_SAVING = "saving-"
_DAMAGED = "damaged-"


class CheckpointError(ValueError):
    """A checkpoint that cannot be saved, is damaged, or does not fit the model."""


class Checkpoints:
    """Writes the checkpoints of one run, all of its processes together.

    Each process writes what it holds; the first one makes the folders, adds the
    checksums and gives the step its name. One run owns a folder at a time.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        keep: int,
        after_save: Callable[[], None] = lambda: None,
    ):
        """Opens the folder, creating it; leftovers of saves cut short are removed.

        Args:
            directory: the run's checkpoint folder.
            keep: how many of the newest steps stay, at least 1. While a step is saved
                there is one more, so that a whole one is always there.
            after_save: called in the first process when a step has got its name.
        """
        if processes.is_first():
            directory.mkdir(parents=True, exist_ok=True)
            for leftover in directory.glob(f"{_SAVING}*"):
                logging.warning("%s is removed: its save was cut short", leftover)
                shutil.rmtree(leftover)
        self._directory = directory.resolve()
        self._keep = keep
        self._after_save = after_save
        self._checkpointer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._finisher = futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: futures.Future[None] | None = None

    def save(
        self,
        state: train_state.TrainState,
        *,
        also_keep: Callable[[int], bool] = lambda step: False,
    ) -> None:
        """Saves the state in the background; waits for the save before it, if any.

        Args:
            state: the state, which may be donated when this returns.
            also_keep: which older steps stay besides the newest ones.

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
        temporary = self._directory / f"{_SAVING}{step}"
        try:
            # Returns once the arrays are copied: the state may be donated then.
            self._checkpointer.save(temporary, args=ocp.args.Composite(**items))
        except Exception as error:  # orbax raises bare Exceptions too
            raise self._save_error(step, error) from error
        self._saving = self._finisher.submit(self._finish, step, temporary, also_keep)

    def keep_only(self, also_keep: Callable[[int], bool]) -> None:
        """Removes the other steps, as a save does; waits for the save before it.

        Raises:
            CheckpointError: that save failed.
        """
        self.wait()
        self._remove(also_keep)

    def wait(self) -> None:
        """Returns once the save under way is on disk, checksums included.

        Raises:
            CheckpointError: it failed.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def close(self) -> None:
        """Waits for the save under way and lets go of the folder.

        Raises:
            CheckpointError: that save failed.
        """
        try:
            self.wait()
        finally:
            self._finisher.shutdown()
            # What it raises is the error of a failed save once more.
            with contextlib.suppress(Exception):
                self._checkpointer.close()

    def _finish(
        self, step: int, temporary: pathlib.Path, also_keep: Callable[[int], bool]
    ) -> None:
        try:
            self._checkpointer.wait_until_finished()  # all processes have written
            if not processes.is_first():
                return
            saved = [path for path in temporary.rglob("*") if path.is_file()]
            checksums.write(temporary, saved)
            os.replace(temporary, self._directory / str(step))
        except Exception as error:
            raise self._save_error(step, error) from error
        self._remove(also_keep)

    def _remove(self, also_keep: Callable[[int], bool]) -> None:
        if not processes.is_first():
            return
        for old in saved_steps(self._directory)[self._keep :]:
            if not also_keep(old):
                shutil.rmtree(self._directory / str(old))
        self._after_save()

    def _save_error(self, step: int, error: Exception) -> CheckpointError:
        _ignore_forgotten_coroutines()
        free_mb = shutil.disk_usage(self._directory).free // 2**20
        return CheckpointError(
            f"saving step {step} to {self._directory} failed: "
            f"{error_text.first_line(error)} ({free_mb} MB free there); steps saved "
            "before it are whole: make room and start the same command again to go on "
            "from them"
        )


def saved_steps(directory: pathlib.Path) -> list[int]:
    """Returns the steps that were saved, whole or damaged since, newest first."""
    if not directory.is_dir():
        return []
    names = (entry.name for entry in directory.iterdir() if entry.is_dir())
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def latest_step(directory: pathlib.Path) -> int | None:
    """Returns the newest step whose files are whole; None where nothing was saved.

    Each damaged one is passed over with a warning.

    Raises:
        CheckpointError: there are checkpoints, and every one is damaged.
    """
    step = newest_whole_step(directory)
    if step is None and (steps := saved_steps(directory)):
        raise CheckpointError(
            f"all checkpoints in {directory} are damaged (steps {steps}); restore the "
            "folder from a copy, or remove it to start anew"
        )
    return step


def newest_whole_step(directory: pathlib.Path) -> int | None:
    """Returns the same, and None too where every checkpoint is damaged."""
    for step in saved_steps(directory):
        damage = checksums.find_damage(directory / str(step))
        if damage is None:
            return step
        logging.warning("checkpoint of step %d is not used: %s", step, damage)
    return None


def check_step(directory: pathlib.Path, step: int) -> None:
    """Raises CheckpointError unless a step was saved and is whole."""
    steps = saved_steps(directory)
    if step not in steps:
        raise CheckpointError(
            f"{directory} has no checkpoint of step {step}; it has {steps}"
        )
    damage = checksums.find_damage(directory / str(step))
    if damage is not None:
        raise CheckpointError(f"the checkpoint of step {step} is damaged: {damage}")


def set_damaged_aside(directory: pathlib.Path, *, newer_than: int) -> None:
    """Renames damaged steps after `newer_than`, so that they can be saved again."""
    for step in saved_steps(directory):
        if step > newer_than:
            aside = directory / f"{_DAMAGED}{step}"
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(directory / str(step), aside)


def restore_train_state(
    directory: pathlib.Path, step: int, abstract: train_state.TrainState
) -> train_state.TrainState:
    """Returns the whole state of a step, laid out like `abstract`.

    Raises:
        CheckpointError: the checkpoint does not fit, or cannot be read.
    """
    folder = directory / str(step)
    optimizer = {"step": abstract.step, "opt_state": abstract.opt_state}
    return train_state.TrainState(
        variables=_restore_variables(folder / "variables", abstract.variables),
        ema=None
        if abstract.ema is None
        else _restore_variables(folder / "ema", abstract.ema),
        **_restore(folder / "optimizer", optimizer),
    )


def restore_variables(
    directory: pathlib.Path, step: int, abstract: train_state.Variables, *, ema: bool
) -> train_state.Variables:
    """Returns the model's variables alone, or their moving average.

    Raises:
        CheckpointError: the checkpoint does not fit, or cannot be read.
    """
    item = "ema" if ema else "variables"
    return _restore_variables(directory / str(step) / item, abstract)


def _restore_variables(
    item: pathlib.Path, abstract: train_state.Variables
) -> train_state.Variables:
    return train_state.Variables(**_restore(item, abstract._asdict()))


def _restore(item: pathlib.Path, abstract: dict[str, Any]) -> dict[str, Any]:
    """Returns one item of a step; its shapes are compared before anything is read."""
    handler = ocp.StandardCheckpointHandler()
    # Absolute, as orbax wants it; Any, because it annotates the Path of etils.
    path: Any = item.resolve()
    try:
        saved = _shapes(handler.metadata(path).tree)
        wanted = _shapes(abstract)
        for name in sorted(saved.keys() | wanted.keys()):
            if saved.get(name) != wanted.get(name):
                raise CheckpointError(
                    f"the checkpoint {item} does not fit the model: {name} is "
                    f"{saved.get(name, 'absent')} there and "
                    f"{wanted.get(name, 'absent')} in the model"
                )
        return handler.restore(path, args=ocp.args.StandardRestore(abstract))
    except CheckpointError:
        raise
    except Exception as error:  # orbax raises bare Exceptions too
        _ignore_forgotten_coroutines()
        raise CheckpointError(
            f"the checkpoint {item} cannot be read: {error_text.first_line(error)}"
        ) from error
    finally:
        handler.close()


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns path -> shape; the same paths for a tree and for its metadata."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _ignore_forgotten_coroutines() -> None:
    """Says nothing of the coroutines that orbax leaves behind where it has failed.

    Python would whenever they are collected, below the error that is to be read.
    """
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")
