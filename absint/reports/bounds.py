"""Bounds and widths as text, JSON, JSON lines, CSV and npz. Digits that are cut are cut outward."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from math import inf, isfinite
from typing import Any, BinaryIO, TextIO

import numpy as np

from absint.analyses.bounds.widths import LayerWidths, TensorBounds
from absint.errors import printable
from absint.reports.notes import caveats, model_notes
from absint.reports.terminal import is_plain, print_table

SCHEMA = "absint-bounds/1"
_SHOWN = 20                          # entries of one tensor that a table for people shows
_DOWN, _UP = Context(prec=7, rounding=ROUND_FLOOR), Context(prec=7, rounding=ROUND_CEILING)


@dataclass(frozen=True, eq=False)
class DomainBounds:
    """What one domain found: bounds and widths by the name that was asked for."""

    domain: str
    tensors: Mapping[str, TensorBounds]
    widths: tuple[LayerWidths, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class BoundsDocument:
    """A whole run. index: positions of the instances in the data.  stats: widths are wanted, not single bounds."""

    header: Mapping[str, Any]
    index: tuple[int, ...]
    domains: tuple[DomainBounds, ...]
    stats: bool

    def rows(self) -> Iterator[dict[str, Any]]:
        """JSON-ready: one per domain and tensor (widths), or one per domain, instance and tensor."""
        for one in self.domains:
            if self.stats:
                yield from ({"domain": one.domain, **layer.as_dict()} for layer in one.widths)
                continue
            for slot, index in enumerate(self.index):
                for name, found in one.tensors.items():
                    yield {"domain": one.domain, "index": index, "tensor": name, "shape": list(found.lower.shape[1:]),
                           "lower": _listed(found.lower[slot]), "upper": _listed(found.upper[slot])}


def _listed(values: Any) -> list[float | None]:
    """Flat, row-major; None where nothing is known."""
    return [value if isfinite(value) else None for value in values.reshape(-1).tolist()]


def write_json(document: BoundsDocument, stream: TextIO) -> None:
    """One document."""
    seconds = {one.domain: round(one.seconds, 3) for one in document.domains}
    key = "widths" if document.stats else "bounds"
    whole = {"schema": SCHEMA, "header": dict(document.header), "seconds": seconds, key: list(document.rows())}
    stream.write(json.dumps(whole, indent=1, allow_nan=False) + "\n")


def write_jsonl(document: BoundsDocument, stream: TextIO) -> None:
    """One row a line."""
    for row in document.rows():
        stream.write(json.dumps({**row, "notes": caveats(document.header)}, allow_nan=False) + "\n")


def write_csv(document: BoundsDocument, stream: TextIO) -> None:
    """Widths as they are; bounds one entry a line, -inf and inf where nothing is known."""
    writer, notes = csv.writer(stream, lineterminator="\n"), caveats(document.header)
    if document.stats:
        names = ("domain", *(document.domains[0].widths[0].as_dict()))
        writer.writerow((*names, "notes"))
        for row in document.rows():
            writer.writerow([*(_shape(row[name]) if name == "shape" else row[name] for name in names), notes])
        return
    writer.writerow(("domain", "index", "tensor", "entry", "lower", "upper", "notes"))
    for row in document.rows():
        for entry, (low, high) in enumerate(zip(row["lower"], row["upper"], strict=True)):
            ends = (-inf if low is None else low, inf if high is None else high)
            writer.writerow((row["domain"], row["index"], row["tensor"], entry, *ends, notes))


def write_text(document: BoundsDocument, stream: TextIO) -> None:
    """Tables, then what they are about."""
    columns, cells = _widths(document) if document.stats else _entries(document)
    print_table(stream, columns, cells, plain=is_plain(stream))
    header = document.header
    region, clip = header["region"], header["region"]["clip"]
    rounding = "outward rounding" if header["numerics"]["rounding"] else "NO ROUNDING: nothing here is proved"
    lines = [
        ("region", f"{region['text']}, " + ("no data range" if clip is None else f"data range [{clip[0]:g}, {clip[1]:g}]")),
        ("inputs", f"{len(document.index)} of {header['data']['name']}"),
        ("numerics", f"dtype {header['numerics']['dtype']}, device {header['numerics']['device']}, {rounding}"),
        ("seconds", ", ".join(f"{one.domain} {one.seconds:.2f}" for one in document.domains)),
        ("model", f"{header['model']['path']} (sha256 {header['model']['sha256'][:12] or 'unknown'})"),
        *model_notes(header),
        ("command", header["command"]),
    ]
    for name, value in lines:
        stream.write(f"{name:<8}  {printable(value)}\n")
    stream.flush()


def _widths(document: BoundsDocument) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """One row per tensor and domain, the domains of a tensor together."""
    cells: list[tuple[str, ...]] = [
        (layer.tensor, layer.op, _shape(layer.shape), one.domain, _number(layer.mean), _number(layer.median), _number(layer.greatest),
         _share(layer.unbounded or None), _share(layer.undecided))
        for layers in zip(*(one.widths for one in document.domains), strict=True)
        for one, layer in zip(document.domains, layers, strict=True)
    ]
    return ("tensor", "operator", "shape", "domain", "mean", "median", "max", "unbounded", "undecided"), cells


def _entries(document: BoundsDocument) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    cells: list[tuple[str, ...]] = []
    for one in document.domains:
        for slot, index in enumerate(document.index):
            for name, found in one.tensors.items():
                cells += _lines(one.domain, index, name, found, slot)
    return ("domain", "index", "tensor", "entry", "lower", "upper", "width"), cells


def _lines(domain: str, index: int, name: str, found: TensorBounds, slot: int) -> Iterator[tuple[str, ...]]:
    lower, upper = found.lower[slot], found.upper[slot]
    for count, place in enumerate(np.ndindex(lower.shape)):
        if count == _SHOWN:
            yield (domain, str(index), name, f"... {lower.size - _SHOWN} more", "", "", "")
            return
        low, high = float(lower[place]), float(upper[place])
        yield (domain, str(index), name, ",".join(map(str, place)), outward(low, -1), outward(high, 1), f"{high - low:.4g}")


def outward(value: float, side: int) -> str:
    """Seven digits, rounded down (-1) or up (1)."""
    if not isfinite(value):
        return str(value)
    cut = (_DOWN if side < 0 else _UP).create_decimal_from_float(value)
    return f"{cut.normalize():g}" if cut else "0"


def write_npz(document: BoundsDocument, file: BinaryIO) -> None:
    """Arrays `NAME.lower` and `NAME.upper` (instances, *shape), prefixed with `DOMAIN/` where there are several domains."""
    arrays: dict[str, Any] = {"index": np.array(document.index), "header": np.array(json.dumps(document.header))}
    for one in document.domains:
        prefix = f"{one.domain}/" if len(document.domains) > 1 else ""
        for name, found in one.tensors.items():
            arrays[f"{prefix}{name}.lower"], arrays[f"{prefix}{name}.upper"] = found.lower, found.upper
    np.savez_compressed(file, allow_pickle=False, **arrays)
    file.flush()


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


WRITERS: Mapping[str, Callable[[BoundsDocument, TextIO], None]] = {
    "text": write_text, "json": write_json, "jsonl": write_jsonl, "csv": write_csv,
}
