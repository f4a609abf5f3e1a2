"""What holds in every test: 8 CPU devices, no silent broadcast, flags parsed.

Strict dtype promotion would be the other half, but optax.scale_by_adam breaks it.
"""

import importlib.util
import os
import pathlib
import signal
import tempfile
from collections.abc import Iterator

os.environ["JAX_PLATFORMS"] = "cpu"  # before jax is imported

import crawl_folders
import jax
import pytest
from absl import flags

# What is compared with PyTorch needs it: `./launch.sh parity` installs and runs it.
HAS_TORCH = importlib.util.find_spec("torch") is not None
collect_ignore = [] if HAS_TORCH else ["parity"]


def pytest_report_header() -> str:
    return "" if HAS_TORCH else "tests/parity needs torch: ./launch.sh parity"


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_numpy_rank_promotion", "raise")

    assert config.cache is not None
    compiled = str(config.cache.mkdir("compiled"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled  # for the processes of tests
    jax.config.update("jax_compilation_cache_dir", compiled)

    flags.FLAGS.mark_as_parsed()  # stages and configs read them

    # Ignored where a shell has put the tests into the background, and then by all
    # that they start: tests send it.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TFDS leaves an empty temporary folder for every builder: not on the machine."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = None


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A small dataset to train on; no test changes it."""
    folder = tmp_path_factory.mktemp("data")
    crawl = crawl_folders.make_crawl_folder(folder / "crawl", num_works=60)
    crawl_folders.build_dataset(crawl, folder / "built")
    return folder / "built"


@pytest.fixture
def one_device(monkeypatch):
    """Runs take the first device alone: of a batch of one, or of a large model."""
    from mlgcn_jax.runs import mesh as meshes  # not before its types are checked

    first = jax.devices()[:1]
    for create in ("create_mesh", "create_local_mesh"):
        monkeypatch.setattr(
            meshes,
            create,
            lambda *, label_shards=1: meshes.arrange(first, label_shards=label_shards),
        )
