"""The other end of the executor `ray`: an actor that keeps one resolved run and decides the items that it is handed.

An answer is lines of JSON: `{"index": ..., "record": ..., "cut": ...}` or `{"index": ..., "failure": ...}` the moment they are known, then
a last line:
`{"end": true}`, `{"error": ...}` of our own, or `{"raised": ...}` of anything else.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any

from absint.contract.analysis import Failure
from absint.contract.record import row_of
from absint.errors import AbsintError, printable
from absint.numeric.allocator import kept_pages
from absint.runs.parcel import Parcel, SentFile, at_hand, opened, unpacked_items


class RayWorker:
    """Lives in a process of its own on some node. Whatever is wrong with its node is said by `ready`, not by dying."""

    def __init__(self, parcel: Parcel) -> None:
        self._refused: Mapping[str, str] | None = None
        try:
            with tempfile.TemporaryDirectory(prefix="absint-") as folder:   # a module that was loaded needs no file
                self._analysis, run = opened(parcel, Path(folder))
            self._run = _set_up(run)
        except AbsintError as error:
            self._refused = _told(error)
        except Exception as error:      # a plug-in's, or a library's that is damaged on this node
            self._refused = {"code": "E-EXECUTOR", "what": f"the worker could not start: {type(error).__name__}: {error}", "hint": ""}

    def ready(self) -> Mapping[str, Any]:
        """The node's address, and why it cannot decide anything, if so."""
        import ray

        return {"node": ray.util.get_node_ip_address(), "id": ray.get_runtime_context().get_node_id(), "refused": self._refused}

    def decide(self, packed: bytes, left: float | None, files: Sequence[Any]) -> Iterator[str]:
        """The answer about some items. left: seconds of the whole run.  files: references to `SentFile`."""
        import ray

        try:
            sent: list[SentFile] = ray.get(list(files))
            with at_hand(sent) as places, kept_pages():
                yield from self._lines(packed, left, places)
        except AbsintError as error:
            yield json.dumps({"error": _told(error)})
        except Exception as error:
            traceback.print_exc(file=sys.stderr)    # in the worker's log, which Ray keeps
            yield json.dumps(_raised(error))
        else:
            yield json.dumps({"end": True})

    def _lines(self, packed: bytes, left: float | None, places: Mapping[Path, Path]) -> Iterator[str]:
        now = time.monotonic()
        run = replace(self._run, begin=now, end=inf if left is None else now + left)
        items = [self._analysis.moved(item, places) if places else item for item in unpacked_items(packed)]
        for record in self._analysis.decide(items, run):
            told = {"failure": asdict(record)} if isinstance(record, Failure) else {
                "record": row_of(record), "cut": self._analysis.cut(record)}
            yield json.dumps({"index": record.index, **told}, allow_nan=False)


def _set_up(run: Any) -> Any:
    """Threads, the device, and this worker's share of the node's memory where nobody says how much it may use."""
    from absint.numeric.backend import default_memory
    from absint.runs.inputs import set_up_device

    set_up_device(run.options)
    if run.options.memory is None and run.options.device == "cpu":
        return replace(run, options=replace(run.options, memory=default_memory(threads=run.options.threads)))
    return run


def _told(error: AbsintError) -> Mapping[str, str]:
    where = f"{error.where}: " if error.where else ""
    return {"code": error.code, "what": printable(f"{where}{error.what}"), "hint": error.hint or ""}


def _raised(error: Exception) -> Mapping[str, Any]:
    from absint.numeric.backend import exhausted

    coded = exhausted(error)
    return {"raised": printable(f"{type(error).__name__}: {error}")} if coded is None else {"error": _told(coded)}
