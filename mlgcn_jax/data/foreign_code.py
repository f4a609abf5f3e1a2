"""The code of others: found by its name in a config, and told of where it fails."""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from mlgcn_jax.data import error_text


def is_foreign(name: str) -> bool:
    """Returns whether a name is of the code of others, and of none of ours."""
    return ":" in name


def find(name: str, named: str) -> Callable[..., Any]:
    """Returns the class or function that `package.module:name` stands for.

    Args:
        name: as the config has it.
        named: what it is, for messages.

    Raises:
        ValueError: the name is incomplete, its module cannot be imported, has no such
            name, or it is nothing that can be called. The cause is the module's error.
    """
    module_name, _, attribute = name.partition(":")
    if not (module_name and attribute):
        raise ValueError(f"{named} must be named package.module:name")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever it does when it is imported
        raise ValueError(
            f"{named}: module {module_name} cannot be imported "
            f"({error_text.said(error)}); install it, or put its folder on PYTHONPATH"
        ) from error
    if not hasattr(module, attribute):
        file = getattr(module, "__file__", "built in")
        raise ValueError(f"{named}: module {module_name} ({file}) has no {attribute}")
    found = getattr(module, attribute)
    if not callable(found):
        raise ValueError(
            f"{named} is a {type(found).__name__}, expected a class or function"
        )
    return found


@contextlib.contextmanager
def refused(name: str, doing: str, *, advice: str = "") -> Iterator[None]:
    """Makes one ValueError, of one line, of whatever somebody else's code raises.

    Args:
        name: what the config has of it.
        doing: when it fails.
        advice: what to do, after a semicolon.
    """
    try:
        yield
    except Exception as error:
        line = f"{name} fails {doing}: {error_text.said(error)}"
        raise ValueError(f"{line}; {advice}" if advice else line) from error
