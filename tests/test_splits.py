"""Works are split by their id alone."""

import hashlib

import pytest

from mlgcn_jax.data import splits


def test_train_is_the_lower_three_quarters_of_the_hash():
    # The oracle: the id's sha256 as a number, compared with 3/4 of its range.
    for number in range(200):
        value = int(hashlib.sha256(str(number).encode()).hexdigest(), 16)
        expected = "train" if value * 4 < 3 * 2**256 else "validation"
        assert splits.split_of(str(number)) == expected


@pytest.mark.parametrize(
    ("work_id", "expected"),
    [
        # The first byte of what sha256sum prints; c0 and more is validation.
        ("18368063", "train"),  # 81
        ("1", "train"),  # 6b
        ("2", "validation"),  # d4
        ("猫", "train"),  # a8
    ],
)
def test_known_ids_never_change_sides(work_id, expected):
    assert splits.split_of(work_id) == expected


def test_three_quarters_train():
    num_train = sum(splits.split_of(str(i)) == "train" for i in range(10_000))
    # Four standard deviations of a binomial with p = 3/4.
    assert abs(num_train - 7500) < 4 * (10_000 * 3 / 16) ** 0.5
