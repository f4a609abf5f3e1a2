"""Windows: every day is covered, none is too long, and what is not shown is found."""

import datetime
import itertools

import hypothesis
from hypothesis import given
from hypothesis import strategies as st

from mlgcn_jax.crawl import windows

DAY = datetime.timedelta(days=1)
DAYS = st.dates(datetime.date(2000, 1, 1), datetime.date(2030, 1, 1))


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def window(first: str, last: str) -> windows.Window:
    return windows.Window(day(first), day(last))


def days_of(span: windows.Window) -> set[datetime.date]:
    return {span.first + n * DAY for n in range(span.days)}


def test_a_year_and_a_bit_is_two_windows_that_share_a_day():
    assert list(windows.plan(day("2023-01-01"), day("2024-01-04"))) == [
        window("2023-01-10", "2024-01-04"),  # 360 days
        window("2023-01-01", "2023-01-10"),
    ]


def test_360_days_are_one_window_and_361_are_two():
    assert list(windows.plan(day("2023-01-01"), day("2023-12-26"))) == [
        window("2023-01-01", "2023-12-26")
    ]
    assert len(list(windows.plan(day("2023-01-01"), day("2023-12-27")))) == 2


@given(DAYS, DAYS)
def test_a_plan_covers_all_days_and_no_others(one, other):
    first, last = sorted((one, other))
    spans = list(windows.plan(first, last))
    assert all(1 <= span.days <= windows.MAX_DAYS for span in spans)
    assert set().union(*map(days_of, spans)) == days_of(windows.Window(first, last))
    for later, earlier in itertools.pairwise(spans):
        assert later.first == earlier.last


def test_the_rest_goes_from_the_oldest_day_seen_and_one_more():
    full = window("2023-01-01", "2023-12-01")
    assert windows.rest(full, day("2023-06-10")) == [window("2023-01-01", "2023-06-11")]


def test_a_last_day_that_fills_a_window_is_searched_by_itself():
    full = window("2023-01-01", "2023-12-01")
    expected = [window("2023-12-01", "2023-12-01"), window("2023-01-01", "2023-11-30")]
    assert windows.rest(full, day("2023-12-01")) == expected
    assert windows.rest(full, day("2023-11-30")) == expected


def test_a_single_day_has_no_rest():
    assert windows.rest(window("2023-01-01", "2023-01-01"), day("2023-01-01")) == []


def test_without_a_day_a_window_is_halved():
    full = window("2023-01-01", "2023-01-31")
    assert windows.rest(full, None) == [window("2023-01-01", "2023-01-17")]
    assert windows.rest(full, day("1999-01-01")) == windows.rest(full, None)


@hypothesis.settings(deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=120),
    st.integers(1, 80),
)
def test_all_is_seen_but_what_one_day_alone_has_too_much(works_of_day, cap):
    """A site that shows the `cap` newest works of a window."""
    first = day("2020-01-01")
    days = [first + n * DAY for n in range(len(works_of_day))]
    works = [
        (when, number)
        for when, count in zip(days, works_of_day, strict=True)
        for number in range(count)
    ]
    todo, seen, overflows, num_searches = (
        [windows.Window(first, days[-1])],
        set(),
        [],
        0,
    )
    while todo:
        span = todo.pop()
        num_searches += 1
        found = [work for work in works if span.first <= work[0] <= span.last]
        shown = found[-cap:]
        seen |= set(shown)
        if len(found) > cap:
            spans = windows.rest(span, shown[0][0])
            assert all(days_of(part) < days_of(span) for part in spans)
            todo += spans
            overflows += [] if spans else [span.first]
    too_many = {when for when, n in zip(days, works_of_day, strict=True) if n > cap}
    assert set(overflows) == too_many
    assert {w for w in works if w[0] not in too_many} <= seen
    # Each search but a single day's shows new works or takes a day away.
    assert num_searches <= 3 * len(days) + len(works) // cap
