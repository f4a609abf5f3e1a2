"""What a contestant does in a measure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Task(NamedTuple):
    """Work that can be repeated.

    Attributes:
        run: does it once, to the end of all that it starts.
        facts: what is known of it beforehand, as JSON has it.
        used: returns what of the device it used, after it ran.
    """

    run: Callable[[], object]
    facts: Mapping[str, Any] = {}
    used: Callable[[], dict[str, Any]] = dict


def nothing() -> None:
    """The work of a measure whose facts say all."""
