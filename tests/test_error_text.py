"""One line of somebody else's error, whatever it has."""

import pytest

from mlgcn_jax.data import error_text, foreign_code


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("no space", "no space"),
        ("first\nsecond", "first"),
        ("\n  after an empty line\n", "after an empty line"),
        ("", "without a word"),
        ("\n", "without a word"),
    ],
)
def test_the_first_line(message, line):
    assert error_text.first_line(OSError(message)) == line
    assert error_text.said(ValueError(message)) == f"ValueError: {line}"


def test_code_of_others_is_told_in_one_line():
    with pytest.raises(ValueError) as raised:
        with foreign_code.refused("head 'a:B'", "where it is made", advice="mend it"):
            raise KeyError
    assert str(raised.value) == (
        "head 'a:B' fails where it is made: KeyError: without a word; mend it"
    )
    assert isinstance(raised.value.__cause__, KeyError)
