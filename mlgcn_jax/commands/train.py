"""Trains a run, or goes on with it.

mlgcn train --config=configs/default.py --config.data_dir=DIR --workdir=RUN
    [--profile_steps=20-25]

Any key of the config can be set as --config.KEY=VALUE. Ctrl-C and SIGTERM save first;
the same command then goes on.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from mlgcn_jax.commands import exit_status, step_range
from mlgcn_jax.training import train

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
    """Runs the stage; returns its exit status."""
    exit_status.check_no_arguments(argv)
    interrupted = train.train_and_evaluate(
        _CONFIG.value,
        pathlib.Path(_WORKDIR.value).expanduser(),
        profile_steps=_PROFILE_STEPS.value or range(0),
    )
    return exit_status.of_signal(interrupted)
