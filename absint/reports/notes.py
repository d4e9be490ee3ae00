"""What solvers reported on the way and what is to be known of the model, kept apart from the rest of a result's detail:
a report says it once, not for every instance. Formats without a header say it in every row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from absint.verdict import InstanceResult

_START = re.compile(r"(?:^|; )(?=E-[A-Z]+(?:-[A-Z]+)*: )")


def split_notes(detail: str | None) -> tuple[str | None, tuple[str, ...]]:
    """A result's detail as (what is about itself, or None; the notes "E-CODE: text", in order)."""
    found = list(_START.finditer(detail or ""))
    if detail is None or not found:
        return detail, ()
    ends = [*(match.start() for match in found[1:]), len(detail)]
    notes = [detail[match.end() : end] for match, end in zip(found, ends, strict=True)]
    return detail[: found[0].start()] or None, tuple(dict.fromkeys(notes))


def noted(results: Iterable[InstanceResult]) -> Mapping[str, tuple[int, ...]]:
    """Each note once, with the instances whose results carry it, in the order of the results."""
    found: dict[str, list[int]] = {}
    for result in results:
        for note in split_notes(result.detail)[1]:
            found.setdefault(note, []).append(result.index)
    return {note: tuple(indices) for note, indices in found.items()}


def model_notes(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines for people: what reading the model took for granted."""
    return [("note", note) for note in header["model"]["notes"]]


def caveats(header: Mapping[str, Any]) -> str:
    """For the column `notes`: where what is analysed is not what the file seems to say; empty where there is nothing to say."""
    return "; ".join(header["model"]["caveats"])
