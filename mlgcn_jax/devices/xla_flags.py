"""XLA_FLAGS of the user's environment: what they set, and whether XLA takes them.

XLA reads them once, when the first device is asked for, and aborts the process where
one is wrong.
"""

import functools
import os
import pathlib
import subprocess
import sys

_PARSE = """
from jaxlib import xla_client
xla_client.CompileOptions().executable_build_options.debug_options
"""


def of_user() -> dict[str, str]:
    """Returns flag -> value as text ("" where none is given), the last one of each."""
    flags = {}
    for word in _words():
        name, _, value = word.removeprefix("--").partition("=")
        flags[name] = value
    return flags


def check() -> None:
    """Checks that XLA takes the flags, in a process that may abort.

    Half a second, where there are flags; nothing where there are none.

    Raises:
        ValueError: XLA refuses them, with what it says.
    """
    if text := os.environ.get("XLA_FLAGS", "").strip():
        _check(text)


def asks_for_reductions(value: str) -> bool:
    """Whether a value of xla_cpu_experimental_ynn_fusion_type includes reductions.

    Its two forms: the whole list ("" being none), or changes to the default, which
    has them, each with its sign.
    """
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    if any(name.startswith(("+", "-")) for name in names):
        return "-reduce" not in names
    return any(name.removeprefix("library_fusion_type_") == "reduce" for name in names)


@functools.cache
def _check(text: str) -> None:
    tried = subprocess.run(
        [sys.executable, "-c", _PARSE], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        said = [line for line in tried.stderr.splitlines() if line.startswith("F")]
        reason = said[0].partition("] ")[2] if said else "XLA does not say why"
        raise ValueError(
            f"XLA_FLAGS={text!r} are refused: {reason}; mend them, or start with "
            "`env -u XLA_FLAGS`"
        )


def _words() -> list[str]:
    """Returns the flags one by one; a word that is no flag names a file of them."""
    text = os.environ.get("XLA_FLAGS", "").strip()
    if text and not text.startswith("--"):
        file = pathlib.Path(text)
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [word for word in text.split() if word.startswith("--")]
