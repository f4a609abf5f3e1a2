"""The main job from a config: build (where it says so), train, evaluate, tag.

mlgcn launch --config=configs/quickstart.py --workdir=runs/quickstart

What is done already is not done again; an interrupted launch goes on where it was.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from mlgcn_jax.commands import exit_status, step_range
from mlgcn_jax.data import dataset
from mlgcn_jax.evaluation import evaluate, tables
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model
from mlgcn_jax.serving import samples
from mlgcn_jax.training import train
from tfds_pixiv import build

NUM_SAMPLES = 12

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_PROFILE_STEPS = flags.DEFINE(
    step_range.Parser(),
    "profile_steps",
    None,
    "Steps A-B to trace into WORKDIR/profile, 1 the first.",
)
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> int:
    """Runs the stages; returns the exit status."""
    exit_status.check_no_arguments(argv)
    config = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    data_dir = pathlib.Path(config.data_dir).expanduser()
    build.build_as_configured(config)
    interrupted = train.train_and_evaluate(
        config, workdir, profile_steps=_PROFILE_STEPS.value or range(0)
    )
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
