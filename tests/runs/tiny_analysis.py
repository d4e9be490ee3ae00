"""A plug-in file: the analysis `tiny`, whose items say what their process does. No network, no torch.

In a worker it stands in for `absint.runs.resolve`, which would load torch for nothing: a worker takes a tenth of a second then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any

from absint.contract.analysis import Analysis, Item, register_analysis
from absint.contract.common_options import RunOptions
from absint.contract.document import Document
from absint.contract.options import METHOD, option
from absint.contract.run import Run
from absint.errors import InputError


@dataclass(frozen=True)
class TinyOptions(RunOptions):
    given: Any = option(None, "Anything.", group=METHOD)


@dataclass(frozen=True)
class Thing:
    """A live object of a class that only this file defines."""

    word: str


@dataclass(frozen=True)
class TinyRecord:
    index: int
    said: str = ""
    cut: bool = False


@register_analysis("tiny")
class Tiny(Analysis[TinyOptions, TinyRecord]):
    """Does what its items say."""

    Options = TinyOptions
    Record = TinyRecord

    def decide(self, items: Sequence[Item], run: Run[TinyOptions]) -> Iterator[TinyRecord]:
        for item in items:
            yield from DEEDS[item.payload[0]](item, run)

    def document(self, records: Sequence[TinyRecord], run: Run[TinyOptions]) -> Document:
        return Document()


def answer(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    yield TinyRecord(item.index, "well")


def about(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    """What a worker finds around it; it prints, and reads what nobody wrote."""
    sys.stdout.write('{"end": true}\n')
    sys.stdout.flush()
    os.write(1, b"noise\n")
    assert sys.stdin.read() == ""
    yield TinyRecord(item.index, repr((os.getcwd(), os.environ.get("OMP_NUM_THREADS"), run.options.threads, run.options.given, item.limit,
                                       run.end < inf, run.options.journal, run.options.plugin)))


def die_once(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    mark = Path(item.payload[1])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield TinyRecord(item.index, "at last")


def die(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    with open(item.payload[1], "a", encoding="ascii") as file:
        file.write("x")
    yield TinyRecord(item.index, "too early")
    os.kill(os.getpid(), signal.SIGKILL)


def leave(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    yield TinyRecord(item.index, "too early")
    os._exit(0)


def stumble(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    yield TinyRecord(item.index, "too early")
    raise ZeroDivisionError("of mine")


def complain(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    with open(item.payload[1], "a", encoding="ascii") as file:
        file.write("x")
    yield TinyRecord(item.index, "too early")
    raise InputError("E-TINY", "is bad\nindeed", where="file.csv")


def stray(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    yield TinyRecord(item.index + 1, "of another one")


def twice(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    yield TinyRecord(item.index, "one")
    yield TinyRecord(item.index, "two")


def mangle(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    sys.modules["__main__"].row_of = lambda record: {"index": record.index}
    yield TinyRecord(item.index, "lost")


def tear(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    """Half a line, as a full disk or a kill leaves it."""
    worker: Any = sys.modules["__main__"]
    whole = worker.json.dumps
    worker.json.dumps = lambda *line, **more: whole(*line, **more)[:-4]
    yield TinyRecord(item.index, "torn")


def silent(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    yield from ()


def cut(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    sys.modules["__main__"].row_of = lambda record: {"index": record.index, "said": "cut", "cut": False}
    yield TinyRecord(item.index, "cut", cut=True)


def big(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    yield TinyRecord(item.index, str(sum(run.options.given)) + "x" * 1_000_000)


def wait(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    """Until a file is there."""
    while not Path(item.payload[1]).exists():
        time.sleep(0.01)
    yield TinyRecord(item.index, "waited")


def hang(item: Item, run: Run[TinyOptions]) -> Iterator[TinyRecord]:
    """Tell the numbers of this process and of its child, then never end."""
    child = subprocess.Popen(["sleep", "1000"])
    Path(item.payload[1]).write_text(f"{os.getpid()} {child.pid} ", encoding="ascii")
    time.sleep(1000)
    yield TinyRecord(item.index, "never")


DEEDS = {deed.__name__: deed for deed in (answer, about, die_once, die, leave, stumble, complain, stray, twice, mangle, tear, silent, cut,
                                          big, wait, hang)}


def resolve(name: str, options: TinyOptions, *, command: str = "", begin: float) -> tuple[Tiny, Run[TinyOptions]]:
    total = options.total_timeout
    return Tiny(), Run(name, options, command, begin, end=inf if total is None else begin + float(total))


if getattr(sys.modules["__main__"].__spec__, "name", "") == "absint.runs.worker":
    stand_in: Any = ModuleType("absint.runs.resolve")
    stand_in.resolve = resolve
    sys.modules["absint.runs.resolve"] = stand_in
