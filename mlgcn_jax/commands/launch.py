"""The main job from a config: build (where it says so), train, evaluate, tag.

mlgcn launch --config=configs/quickstart.py --workdir=runs/quickstart

What is done already is not done again; an interrupted launch goes on where it was.
docs/clusters.md says how several processes run it.
"""

import pathlib

from absl import flags

from mlgcn_jax.commands import exit_status, training_job
from mlgcn_jax.data import config_dict, dataset
from mlgcn_jax.evaluation import evaluate, notes, tables
from mlgcn_jax.runs import checkpoints, processes, run_folder, trained_model
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.schema import configs
from mlgcn_jax.serving import samples
from tfds_pixiv import build

NUM_SAMPLES = 12

flags.adopt_module_key_flags(training_job)


def main(argv: list[str]) -> int:
    """Runs the stages; returns the exit status."""
    exit_status.check_no_arguments(argv)
    return training_job.run(before=_build, after=_evaluate_and_tag)


def _build(config: config_dict.ConfigDict, workdir: pathlib.Path) -> None:
    """Builds the dataset once, or once on each machine where they share no disk.

    The first process does it; the others then find it, or are elsewhere and do it too.
    """
    configs.check(config)
    begun = bool(checkpoints.saved_steps(run_folder.RunFolder(workdir).checkpoints))
    if processes.is_first():
        build.build_as_configured(config, begun=begun)
    processes.agree(0)  # waits for the first
    if not processes.is_first():
        build.build_as_configured(config, begun=begun)


def _evaluate_and_tag(config: config_dict.ConfigDict, workdir: pathlib.Path) -> None:
    """Measures what was learnt, tags held-out pictures, says where all of it lies."""
    mesh = meshes.create_local_mesh()
    model = trained_model.open_run(workdir, mesh)
    data = dataset.open_source(config.dataset, config.data_dir)
    evaluated = evaluate.evaluate_run(model, data, mesh, split="validation")
    sheet, _ = samples.tag_held_out_pictures(model, data, mesh, count=NUM_SAMPLES)
    rows = {workdir.name: evaluated.metrics}
    print(tables.format_table(rows))
    print(notes.format_notes(rows), end="")
    print(
        f"dataset    {data.directory}\n"
        f"run        {workdir}\n"
        f"metrics    {model.folder.metrics}, {model.folder.per_label}\n"
        f"samples    {sheet}\n"
        f"tag more   mlgcn predict {workdir} PICTURES..."
    )
