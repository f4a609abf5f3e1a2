"""Epochs in steps, and what is due after them: by counting images one by one."""

import configurations
import pytest

from mlgcn_jax.runs import epochs
from mlgcn_jax.training import due_steps


def ends_of_passes(num_examples: int, batch_size: int, num_steps: int) -> list[int]:
    """The step in which each pass ends; the oracle: images are counted, one by one."""
    seen, ends = 0, []
    for step in range(1, num_steps + 1):
        for _ in range(batch_size):
            seen += 1
            if seen % num_examples == 0:
                ends.append(step)
    return ends


@pytest.mark.parametrize(
    ("num_examples", "batch_size"),
    [(50, 8), (48, 8), (83, 42), (7, 7), (5, 1), (97, 96), (2017, 16)],
)
def test_a_step_is_due_where_a_pass_ends(num_examples, batch_size):
    passes = epochs.Epochs(num_examples, batch_size)
    num_steps = passes.first_step(12)
    ends = ends_of_passes(num_examples, batch_size, num_steps)
    assert len(ends) == 12 and ends[-1] == num_steps
    assert [passes.first_step(n) for n in range(1, 13)] == ends
    for every in (1, 2, 5):
        steps = range(1, num_steps + 1)
        due = [step for step in steps if passes.is_due(step, every=every)]
        assert due == ends[every - 1 :: every]


def test_no_float_moves_a_step():
    """3e12 images in steps of 10: in floats a third of the multiples would be off."""
    passes = epochs.Epochs(num_examples=3_000_000_000_001, batch_size=10)
    step = passes.first_step(7)
    assert step == 2_100_000_000_001  # 21,000,000,000,007 images: 7 in the last
    assert passes.is_due(step, every=7)
    assert not passes.is_due(step - 1, every=7)
    assert not passes.is_due(step + 1, every=7)


@pytest.mark.parametrize(
    ("step", "steps_per_epoch", "text"),
    [
        (0, 6.25, "0.0"),
        (62, 6.25, "9.9"),  # 9.92: rounded it would be no other, but see the next
        (1259, 126.0, "9.9"),  # 9.99
        (1260, 126.0, "10.0"),
        (63, 6.25, "10.0"),  # 10.08
        (7, 0.7, "10.0"),  # 7 / 0.7 is 10.000000000000002
        (3, 10.0, "0.3"),
        (15, 1.5, "10.0"),
    ],
)
def test_ten_epochs_are_said_after_ten_passes(step, steps_per_epoch, text):
    assert epochs.format_epoch(step, steps_per_epoch) == text


def due(**overrides) -> due_steps.DueSteps:
    """Of 20 images in steps of 8: passes end with the steps 3, 5, 8, 10, 13, 15."""
    config = configurations.tiny(num_epochs=6, log_every_steps=100, **overrides)
    return due_steps.DueSteps(config, epochs.Epochs(20, 8))


def those(is_due) -> list[int]:
    return [step for step in range(1, 16) if is_due(step)]


def test_which_steps_are_due():
    run = due(evaluate_every_epochs=2, checkpoint_every_epochs=4, keep_every_epochs=3)
    assert run.num_steps == 15
    assert those(run.logs) == [3, 5, 8, 10, 13, 15]
    assert those(run.validates) == [5, 10, 15]
    # What is kept for good is saved, though 4 epochs are no multiple of 3.
    assert those(run.saves) == [8, 10, 15]
    assert those(run.keeps(best=0)) == [8, 15]
    assert those(run.keeps(best=5)) == [5, 8, 15]


def test_the_last_step_is_due_whatever_the_intervals():
    rarely = dict.fromkeys(("evaluate_every_epochs", "checkpoint_every_epochs"), 99)
    run = due(**rarely)
    assert those(run.validates) == those(run.saves) == [15]
    assert those(run.keeps(best=0)) == []


def test_more_steps_than_can_be_counted():
    config = configurations.tiny(num_epochs=2**31 - 1)
    with pytest.raises(ValueError, match=r"num_epochs=2147483647 are .* steps of 8"):
        due_steps.DueSteps(config, epochs.Epochs(20, 8))
