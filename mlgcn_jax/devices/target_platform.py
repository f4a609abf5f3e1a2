"""The platform that a model is traced for: some layers have a form for each.

Usually the one that the program runs on. `mlgcn plan` compiles for another.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_OTHER = contextvars.ContextVar[str | None]("target_platform", default=None)


def target_platform() -> str:
    """Returns `cpu`, `gpu` or `tpu`."""
    return _OTHER.get() or jax.default_backend()


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
    """Makes what is traced within take the forms of a platform.

    JAX does not know of it: a function that was jit-compiled and called before with
    the same shapes keeps the form that it had.
    """
    token = _OTHER.set(platform)
    try:
        yield
    finally:
        _OTHER.reset(token)
