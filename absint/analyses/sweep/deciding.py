"""Inputs in blocks along the radii: every verdict decides what follows from it, and only what is then open is asked.

The radii are asked in the order of a bisection that is the same for all inputs, so that those which are open at one radius are one batch
of one question. What an input's verdicts are does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from absint.analyses.sweep.asking import ASKED, SweepTask, SweptLine
from absint.analyses.sweep.grid import asking_order
from absint.analyses.sweep.implied import Evidences, basis_of, contradiction
from absint.analyses.sweep.options import SweepOptions
from absint.analyses.sweep.record import SweepCell, SweepLine
from absint.contract.analysis import Item, analysis_of
from absint.contract.run import Run
from absint.search.names import searches
from absint.verdict import InstanceResult, Verdict

_BLOCK, _SEARCHED = 256, 16      # inputs of a block: what a kill may lose; fewer where each may take long


def answers(run: Run[SweepOptions], items: Sequence[Item]) -> Iterator[SweepLine]:
    """The record of each input the moment its last radius is known, network by network, norm by norm, domain by domain.

    Raises InternalError E-CONTRADICTION where a witness lies within a proof of the same network, norm and input, and what `verify` raises.
    """
    task: SweepTask = run.problem
    known, found = Evidences.of(run.done.values(), task.by_text)
    if found is not None:
        raise found
    by_line: dict[SweptLine, list[Item]] = {line: [] for line in task.lines}
    for item in items:
        by_line[item.payload[0]].append(item)
    for line, mine in by_line.items():
        size = _SEARCHED if searches(task.domains[line.domain]) else _BLOCK
        for start in range(0, len(mine), size):
            if run.over:
                return
            block = mine[start : start + size]
            for record in _Block(run, line, {item.payload[1]: item for item in block}).records():
                found = contradiction(list(known.met(record)))
                if found is not None:
                    raise found
                yield record


def timed_out(item: Item, result: InstanceResult) -> SweepLine:
    """Of an item whose process was killed: nothing is known of any radius. result: what is said of each."""
    line, name, texts = item.payload
    empty = SweepLine(item.index, line.net, line.norm, line.domain, name, None)
    return replace(empty, cells=tuple(empty.cell(text, replace(result, index=name)) for text in texts))


@dataclass(eq=False)
class _Block:
    """Inputs of one line on their way. items: by input.  known: by input, cells by the place of their radius.  cut: inputs of which the
    limit of the whole run ended a radius."""

    run: Run[SweepOptions]
    line: SweptLine
    items: dict[int, Item]
    known: dict[int, dict[int, SweepCell]] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)

    @property
    def task(self) -> SweepTask:
        """What is asked."""
        task: SweepTask = self.run.problem
        return task

    def records(self) -> Iterator[SweepLine]:
        """Each input's when its last radius is known."""
        self.known = {name: {} for name in self.items}
        told: set[int] = set()
        for radius in asking_order(len(self.task.radii)):
            for name in self._decided(radius):
                if name not in told and len(self.known[name]) == len(self.task.radii):
                    told.add(name)
                    yield self._record(name)

    def _decided(self, radius: int) -> Iterator[int]:
        """Ask of what is open at a radius; yields each input that got an answer."""
        open_ = [name for name, cells in self.known.items() if radius not in cells]
        if not open_:
            return
        said = f"{self.line.net}, {self.line.domain}, {self.line.norm} eps {self.task.radii[radius].text}"
        # Time is over when it is over for this run: a network's own was resolved on the clock of another machine, perhaps.
        cell = replace(self.task.cell(self.line, radius), begin=self.run.begin, end=self.run.end)
        run = replace(cell, stage=lambda what: self.run.stage(f"{said}: {what}"))
        asked: Any = analysis_of(ASKED).decide([Item(name, f"input {name}") for name in open_], run)
        with closing(asked) as results:
            for result in results:
                self._learn(radius, result)
                yield result.index

    def _learn(self, radius: int, result: InstanceResult) -> None:
        """At this radius, and at all that it decides."""
        cells, empty = self.known[result.index], self._empty(result.index, result)
        cells[radius] = empty.cell(self.task.radii[radius].text, result)
        if result.cut:
            self.cut.add(result.index)
        if result.verdict in (Verdict.UNKNOWN, Verdict.LIKELY):
            return
        for other, one in enumerate(self.task.radii):
            if other in cells:
                continue
            basis = basis_of(result, self.task.radii[radius], one, partial(self.task.around, self.line, other, result.index))
            if basis:
                cells[other] = empty.cell(one.text, result, basis)

    def _empty(self, name: int, result: InstanceResult) -> SweepLine:
        line = self.line
        return SweepLine(self.items[name].index, line.net, line.norm, line.domain, name, result.label, cut=name in self.cut)

    def _record(self, name: int) -> SweepLine:
        cells = self.known[name]
        line, ordered = self.line, tuple(cells[radius] for radius in sorted(cells))
        return SweepLine(self.items[name].index, line.net, line.norm, line.domain, name, ordered[0].label, ordered, name in self.cut)
