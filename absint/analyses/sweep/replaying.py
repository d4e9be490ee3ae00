"""The counterexamples of a line, each held to the question of `verify` that its cell answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from absint.analyses.sweep.asking import ASKED, SweepTask
from absint.analyses.sweep.options import SweepOptions
from absint.analyses.sweep.record import SweepLine
from absint.contract.analysis import analysis_of
from absint.contract.replay import WitnessReplay
from absint.contract.run import Run
from absint.verdict import InstanceResult


def replayed(record: SweepLine, run: Run[SweepOptions]) -> WitnessReplay:
    """Each witness in the exact ball of its cell. The line is the one that the item's index means: names of files may be others."""
    task: SweepTask = run.problem
    line = task.lines[record.index % len(task.lines)]
    radii = {one.text: place for place, one in enumerate(task.radii)}
    found = WitnessReplay()
    for cell in record.cells:
        if cell.witness is None:
            continue
        asked = (cell.norm, cell.domain) == (record.norm, record.domain) == (line.norm, line.domain) and cell.eps in radii
        if not asked or cell.index != record.input or record.input not in task.places:
            found = found.with_(WitnessReplay.of(False))
            continue
        result = InstanceResult(cell.index, cell.verdict, cell.label, cell.predicted, witness=cell.witness)
        found = found.with_(analysis_of(ASKED).replayed(result, task.cell(line, radii[cell.eps])))
    return found


def elsewhere(record: SweepLine, places: Mapping[int, int]) -> SweepLine | None:
    """About the input where it lies; the item's index stays, which says the line."""
    if record.input not in places or any(cell.index not in places for cell in record.cells):
        return None
    cells = tuple(replace(cell, index=places[cell.index]) for cell in record.cells)
    return replace(record, input=places[record.input], cells=cells)
