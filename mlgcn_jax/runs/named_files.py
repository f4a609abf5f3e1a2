"""Files that a config names and a run was made with: known by content, not by path.

Of a folder of timm that is the file of its tensors.
Configs are flat here: dotted key -> value.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging

from mlgcn_jax.data import files
from mlgcn_jax.models import timm_folder
from mlgcn_jax.runs import checksums

# None of them is read again once the run has a checkpoint.
KEYS = ("initial_weights", "graph.embedding_file")


def write_checksums(path: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Writes key -> SHA-256 of each file that the config names to a JSON file."""
    named = {key: _file(config, key) for key in KEYS}
    found = {key: checksums.sha256(x) for key, x in named.items() if x and x.is_file()}
    files.write_json(path, found)


def read_checksums(path: pathlib.Path) -> dict[str, str]:
    """Returns what `write_checksums` wrote; {} in a run of before there was any.

    Raises:
        ValueError: the file is damaged.
    """
    return files.read_json(path) if path.is_file() else {}


def changed(
    before: Mapping[str, Any], now: Mapping[str, Any], known: Mapping[str, str]
) -> list[str]:
    """Returns the keys whose file is another one, each with what it was and is.

    A file that lies elsewhere is the same if its content is. One that is not there, or
    of which the run knows no checksum, is taken for the same, and this is logged: the
    run goes on without reading it.

    Args:
        before: the config that the run was started with.
        now: the one it shall go on with.
        known: the run's checksums.
    """
    differences = {
        key: _difference(key, _file(before, key), _file(now, key), known.get(key))
        for key in KEYS
    }
    return [f"{key}: {what}" for key, what in differences.items() if what]


def _difference(
    key: str, old: pathlib.Path | None, new: pathlib.Path | None, known: str | None
) -> str | None:
    if old is None or new is None:
        return None if old == new else f"{old or 'none'} -> {new or 'none'}"
    if not new.is_file():
        logging.warning(
            "config.%s=%s is not there; it is not needed any more", key, new
        )
        return None
    if known is None and old.is_file():
        known = checksums.sha256(old)
    if known is None:
        if old != new:
            logging.warning(
                "config.%s=%s is taken for the file that was %s: this run, of an older "
                "mlgcn-jax, has no checksum of it",
                *(key, new, old),
            )
        return None
    found = checksums.sha256(new)
    if found == known:
        return None
    return f"{new} has other content, SHA-256 {known[:12]}... -> {found[:12]}..."


def _file(config: Mapping[str, Any], key: str) -> pathlib.Path | None:
    name = config.get(key)
    if not name:
        return None
    path = pathlib.Path(name).expanduser()
    return timm_folder.weights_file(path) if path.is_dir() else path
