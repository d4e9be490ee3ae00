"""The queue of `constrained_ibp.py`: trainings in processes of their own, some at a time, stopped and continued at any moment.

OUT/NAME/ is the folder of a training (`--save`), OUT/NAME.jsonl its journal; OUT/NAME.json says how far it is, OUT/NAME.log what it
printed.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from constrained_ibp_data import AbsentError, place
from constrained_ibp_runs import Run

DONE, CUT, FAILED, ABSENT = "done", "cut", "failed", "absent"
_DEATH = 1                  # PR_SET_PDEATHSIG of prctl
_PATIENCE_S = 180.0         # for a checkpoint to be written
_LOOK_S = 0.2


@dataclass(frozen=True)
class Queue:
    """out: a folder.  data: the folder of the data sets' folders.  jobs: at a time, of `threads` each.

    nice: added to the number of their priority.  command: what trains; followed by the words of a run.
    """

    out: Path
    data: Path | None
    jobs: int = 2
    threads: int = 1
    nice: int = 0
    device: str = "cpu"
    command: tuple[str, ...] = (sys.executable, "-m", "absint", "train")


@dataclass
class Job:
    """A training that is going on."""

    run: Run
    process: subprocess.Popen[bytes]
    began: float
    before: float


class Stop:
    """Whether to end: at a time, or when a signal says so."""

    def __init__(self, end: float) -> None:
        self.end, self.asked = end, False

    def ask(self, *_: object) -> None:
        """A signal's handler."""
        self.asked = True

    def __bool__(self) -> bool:
        return self.asked or time.monotonic() >= self.end


def kept(out: Path, name: str) -> dict[str, Any] | None:
    """How far a run is; None for one that never began."""
    path = out / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def keep(out: Path, name: str, found: dict[str, Any]) -> None:
    """In one step: a kill leaves what was there."""
    part = out / f".{name}.json"
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(part, out / f"{name}.json")


def work(queue: Queue, runs: Sequence[Run], end: float, wrote: Callable[[], None]) -> bool:
    """Every run that is not done, in order; whether none failed. wrote: called after each.

    At the end, or on an interrupt, trainings are interrupted, which keep what they have; the next call goes on there.
    """
    queue.out.mkdir(parents=True, exist_ok=True)
    stop = Stop(end)
    handlers = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (queue.out / ".lock").open("w") as lock:
            alone(lock)
            return _worked(queue, [run for run in runs if (kept(queue.out, run.name) or {}).get("state") != DONE], stop, wrote)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def alone(lock: IO[str]) -> None:
    """Two queues in one folder would train the same networks. Leaves with a message."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("another queue works in this folder", file=sys.stderr)
        raise SystemExit(2) from None


def _worked(queue: Queue, waiting: list[Run], stop: Stop, wrote: Callable[[], None]) -> bool:
    jobs: list[Job] = []
    failed = False
    try:
        while jobs or (waiting and not stop):
            while waiting and len(jobs) < queue.jobs and not stop:
                job = begin(queue, waiting.pop(0))
                jobs += [job] if job else []
            if stop:
                interrupt(jobs)
            ended = [job for job in jobs if job.process.poll() is not None]
            jobs = [job for job in jobs if job not in ended]
            for job in ended:
                failed |= finish(queue, job, bool(stop)) == FAILED
                wrote()
            time.sleep(0 if ended else _LOOK_S)
    finally:
        interrupt(jobs)     # an error of ours leaves no training behind
    return not failed


def begin(queue: Queue, run: Run) -> Job | None:
    """Start a training, or go on with it; None where its data are absent."""
    before = kept(queue.out, run.name) or {"seconds": 0.0}
    try:
        data = place(queue.data, run.data, queue.out)
    except AbsentError as error:
        keep(queue.out, run.name, {**before, "state": ABSENT, "error": str(error)})
        print(f"{run.name}: absent: {error}", flush=True)
        return None
    command = [*queue.command, *run.words, "--data", str(data), "--save", str(queue.out / run.name), "--journal",
               str(queue.out / f"{run.name}.jsonl"), "--resume", "--threads", str(queue.threads), "--device", queue.device, "--quiet"]
    threads = {name: str(queue.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    bound = [sys.executable, __file__, str(queue.nice), str(os.getpid())]
    with (queue.out / f"{run.name}.log").open("ab") as log:
        process = subprocess.Popen([*bound, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                   env={**os.environ, **threads})
    keep(queue.out, run.name, {**before, "state": CUT, "command": command, "machine": machine(queue)})
    print(f"{run.name}: {'goes on' if before['seconds'] else 'begins'}", flush=True)
    return Job(run, process, time.monotonic(), before["seconds"])


def become(nice: int, parent: int, command: Sequence[str]) -> None:
    """Turn this process into a training that is interrupted should the queue be killed."""
    os.nice(nice)
    with suppress(OSError, AttributeError):     # Linux alone has it
        ctypes.CDLL(None).prctl(_DEATH, signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getppid() == parent:
        os.execvp(command[0], command)


def interrupt(jobs: Sequence[Job]) -> None:
    """Ask all to end and wait; kill what does not."""
    for job in jobs:
        if job.process.poll() is None:
            job.process.send_signal(signal.SIGINT)
    limit = time.monotonic() + _PATIENCE_S
    for job in jobs:
        try:
            job.process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()


def finish(queue: Queue, job: Job, stopped: bool) -> str:
    """Keep how a training ended: done, cut by us, or failed, with its last words."""
    code, spent = job.process.returncode, time.monotonic() - job.began
    state = DONE if code == 0 else CUT if stopped else FAILED
    found = {**(kept(queue.out, job.run.name) or {}), "state": state, "exit": code, "seconds": round(job.before + spent, 1)}
    found.pop("error", None)
    if state == FAILED:
        found["error"] = last_words(queue.out / f"{job.run.name}.log")
    keep(queue.out, job.run.name, found)
    print(f"{job.run.name}: {state}, {spent:.0f} s{': ' + found['error'] if state == FAILED else ''}", flush=True)
    return state


def last_words(log: Path, most: int = 300) -> str:
    """The end of what a training printed."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-most:]


def machine(queue: Queue) -> str:
    """What a figure needs to be repeated."""
    from measure import machine as described

    return f"{described()}; {queue.jobs} trainings at a time, {queue.threads} thread each, on {queue.device}"


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
