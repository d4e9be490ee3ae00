"""The other end of the executor `processes`: `python -m absint.runs.worker` decides one item and says what came out.

The order comes on standard input, behind which nothing follows: the end of the stream means that the run has died, and ends this
process with all that it started. The answer is a JSON line a record, then a last line: `{"end": true}`, or the error that was met.
What plug-ins print goes to standard error. The order is pickled: it comes from the process that started this one, over a pipe
that nobody else holds, and names nothing that process had not loaded itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from absint.contract.analysis import Failure
from absint.contract.record import row_of
from absint.errors import AbsintError, InputError, UsageError, printable
from absint.numeric.allocator import kept_pages
from absint.registry import load_plugin, plugin_content

LAST = (b'{"end"', b'{"error"')     # how the last line of an answer begins
_LEAST = 1e-3                       # seconds: a limit is positive
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST_START = 3600.0             # seconds; a clock that differs by more is another machine's, or another process'


def main() -> int:
    """Answer the order on standard input; returns the exit code."""
    orders, answers = _channels()
    frames = [_frame(orders) for _ in range(3)]
    threading.Thread(target=_end_with, args=(orders,), daemon=True).start()

    def say(line: Mapping[str, Any]) -> None:
        answers.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        answers.flush()

    try:
        answer(json.loads(frames[0]), frames[1], frames[2], say)
    except AbsintError as error:
        traceback.print_exc()
        where = f"{error.where}: " if error.where else ""
        say({"error": {"code": error.code, "what": printable(f"{where}{error.what}")}})
        return error.exit_code
    say({"end": True})
    return 0


def answer(head: Mapping[str, Any], options: bytes, item: bytes, say: Callable[[Mapping[str, Any]], None]) -> None:
    """Resolve the run anew and decide the item. Plug-ins come first: options may hold what they define.

    Raises UsageError E-EXECUTOR where this process cannot make what was sent, InputError E-RUN-CHANGED where files are not what the run
    was resolved from, and whatever resolving and deciding raise.
    """
    for file, sha256 in head["plugins"]:
        load_plugin(file)
        content = plugin_content(file)
        if content is None or sha256 not in (None, hashlib.sha256(content).hexdigest()):
            raise _changed(f"the plug-in {file}")
    stated, asked = _unpacked(options), _unpacked(item)
    from absint.runs.resolve import resolve  # brings torch: not before plug-ins had their say about the environment

    now = time.monotonic()
    begin = head["begin"] if 0 <= now - head["begin"] < _LONGEST_START else now
    analysis, run = resolve(head["analysis"], replace(stated, total_timeout=head["total"]), begin=begin)
    different = _different(head["binding"], run.binding)
    if different:
        raise _changed(", ".join(different))
    if head["limit"] is not None:   # what the start took is gone
        asked = replace(asked, limit=max(begin + head["limit"] - time.monotonic(), _LEAST))
    with kept_pages():
        for record in analysis.decide([asked], run):
            if isinstance(record, Failure):
                raise AbsintError(record.code, record.what)
            say({"record": row_of(record), "cut": analysis.cut(record)})


def _different(told: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What the run is bound to and this process is not: a record of other files would stand among the run's as one of its own.

    Plug-ins were looked at one by one. What is bound for the sake of a journal alone is not there without one; where an object lies in
    memory says nothing of it.
    """
    kept, now = (json.loads(_ADDRESS.sub("", json.dumps(one))) for one in (told, found))
    return [name for name, value in now.items() if name != "plugins" and name in kept and kept[name] != value]


def _changed(what: str) -> InputError:
    # A failure is shown without advice: what to do is part of what is said.
    return InputError("E-RUN-CHANGED", f"what the run was made of has changed since it began, and nothing is said of another one: {what}; "
                      "run again")


def _unpacked(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:      # whatever a class that is not here, or is another one here, raises
        raise UsageError("E-EXECUTOR", f"the order cannot be read: {type(error).__name__}: {error}", where="--executor processes",
                         hint="define classes in a module that can be imported, or give files instead of live objects") from error


def _channels() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, out of reach of whatever runs here: their places are taken by nothing and standard error."""
    orders, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, answers


def _frame(stream: BinaryIO) -> bytes:
    return _exactly(stream, int.from_bytes(_exactly(stream, 8), "big"))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        data = stream.read(min(count - len(found), 1 << 20))
        if not data:
            raise SystemExit(1)     # the run has died
        found += data
    return bytes(found)


def _end_with(stream: BinaryIO) -> None:
    """Wait for the end of the stream, then kill this process and what it started."""
    while stream.read(1 << 16):
        pass
    if os.getpgrp() == os.getpid():     # not where someone runs this by hand
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
