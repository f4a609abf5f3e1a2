"""Trains a run, or goes on with it.

mlgcn train --config=configs/default.py --config.data_dir=DIR --workdir=RUN
    [--profile_steps=20-25]

Any key of the config can be set as --config.KEY=VALUE. Ctrl-C and SIGTERM save first;
the same command then goes on. docs/clusters.md says how several processes run it.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from mlgcn_jax.commands import (
    cluster_flags,
    exit_status,
    restarts,
    step_range,
    together,
)
from mlgcn_jax.training import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.mark_flag_as_required("config")
flags.adopt_module_key_flags(cluster_flags)
flags.adopt_module_key_flags(restarts)
flags.adopt_module_key_flags(step_range)


def main(argv: list[str]) -> int:
    """Runs the stage; returns its exit status."""
    exit_status.check_no_arguments(argv)
    if restarts.MAX_RESTARTS.value:
        return restarts.supervise()
    config = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    if cluster_flags.DRY_RUN.value:
        print(cluster_flags.describe_job(cluster_flags.detect(), config, workdir))
        return 0

    def train_run() -> int:
        interrupted = train.train_and_evaluate(
            config, workdir, profile_steps=step_range.PROFILE_STEPS.value
        )
        return exit_status.of_signal(interrupted)

    return together.run(train_run)
