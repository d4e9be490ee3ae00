"""Journals of one run, made on several machines, as one. What no journal holds stays to be decided."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from absint.errors import InputError, ResourceError
from absint.runs.gathered import Gathered
from absint.runs.journal import MARK, VERSION
from absint.runs.output import check_out, check_writable, opened_file


def merge(paths: Sequence[Path], out: Path) -> str:
    """Write the journal of all records, by index; returns a line that says what it holds.

    `--resume` continues it, `absint report` shows it. It says which items were asked for, all of them together, and claims no end.
    Raises what `Gathered` does, InputError E-JOURNAL-BUSY where a run still writes one, E-JOURNAL-EXISTS, UsageError E-OUT.
    """
    check_out(out, {f"journal {place + 1}": path for place, path in enumerate(paths)})
    if out.is_file() and out.stat().st_size:
        raise InputError("E-JOURNAL-EXISTS", "the journal exists already", where=str(out), hint="give --out another name")
    check_writable(out)
    with Gathered(paths) as gathered:
        _check(gathered)
        _write(gathered, out)
        asked = gathered.asked
        assert asked is not None, "all of this format say what was asked"
        missing = len(asked) - gathered.count
        left = f", {missing} are left to --resume" if missing else ", all there are"
        torn = "".join(f"; {one.path}: a last line without an end was dropped" for one in gathered.sources if one.torn)
        return f"{gathered.count} records of {len(asked)} items from {len(paths)} journals{left}{torn}"


def _check(gathered: Gathered) -> None:
    for one in gathered.sources:
        if one.busy:
            raise InputError("E-JOURNAL-BUSY", "a run is still writing this journal", where=str(one.path), hint="wait for it to end")
        if one.opening is None:
            raise InputError("E-JOURNAL-MISMATCH", f"the journal has format {one.version}, which does not say what was asked for; "
                             f"{VERSION} does", where=str(one.path), hint="give such journals to absint report, which shows them together")


def _write(gathered: Gathered, out: Path) -> None:
    opening, asked = gathered.opening, gathered.asked
    assert opening is not None, "checked before"
    assert asked is not None, "checked before"
    merged = tuple(fact for one in gathered.sources for fact in
                   (one.opening.merged if one.opening is not None and one.opening.merged else (one.facts,)))
    opening = replace(opening, heading=replace(opening.heading, total=len(asked)), asked=asked, merged=merged)
    first = {MARK: VERSION, "binding": dict(gathered.binding), "run": opening.as_dict()}
    with opened_file(out) as stream:
        try:
            stream.write(json.dumps(first, allow_nan=False).encode() + b"\n")
            for line in gathered.lines():
                stream.write(line)
            stream.flush()
            if out.is_file():
                os.fsync(stream.fileno())
        except OSError as error:
            if out.is_file():       # half a journal would look like one
                stream.truncate(0)
            raise ResourceError("E-OUT-WRITE", f"cannot be written: {error.strerror}", where=str(out),
                                hint="free some space and run again") from error
