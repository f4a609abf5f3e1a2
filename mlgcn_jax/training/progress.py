"""What a run tells while it trains: loss, rate, images/s, waiting, time left."""

import datetime
import math
import time
from typing import Any

import jax
from absl import logging

from mlgcn_jax.runs import epochs, metric_writer
from mlgcn_jax.training import memory, vital_signs

# Of the step itself, where the other metrics are means over the steps before it too.
_OF_THE_STEP = ("learning_rate", "param_norm")


class NonFiniteError(ValueError):
    """Training has diverged: a loss, gradient or parameter is NaN or infinite."""


class Progress:
    """Gathers the metrics of steps on the device and reports them now and then.

    Fetching them waits for the device, so it happens only at `report`.
    """

    def __init__(
        self,
        writer: metric_writer.MetricWriter,
        signs: vital_signs.VitalSigns,
        *,
        batch_size: int,
        step: int,
        num_steps: int,
        steps_per_epoch: float | int,
    ):
        """Starts the clock at `step` of `num_steps`."""
        self._writer = writer
        self._signs = signs
        self._batch_size = batch_size
        self._num_steps = num_steps
        self._steps_per_epoch = steps_per_epoch
        self._step = step
        self._compiled = False
        self._pending: list[dict[str, jax.Array]] = []
        self._signs.enter(vital_signs.COMPILING)
        self._signs.report(
            {"step": step, "num_steps": num_steps, "steps_per_epoch": steps_per_epoch}
        )
        self.resume_clock()

    def add(self, step_metrics: dict[str, jax.Array], *, data_wait_s: float) -> None:
        """Takes the metrics of the next step, still on the device."""
        self._pending.append(step_metrics)
        self._timed_steps += 1
        self._data_wait_s += data_wait_s
        if not self._compiled:
            # The first step compiles: it says nothing about the speed of the others.
            jax.block_until_ready(step_metrics)
            seconds = time.perf_counter() - self._start
            logging.info("the first step took %.1f s with its compilation", seconds)
            self._compiled = True
            self._signs.enter(vital_signs.TRAINING)
            self.resume_clock()
        self._signs.beat(f"step {self._step + len(self._pending)} was started")

    def report(self) -> None:
        """Writes and logs what was gathered since the last report.

        Loss and gradient norm are means over these steps, learning rate and parameter
        norm those of the last of them. Speed and time left, of these steps too, are
        missing where none was timed.

        Raises:
            NonFiniteError: a loss, gradient or parameter among them is not finite.
        """
        if not self._pending:
            return
        for step, step_metrics in enumerate(self._pending, start=self._step + 1):
            jax.block_until_ready(step_metrics)
            self._signs.beat(f"step {step} was done")
        fetched = jax.device_get(self._pending)
        elapsed_s = time.perf_counter() - self._start
        for step, step_metrics in enumerate(fetched, start=self._step + 1):
            _check_finite(step, step_metrics)
        self._step += len(fetched)
        figures: dict[str, float] = {
            name: float(sum(m[name] for m in fetched) / len(fetched))
            for name in fetched[0]
        }
        figures |= {name: float(fetched[-1][name]) for name in _OF_THE_STEP}
        text = (
            f"step {self._step}/{self._num_steps}  "
            f"epoch {epochs.format_epoch(self._step, self._steps_per_epoch)}  "
            f"loss {figures['loss']:.4f}  rate {figures['learning_rate']:.2e}"
        )
        if self._timed_steps:
            step_s = elapsed_s / self._timed_steps
            figures["step_s"] = step_s
            figures["images_per_s"] = self._batch_size / step_s
            figures["data_wait_share"] = self._data_wait_s / elapsed_s
            left_s = round(step_s * (self._num_steps - self._step))
            text += (
                f"  {figures['images_per_s']:.0f} images/s  "
                f"({100 * figures['data_wait_share']:.0f}% waiting for data)  "
                f"{datetime.timedelta(seconds=left_s)} left"
            )
        figures |= memory.in_use()
        self._writer.write(self._step, figures)
        self._signs.report({"step": self._step, **figures})
        logging.info("%s", text)
        self._pending = []
        self.resume_clock()

    def resume_clock(self) -> None:
        """Starts the clock anew, after something that was not training."""
        self._timed_steps = 0
        self._data_wait_s = 0.0
        self._start = time.perf_counter()


def _check_finite(step: int, step_metrics: dict[str, Any]) -> None:
    values = {name: float(value) for name, value in step_metrics.items()}
    if not all(map(math.isfinite, values.values())):
        raise NonFiniteError(
            f"training diverged at step {step}: the loss is {values['loss']:.4g} "
            f"(learning rate {values['learning_rate']:.3g}, gradient norm "
            f"{values['grad_norm']:.3g}, parameter norm {values['param_norm']:.3g}); "
            "nothing was saved since the last checkpoint: train in a new --workdir "
            "with a lower config.optimizer.learning_rate, or with "
            "config.optimizer.clip_norm"
        )
