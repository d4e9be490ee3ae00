"""What machine formats share: records in order, values that JSON has a word for, and what every row that stands alone must say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from enum import Enum
from math import isfinite
from typing import Any

from absint.contract.document import Document, Heading, Row

UNASKED = "which items were asked for is not known: these may be some of them"
NOTES = "notes"     # the column of what is to be known of the model


def ordered(rows: Iterable[Row]) -> list[Row]:
    """In the order of their index; rows of one index as they came, rows without one last."""
    return sorted(rows, key=place_of)


def place_of(row: Row) -> tuple[bool, int]:
    """What rows are ordered by: whether one has no index, and the index."""
    index = row.values.get("index")
    return (False, index) if isinstance(index, int) else (True, 0)


def command_of(analysis: str) -> str:
    """The words of a command: those of 'taboo.certify' are 'taboo certify'."""
    parts = analysis.split(".")
    return " ".join(parts) if all(part.isidentifier() for part in parts) else analysis


def left_of(document: Document) -> int:
    """How many items are not decided: of very many, only the first are listed."""
    count = document.summary.get("remaining_count")
    return count if isinstance(count, int) else len(document.summary.get("remaining") or ())


def unasked(document: Document) -> bool:
    """Whether nobody knows which items were asked for: those that are decided may be some of them."""
    return "complete" in document.summary and document.summary["complete"] is None


def caveats(heading: Heading) -> str:
    """Where what is analysed is not what the model's file seems to say; empty where there is nothing to say."""
    model = heading.header.get("model")
    found = model.get("caveats") if isinstance(model, Mapping) else None
    return "; ".join(map(str, found or ()))


def alone(heading: Heading) -> dict[str, str]:
    """What a row that is read without the header says besides its own values."""
    said = caveats(heading)
    return {NOTES: said} if said and NOTES not in heading.columns else {}


def dumps(value: Any) -> str:
    """JSON, whatever the value: NaN, infinities and strangers' objects become text, so that nothing is lost at the end of a run."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, Set)):
        return [_plain(item) for item in value]
    listed = getattr(value, "tolist", None)  # arrays, tensors, and their scalars
    return _plain(listed()) if callable(listed) else str(value)
