"""Pace, pauses and daily caps, on a clock that the test turns."""

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlgcn_jax.crawl.client import pace, stopping


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self, start: float = 0.0):
        self.now = start

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def make_pacer(interval_s: float, clock: Clock) -> pace.Pacer:
    return pace.Pacer(interval_s, clock=clock.read, sleep=clock.sleep)


def test_the_first_goes_out_at_once_and_the_others_an_interval_apart():
    clock = Clock(1e6)
    pacer = make_pacer(1.5, clock)
    moments = []
    for _ in range(4):
        pacer.wait()
        moments.append(clock.now - 1e6)
    assert moments == [0, 1.5, 3, 4.5]


def test_time_that_passed_otherwise_counts():
    clock = Clock()
    pacer = make_pacer(1.5, clock)
    pacer.wait()
    clock.now += 1.0
    pacer.wait()
    assert clock.now == 1.5
    clock.now += 100
    pacer.wait()
    assert clock.now == 101.5  # late, but nothing is made up for
    pacer.wait()
    assert clock.now == 103


@given(
    st.floats(0.01, 10),
    st.lists(st.floats(0, 30), min_size=2, max_size=30),
)
def test_no_two_requests_are_closer_than_the_interval(interval_s, idle):
    clock = Clock()
    pacer = make_pacer(interval_s, clock)
    moments = []
    for seconds in idle:
        clock.now += seconds
        pacer.wait()
        moments.append(clock.now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert min(gaps) >= interval_s - 1e-9


def test_threads_share_the_pace():
    pacer = pace.Pacer(0.005)
    moments = []

    def ask() -> None:
        for _ in range(4):
            pacer.wait()
            moments.append(pace.time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(moments) - min(moments) >= 19 * 0.005 - 0.002  # 20 requests, 19 gaps


def test_slowing_down_pauses_and_halves_the_rate_once_for_all_threads():
    clock = Clock()
    pacer = make_pacer(1.0, clock)
    pacer.wait()
    for _ in range(16):  # so many requests were under way
        pacer.slow_down(300.0)
        clock.now += 0.01
    assert pacer.interval_s == 2.0
    pacer.wait()
    assert clock.now == pytest.approx(300.15)
    pacer.wait()
    assert clock.now == pytest.approx(302.15)
    pacer.slow_down(300.0)
    assert pacer.interval_s == 4.0


def test_a_pause_holds_those_who_wait_already():
    clock = Clock()
    pacer = make_pacer(1.0, clock)
    pacer.wait()

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now < 2:  # while it sleeps, another thread is told to pause
            pacer.pause(50.0)

    slow = pace.Pacer(1.0, clock=clock.read, sleep=sleep)
    pacer = slow
    slow.wait()
    slow.wait()
    assert clock.now >= 51


def test_a_stop_ends_the_wait():
    stop = stopping.Stop()
    pacer = pace.Pacer(1000.0, sleep=stop.sleep)
    pacer.wait()
    threading.Timer(0.02, stop.set).start()
    with pytest.raises(stopping.StoppedError):
        pacer.wait()


def test_the_daily_cap_ends_with_the_day():
    days = iter(["2024-01-01"] * 3 + ["2024-01-02"] * 2)
    count = pace.DailyCount(3, {"2024-01-01": 1}, today=lambda: next(days))
    count.take()
    count.take()
    with pytest.raises(pace.DailyCapError, match="3 requests went out on 2024-01-01"):
        count.take()
    count.take()
    count.take()
    assert count.counts() == {"2024-01-01": 3, "2024-01-02": 2}


def test_without_a_cap_requests_are_counted_all_the_same():
    count = pace.DailyCount(None, {}, today=lambda: "2024-01-01")
    for _ in range(7):
        count.take()
    assert count.counts() == {"2024-01-01": 7}
