"""Copies of a run in an object store or on another disk, for when its folder is lost.

STORE/config.json ...   what a run needs besides its checkpoints
STORE/STEP/...          a checkpoint: whole if, and only if, its checksums.json is there

The run itself lives on a file system; the store follows it, in a thread of its own. It
is reached through `etils.epath`, as orbax reaches its paths: gs://, s3:// and az:// by
fsspec's packages (gcsfs, s3fs, adlfs) where these are installed.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator

from absl import logging
from etils import epath

from mlgcn_jax.data import config_dict
from mlgcn_jax.runs import checkpoints, checksums, run_folder

_CHUNK_BYTES = 2**24
_README = """Copies of the checkpoints of a run of mlgcn-jax (config.checkpoint_store).

A numbered folder with a checksums.json is whole.
"""


class CheckpointStore:
    """Where copies are; the first process of a run alone uses it."""

    def __init__(self, url: str, folder: run_folder.RunFolder):
        """Writes a README into the store, which shows that it can be reached.

        Args:
            url: gs://BUCKET/RUN, s3://BUCKET/RUN, or a folder; of one run alone.
            folder: the run.

        Raises:
            ValueError: it cannot be reached; the message says why.
        """
        self._url = url
        self._folder = folder
        self._check_is_elsewhere()
        try:
            self._root = epath.Path(url).expanduser()
            self._root.mkdir(parents=True, exist_ok=True)
            (self._root / "README.txt").write_text(_README)
        except ImportError as error:
            raise ValueError(
                f"config.checkpoint_store={url} needs a package that is not installed "
                f"({error}); pip install gcsfs (gs://), s3fs (s3://) or adlfs (az://)"
            ) from error
        except Exception as error:  # each package raises its own
            raise ValueError(
                f"config.checkpoint_store={url} cannot be reached: "
                f"{type(error).__name__}: {error}; check its name, the credentials "
                "and the network"
            ) from error

    def _check_is_elsewhere(self) -> None:
        if "://" in self._url:
            return
        path = pathlib.Path(self._url).expanduser().resolve()
        if path.is_relative_to(self._folder.workdir.resolve()):
            raise ValueError(
                f"config.checkpoint_store={self._url} lies in the run's own folder, "
                "with which it would be lost; name one elsewhere"
            )

    def fetch_newer(self, config: config_dict.ConfigDict) -> None:
        """Brings the whole copies into the folder that are newer than what it has.

        Not the newest alone: what a run keeps for good stays, here and in the store.

        Raises:
            ValueError: the copies are those of a run with another config.
        """
        newest_here = checkpoints.newest_whole_step(self._folder.checkpoints)
        # The oldest first: what is newer than one that is taken here is damaged.
        for step in reversed(self._saved_steps()):
            if newest_here is not None and step <= newest_here:
                continue
            self._folder.checkpoints.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder.checkpoints) as name:
                scratch = pathlib.Path(name)
                self._fetch_run_files(scratch)
                fetched = run_folder.RunFolder(scratch)
                fetched.check_same_config(config, where=self._url)
                _copy_tree(self._root / str(step), epath.Path(scratch / str(step)))
                damage = checksums.find_damage(scratch / str(step))
                if damage is None:
                    self._take(scratch, step)
                    continue
            logging.warning(
                "the copy of step %d in %s is not used: %s", step, self._url, damage
            )

    def follow(self) -> None:
        """Makes the store hold the checkpoints that the folder has, and no others.

        Raises:
            Exception: whatever the store's package raises; what was copied stays.
        """
        wanted = checkpoints.saved_steps(self._folder.checkpoints)
        for path in self._folder.needed_to_go_on():
            if path.exists():
                _copy_whole(epath.Path(path), self._root / path.name)
        for step in set(wanted) - set(self._saved_steps()):
            source = epath.Path(self._folder.checkpoints / str(step))
            try:
                _copy_tree(source, self._root / str(step))
            except FileNotFoundError:
                if source.exists():
                    raise
                continue  # newer ones came while this one was copied
            logging.info("step %d was copied to %s", step, self._url)
        for step in self._steps() - set(wanted):
            # First: whoever reads it meanwhile must not take it for whole.
            (self._root / str(step) / checksums.FILE_NAME).unlink(missing_ok=True)
            (self._root / str(step)).rmtree(missing_ok=True)

    def _steps(self) -> set[int]:
        """Returns the steps of which there is something."""
        names = (path.name for path in self._root.iterdir())
        return {int(name) for name in names if name.isdecimal()}

    def _saved_steps(self) -> list[int]:
        """Returns the steps that were copied whole, newest first."""

        def is_whole(step: int) -> bool:
            return (self._root / str(step) / checksums.FILE_NAME).exists()

        return sorted(filter(is_whole, self._steps()), reverse=True)

    def _fetch_run_files(self, scratch: pathlib.Path) -> None:
        for path in self._folder.needed_to_go_on():
            if (self._root / path.name).exists():
                _copy(self._root / path.name, epath.Path(scratch / path.name))

    def _take(self, scratch: pathlib.Path, step: int) -> None:
        """Gives what was fetched its place; the checkpoint, which counts, is last."""
        for path in scratch.iterdir():
            if path.is_file():
                os.replace(path, self._folder.workdir / path.name)
        checkpoints.set_damaged_aside(self._folder.checkpoints, newer_than=step - 1)
        os.replace(scratch / str(step), self._folder.checkpoints / str(step))
        logging.info("step %d was fetched from %s", step, self._url)


@contextlib.contextmanager
def following(store: CheckpointStore | None) -> Iterator[Callable[[], None]]:
    """Lets a store follow its run in a thread, so that no step waits for it.

    Yields what to call when the folder has changed. At the end all that the folder has
    is copied. Without a store nothing happens.

    Raises:
        ValueError: at the end, where the last copy has failed.
    """
    if store is None:
        yield lambda: None
        return
    follower = _Follower(store)
    try:
        yield follower.changed.set
    finally:
        follower.close()


class _Follower:
    def __init__(self, store: CheckpointStore):
        self.changed = threading.Event()
        self._store = store
        self._closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="checkpoint store")
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self.changed.set()
        self._thread.join()
        if self._error is not None:
            raise ValueError(
                f"the newest checkpoints could not be copied ({self._error}); they are "
                "in the run's folder: start the same command again to copy them"
            ) from self._error

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self.changed.wait()
            self.changed.clear()
            is_last = self._closing  # asked first: what comes later sets `changed`
            try:
                self._store.follow()
                self._error = None
            except Exception as error:  # each package raises its own
                # No reason to end a training: the next checkpoint tries again.
                logging.warning("checkpoints could not be copied: %s", error)
                self._error = error


def _copy_tree(source: epath.Path, target: epath.Path) -> None:
    """Copies a folder; its checksums.json comes last, for with it the copy is whole."""
    for path in sorted(source.iterdir(), key=lambda path: path.name):
        if path.is_dir():
            _copy_tree(path, target / path.name)
        elif path.name != checksums.FILE_NAME:
            _copy(path, target / path.name)
    if (source / checksums.FILE_NAME).exists():
        _copy_whole(source / checksums.FILE_NAME, target / checksums.FILE_NAME)


def _copy_whole(source: epath.Path, target: epath.Path) -> None:
    """Copies a small file that is whole or not there, on a file system too."""
    temporary = target.with_name(f"{target.name}.part")
    _copy(source, temporary)
    temporary.replace(target)


def _copy(source: epath.Path, target: epath.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, _CHUNK_BYTES)
