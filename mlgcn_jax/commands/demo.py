"""The whole way, from crawl to tags, on this machine and without an account.

    mlgcn demo [DIR]

The sample that comes with mlgcn-jax is served as if it were Pixiv, crawled, built into
a dataset, learnt from with a tiny model, evaluated and tagged, in two minutes or so.
Each command is shown before it is run. Repeated, the demo goes on where it was.
"""

import contextlib
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from absl import app

from configs import quickstart
from mlgcn_jax.data import archives, files, folders
from mlgcn_jax.fake_pixiv import server, world

_DEFAULT_DIR = "runs/demo"
_TINY = (
    "--config.model.backbone=densenet_tiny",
    "--config.image_size=32",
    "--config.batch_size=64",
    "--config.num_epochs=10",
)
_NUM_TAGGED = 3
_PORT = "port"  # the file with the site's: also shows that the folder is a demo's


def main(argv: list[str]) -> int:
    """Runs the stages; returns the status of the first that did not do all."""
    if len(argv) > 2:
        raise app.UsageError(f"expected one folder, found {argv[1:]}")
    folder = pathlib.Path(argv[1] if len(argv) == 2 else _DEFAULT_DIR).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    _check_is_of_a_demo(folder)
    crawl, built, run = folder / "crawl", folder / "dataset", folder / "run"
    config = (f"--config={quickstart.__file__}", f"--config.data_dir={built}", *_TINY)
    with _site(folder) as site:
        status = _crawl(crawl, site) or _mlgcn("crawl", "export", crawl)
    return (
        status
        or _mlgcn("build", crawl, "--labels=openclipart40", f"--data_dir={built}")
        or _mlgcn("train", *config, f"--workdir={run}")
        or _mlgcn("evaluate", run)
        or _mlgcn("predict", run, *_some_pictures(crawl))
    )


def _check_is_of_a_demo(folder: pathlib.Path) -> None:
    """Raises ValueError where there is something that no demo has left."""
    names = sorted(path.name for path in folder.iterdir())
    if names and _PORT not in names:
        raise ValueError(
            f"{folder} holds other things than a demo ({', '.join(names[:3])}), and "
            "the sample's pictures would come among them; give a new folder"
        )


def _crawl(crawl: pathlib.Path, site: server.FakePixiv) -> int:
    """Lists and fetches all there is, as fast as the site answers."""
    first, last = world.FIRST_DAY.date(), world.LAST_DAY.date()
    there = (f"--api_url={site.url}", f"--oauth_url={site.url}", "--api_interval_s=0")
    wanted = ("--labels=openclipart40", f"--start={first}", f"--end={last}")
    secrets = {
        "PIXIV_REFRESH_TOKEN": site.refresh_token,
        "PIXIV_CLIENT_ID": "any",
        "PIXIV_CLIENT_SECRET": "any",
        "PIXIV_HASH_SECRET": "any",
    }
    return _mlgcn("crawl", "list", crawl, *wanted, *there, **secrets) or _mlgcn(
        "crawl", "fetch", crawl, "--image_interval_s=0", *there, **secrets
    )


@contextlib.contextmanager
def _site(folder: pathlib.Path) -> Iterator[server.FakePixiv]:
    """Serves the sample, at the same address every time: works remember theirs."""
    remembered = folder / _PORT
    port = int(remembered.read_text()) if remembered.is_file() else 0
    with tempfile.TemporaryDirectory() as scratch:
        sample = pathlib.Path(scratch) / "sample"
        archives.unpack(folders.SAMPLE, sample)
        with server.FakePixiv(world.from_folder(sample), port=port) as site:
            with files.written_whole(remembered) as temporary:
                temporary.write_text(site.url.rpartition(":")[2])
            yield site


def _some_pictures(crawl: pathlib.Path) -> list[pathlib.Path]:
    found = (crawl / "images").rglob("*")
    return sorted(path for path in found if path.is_file())[:_NUM_TAGGED]


def _mlgcn(*arguments: str | pathlib.Path, **environment: str) -> int:
    """Shows a command, runs it, and returns its exit status."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ {shlex.join(['mlgcn', *words])}", flush=True)
    command = [sys.executable, "-m", "mlgcn_jax.cli", *words]
    return subprocess.run(command, env={**os.environ, **environment}).returncode
