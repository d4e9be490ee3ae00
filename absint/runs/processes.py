"""The executor `processes`: every item in a fresh process of its own, some at a time.

A process that crashes, runs out of memory or hangs costs its own item an answer, never another one's, and is never a verdict.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import selectors
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import inf
from typing import Any

from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item
from absint.contract.record import record_of
from absint.contract.run import Run
from absint.errors import UsageError, printable
from absint.registry import plugin_content
from absint.runs.executors import Executor
from absint.runs.worker_process import WorkerProcess

GRACE = 3.0     # seconds past its limit before a worker, which answers by itself at the limit, is killed
_LOOK = 0.05    # seconds between two looks at who has died
TRIES = 2       # processes that an item may cost
# What the run itself does with its records and limits is no business of a worker's.
_OWN = {"plugin": (), "total_timeout": None, "executor": "local", "processes": None, "address": None, "out": (), "format": None,
        "journal": None, "resume": False, "bundle": None, "quiet": True}


class Processes(Executor):
    """`--executor processes`: a process an item, `--processes` at a time, each killed with its children past the item's limit.

    An item whose process died without a word is tried once more, then yields Failure E-WORKER-DIED; one killed at its limit E-TIMEOUT;
    a coded error its own code; an answer about something else E-WORKER-ANSWER. What the end of the run cut short yields nothing.
    Files are read again by every process: one that finds others than the run did says E-RUN-CHANGED, and nothing of them.
    Raises UsageError E-EXECUTOR where options cannot be sent to another process.
    """

    def records(self, analysis: Analysis[Any, Any], run: Run[Any], items: Sequence[Item]) -> Iterator[Any]:
        """In the order in which the processes answer."""
        if not hasattr(os, "killpg"):
            raise UsageError("E-EXECUTOR", "this system has no process groups", where="--executor processes", hint="use --executor local")
        with closing(_Pool(analysis, run, Orders(analysis, run), items)) as pool:
            yield from pool.records()


@dataclass(frozen=True)
class Orders:
    """What workers are told: three frames, each behind its length as 8 bytes: a JSON head, pickled options, a pickled item."""

    analysis: Analysis[Any, Any]
    run: Run[Any]

    @property
    def threads(self) -> int | None:
        """Processes beside each other share the cores: one thread each, unless the user says otherwise."""
        stated: int | None = self.run.options.threads
        return 1 if stated is None and (self.run.options.processes or 1) > 1 else stated

    @property
    def environment(self) -> Mapping[str, str]:
        """What a worker's environment has besides this one's. Idle threads sleep: on a busy machine, spinning ones cost time slices."""
        threads = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"), **threads}

    @cached_property
    def options(self) -> bytes:
        """Pickled. Raises UsageError E-EXECUTOR naming what cannot be."""
        stated = self.run.options if self.run.stated is None else self.run.stated
        options = replace(stated, **_OWN, threads=self.threads)
        try:
            return pickle.dumps(options)
        except Exception as error:  # whatever a user's object raises
            bad = [one.name for one in fields(options) if _unpicklable(getattr(options, one.name))]
            raise unsendable(", ".join(bad) or "options", error) from error

    @cached_property
    def plugins(self) -> list[tuple[str, str | None]]:
        """Files, by absolute path, with the hash of what was run here: those of the options, and those that define what is sent."""
        return [(file, _hash_of(plugin_content(file))) for file in needed_plugins(self.analysis, self.run, self.options)]

    def order(self, item: Item, limit: float) -> Sequence[bytes]:
        """The frames. limit: seconds that the item may take from now on; inf for none."""
        try:
            packed = pickle.dumps(item)
        except Exception as error:
            raise unsendable(f"item {item.index} {item.name}".rstrip(), error) from error
        head = {"analysis": self.run.analysis, "plugins": self.plugins, "binding": self.run.binding, "begin": time.monotonic(),
                "limit": None if limit == inf else limit, "total": None if self.run.left == inf else self.run.left}
        return [part for frame in (json.dumps(head).encode(), self.options, packed) for part in (len(frame).to_bytes(8, "big"), frame)]


def _hash_of(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _unpicklable(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return True
    return False


def needed_plugins(analysis: Analysis[Any, Any], run: Run[Any], sent: bytes) -> list[str]:
    """Plug-in files of the options, and those that define the analysis or what is sent, pickled; by absolute path."""
    loaded = {name: module for name, module in sys.modules.items() if name.startswith("absint_plugin_")}
    files = [module.__file__ for name, module in loaded.items()
             if module.__file__ and (name.encode() in sent or name == type(analysis).__module__)]
    return list(dict.fromkeys(os.path.abspath(file) for file in (*run.options.plugin, *files)))


def unsendable(what: str, error: Exception, where: str = "--executor processes") -> UsageError:
    """The refusal of what cannot be pickled."""
    return UsageError("E-EXECUTOR", f"{what} cannot be sent to another process: {type(error).__name__}: {error}".splitlines()[0],
                      where=where, hint="give files instead of live objects, or use --executor local")


def restored(analysis: Analysis[Any, Any], row: Mapping[str, Any]) -> Any:
    """The record of an answer; None for one that the limit of the whole run cut short, where it cannot be told so: it is not decided.

    Raises ValueError, TypeError, KeyError or AttributeError for what is no record.
    """
    record = record_of(analysis.Record, row["record"])
    if not row["cut"] or analysis.cut(record):
        return record
    return replace(record, cut=True) if hasattr(record, "cut") else None    # no part of a row


class _Pool:
    """The processes that run now, and the items that wait for one."""

    def __init__(self, analysis: Analysis[Any, Any], run: Run[Any], orders: Orders, items: Sequence[Item]) -> None:
        self.analysis, self.run, self.orders = analysis, run, orders
        self.waiting = deque((item, 1) for item in items)
        self.running: list[WorkerProcess] = []
        self.selector = selectors.DefaultSelector()

    def close(self) -> None:
        """Kill every worker."""
        for worker in self.running:
            worker.end()
        self.running.clear()
        self.selector.close()

    def records(self) -> Iterator[Any]:
        """Records and failures, as they come."""
        while self._fill():
            for key, _ in self.selector.select(self._patience()):
                key.data.pump(key.fileobj)
            for worker in list(self.running):
                if worker.settled():
                    worker.end()
                    self.running.remove(worker)
                    yield from self._outcome(worker)

    def _fill(self) -> bool:
        """Start what may start; False where nothing runs any more."""
        started = False
        while self.waiting and len(self.running) < (self.run.options.processes or 1) and not self.run.over:
            item, attempt = self.waiting.popleft()
            order = self.orders.order(item, self._limit(item))
            deadline = time.monotonic() + min(self._limit(item), self.run.left) + GRACE
            self.running.append(WorkerProcess(item, order, self.selector, attempt=attempt, deadline=deadline,
                                              environment=self.orders.environment))
            started = True
        if started:
            self.run.stage(f"at work: {', '.join(worker.item.name or str(worker.item.index) for worker in self.running)}")
        return bool(self.running)

    def _limit(self, item: Item) -> float:
        return self.run.timeout if item.limit is None else item.limit

    def _patience(self) -> float:
        return max(0.0, min(_LOOK, min(worker.deadline for worker in self.running) - time.monotonic()))

    def _outcome(self, worker: WorkerProcess) -> list[Any]:
        """What there is to say of the item of a process that has been ended, if anything."""
        if worker.answered:
            return self._answer(worker)
        return self._died(worker) if worker.died else self._killed(worker)

    def _answer(self, worker: WorkerProcess) -> list[Any]:
        """The records of a whole answer; a failure where it is an error, or about something else."""
        try:
            *rows, last = [json.loads(line) for line in worker.lines]
            if "error" in last:
                return [self._failure(worker, str(last["error"]["code"]), str(last["error"]["what"]))]
            records = [record for row in rows if (record := restored(self.analysis, row)) is not None]
            wrong = [record.index for record in records if record.index != worker.item.index]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return [self._failure(worker, "E-WORKER-ANSWER", f"the process did not answer with a record: {type(error).__name__}: {error}")]
        if wrong:
            return [self._failure(worker, "E-WORKER-ANSWER", f"the process answered about item {wrong[0]}")]
        if len(records) > 1:
            return [self._failure(worker, "E-WORKER-ANSWER", f"the process gave {len(records)} records for one item")]
        return records

    def _died(self, worker: WorkerProcess) -> list[Any]:
        if worker.attempt < TRIES:
            self.waiting.append((worker.item, worker.attempt + 1))
            return []
        return [self._failure(worker, "E-WORKER-DIED", f"its process died, {TRIES} times: {worker.death()}")]

    def _killed(self, worker: WorkerProcess) -> list[Any]:
        """Past its own limit; or the whole run's, and then the item is one that was not decided."""
        limit = self._limit(worker.item)
        if worker.begin + limit > self.run.end:
            return []
        return [self._failure(worker, TIMED_OUT, f"its process was killed, still running {GRACE:g} s past the limit of {limit:g} s")]

    def _failure(self, worker: WorkerProcess, code: str, what: str) -> Failure:
        if self.run.options.debug:
            sys.stderr.write(printable("\n".join(worker.error_lines)) + "\n")
        return Failure(worker.item.index, worker.item.name, code, " ".join(what.split()), worker.time_s)
