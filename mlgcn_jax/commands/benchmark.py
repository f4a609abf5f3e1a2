"""Times mlgcn-jax and PyTorch side by side; needs the `torch` extra.

mlgcn benchmark [--measures=T,I,P,C,G,H] [--json=OUT]

T train step, I inference, P input pipeline, C compilation, G graph head, H host time of
a step. The contestants run in processes of their own and take turns; figures are
medians in seconds, and a ratio above 1 says that we are faster. C takes minutes.
"""

import pathlib
import tempfile

from absl import app, flags

from mlgcn_jax.benchmarks import measures, pictures
from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import files
from tfds_pixiv import build

_MEASURES = flags.DEFINE_list("measures", list(measures.MEASURES), "What to measure.")
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
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        data_dir = pathlib.Path(folder) / "built"
        if "P" in _MEASURES.value:
            crawl = pictures.make_crawl_folder(pathlib.Path(folder) / "crawl")
            build.build(crawl, data_dir, min_works=1)
        for measure in _MEASURES.value:
            results[measure] = measures.run(measure, data_dir=data_dir)
            print(measures.format_table(measure, results[measure]), flush=True)
    if _JSON.value:
        files.write_json(pathlib.Path(_JSON.value), results)
