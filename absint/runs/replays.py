"""The counterexamples of a journal, replayed on the model: they are points of the region, and the network is wrong there.

An analysis says how those of its records are replayed (`Analysis.replayed`); each that is not is counted with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from absint.contract.analysis import Analysis
from absint.contract.options import options_of
from absint.contract.record import record_of
from absint.contract.replay import WitnessReplay
from absint.contract.run import Run
from absint.errors import AbsintError, InputError, ResourceError
from absint.runs.gathered import Gathered
from absint.runs.member_sizes import check_arrays
from absint.runs.packs import ROWS, packable
from absint.runs.questions import differently_bound, shown_otherwise
from absint.runs.reported import Reported
from absint.runs.resolve import resolve

_NO_MODEL = "the pack has no model: add --model FILE"
_NO_NETWORK = "the journal names no network: those of a list of queries are not in a pack"
_LONGEST = 200      # letters of a file's name


@dataclass(frozen=True)
class ReplayFiles:
    """What counterexamples are replayed on. models: as the header names them.  folder: of the unpacked pack.  files: by the option's field.

    names: what the run called the models: tables and bindings go by these.
    """

    models: Sequence[Path]
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Replayed:
    """held: how many are counterexamples.  refuted: items that have one which is none.  left: why others were not replayed, and how many.

    different: what the journal is bound to, and what its options come to.  asked: whether the run's question was made anew of options,
    rows and networks, and compared.  unasked: why it was not, where the analysis has counterexamples to replay.
    """

    held: int = 0
    refuted: tuple[int, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)
    different: tuple[str, ...] = ()
    asked: bool = False
    unasked: str = ""

    @property
    def left_count(self) -> int:
        """All that were not replayed."""
        return sum(self.left.values())


def again_of(folder: Path) -> Path:
    """Where report and counterexamples are made anew. folder: of the unpacked pack."""
    return folder.parent / "again"


def replays(gathered: Gathered, asked: ReplayFiles) -> Replayed:
    """Of every counterexample in every record, and of the question itself where there may be some.

    Raises InputError E-BUNDLE-FORMAT, E-BUNDLE-SIZE for rows that are none.
    """
    places = _places(asked.folder / ROWS)
    count = sum(found for _, found in _witnessed(gathered))
    if not count and type(gathered.analysis).replayed is Analysis.replayed:
        return Replayed()       # it has none, in no run
    try:
        return _replayed(gathered, asked, places, count)
    except AbsintError as error:
        return _unasked(error.what, count)


def _unasked(why: str, count: int) -> Replayed:
    """Nothing is replayed. count: of counterexamples."""
    return Replayed(left={why: count} if count else {}, unasked=why)


def witnesses_in(value: Any) -> int:
    """How many counterexamples a record has, as JSON: its own, and those of answers inside it."""
    if isinstance(value, dict):
        return (value.get("witness") is not None) + sum(witnesses_in(inner) for name, inner in value.items() if name != "witness")
    return sum(map(witnesses_in, value)) if isinstance(value, list) else 0


def _witnessed(gathered: Gathered) -> Iterator[tuple[dict[str, Any], int]]:
    """The records that have counterexamples, as JSON, and how many."""
    for line in gathered.lines():
        if b'"witness"' in line:
            row = json.loads(line)
            count = witnesses_in(row)
            if count:
                yield row, count


def _replayed(gathered: Gathered, asked: ReplayFiles, places: Mapping[int, int] | None, count: int) -> Replayed:
    """Of each record. Raises AbsintError where model or data cannot be read as the run did."""
    if not asked.models:
        return _unasked(_NO_MODEL if asked.names else _NO_NETWORK, count)
    reported = Reported(gathered)
    if not reported.whole:
        return _unasked("the journal does not say all options of the run", count)
    if places is None and reported.opening.heading.header.get("data"):
        return _unasked(f"the pack has no {ROWS}", count)
    options = _options(gathered.analysis, reported.run.options, asked)
    if options is None:
        return _unasked("the networks of the pack are not those that the options name", count)
    analysis, run = resolve(str(gathered.binding["analysis"]), options)
    bound, stated = gathered.binding, reported.run.options
    moved = {str(file): str(getattr(stated, name)) for name, file in asked.files.items() if hasattr(stated, name)}
    different = (*differently_bound(bound, run.binding), *shown_otherwise(reported.opening.heading.header, run.header, bound, moved))
    if different:
        return Replayed(different=different)
    total, refuted = WitnessReplay(), []
    for row, found in _witnessed(gathered):
        record = record_of(analysis.Record, row)
        replay = _of_record(analysis, run, (record, found), places)
        refuted += [int(record.index)] if replay.refuted else []
        total = total.with_(replay)
    return Replayed(total.held, tuple(refuted), total.left, asked=True)


def _of_record(analysis: Analysis[Any, Any], run: Run[Any], counted: tuple[Any, int], places: Mapping[int, int] | None) -> WitnessReplay:
    """Every counterexample of one record is in the answer. counted: the record, and how many it has."""
    record, count = counted
    moved = record if places is None else analysis.elsewhere(record, places)
    if moved is None:
        return WitnessReplay.skipped(f"{ROWS} has no row of the input", count)
    try:
        found = analysis.replayed(moved, run)
    except ResourceError as error:
        return WitnessReplay.skipped(error.what, count)
    except AbsintError:     # a record that cannot be asked about proves nothing, and no other one is kept from its replay
        return WitnessReplay(refuted=count)
    return found.with_(WitnessReplay.skipped(f"absint {run.analysis} replays none of this kind", max(count - found.count, 0)))


def _options(analysis: Analysis[Any, Any], options: Any, asked: ReplayFiles) -> Any:
    """Those of the run, with the files of the pack; None where its networks are not those of the options."""
    stated = options_of(type(options))
    known = {one.name: one for one in stated}
    new: dict[str, Any] = {one.name: one.default for one in stated if one.words.writes}
    new |= {"resume": False, "format": None, "plugin": (), "quiet": True, "executor": "local", "processes": None, "address": None,
            "total_timeout": None, **{one.name: asked.files[one.name] for one in stated if packable(one) and one.name in asked.files}}
    rows = asked.folder / ROWS
    if rows.is_file():
        new |= {"data": rows, "labels": None, "index": None, "sample": None, "key": None, "label_column": None, "scale": None,
                "layout": _of_network(str(getattr(options, "layout", "auto")))}
        if "sample" in known:
            new["seed"] = known["seed"].default
    made = replace(options, **{name: value for name, value in new.items() if name in known})
    return analysis.on_networks(made, _by_name(asked))


def _by_name(asked: ReplayFiles) -> list[Path]:
    """The models under the names of their files that the run had, each in a folder of its own."""
    found = []
    for place, model in enumerate(asked.models):
        name = PurePath(asked.names[place]).name if place < len(asked.names) else ""
        if name == model.name or not _plain(name):
            found.append(model)
            continue
        folder = again_of(asked.folder) / "models" / str(place)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            try:
                os.link(model, folder / name)
            except OSError:     # another file system, or one without links
                shutil.copyfile(model, folder / name)
        found.append(folder / name)
    return found


def _plain(name: str) -> bool:
    return name not in ("", ".", "..") and len(name.encode(errors="replace")) < _LONGEST and not {*name} & {*"/\\:\0"}


def _of_network(layout: str) -> str:
    """The rows lie as the network takes them."""
    network = layout.partition(":")[2]
    return f"{network}:{network}" if network else layout


def _places(rows: Path) -> dict[int, int] | None:
    """Item -> its place among the rows. Raises InputError E-BUNDLE-FORMAT, and what `check_arrays` does."""
    if not rows.is_file():
        return None
    try:
        with ZipFile(rows) as archive:
            check_arrays(archive, ROWS)
        with np.load(rows, allow_pickle=False) as arrays:
            places = {int(item): place for place, item in enumerate(arrays["index"])}
            if len(places) == len(arrays["index"]):
                return places
    except (ValueError, TypeError, KeyError, OverflowError, EOFError, BadZipFile, zlib.error):
        pass
    raise InputError("E-BUNDLE-FORMAT", f"{ROWS} does not say which row is of which item", where=ROWS, hint="ask for the pack anew")
