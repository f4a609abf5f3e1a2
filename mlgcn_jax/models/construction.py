"""Calls what a config names with what there is, whoever wrote it."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def call_with(
    make: Callable[..., Any],
    supplied: Mapping[str, Any],
    options: Mapping[str, Any],
    named: str,
) -> Any:
    """Returns what a constructor makes of its options and what it takes of the rest.

    Args:
        make: the constructor.
        supplied: name -> value, taken where the constructor has such an argument.
        options: name -> value, of the config; each must be taken.
        named: what the config has of it, for messages.

    Raises:
        ValueError: it has no such option, or needs more than there is.
    """
    parameters = _parameters(make)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if unknown := sorted(options.keys() - parameters.keys()):
        if not takes_all:
            mine = sorted(parameters.keys() - supplied.keys())
            raise ValueError(f"{named} has no option {unknown}; use those of {mine}")
    given = {name: x for name, x in supplied.items() if name in parameters}
    given |= options
    lacking = [
        name
        for name, p in parameters.items()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and name not in given
    ]
    if lacking:
        raise ValueError(f"{named} lacks {lacking}, which have no default; set them")
    return make(**given)


def _parameters(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the arguments of a constructor by name.

    `inspect.signature` shows `*args, **kwargs` of every class of Flax NNX.
    """
    if isinstance(make, functools.partial):
        inner = _parameters(make.func)
        fixed = {
            name: inner[name].replace(default=value)
            for name, value in make.keywords.items()
        }
        return inner | fixed
    if not inspect.isclass(make):
        return dict(inspect.signature(make).parameters)
    _, *others = inspect.signature(make.__init__).parameters.items()  # without self
    return dict(others)
