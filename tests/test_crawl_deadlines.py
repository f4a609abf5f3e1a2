"""The time of an answer, however its bytes come."""

import time

import httpcore
import pytest

from mlgcn_jax.crawl.client import deadlines


@pytest.fixture
def stream() -> httpcore.NetworkStream:
    """A connection that always has something to read."""
    connection = httpcore.MockStream([b"x"] * 1000)
    event = "connection.connect_tcp.complete"
    deadlines.bound_reads(event, {"return_value": connection})
    return connection


def test_a_stream_that_never_lets_one_wait_ends_too(stream):
    deadlines.begin(0.05)
    assert stream.read(1, timeout=10.0) == b"x" and not deadlines.is_over()
    with pytest.raises(httpcore.ReadTimeout):
        while True:
            stream.read(1, timeout=10.0)
            time.sleep(0.001)
    assert deadlines.is_over()


def test_the_next_answer_on_the_connection_has_a_time_of_its_own(stream):
    deadlines.begin(0.0)
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(1)
    deadlines.begin(60.0)
    assert stream.read(1) == b"x"
