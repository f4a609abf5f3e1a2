"""What every stage does before its first device is asked for."""

from mlgcn_jax.devices import compilation_cache, xla_flags


def prepare() -> None:
    """Checks what the environment tells XLA, and turns the compilation cache on.

    Raises:
        ValueError: XLA refuses XLA_FLAGS.
    """
    xla_flags.check()
    compilation_cache.enable()
