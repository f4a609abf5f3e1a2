"""One option of a choice that a run makes: default, meaning and range, beside its code.

A module that has options holds them as `OPTIONS`, name -> `Option`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Option:
    """What a value may be.

    Attributes:
        default: where nothing is said; its type is that of all values. {} is a
            section whose keys are not known here.
        meaning: for the reader of a config, with unit and source.
        least: of a number.
        most: of a number.
        choices: of a string; (): any.
    """

    default: bool | int | float | str | tuple[Any, ...] | dict[str, Any]
    meaning: str
    least: int | float = -math.inf
    most: int | float = math.inf
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> None:
        """Raises ValueError, which names the option, unless the value is allowed."""
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{name}={value!r} must be True or False")
        elif isinstance(self.default, tuple):
            self._check_list(name, value, count=len(self.default))
        elif isinstance(self.default, dict):
            return
        elif isinstance(self.default, str):
            if not isinstance(value, str):
                raise ValueError(f"{name}={value!r} must be a string")
            if self.choices and value not in self.choices:
                raise ValueError(
                    f"{name}={value!r} is not known; use one of "
                    f"{', '.join(self.choices)}"
                )
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name}={value!r} must be a number")
        elif isinstance(self.default, int) and not isinstance(value, int):
            raise ValueError(f"{name}={value} must be a whole number")
        elif not value >= self.least:  # not <: NaN fails too
            raise ValueError(f"{name}={value} must be at least {self.least}")
        elif value > self.most:
            raise ValueError(f"{name}={value} must be at most {self.most}")

    def _check_list(self, name: str, value: Any, *, count: int) -> None:
        """An empty default is of strings, another of as many numbers as it has."""
        is_list = isinstance(value, (list, tuple))
        if not count:
            if not is_list or not all(isinstance(x, str) for x in value):
                raise ValueError(f"{name}={value!r} must be a list of strings")
            return
        if not is_list or len(value) != count:
            raise ValueError(f"{name}={value!r} must be {count} numbers")
        for x in value:
            if isinstance(x, bool) or not isinstance(x, (int, float)):
                raise ValueError(f"{name}={value!r} must be {count} numbers")
            if not self.least <= x <= self.most:  # NaN fails too
                raise ValueError(
                    f"{name}={value!r} must be numbers of at least {self.least} and at "
                    f"most {self.most}"
                )


def resolve(options: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the value of every option: the given one or the default.

    Raises:
        ValueError: there is no such option, or a value is not allowed.
    """
    unknown = sorted(set(values) - set(options))
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: no such option; there are "
            f"{', '.join(sorted(options))}"
        )
    resolved = {}
    for name, option in options.items():
        value = values.get(name, option.default)
        option.check(name, value)
        # A whole number is as good as a number where one is asked for.
        resolved[name] = float(value) if isinstance(option.default, float) else value
    return resolved
