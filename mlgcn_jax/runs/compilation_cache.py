"""JAX's persistent compilation cache: a second start does not compile again."""

import os
import pathlib

import jax


def enable() -> None:
    """Turns the cache on, where JAX was told or else in ~/.cache/mlgcn-jax."""
    told = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if told is None:
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        directory = pathlib.Path(home) / "mlgcn-jax" / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(directory))
