"""Trains a run, or goes on with it.

mlgcn train --config=configs/default.py --config.data_dir=DIR --workdir=RUN
    [--profile_steps=20-25]

Any key of the config can be set as --config.KEY=VALUE. Ctrl-C and SIGTERM save first;
the same command then goes on. docs/clusters.md says how several processes run it.
"""

from absl import flags

from mlgcn_jax.commands import exit_status, training_job

flags.adopt_module_key_flags(training_job)


def main(argv: list[str]) -> int:
    """Runs the stage; returns its exit status."""
    exit_status.check_no_arguments(argv)
    return training_job.run()
