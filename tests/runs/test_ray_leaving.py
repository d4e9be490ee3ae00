"""What a cluster of our own has started ends with it, also what its daemons leave behind; whatever else this process has started stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from counting import until

from absint.runs.ray_leaving import Offspring, kill

pytest.importorskip("ray", reason="ray is an extra, which brings psutil")
pytest.importorskip("psutil", reason="nobody lists processes")

SLEEP = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); time.sleep(600)"


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_what_a_daemon_leaves_behind_is_ended_and_nothing_else():
    mine = subprocess.Popen([sys.executable, "-c", SLEEP])
    offspring = Offspring()
    daemon = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    agent = int(daemon.stdout.readline())
    try:
        left = offspring.processes()
        daemon.kill()       # as Ray does
        daemon.wait()
        assert alive(agent)
        kill(left)
        until(lambda: not alive(agent), 20)
        assert mine.poll() is None
    finally:
        with suppress(ProcessLookupError):
            os.kill(agent, signal.SIGKILL)
        for one in (daemon, mine):
            one.kill()
            one.communicate()
