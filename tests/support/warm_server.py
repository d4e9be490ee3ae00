"""The process that `warm` forks from: imports what commands need, starts no thread, and becomes each child that is ordered.

Run as `python -P warm_server.py SOCKET`. An order is JSON with three descriptors; the answer is the child's number.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import runpy
import socket
import sys
import time
import types
from random import seed


class Later(types.ModuleType):
    """A module that is imported when something of it is first used, and not by `import`."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__version__":     # whoever looks at all modules uses none of them
            raise AttributeError(name)
        sys.modules.pop(self.__name__)
        self.__dict__.update(vars(importlib.import_module(self.__name__)))
        return self.__dict__[name]


def load() -> None:
    """All that `absint` loads for any command, its own plug-ins too; but for onnxruntime, which starts a thread when it is imported."""
    sys.modules["onnxruntime"] = Later("onnxruntime")
    import numpy  # noqa: F401
    import onnx  # noqa: F401
    import torch

    from absint.contract.analysis import ANALYSES, analysis_of
    from absint.engine.domain import DOMAINS
    from absint.model.frontend import FRONTENDS
    from absint.reports.interface import FORMATS
    from absint.search.strategy import STRATEGIES

    torch.set_num_threads(1)
    for registry in (ANALYSES, DOMAINS, FORMATS, FRONTENDS, STRATEGIES):
        registry.load_all()
    for name in ANALYSES.names():
        analysis_of(name)


def ordered(server: socket.socket) -> tuple[dict[str, object], list[int]]:
    """Wait for orders, fork; returns in the children alone. A child's parent ends at once: it is whose orphans become theirs."""
    while True:
        told, streams, _, _ = socket.recv_fds(server, 1 << 20, 3)
        if not told:
            os._exit(0)
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            before, number = os.getpid(), os.fork()
            if number == 0:
                while os.getppid() == before:       # not yet the child of the tests
                    time.sleep(0.0005)
                os.close(read)
                os.close(write)
                server.close()
                return json.loads(told), streams
            os.write(write, str(number).encode())
            os._exit(0)
        os.waitpid(between, 0)
        server.send(os.read(read, 32))
        for one in (read, write, *streams):
            os.close(one)


def become(order: dict[str, object], streams: list[int], path: list[str]) -> list[str]:
    """Everything a new process would have; returns the words after the interpreter's own options."""
    if order["session"]:
        os.setsid()
    for place, one in enumerate(streams):
        os.dup2(one, place)
        os.close(one)
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[arg-type]
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    for place, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(place, "w", closefd=False)), encoding="utf-8", errors=errors,
                                  line_buffering=place == 2 or os.isatty(place))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    seed()      # as at any start of Python
    words = list(order["words"])  # type: ignore[call-overload]
    safe = words[0] == "-P" or bool(os.environ.get("PYTHONSAFEPATH"))
    words = words[words[0] == "-P" :]
    here = [] if safe else [os.getcwd() if words[0] == "-m" else ""]
    given = [entry or os.getcwd() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)] if os.environ.get("PYTHONPATH") else []
    sys.path[:] = [*here, *given, *path]
    return words


def execute(words: list[str]) -> None:
    """`-c TEXT ...` or `-m MODULE ...`."""
    kind, what, *rest = words
    sys.argv[:] = ["-c" if kind == "-c" else what, *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(what, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    _server = socket.socket(fileno=int(sys.argv[1]))
    _path = list(sys.path)
    load()
    gc.collect()
    gc.freeze()
    if len(os.listdir("/proc/self/task")) != 1:     # a fork would lose the others, and what they hold
        _server.send(b"threads")
        os._exit(1)
    _server.send(b"ready")
    execute(become(*ordered(_server), _path))
