"""Says how far a run is and how its processes are, running or dead.

mlgcn status RUN [--json=OUT] [--check]

Reads small files of the run's folder alone, from any host that sees it, and takes less
than a second. `--check` also reads the checkpoints and compares their checksums.
"""

import pathlib

from absl import app, flags

from mlgcn_jax.data import files
from mlgcn_jax.runs import run_status, status_text

_JSON = flags.DEFINE_string("json", None, "JSON file for the same.")
_CHECK = flags.DEFINE_boolean(
    "check", False, "Read the checkpoints whole, to find damaged ones."
)


def main(argv: list[str]) -> None:
    """Runs the stage."""
    if len(argv) != 2:
        raise app.UsageError(f"expected the folder of a run, found {argv[1:]}")
    workdir = pathlib.Path(argv[1]).expanduser()
    status = run_status.read(workdir, check_checkpoints=_CHECK.value)
    print(status_text.format_status(status))
    if _JSON.value:
        files.write_json(pathlib.Path(_JSON.value), status)
