"""Times mlgcn-jax and PyTorch side by side; needs the `torch` extra.

mlgcn benchmark [--measures=T,I,P,C,G,H] [--json=OUT]

T train step, I inference, P input pipeline, C compilation, G graph head, H host time of
a step; and, only if asked for, R whole runs of the quick start to a given validation
mAP. The contestants run in processes of their own and take turns, in R one after the
other; figures are medians in seconds, and a ratio above 1 says that we are faster. C
takes minutes, R a quarter of an hour.
"""

import pathlib
import tempfile

from absl import app, flags

from configs import quickstart
from mlgcn_jax.benchmarks import measures, pictures, whole_run
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
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for measure in _MEASURES.value:
            folder = pathlib.Path(temporary) / measure
            if measure in _PREPARE:
                folder.mkdir()
                _PREPARE[measure](folder)
            results[measure] = measures.run(measure, folder=folder)
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
