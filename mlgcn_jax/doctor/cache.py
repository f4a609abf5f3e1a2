"""Whether what was compiled once is read back from the compilation cache."""

import contextlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from mlgcn_jax.devices import compilation_cache, compiler
from mlgcn_jax.doctor import findings

PART = "cache"
_EVENTS = "/jax/compilation_cache/"
_SAYS_WHY = ("machine", "Error reading", "Error writing", "cache")


def check() -> Iterator[findings.Finding]:
    """Yields whether the second of two compilations of one program is read back.

    The program is always the same, so that the cache grows by one entry in all, and
    one that another process left and nobody can read is found.
    """
    folder = compilation_cache.folder()
    if folder is None:
        yield findings.Finding(
            PART,
            "compilation cache",
            "off",
            status="warning",
            advice="every start compiles anew: unset JAX_ENABLE_COMPILATION_CACHE, and "
            "JAX_COMPILATION_CACHE_DIR or name a folder in it",
        )
        return
    times, events, said = [], [], ""
    example = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    keep_all = _settings(
        jax_persistent_cache_min_compile_time_secs=0.0,
        jax_persistent_cache_min_entry_size_bytes=-1,
    )
    with keep_all, _listening() as heard, _captured() as lines:
        for _ in range(2):
            heard.clear()
            start = time.perf_counter()
            compiler.jit(_new_program()).lower(example).compile()
            times.append(time.perf_counter() - start)
            events.append(list(heard))
        said = next((x for x in lines() if any(word in x for word in _SAYS_WHY)), "")
    is_read = "cache_hits" in events[1]
    yield findings.Finding(
        PART,
        folder,
        f"read back in {times[1]:.2f} s"
        if is_read
        else f"not read back ({said[:200] or 'nothing says why'})",
        expected="what was compiled is read back",
        status="ok" if is_read else "fault",
        advice=""
        if is_read
        else "every start compiles anew: empty that folder, or name another one that "
        "can be written to in JAX_COMPILATION_CACHE_DIR",
    )


def _new_program() -> Callable[[jax.Array], jax.Array]:
    """The same program as another function, which JAX has not compiled yet."""

    def doctor_program(x: jax.Array) -> jax.Array:
        return jnp.tanh(x @ x).sum()

    return doctor_program


@contextlib.contextmanager
def _settings(**values: int | float) -> Iterator[None]:
    before = {name: getattr(jax.config, name) for name in values}
    for name, value in values.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """Yields the names of the cache's events as they come."""
    heard: list[str] = []

    def listen(event: str, **_) -> None:
        if event.startswith(_EVENTS):
            heard.append(event.removeprefix(_EVENTS))

    jax.monitoring.register_event_listener(listen)
    try:
        yield heard
    finally:
        jax.monitoring.unregister_event_listener(listen)


@contextlib.contextmanager
def _captured() -> Iterator:
    """Yields a function that returns what XLA and JAX say meanwhile, line by line.

    XLA writes to the file of standard error by itself: of a refused entry there is
    nothing but such a line, of some thousand characters.
    """
    with tempfile.TemporaryFile() as file, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        before = os.dup(2)
        os.dup2(file.fileno(), 2)

        def lines() -> list[str]:
            file.seek(0)
            written = file.read().decode(errors="replace").splitlines()
            return [str(warning.message) for warning in told] + written

        try:
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
