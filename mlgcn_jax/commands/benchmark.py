"""Times mlgcn-jax and PyTorch side by side; needs the `torch` extra.

mlgcn benchmark [--measures=T,I,P,C,G,H,U] [--json=OUT] [--budget_s=300]

T train step, I inference, P input pipeline, C compilation, G graph head, H host time of
a step, U what the train step uses of the device, and its most expensive kernels; and,
only if asked for, F layers and models in the form for this kind of device beside the
plain one, and R whole runs of the quick start to a given validation mAP. The
contestants run in processes of their own; on CPUs they take turns, on a GPU each has it
for itself. Figures are medians in seconds, and a ratio above 1 says that we are faster.
On CPUs C takes minutes, F and R a quarter of an hour.

Where JAX computes on a GPU, T, I, U and C are of 512 px in bfloat16, T also of as many
images as fit, PyTorch runs eager and compiled, and T says how much memory each needed
and what `mlgcn plan` says of ours; on a TPU we are alone. The JSON file is written
after each case. A contestant that fails is told, the others go on, and the exit status
is 1.
"""

import pathlib
import tempfile
import time

from absl import app, flags

from configs import quickstart
from mlgcn_jax.benchmarks import figures, measures, pictures, running, whole_run
from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import files
from mlgcn_jax.devices import xla_flags
from tfds_pixiv import build

_MEASURES = flags.DEFINE_list(
    "measures",
    [name for name in measures.MEASURES if name not in measures.SLOW_MEASURES],
    "What to measure.",
)
_JSON = flags.DEFINE_string("json", None, "JSON file for the figures.")
_BUDGET_S = flags.DEFINE_float(
    "budget_s",
    None,
    "Begin no case after so many seconds; those that are left out are told.",
    lower_bound=0.0,
)


def main(argv: list[str]) -> None:
    """Runs the stage."""
    exit_status.check_no_arguments(argv)
    unknown = set(_MEASURES.value) - set(measures.MEASURES)
    if unknown:
        raise app.UsageError(
            f"unknown measures {sorted(unknown)}; use some of "
            f"{','.join(measures.MEASURES)}"
        )
    xla_flags.check()
    platform = running.find_platform()
    on_platform = measures.for_platform(platform)
    chosen = {letter: on_platform[letter] for letter in _MEASURES.value}
    measures.check_installed(chosen)
    budget_s = float("inf") if _BUDGET_S.value is None else _BUDGET_S.value
    deadline = time.monotonic() + budget_s
    rows: running.Rows = {}
    with tempfile.TemporaryDirectory() as temporary:

        def prepare(letter: str) -> pathlib.Path:
            folder = pathlib.Path(temporary) / letter
            folder.mkdir()
            _PREPARE[letter](folder)
            return folder

        for rows in running.run(
            chosen,
            prepare=prepare,
            input_feeds_steps=platform != "cpu",
            deadline=deadline,
        ):
            if _JSON.value:
                files.write_json(pathlib.Path(_JSON.value), rows)
    for letter, measure in chosen.items():
        title = f"{letter}: {measure.title}"
        print(figures.format_table(title, rows.get(letter, [])))
    if any("failed" in row for of_measure in rows.values() for row in of_measure):
        raise ValueError("a contestant failed, see the table and what is above it")


def _prepare_pictures(folder: pathlib.Path) -> None:
    crawl = pictures.make_crawl_folder(folder / "crawl")
    build.build(crawl, folder, min_works=1)


def _prepare_whole_run(folder: pathlib.Path) -> None:
    config = quickstart.get_config()
    config.data_dir = str(folder / "built")
    build.build_as_configured(config)
    whole_run.prepare(config, folder)


_PREPARE = {"P": _prepare_pictures, "R": _prepare_whole_run}
