"""One run of `absint verify QUERY.vnnlib --network NET.onnx`: the VNN-LIB standard's solver interface.

The first line of stdout is the answer. The time limit counts from the start of the process; a watch sees to it that the
answer comes in time even where the analysis is busy inside a library.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import inf, isfinite
from pathlib import Path
from typing import Any

from absint.cli.parsing import parse_format
from absint.cli.settings import VerifySettings
from absint.errors import ResourceError, UnsupportedError, UsageError, printable
from absint.runs.output import check_out, check_writable, opened

_NAMED = re.compile(r"([A-Za-z_][\w.-]*)=(.+)", re.DOTALL)
_GRACE = 0.5    # seconds past the limit before the watch answers
_OTHER = ("eps", "norm", "patch", "brightness", "contrast", "data", "labels", "index", "mean", "std", "label", "target", "clip",
          "layout", "journal", "resume", "processes")  # options of the other uses of `verify`


@dataclass(frozen=True)
class Network:
    """--network: the name the query calls it by, if one is given, and the file."""

    name: str | None
    path: Path


def execute(settings: VerifySettings) -> int:
    """Answer one query; returns the exit code, 0 for each answer."""
    network = prepare(settings)
    with _watched(settings) as gate:
        return _answer(settings, network, gate)


def prepare(settings: VerifySettings) -> Network:
    """Check the options; nothing is read but their own text. Raises UsageError or UnsupportedError."""
    parse_format(settings.format)
    check_other(settings, _OTHER)
    if len(settings.networks) > 1:
        raise UnsupportedError("E-VNNLIB-NETWORKS", f"{len(settings.networks)} networks", where="--network",
                               hint="absint answers queries about one network")
    if not settings.networks:
        raise UsageError("E-NETWORK", "which network is the query about?", where="--network", hint="add --network net.onnx")
    network = parse_network(settings.networks[0])
    check_out(settings.out, {"QUERY": settings.net, "--network": network.path})
    check_writable(settings.out)
    return network


def check_other(settings: VerifySettings, names: tuple[str, ...]) -> None:
    """Refuse options that mean nothing here. Raises UsageError E-USAGE."""
    given = [f.name for f in fields(settings) if f.name in names and getattr(settings, f.name) != f.default]
    if given:
        raise UsageError("E-USAGE", f"--{given[0].replace('_', '-')} has no meaning for a VNN-LIB query",
                         hint="the query states the property, --timeout and --domain say how to prove it")


def parse_network(text: str) -> Network:
    """'N=net.onnx' or 'net.onnx'; a file of that very name comes first."""
    match = _NAMED.fullmatch(text)
    if match is None or Path(text).exists():
        return Network(None, Path(text))
    return Network(match[1], Path(match[2]))


# ---- the answer in time ----------------------------------------------------------------------------------------------------


@contextmanager
def _watched(settings: VerifySettings) -> Iterator[threading.Lock]:
    """A lock: who holds it may write the answer. Past the limit the watch takes it, answers and ends the process."""
    gate = threading.Lock()
    limit = inf if settings.timeout is None else settings.timeout
    if not limit > 0:
        raise UsageError("E-TIMEOUT", f"the timeout must be positive, not {limit}", where="--timeout", hint="seconds")
    if not isfinite(limit):
        yield gate
        return
    done = threading.Event()
    wait = max(0.0, settings.begin + limit + _GRACE - time.monotonic())
    watch = threading.Thread(target=_watch, args=(done, wait, gate, settings), daemon=True)
    watch.start()
    try:
        yield gate
    finally:
        done.set()


def _watch(done: threading.Event, wait: float, gate: threading.Lock, settings: VerifySettings) -> None:
    if done.wait(wait) or not gate.acquire(blocking=False):
        return
    text = "timed-out\n" if settings.format == "text" else json.dumps({"answer": "timed-out", "reason": "timeout"}) + "\n"
    code = ResourceError.exit_code
    try:
        with opened(settings.out) as stream:
            stream.write(text)
            stream.flush()
        code = 0
    finally:
        os._exit(code)  # the main thread is inside a library and cannot be asked to stop


def _answer(settings: VerifySettings, network: Network, gate: threading.Lock) -> int:
    """What takes time, torch's import first of all, happens under the watch."""
    from absint.cli.query_answer import answer

    report = answer(settings, network.name, network.path)
    if not gate.acquire(timeout=_GRACE):
        time.sleep(60)  # the watch is writing and will end the process
    with opened(settings.out) as stream:
        stream.write(report.text if settings.format == "text" else json.dumps(report.document, indent=2, allow_nan=False) + "\n")
        stream.flush()
    report.save()
    _tell(settings, report.document)
    return 0


def _tell(settings: VerifySettings, document: dict[str, Any]) -> None:
    """On stderr: an answer that is no proof of ours, always; what decided, or why nothing did; what solvers reported."""
    if document["assurance"] == "solver":
        sys.stderr.write(f"warning: {document['answer']} on a solver's word, which nobody has proved (--accept-solver)\n")
    if settings.quiet:
        return
    for note in document["notes"]:
        if note["note"] not in document["model"]["caveats"]:  # a warning told of these
            sys.stderr.write(f"note: {printable(note['note'])}\n")
    why = document["reason"] or document["stage"]
    sys.stderr.write(f"{document['answer']}{f' ({why})' if why else ''} after {document['time_s']:.2f} s\n")
    if document["answer"] == "unknown" and document["reason"] == "solver":
        sys.stderr.write("note: it rests on a solver's word alone; --accept-solver makes that unsat\n")
