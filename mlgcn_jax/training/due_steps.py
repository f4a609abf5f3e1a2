"""After which steps a run logs, validates and saves, and which of those it keeps."""

from collections.abc import Callable

from mlgcn_jax.data import config_dict
from mlgcn_jax.runs import epochs

_MAX_STEPS = 2**31 - 1  # the step is an int32 on the device


class DueSteps:
    """Answers for a config; steps count from 1.

    Attributes:
        num_steps: of the run; after the last one it validates and saves whatever the
            intervals are.
    """

    def __init__(self, config: config_dict.ConfigDict, passes: epochs.Epochs):
        """Takes the intervals from the config.

        Raises:
            ValueError: the run has more steps than can be counted.
        """
        self.num_steps = passes.first_step(config.num_epochs)
        if self.num_steps > _MAX_STEPS:
            raise ValueError(
                f"config.num_epochs={config.num_epochs} are {self.num_steps:,} steps "
                f"of {config.batch_size} images; at most {_MAX_STEPS:,} can be "
                "counted: use fewer epochs or a larger batch"
            )
        self._config = config
        self._passes = passes

    def logs(self, step: int) -> bool:
        """Whether its metrics are fetched, and found finite: so before a save."""
        return self._ends(1, step) or step % self._config.log_every_steps == 0

    def validates(self, step: int) -> bool:
        """Whether the validation split is evaluated."""
        return self._ends(self._config.evaluate_every_epochs, step)

    def saves(self, step: int) -> bool:
        """Whether it is saved, be it to go on or to be kept for good."""
        every_epochs = self._config.checkpoint_every_epochs
        return self._ends(every_epochs, step) or self._is_kept_for_good(step)

    def keeps(self, *, best: int) -> Callable[[int], bool]:
        """Returns which saved steps stay besides the newest; `best` is one of them."""
        return lambda step: step == best or self._is_kept_for_good(step)

    def _is_kept_for_good(self, step: int) -> bool:
        every = self._config.keep_every_epochs
        return every > 0 and self._passes.is_due(step, every=every)

    def _ends(self, every_epochs: int, step: int) -> bool:
        return step == self.num_steps or self._passes.is_due(step, every=every_epochs)
