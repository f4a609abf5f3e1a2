"""The flag of the stages that use a trained run: which of its checkpoints."""

from absl import flags

STEP = flags.DEFINE_integer(
    "step", None, "Step of the checkpoint to use; the newest one by default."
)
