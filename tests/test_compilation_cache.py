import os
import pathlib
import subprocess
import sys

import jaxlib.version

CODE = """
import jax
from mlgcn_jax.devices import compilation_cache
compilation_cache.enable()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: x + 1)(1.0)
"""


def run(**variables: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMP")}
    subprocess.run(
        [sys.executable, "-c", CODE], check=True, env={**environment, **variables}
    )


def test_what_is_compiled_is_kept_in_the_users_cache(tmp_path):
    run(XDG_CACHE_HOME=str(tmp_path))
    (build,) = (tmp_path / "mlgcn-jax" / "compiled").iterdir()
    assert build.name.startswith(jaxlib.version.__version__)
    assert any(build.iterdir())


def test_the_folder_can_be_chosen(tmp_path: pathlib.Path):
    run(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"), XDG_CACHE_HOME=str(tmp_path))
    assert any((tmp_path / "mine").iterdir())
    assert not (tmp_path / "mlgcn-jax").exists()
