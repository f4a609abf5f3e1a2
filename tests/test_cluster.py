"""Real processes that join each other over loopback, and what keeps them from it."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from mlgcn_jax.runs import cluster

PROGRAM = """
import sys
from mlgcn_jax.runs import cluster

cluster.INITIALIZATION_TIMEOUT_S = int(sys.argv[3])
found = cluster.Cluster("explicit", "test", sys.argv[1], 2, int(sys.argv[2]))
try:
    cluster.join(found)
except ValueError as error:
    sys.exit(str(error))
import jax
from jax.experimental import multihost_utils

numbers = multihost_utils.process_allgather(jax.numpy.float32(jax.process_index() + 1))
print("sum", float(numbers.sum()), "devices", jax.device_count())
jax.distributed.shutdown()
"""
WAITS_S = 60  # for the other, where it comes


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(address, process_id, *, timeout_s=WAITS_S, **environ):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, address, str(process_id), str(timeout_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )


def finish(process) -> tuple[int, str, str]:
    with process:
        try:
            output, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, output, errors


def test_a_single_process_joins_nobody():
    cluster.join(cluster.Cluster("single", "test"))


def test_two_processes_become_one_program_whatever_the_proxies(port):
    address = f"localhost:{port}"
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    started = [start(address, number, **proxies) for number in (1, 0)]
    for status, output, errors in map(finish, started):
        assert status == 0, errors
        assert "sum 3.0 devices 2\n" in output


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("", 0)) as listener:
        address = f"localhost:{listener.getsockname()[1]}"
        status, _, errors = finish(start(address, 0))
    assert status == 1
    assert "Address already in use); set JAX_COORDINATOR_ADDRESS=HOST" in errors


@pytest.mark.parametrize("process_id", [0, 1])
def test_others_that_never_come_are_told(port, process_id):
    status, _, errors = finish(start(f"localhost:{port}", process_id, timeout_s=1))
    assert status == 1
    assert "did not find each other (not all were there after 1 s)" in errors


def test_a_signal_ends_the_wait(port):
    """JAX by itself would wait for its five minutes first."""
    process = start(f"localhost:{port}", 1)
    with socket.create_server(("", port)) as listener:
        connection, _ = listener.accept()  # so it is waiting now
        with connection:
            process.send_signal(signal.SIGTERM)
            begin = time.monotonic()
            status, _, _ = finish(process)
    assert status == -signal.SIGTERM
    assert time.monotonic() - begin < WAITS_S / 2
