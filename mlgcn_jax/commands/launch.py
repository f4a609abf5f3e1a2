"""The main job from a config: build (where it says so), train, evaluate, tag.

mlgcn launch --config=configs/quickstart.py --workdir=runs/quickstart

What is done already is not done again; an interrupted launch goes on where it was.
docs/clusters.md says how several processes run it.
"""

import pathlib

import jax
from absl import flags
from jax.experimental import multihost_utils
from ml_collections import config_flags

from mlgcn_jax.commands import cluster_flags, exit_status
from mlgcn_jax.data import config_dict, dataset
from mlgcn_jax.evaluation import evaluate, tables
from mlgcn_jax.runs import cluster, trained_model
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.serving import samples
from mlgcn_jax.training import train
from tfds_pixiv import build

NUM_SAMPLES = 12

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.mark_flag_as_required("config")
flags.adopt_module_key_flags(cluster_flags)


def main(argv: list[str]) -> int:
    """Runs the stages; returns the exit status."""
    exit_status.check_no_arguments(argv)
    config = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    found = cluster_flags.detect()
    if cluster_flags.DRY_RUN.value:
        print(cluster_flags.describe_job(found, config, workdir))
        return 0
    cluster.join(found)
    data_dir = pathlib.Path(config.data_dir).expanduser()
    _build(config)
    interrupted = train.train_and_evaluate(config, workdir)
    if interrupted is not None:
        return exit_status.of_signal(interrupted)

    mesh = meshes.create_mesh()
    model = trained_model.open_run(workdir, mesh)
    data = dataset.open_dataset(data_dir)
    evaluated = evaluate.evaluate_run(model, data, mesh, split="validation")
    sheet, _ = samples.tag_held_out_pictures(model, data, mesh, count=NUM_SAMPLES)
    print(tables.format_table({workdir.name: evaluated.metrics}))
    print(
        f"dataset    {data.directory}\n"
        f"run        {workdir}\n"
        f"metrics    {model.folder.metrics}, {model.folder.per_label}\n"
        f"samples    {sheet}\n"
        f"tag more   mlgcn predict {workdir} PICTURES..."
    )
    return 0


def _build(config: config_dict.ConfigDict) -> None:
    """Builds the dataset once, or once on each machine where they share no disk.

    The first process does it; the others then find it, or are elsewhere and do it too.
    """
    if jax.process_index() == 0:
        build.build_as_configured(config)
    multihost_utils.sync_global_devices("the dataset is built")
    if jax.process_index() != 0:
        build.build_as_configured(config)
