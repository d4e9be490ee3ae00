"""What a journal says of its run besides the binding: all that a report needs to know before the first record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from absint.contract.document import Heading
from absint.contract.options import options_of
from absint.contract.spans import Spans
from absint.contract.stored import decoded, encoded


@dataclass(frozen=True, eq=False)
class Opening:
    """heading: of all outputs.  asked: the index of every item.

    options: the values that JSON has a word for, by field; no secret.  lost: the fields whose values are objects of a Python program.
    merged: the journals that it was joined from, as reports name them.
    """

    heading: Heading
    asked: Spans
    options: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    merged: tuple[Mapping[str, Any], ...] = ()

    @staticmethod
    def of(heading: Heading, asked: tuple[int, ...], options: Any) -> Opening:
        """Of a run that begins."""
        known: dict[str, Any] = {}
        lost: list[str] = []
        for one in options_of(type(options)):
            value = getattr(options, one.name)
            if one.words.secret:
                if value is not None and value != one.default:
                    lost.append(one.name)
            elif _plain(value):
                known[one.name] = encoded(value)
            else:
                lost.append(one.name)
        return Opening(heading, Spans.of(asked), known, tuple(lost))

    def options_as(self, kind: type[Any]) -> Any:
        """The options again. Raises ValueError where some were objects, TypeError where they are another version's."""
        if self.lost:
            raise ValueError(f"objects of a Python program: {', '.join(self.lost)}")
        hints = get_type_hints(kind)
        values = {name: decoded(Any, value) if hints[name] is Any else _typed(hints[name], value) for name, value in self.options.items()}
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def asks_as(self, other: Opening) -> bool:
        """Whether the other run was asked for the same items, and shows them alike."""
        mine, its = self.heading, other.heading
        return (self.asked, *mine.columns, mine.total) == (other.asked, *its.columns, its.total)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"heading": encoded(self.heading), "asked": [list(pair) for pair in self.asked.pairs], "options": dict(self.options),
                "lost": list(self.lost), "merged": [dict(one) for one in self.merged]}

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> Opening:
        """What `as_dict` wrote. Raises ValueError, KeyError or TypeError on anything else."""
        return Opening(decoded(Heading, row["heading"]), spans_from(row["asked"]), dict(row["options"]),
                       tuple(map(str, row["lost"])), tuple(row["merged"]))


def spans_from(value: Any) -> Spans:
    """Of pairs of whole numbers. Raises ValueError or TypeError."""
    pairs = [(first, behind) for first, behind in value]
    if not all(type(one) is int for pair in pairs for one in pair):
        raise TypeError("no whole numbers")
    return Spans.joined(pairs)


def _plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return len(value) < 1000 and all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, Path))


def _typed(hint: Any, value: Any) -> Any:
    """Paths are kept as text."""
    text = str(hint)
    if "Path" in text and isinstance(value, str):
        return Path(value)
    if "Path" in text and isinstance(value, list):
        return tuple(map(Path, value))
    return decoded(Any, value)
