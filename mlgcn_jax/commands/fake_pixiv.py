"""Serves a crawl folder as if it were Pixiv, on this machine alone.

    mlgcn fake_pixiv [FOLDER] [--port=8008] [--latency_ms=30] [--log=requests.jsonl]

Prints the address and the refresh token to crawl with, and answers until Ctrl-C.
Without a folder, the sample that comes with mlgcn-jax; with --works=N that many works
that are made up.
"""

import contextlib
import pathlib
import tempfile

from absl import app, flags

from mlgcn_jax.data import archives, folders
from mlgcn_jax.fake_pixiv import server, world

_PORT = flags.DEFINE_integer("port", 0, "Port; 0 for any that is free.")
_LATENCY_MS = flags.DEFINE_float(
    "latency_ms", 0.0, "How long each answer takes at least.", lower_bound=0
)
_WORKS = flags.DEFINE_integer(
    "works", None, "Make up so many works, all with the tag 猫耳.", lower_bound=1
)
_LOG = flags.DEFINE_string("log", None, "File for a JSON line a request.")


def main(argv: list[str]) -> None:
    """Runs the stage."""
    if len(argv) > 2 or (len(argv) == 2 and _WORKS.value):
        raise app.UsageError(f"expected one folder or --works, found {argv[1:]}")
    with contextlib.ExitStack() as stack:
        if _WORKS.value:
            works = world.made_up(_WORKS.value)
        elif len(argv) == 2:
            works = world.from_folder(pathlib.Path(argv[1]))
        else:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            folder = pathlib.Path(scratch) / "sample"
            archives.unpack(folders.SAMPLE, folder)
            works = world.from_folder(folder)
        site = stack.enter_context(
            server.FakePixiv(
                works,
                port=_PORT.value,
                latency_s=_LATENCY_MS.value / 1000,
                log=pathlib.Path(_LOG.value) if _LOG.value else None,
            )
        )
        print(f"site           {site.url}")
        print(f"refresh token  {site.refresh_token}")
        print(f"works          {len(works.works)}", flush=True)
        site.wait()
