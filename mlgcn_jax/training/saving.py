"""Which states of a run are saved: the due ones, the best one, the last one."""

from absl import logging

from mlgcn_jax.data import config_dict
from mlgcn_jax.runs import checkpoints, metric_writer, run_folder, train_state
from mlgcn_jax.training import due_steps, vital_signs


class Saving:
    """Saves a run's states, and keeps the best of those that were validated."""

    def __init__(
        self,
        config: config_dict.ConfigDict,
        folder: run_folder.RunFolder,
        saver: checkpoints.Checkpoints,
        writer: metric_writer.MetricWriter,
        due: due_steps.DueSteps,
        signs: vital_signs.VitalSigns,
        *,
        step: int,
    ):
        """Takes the step that the run begins at, new or saved; tells of a lost best."""
        self._keep_best = config.keep_best_checkpoint
        self._folder = folder
        self._saver = saver
        self._writer = writer
        self._due = due
        self._signs = signs
        self._saved_step = step
        if self._keep_best and self._best_saved(step) != writer.best_validated():
            logging.warning(
                "the checkpoint of the best validation mAP so far, of step %d, was not "
                "kept; of those that were and the coming ones the best is",
                writer.best_validated(),
            )

    def has(self, step: int) -> bool:
        """Whether nothing has been learnt since the last state that was saved."""
        return step <= self._saved_step

    def save(self, state: train_state.TrainState, step: int) -> None:
        """Saves the state after `step` steps."""
        # The best is settled now: one that is found before this is on disk is not.
        keep = self._due.keeps(best=self._best_saved(step))
        with self._signs.during(vital_signs.SAVING):
            self._saver.save(state, also_keep=keep)
        self._saved_step = step

    def after_validation(self, state: train_state.TrainState, step: int) -> None:
        """Saves the state that was validated where it is the best, if that is kept."""
        if step != self._best_saved(step):
            return
        if self.has(step):
            self._saver.keep_only(self._due.keeps(best=step))
        else:
            self.save(state, step)

    def _best_saved(self, step: int) -> int:
        """The step with the best validation of those that are there, or are now."""
        if not self._keep_best:
            return 0
        saved = checkpoints.saved_steps(self._folder.checkpoints)
        return self._writer.best_validated({*saved, self._saved_step, step})
