import os
import signal

import pytest

from mlgcn_jax.training import interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_then_raised_where_it_is_looked_for(number):
    before = signal.getsignal(number)
    with interruption.catch_signals() as interrupted:
        interrupted.check()
        os.kill(os.getpid(), number)
        assert interrupted.signal == number
        with pytest.raises(interruption.Interrupted):
            interrupted.check()
    assert signal.getsignal(number) == before


def test_a_second_sigterm_does_not_kill_the_save():
    with interruption.catch_signals() as interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted.signal == signal.SIGTERM


def test_a_second_ctrl_c_would_end_the_process():
    with interruption.catch_signals() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.signal == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
