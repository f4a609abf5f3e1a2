"""The form in which layers are written: plain, or one for a kind of device.

The plain form is the definition, which the others are tested against. A program is
given its form once, when it is made, for the devices of its mesh.
"""

from typing import Literal

import jax

Form = Literal["plain", "cpu", "gpu"]

_OF_PLATFORM: dict[str, Form] = {"cpu": "cpu", "gpu": "gpu"}


def of_platform(platform: str) -> Form:
    """Returns the form that is fast on a platform of JAX: `cpu`, `gpu`, `tpu`, ..."""
    return _OF_PLATFORM.get(platform, "plain")


def here() -> Form:
    """Returns the form that is fast where JAX computes in this process."""
    return of_platform(jax.default_backend())
