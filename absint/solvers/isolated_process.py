"""Programs of other people, run so that nothing of them outlives its limit, its caller or its caller's death."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from absint.solvers.child_interpreter import python_environment
from absint.solvers.model import Limits, SolverError

_POLL = 0.02


def run_isolated(command: Sequence[str], folder: Path, limits: Limits, grace: float) -> bool:
    """Run a command in a session of its own, in `folder`; False where the caller's `stop` ended it.

    Its standard input is a pipe that nothing is written to: it sees the end of it once this process has died, and must kill
    its own process group then. Its whole group is killed when it ends, at the limit, at `stop` and on any exception here.
    Where it is Python, `python_command` makes the command.
    Output goes to the file `log` in `folder`.  Raises SolverError E-SOLVER-HANG `grace` seconds past the limit, E-SOLVER-CRASH
    where the exit status is not 0.
    """
    deadline = time.monotonic() + limits.seconds + grace
    with (folder / "log").open("wb") as log:
        try:
            child = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                                     env=python_environment())
        except OSError as error:
            raise SolverError("E-SOLVER-MISSING", f"cannot be started: {error}", where=command[0]) from error
        try:
            while not ended(child):
                if limits.stopped:
                    return False
                if time.monotonic() > deadline:
                    raise SolverError("E-SOLVER-HANG", f"still running {grace:g} s past its limit of {limits.seconds:g} s")
                time.sleep(_POLL)
        finally:
            end(child)
    if child.returncode != 0:
        raise SolverError("E-SOLVER-CRASH", f"exit status {child.returncode}", details=_tail(folder / "log"))
    return True


def ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the leader has ended. It is not reaped, so that its group's number cannot be given to anybody else."""
    if not hasattr(os, "waitid"):
        return child.poll() is not None
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group that a child leads, then reap it."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    if child.stdin is not None:
        child.stdin.close()
    child.wait()


def _tail(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
