"""Workers of `absint verify --instances`: `absint verify QUERY` in fresh processes, some at a time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from absint.cli.settings import VerifySettings
from absint.solvers.child_interpreter import python_command, python_environment
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

ANSWERS = ("unsat", "sat", "unknown", "timed-out")
_GRACE = 3.0    # seconds past its limit before a worker, which answers by itself at the limit, is killed
_CODE = re.compile(r"error\[([A-Z0-9-]+)\]")
_VERDICTS = {"unsat": Verdict.VERIFIED, "sat": Verdict.FALSIFIED, "unknown": Verdict.UNKNOWN, "timed-out": Verdict.UNKNOWN}
# Options that a worker is given as they are: field -> option.
_PASSED = {"domain": "--domain", "device": "--device", "dtype": "--dtype", "batch": "--batch", "memory": "--memory",
           "attack": "--attack", "semantics": "--semantics", "max_generators": "--max-generators",
           "base": "--base", "solver": "--solver", "neurons": "--neurons", "timeout_lp": "--timeout-lp", "timeout_milp": "--timeout-milp"}


@dataclass(frozen=True)
class Instance:
    """One line of the list. onnx, vnnlib: as written.  network, query: the files.  timeout: seconds, perhaps capped.

    sha256: of network and query, where an answer is kept under these hashes; empty for a file that could not be read.
    """

    index: int
    onnx: str
    vnnlib: str
    network: Path
    query: Path
    timeout: float
    sha256: tuple[str, str] | None = None


def worker_options(settings: VerifySettings) -> list[str]:
    """The words that every worker's command line ends in."""
    threads = settings.threads if settings.threads is not None else 1 if settings.processes > 1 else None
    words = [f"{option}={getattr(settings, name)}" for name, option in _PASSED.items() if getattr(settings, name) is not None]
    words += [] if threads is None else [f"--threads={threads}"]
    words += [] if settings.rounding else ["--no-rounding"]
    words += ["--accept-solver"] if settings.accept_solver else []
    return words + [f"--plugin={os.path.abspath(file)}" for file in settings.plugin]


def word(result: InstanceResult) -> str:
    """The answer of the standard that a result stands for."""
    if result.verdict is Verdict.UNKNOWN:
        return "timed-out" if result.reason is Reason.TIMEOUT else "unknown"
    return "unsat" if result.verdict is Verdict.VERIFIED else "sat"


def answered(instances: Sequence[Instance], options: Sequence[str], processes: int) -> Iterator[InstanceResult]:
    """One result per instance, as they are decided. Whatever ends this generator kills all workers first."""
    pool = Workers(options)
    with ThreadPoolExecutor(max_workers=processes) as executor:
        waiting: set[Future[InstanceResult]] = set()
        try:
            waiting = {executor.submit(pool.answer, instance) for instance in instances}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in waiting:
                future.cancel()
            pool.stop()


class Workers:
    """Processes that run now, so that all can be killed."""

    def __init__(self, options: Sequence[str]) -> None:
        self.options = tuple(options)
        self.lock = threading.Lock()
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False

    def answer(self, instance: Instance) -> InstanceResult:
        """Run one worker to its end, or to its death shortly after the time limit."""
        begin = time.monotonic()
        process = self._started(instance)
        if process is None:
            return unknown(instance, 0.0, "interrupted")
        try:
            out, err = process.communicate(timeout=instance.timeout + _GRACE)
        except subprocess.TimeoutExpired:
            return InstanceResult(instance.index, Verdict.UNKNOWN, reason=Reason.TIMEOUT, detail="killed",
                                  time_s=time.monotonic() - begin)
        finally:
            _kill(process)
            with self.lock:
                self.running.discard(process)
        return result_of(instance, process.returncode, out, err, time.monotonic() - begin)

    def stop(self) -> None:
        """Kill every worker, and start none any more."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        for process in running:
            _kill(process)

    def _started(self, instance: Instance) -> subprocess.Popen[bytes] | None:
        words = python_command("-m", "absint", "verify", os.path.abspath(instance.query), "--network", os.path.abspath(instance.network),
                               f"--timeout={instance.timeout}", "--format=json", "--quiet", *self.options)
        threads = next((option.partition("=")[2] for option in self.options if option.startswith("--threads=")), None)
        environment = python_environment() if threads is None else python_environment(OMP_NUM_THREADS=threads)
        with self.lock:  # between stop() and the start of a process nothing may slip through
            if self.stopped:
                return None
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=environment, start_new_session=True)
            self.running.add(process)
        return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole group: a worker's own children, too."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def unknown(instance: Instance, time_s: float, why: str) -> InstanceResult:
    """No answer, and why."""
    return InstanceResult(instance.index, Verdict.UNKNOWN, time_s=time_s, detail=why)


def _hashes(document: dict[str, Any]) -> tuple[str, str] | None:
    """Of the network and the query that a worker analysed; None where it does not say, which no instance is kept under."""
    try:
        network, query = document["model"]["sha256"], document["query"]["sha256"]
    except (KeyError, TypeError):
        return None
    return (network, query) if network and query else None


def result_of(instance: Instance, code: int, out: bytes, err: bytes, time_s: float) -> InstanceResult:
    """What a worker that ended by itself says. Only a whole document and exit code 0 are believed."""
    if code != 0:
        found = _CODE.search(err.decode("utf-8", "replace"))
        return unknown(instance, time_s, found[1] if found else f"killed by signal {-code}" if code < 0 else f"exit code {code}")
    try:
        document: dict[str, Any] = json.loads(out)
        answer, margin = document["answer"], document.get("margin")
        verdict, assurance = _VERDICTS[answer], Assurance(document.get("assurance", "none"))
        said = [str(note["note"]) for note in document.get("notes", ())]
    except (ValueError, KeyError, TypeError):
        return unknown(instance, time_s, "no answer")
    if verdict is not Verdict.UNKNOWN and instance.sha256 is not None and instance.sha256 != _hashes(document):
        return unknown(instance, time_s, "E-INSTANCES-CHANGED")  # an answer about other bytes than those it would be kept under
    if not isinstance(margin, float) or not isfinite(margin):
        margin = None
    return InstanceResult(
        instance.index, verdict, reason=Reason.TIMEOUT if answer == "timed-out" else None, margin=margin, time_s=time_s,
        assurance=assurance, detail="; ".join(filter(None, (document.get("reason"), *said))) or None, stage=document.get("stage"),
    )
