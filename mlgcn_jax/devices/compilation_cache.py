"""JAX's persistent compilation cache: a second start does not compile again."""

import os
import pathlib
from typing import Any

import jax
import jaxlib.version


def enable() -> None:
    """Turns the cache on, where JAX was told or else in ~/.cache/mlgcn-jax."""
    told = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if told is None:
        jax.config.update("jax_compilation_cache_dir", str(default_folder()))


def folder() -> str | None:
    """Returns the path or URL of the cache in use, None where it is off."""
    config: Any = jax.config  # whose attributes are made at run time
    if not config.jax_enable_compilation_cache:
        return None
    return config.jax_compilation_cache_dir or None


def default_folder() -> pathlib.Path:
    """Returns the cache's folder, one for each build of jaxlib.

    What another build compiled may crash the process that loads it.
    """
    build = f"{jaxlib.version.__version__}-{jaxlib.version._git_hash[:8]}"
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "mlgcn-jax" / "compiled" / build
