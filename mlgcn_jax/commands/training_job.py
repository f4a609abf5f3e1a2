"""The job that `train` and `launch` are: flags, and one or several processes."""

import os
import pathlib
import sys
from collections.abc import Callable

from absl import flags, logging
from ml_collections import config_flags

from mlgcn_jax.commands import (
    cluster_flags,
    dry_run,
    exit_status,
    joined,
    restarts,
    step_range,
)
from mlgcn_jax.data import config_dict
from mlgcn_jax.runs import jax_settings, processes
from mlgcn_jax.training import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.mark_flag_as_required("config")
flags.adopt_module_key_flags(cluster_flags)
flags.adopt_module_key_flags(dry_run)
flags.adopt_module_key_flags(restarts)
flags.adopt_module_key_flags(step_range)


def run(
    *,
    before: Callable[[config_dict.ConfigDict, pathlib.Path], None] | None = None,
    after: Callable[[config_dict.ConfigDict, pathlib.Path], None] | None = None,
) -> int:
    """Trains as the flags say; returns the exit status.

    Args:
        before: called with config and workdir in every process, before the run is
            opened.
        after: called with config and workdir in the first process, when the run is
            done and the others are gone.
    """
    if restarts.MAX_RESTARTS.value:
        return restarts.supervise()
    config = _CONFIG.value
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    place = cluster_flags.detect()
    if dry_run.DRY_RUN.value:
        print(dry_run.describe_job(place, config, workdir))
        return 0

    @jax_settings.usable()
    def train_run() -> int:
        if not processes.is_first():  # the first one logs what all would log alike
            logging.set_verbosity(logging.WARNING)
        if before is not None:
            before(config, workdir)
        interrupted = train.train_and_evaluate(
            config, workdir, profile_steps=step_range.PROFILE_STEPS.value
        )
        return exit_status.of_signal(interrupted)

    status = train_run() if place.is_single else joined.run(place, train_run)
    if status == 0 and after is not None and processes.is_first():
        if processes.count() > 1:
            # JAX still counts those that are gone now: a new process does the rest.
            os.execv(sys.executable, restarts.command("--num_processes=1"))
        after(config, workdir)
    return status
