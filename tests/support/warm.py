"""Processes of Python that need not import torch and absint first: forked, for one test each, from one that has.

`Popen` and `run` are those of `subprocess`. A command of this interpreter (`-c` or `-m`, with or without `-P`) becomes a child of the
tests' own process as any other would, with its standard streams, environment, folder and session; everything else is started as ever.
What such a child is not: it has read no environment at the start (locale, OMP_NUM_THREADS, PYTHONHASHSEED) and its modules are loaded,
so tests of these, of import time and of the interpreter's own options start theirs with `subprocess`.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

SERVER = Path(__file__).with_name("warm_server.py")
_SUBREAPER = 36     # PR_SET_CHILD_SUBREAPER of prctl(2)
_STARTED = subprocess.Popen     # as it is, whatever a test puts in its place


@cache
def _server() -> socket.socket | None:
    """The end of a socket that orders go to; None where this system forks no such children."""
    if sys.platform != "linux":
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    environment["OMP_NUM_THREADS"] = "1"
    made = _STARTED([sys.executable, "-P", str(SERVER), str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                    env=environment, start_new_session=True)
    theirs.close()
    atexit.register(lambda: (ours.close(), made.wait()))
    return ours if ours.recv(16) == b"ready" else None


def _warm(args: Any) -> list[str] | None:
    """What follows the interpreter in a command that a fork can take over, else None."""
    words = [os.fsdecode(word) for word in args] if isinstance(args, (list, tuple)) else []
    if len(words) < 3 or words[0] != sys.executable:
        return None
    return words[1:] if words[1] in ("-c", "-m") or (words[1] == "-P" and words[2] in ("-c", "-m")) else None


class Popen(_STARTED):  # type: ignore[misc]
    """`subprocess.Popen`, warm where the command and what is asked of it allow that."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
                       p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *more):
        words, start_new_session = _warm(args), more[-2]
        plain = preexec_fn is None and not pass_fds and not shell and executable is None
        server = _server() if words is not None and plain else None
        if server is None:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
                                   p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *more)
            return
        order = {"words": words, "cwd": os.fspath(cwd or os.getcwd()), "session": start_new_session,
                 "env": {os.fsdecode(k): os.fsdecode(v) for k, v in (os.environ if env is None else env).items()}}
        streams = [place if given == -1 else given for place, given in enumerate((p2cread, c2pwrite, errwrite))]
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_SUBREAPER, 1, 0, 0, 0)       # who is orphaned now becomes this process's child: the one asked for
        try:
            socket.send_fds(server, [json.dumps(order).encode()], streams)
            self.pid = int(server.recv(32))
        finally:
            prctl(_SUBREAPER, 0, 0, 0, 0)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def run(*args: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run`, warm."""
    with patch.object(subprocess, "Popen", Popen):
        return subprocess.run(*args, **options)  # noqa: PLW1510  # as the caller says
