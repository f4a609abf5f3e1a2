"""JAX's persistent compilation cache: a second start does not compile again."""

import os
import pathlib

import jax


def enable() -> None:
    """Turns the cache on, in $JAX_COMPILATION_CACHE_DIR or ~/.cache/mlgcn-jax."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        directory = pathlib.Path(home) / "mlgcn-jax" / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
