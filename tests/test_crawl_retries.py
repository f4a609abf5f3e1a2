"""Budgets, growing pauses, and what a site asks for by Retry-After."""

import pytest

from mlgcn_jax.crawl.client import retries


def test_it_is_tried_as_often_as_the_budget_says():
    tries, pauses = [], []

    def attempt() -> None:
        tries.append(1)
        raise retries.RetryableError(f"HTTP 50{len(tries)}")

    retrier = retries.Retrier(
        4, sleep=pauses.append, first_wait_s=10.0, longest_wait_s=25.0
    )
    with pytest.raises(retries.GaveUpError, match="HTTP 504"):
        retrier.call(attempt)
    assert len(tries) == 4
    for pause, most in zip(pauses, (10, 20, 25), strict=True):
        assert most / 2 <= pause <= most


def test_what_comes_at_last_is_returned():
    answers = iter([retries.RetryableError("a"), retries.RetryableError("b"), "well"])

    def attempt() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retries.Retrier(3, sleep=lambda _: None).call(attempt) == "well"


def test_other_errors_are_not_tried_again():
    tries = []

    def attempt() -> None:
        tries.append(1)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        retries.Retrier(5, sleep=lambda _: None).call(attempt)
    assert tries == [1]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120),
        ({"retry-after": "0"}, 0),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 30}, 86400),
        (
            {
                "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT",
                "date": "Wed, 21 Oct 2015 07:26:30 GMT",
            },
            90,
        ),
        (  # of the past, as our clock has it too
            {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"},
            0,
        ),
        (
            {
                "retry-after": "Wed, 21 Oct 2099 07:28:00 GMT",
                "date": "Wed, 21 Oct 2015 07:26:30 GMT",
            },
            86400,
        ),
    ],
)
def test_retry_after(headers, seconds):
    assert retries.retry_after_s(headers) == seconds
