"""Radii as text, JSON, JSON lines and CSV. Exact numbers as text; floats of them rounded down (certified) and up (refuted)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean, median
from typing import Any, TextIO

from absint.analyses.radius.bisection import RadiusResult
from absint.errors import printable
from absint.numeric.decimal import float_above
from absint.reports.bounds import outward
from absint.reports.notes import caveats, model_notes
from absint.reports.terminal import is_plain, print_table

SCHEMA = "absint-radius/1"
_SHORT = 10                           # characters of an exact number that a table for people shows
_COLUMNS = ("index", "label", "predicted", "certified", "refuted", "certified_exact", "refuted_exact", "calls", "reason", "time_s",
            "notes")


@dataclass(frozen=True)
class RadiusDocument:
    """A whole run. results: what is done, in the order of the inputs.  remaining: inputs that an interrupt left out."""

    header: Mapping[str, Any]
    results: tuple[RadiusResult, ...]
    remaining: tuple[int, ...]
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether no search was cut short."""
        return not self.remaining and not any(result.cut for result in self.results)

    def summary(self) -> dict[str, Any]:
        """JSON-ready; the mean and median are of the certified radii, correct to rounding."""
        certified = [result.certified for result in self.results]
        return {
            "inputs": len(self.results) + len(self.remaining), "finished": self.finished, "remaining": list(self.remaining),
            "mean": float(mean(certified)) if certified else None, "median": float(median(certified)) if certified else None,
            "zero": sum(not value for value in certified), "tied": sum(result.tied for result in self.results),
            "cut_short": sum(result.cut for result in self.results), "time_s": round(self.seconds, 3),
        }


def exact(value: Fraction | float) -> str | None:
    """The exact number as a decimal where it has one, else as a fraction; None for inf. Fraction() reads it back."""
    if not isinstance(value, Fraction):
        return None
    places, rest = 0, value.denominator
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest != 1:
        return str(value)
    digits = str(value.numerator * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def row(result: RadiusResult) -> dict[str, Any]:
    """JSON-ready. Rows that stand alone get `notes` besides, the caveats of the model."""
    refuted = result.refuted
    return {
        "index": result.index, "label": result.label, "predicted": result.predicted, "certified": -float_above(-result.certified),
        "refuted": float_above(refuted) if isinstance(refuted, Fraction) else None,
        "certified_exact": exact(result.certified), "refuted_exact": exact(refuted), "calls": result.calls,
        "reason": _reason(result), "time_s": round(result.time_s, 6),
        "witness": None if result.witness is None else list(result.witness),
    }


def _reason(result: RadiusResult) -> str | None:
    return "tie" if result.tied else None if result.reason is None else result.reason.value


def write_json(document: RadiusDocument, stream: TextIO) -> None:
    """One document."""
    whole = {"schema": SCHEMA, "header": dict(document.header), "summary": document.summary(), "radii": [row(r) for r in document.results]}
    stream.write(json.dumps(whole, indent=1, allow_nan=False) + "\n")


def write_jsonl(document: RadiusDocument, stream: TextIO) -> None:
    """One input a line."""
    for result in document.results:
        stream.write(json.dumps({**row(result), "notes": caveats(document.header)}, allow_nan=False) + "\n")


def write_csv(document: RadiusDocument, stream: TextIO) -> None:
    """One input a line, without witnesses."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in document.results:
        values = {**row(result), "notes": caveats(document.header)}
        writer.writerow(["" if values[name] is None else values[name] for name in _COLUMNS])


def write_text(document: RadiusDocument, stream: TextIO) -> None:
    """A table, then what it is about."""
    shown = any(result.label is not None for result in document.results)
    columns = ("index", *(("label",) if shown else ()), "predicted", "certified", "refuted", "calls", "open because")
    print_table(stream, columns, [_cells(result, shown) for result in document.results], plain=is_plain(stream))
    header, summary = document.header, document.summary()
    search, clip = header["search"], header["search"]["clip"]
    lines: Sequence[tuple[str, str]] = (
        ("radii", "none" if summary["mean"] is None else f"mean {summary['mean']:.6g}, median {summary['median']:.6g}, "
                  f"{summary['zero']} of {len(document.results)} are 0"),
        ("search", f"{search['norm']}, up to {search['upper']}, {search['halvings']} halvings to {search['step']} "
                   + ("without data range" if clip is None else f"in data range [{clip[0]:g}, {clip[1]:g}]")),
        ("inputs", f"{summary['inputs']} of {header['data']['name']}" + ("" if summary["finished"] else
                   f"; {len(document.remaining)} not reached, {summary['cut_short']} cut short")),
        ("domain", header["domain"]["name"]),
        ("model", f"{header['model']['path']} (sha256 {header['model']['sha256'][:12] or 'unknown'})"),
        ("seconds", f"{document.seconds:.2f}"),
        *model_notes(header),
        ("command", header["command"]),
    )
    for name, value in lines:
        stream.write(f"{name:<8}  {printable(value)}\n")
    stream.flush()


def _cells(result: RadiusResult, labelled: bool) -> tuple[str, ...]:
    values = row(result)
    label = (_text(values["label"]),) if labelled else ()
    return (str(result.index), *label, _text(values["predicted"]), _short(values, "certified", -1), _short(values, "refuted", 1),
            str(result.calls), _text(values["reason"]))


def _short(values: Mapping[str, Any], name: str, side: int) -> str:
    """The exact number where it is short; else cut downward (-1) or upward (1)."""
    text = values[f"{name}_exact"]
    if text is None:
        return ""
    return str(text) if len(text) <= _SHORT else outward(values[name], side)


def _text(value: object) -> str:
    return "" if value is None else str(value)


WRITERS: Mapping[str, Callable[[RadiusDocument, TextIO], None]] = {
    "text": write_text, "json": write_json, "jsonl": write_jsonl, "csv": write_csv,
}
