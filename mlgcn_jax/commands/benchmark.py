"""Times mlgcn-jax and PyTorch side by side; needs the `torch` extra.

mlgcn benchmark [--measures=T,I,P,C,G,H,U] [--json=OUT] [--budget_s=300]

T train step, I inference, P input pipeline, C compilation, G graph head, H host time of
a step, U what the train step uses of the device, and its most expensive kernels; and,
only if asked for, R whole runs of the quick start to a given validation mAP. The
contestants run in processes of their own and take turns, in R one after the other;
figures are medians in seconds, and a ratio above 1 says that we are faster. C takes
minutes, R a quarter of an hour.

Where there is a GPU, T, I and U are of 512 px in bfloat16, PyTorch runs eager and
compiled, and T says how much memory each needs and what `mlgcn plan` would have said.
"""

import pathlib
import tempfile
import time

from absl import app, flags

from configs import quickstart
from mlgcn_jax.benchmarks import measures, pictures, whole_run
from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import files
from mlgcn_jax.devices import xla_flags
from mlgcn_jax.runs import machine
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
    # None of them is asked to compute here: the contestants share it.
    on_gpu = machine.Machine().num_gpus() > 0
    budget_s = float("inf") if _BUDGET_S.value is None else _BUDGET_S.value
    deadline = time.monotonic() + budget_s
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for measure in _MEASURES.value:
            folder = pathlib.Path(temporary) / measure
            if measure in _PREPARE:
                folder.mkdir()
                _PREPARE[measure](folder)
            results[measure] = measures.run(
                measure, folder=folder, on_gpu=on_gpu, deadline=deadline
            )
            print(measures.format_table(measure, results[measure]), flush=True)
    if _JSON.value:
        files.write_json(pathlib.Path(_JSON.value), results)


def _prepare_pictures(folder: pathlib.Path) -> None:
    crawl = pictures.make_crawl_folder(folder / "crawl")
    build.build(crawl, folder, min_works=1)


def _prepare_whole_run(folder: pathlib.Path) -> None:
    config = quickstart.get_config()
    config.data_dir = str(folder / "built")
    build.build_as_configured(config)
    whole_run.prepare(config, folder)


_PREPARE = {"P": _prepare_pictures, "R": _prepare_whole_run}
