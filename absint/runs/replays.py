"""The counterexamples of a journal, replayed on the model: they are points of the region, and the network is wrong there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from absint.contract.options import options_of
from absint.contract.record import record_of
from absint.errors import InputError
from absint.runs.gathered import Gathered
from absint.runs.packs import ROWS, WITNESSES, packable
from absint.runs.reported import Reported
from absint.runs.resolve import resolve

# What a run on the pack's rows is bound to otherwise than one on the data they are of, or by another absint.
_OF_DATA = ("absint", "plugins", "data_sha256", "labels_sha256", "inputs_sha256", "constants_sha256", "scale", "layout", "labels", "key",
            "label_column", "predicted_labels")


@dataclass(frozen=True)
class Replays:
    """What counterexamples are replayed on. models: from input to output.  folder: of the unpacked pack.  files: by the option's field."""

    models: Sequence[Path]
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Replayed:
    """held: how many are counterexamples.  refuted: items whose are none.  left: how many were not replayed, and why.

    different: what the journal is bound to, and what its options come to.
    """

    held: int = 0
    refuted: tuple[int, ...] = ()
    left: int = 0
    why: str = ""
    different: tuple[str, ...] = ()


def again_of(folder: Path) -> Path:
    """Where report and counterexamples are made anew. folder: of the unpacked pack."""
    return folder.parent / "again"


def replays(gathered: Gathered, asked: Replays) -> Replayed:
    """Of every record that has a counterexample. Raises AbsintError where model or data cannot be read as the run did."""
    count = (again_of(asked.folder) / WITNESSES).read_bytes().count(b"\n")
    more = sum(_inner(json.loads(line)) for line in gathered.lines() if b'"witness"' in line)
    found = _replayed(gathered, asked, count) if count else Replayed()
    return replace(found, left=found.left + more, why=found.why or "they are of records with several answers") if more else found


def _inner(value: Any) -> int:
    """How many counterexamples lie deeper in a record than its own."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(_inner(one) + (isinstance(one, dict) and one.get("witness") is not None) for one in inner if isinstance(one, (dict, list)))


def _replayed(gathered: Gathered, asked: Replays, count: int) -> Replayed:
    """Of each record that is one answer."""
    if not asked.models:
        return Replayed(left=count, why="the pack has no model: add --model FILE")
    reported = Reported(gathered)
    if not reported.whole:
        return Replayed(left=count, why="the journal does not say all options of the run")
    index = _index(asked.folder / ROWS)
    if index is None and reported.opening.heading.header.get("data"):
        return Replayed(left=count, why=f"the pack has no {ROWS}")
    analysis, run = resolve(str(gathered.binding["analysis"]), _options(reported.run.options, asked))
    different = _different(gathered.binding, run.binding)
    if different:
        return Replayed(different=different)
    held, refuted, left = 0, [], 0
    for record in _witnessed(gathered, again_of(asked.folder) / WITNESSES):
        place = record.index if index is None else index.get(record.index)
        said = None if place is None else analysis.replayed(replace(record, index=place), run)
        held, left = held + (said is True), left + (said is None)
        refuted += [record.index] if said is False else []
    return Replayed(held, tuple(refuted), left, f"absint {run.analysis} replays none of this kind" if left else "")


def _options(options: Any, asked: Replays) -> Any:
    """Those of the run, with the files of the pack."""
    known = {one.name for one in options_of(type(options))}
    *before, last = asked.models
    rows = asked.folder / ROWS
    network = "network" if "network" in known and "net" not in known else "net"
    new: dict[str, Any] = {network: last, "compose": tuple(before), "journal": None, "resume": False, "out": (), "format": None,
                           "plugin": (), "bundle": None, "quiet": True, "witness": None, "plot": None, "plane": None, "executor": "local",
                           **{one.name: asked.files[one.name] for one in options_of(type(options))
                              if packable(one) and one.name in asked.files}}
    if rows.is_file():
        new |= {"data": rows, "labels": None, "index": None, "sample": None, "key": None, "label_column": None, "scale": None,
                "layout": _of_network(str(getattr(options, "layout", "auto")))}
    return replace(options, **{name: value for name, value in new.items() if name in known})


def _of_network(layout: str) -> str:
    """The rows lie as the network takes them."""
    network = layout.partition(":")[2]
    return f"{network}:{network}" if network else layout


def _different(kept: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """What records are bound to, where options and networks do not come to the same. Rows of the data do not have the hash of its file."""
    now = json.loads(json.dumps(made))
    return tuple(f"{name}: bound to {json.dumps(value)[:200]}, asked {json.dumps(now[name])[:200]}" for name, value in kept.items()
                 if name in now and name not in _OF_DATA and not name.startswith("axes_") and now[name] != value)


def _index(rows: Path) -> dict[int, int] | None:
    """Item -> its place among the rows."""
    if not rows.is_file():
        return None
    with np.load(rows, allow_pickle=False) as arrays:
        try:
            places = {int(item): place for place, item in enumerate(arrays["index"])}
            if len(places) == len(arrays["index"]):
                return places
        except (ValueError, TypeError, KeyError, OverflowError):
            pass
    raise InputError("E-BUNDLE-FORMAT", f"{ROWS} does not say which row is of which item", where=ROWS, hint="ask for the pack anew")


def _witnessed(gathered: Gathered, witnesses: Path) -> Iterator[Any]:
    wanted = {json.loads(line)["index"] for line in witnesses.read_text(encoding="utf-8").splitlines()}
    for line in gathered.lines():
        if b'"witness"' in line:
            record = record_of(gathered.analysis.Record, json.loads(line))
            if record.index in wanted:
                yield record
