"""A polite kill is a Ctrl-C: it ends a run in order, waits where a line is being written, and leaves `nohup` alone."""

from __future__ import annotations

import os
import signal

import pytest

from absint.runs.interrupts import interruptible
from absint.runs.output import interrupts_deferred

POLITE = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def restored():
    """The handlers that were there. Inside, a polite kill is heard, whatever the suite was started by: nohup ignores SIGHUP."""
    numbers = (signal.SIGINT, *POLITE)
    before = [signal.getsignal(number) for number in numbers]
    for number in POLITE:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", POLITE)
def test_a_polite_kill_interrupts(number):
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is not signal.SIG_IGN


@pytest.mark.parametrize("number", POLITE)
def test_it_waits_for_the_end_of_a_line(number):
    done = []

    def write() -> None:
        with interruptible(), interrupts_deferred():
            os.kill(os.getpid(), number)
            done.append("the line")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["the line"]


def test_it_is_heard_where_ctrl_c_is_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), signal.SIGTERM)


def test_nohup_is_heard():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    except KeyboardInterrupt:
        pytest.fail("a hangup that is ignored ended the run")
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
