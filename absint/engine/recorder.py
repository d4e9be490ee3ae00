"""Recorders: what collects evidence while a batch is analysed. A context carries one or None, and for None nothing here is called.

A recorder speaks of the whole regions that it was made for: `Context.recording` is None under assumptions and over any other region, so
that what holds on a part is never taken for the whole. A search that divides a region says so itself, by `tree` or a `Growth`.

    recorder = Recorder.of(region)                  for a batch;   recorder.over(part, index)  for some of its instances
    recorder.begin("alpha float32")                 a stage starts; what an unfinished one recorded is dropped
    recorder.rows, .sums, .neurons, .void, .distrust        the engine calls these, and LPs over neurons
    recorder.program(program) -> int                for Leaf.program
    recorder.tree(slot, disjunct, leaves)           leaves whose paths cover a disjunct; `Growth` builds them as a tree grows
    recorder.commit()                               the stage ended, and what it proved is learnt
    recorder.evidence(slot, region, spec)           for every disjunct, what proves most of it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from torch import Tensor

from absint.engine.evidence import VOID, Evidence, Leaf, NeuronBounds, Program, covers
from absint.engine.evidence_records import BestOfInstance, Chosen, Item, RecordedRows, Whole, best_rows, doubles
from absint.engine.rows import Rows
from absint.problem.regions.region import Region
from absint.problem.spec import Spec


@dataclass(eq=False)
class _Store:
    """What all views of one recorder share. memory: bytes of slopes that are kept at most."""

    memory: float = inf
    semantics: str = "real"
    stages: list[str] = field(default_factory=list)
    kept: list[Item] = field(default_factory=list)
    pending: list[Item] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    notes: dict[int, list[str]] = field(default_factory=dict)
    distrusted: set[int] = field(default_factory=set)
    bytes: int = 0


class Recorder:
    """A view of a batch: what is recorded of the slots of `region` belongs to the instances `position` of the whole. Mutable."""

    def __init__(self, store: _Store, region: Region, position: np.ndarray) -> None:
        self._store, self.region, self.position = store, region, position

    @staticmethod
    def of(region: Region, memory: float = inf, semantics: str = "real") -> Recorder:
        """A new one for the batch. memory: bytes of slopes at most; beyond, bounds of neurons are left out, and a note says so."""
        return Recorder(_Store(memory, semantics), region, np.arange(region.batch))

    def over(self, region: Region, index: Tensor) -> Recorder:
        """The same for some of its instances, over `region`, which must be all of theirs."""
        return Recorder(self._store, region, self.position[index.cpu().numpy()])

    # ---- stages -------------------------------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        """A stage starts. What the last one recorded and did not commit is dropped."""
        store = self._store
        store.pending, store.distrusted = [], set()
        store.stages = [*(one for one in store.stages if one != stage), stage]

    def commit(self) -> None:
        """What the stage recorded counts, but for instances that a solver's word entered."""
        store = self._store
        store.kept += [part for item in store.pending if (part := self._trusted(item)) is not None]
        store.pending = []

    def distrust(self, chosen: Tensor) -> None:
        """Slots (n,) bool whose bounds in this stage rest on a solver's word."""
        self._store.distrusted |= set(self.position[chosen.cpu().numpy()].tolist())

    def note(self, slot: int, text: str) -> None:
        """Something that is not recorded, in words."""
        notes = self._store.notes.setdefault(int(self.position[slot]), [])
        if text not in notes:
            notes.append(text)

    def _trusted(self, item: Item) -> Item | None:
        out = self._store.distrusted
        if not out:
            return item
        if not isinstance(item, RecordedRows):
            return None if (item.position if isinstance(item, Whole) else item[0]) in out else item
        # Their rows stay where they are, as bounds that prove nothing.
        return replace(item, bound=np.where(np.isin(item.position, list(out)), -inf, item.bound))

    def takes(self, size: int) -> bool:
        """Whether there is room for so many bytes of slopes more, which count from now on; negative ones make room."""
        store = self._store
        fits = store.bytes + size <= store.memory
        store.bytes += size if fits else 0
        return fits

    @property
    def memory(self) -> float:
        """Bytes of slopes at most."""
        return self._store.memory

    @property
    def stage(self) -> str:
        """The one under way."""
        return self._store.stages[-1] if self._store.stages else ""

    # ---- what the engine and its callers say ---------------------------------------------------------------------------

    def rows(self, rows: Rows, bound: Tensor, by: str, slopes: Mapping[str, Chosen] | None = None) -> None:
        """Lower bounds (R,) of rows of the property, those that have a number."""
        if rows.number is not None:
            self._add(RecordedRows(by, self.stage, self._at(rows.instance), rows.number.cpu().numpy(), doubles(bound), slopes))

    def sums(self, which: tuple[Tensor, Tensor], share: Tensor, bound: Tensor, by: str, slopes: Mapping[str, Chosen] | None = None) -> None:
        """(Q,) lower bounds of disjuncts' greatest rows by sums with shares (Q, k) of their rows, in their order.

        which: instances (Q,) and disjuncts (Q,).
        """
        instance, disjunct = which
        self._add(RecordedRows(by, self.stage, self._at(instance), disjunct.cpu().numpy(), doubles(bound), slopes, doubles(share)))

    def neurons(self, rows: Rows, side: int, bound: Tensor, slopes: Mapping[str, Chosen]) -> None:
        """(R,) lower bounds of  side * entry  of unit rows."""
        if rows.index is None or rows.bias is not None:
            return
        if self._store.bytes > self._store.memory:
            for slot in rows.instance.unique().tolist():
                self.note(slot, f"bounds of neurons by slopes beyond {self._store.memory:g} bytes are left out")
            return
        at, entry = self._at(rows.instance), rows.index.cpu().numpy()
        self._add(RecordedRows("neurons", self.stage, at, entry, doubles(bound), slopes, node=rows.node, side=side))

    def programmed(self, slot: int, bounds: NeuronBounds) -> None:
        """RecordedRows of an instance's neurons by multipliers."""
        self._store.pending.append((int(self.position[slot]), replace(bounds, stage=self.stage)))

    def program(self, program: Program) -> int:
        """Its number, for `Leaf.program` and `NeuronBounds.program`."""
        self._store.programs.append(program)
        return len(self._store.programs) - 1

    def void(self, chosen: Tensor) -> None:
        """Slots (n,) bool whose region holds no input: nothing is to be shown of them."""
        for slot in chosen.nonzero().flatten().tolist():
            self._store.pending.append(Whole(int(self.position[slot]), None, (Leaf(inf, VOID, stage=self.stage),)))

    def tree(self, slot: int, disjunct: int, leaves: Sequence[Leaf]) -> None:
        """Leaves that cover the region, each with its path. Those that do not are not recorded, and a note says so."""
        if not covers([leaf.path for leaf in leaves]):
            self.note(slot, f"the leaves recorded of disjunct {disjunct} do not cover its region")
            return
        named = tuple(leaf if leaf.stage else replace(leaf, stage=self.stage) for leaf in leaves)
        self._store.pending.append(Whole(int(self.position[slot]), disjunct, named))

    def _at(self, instance: Tensor) -> np.ndarray:
        found: np.ndarray = self.position[instance.cpu().numpy()]
        return found

    def _add(self, bounds: RecordedRows) -> None:
        self._store.pending.append(bounds)
        self._store.bytes += sum(chosen.value.nbytes for chosen in (bounds.slopes or {}).values())

    # ---- evidence ------------------------------------------------------------------------------------------------------

    def evidence(self, slot: int, region: Region, spec: Spec) -> Evidence:
        """What was committed about one instance. region, spec: of the view's slots."""
        store = self._store
        disjunct, strict = (v.cpu().numpy() for v in (spec.disjunct, spec.strict))
        leaves, neurons = self.proof(slot, disjunct, strict)
        named = [*(leaf.program for leaf in leaves), *(one.program for one in neurons)]
        used = list(dict.fromkeys(program for program in named if program is not None))
        place: dict[int | None, int | None] = {None: None, **{program: k for k, program in enumerate(used)}}
        lower, upper = (doubles(end[slot].flatten()) for end in (region.hull.lower, region.hull.upper))
        return Evidence(
            lower, upper, doubles(spec.weight[slot]), doubles(spec.bias[slot]), disjunct, strict, type(region).__name__, store.semantics,
            tuple(store.stages), tuple(leaf if leaf.program is None else replace(leaf, program=place[leaf.program]) for leaf in leaves),
            tuple(replace(one, program=place[one.program]) for one in neurons), tuple(store.programs[k] for k in used),
            notes=tuple(store.notes.get(int(self.position[slot]), ())))

    def best_rows(self, strict: np.ndarray, slots: list[int]) -> list[Leaf]:
        """For some slots of a batch of one disjunct of these rows, the best of them, without bounds of neurons."""
        return best_rows(self._store.kept, strict, slots)

    @property
    def knows_neurons(self) -> bool:
        """Whether bounds of neurons were recorded."""
        return any(isinstance(item, tuple) or (isinstance(item, RecordedRows) and item.node) for item in self._store.kept)

    def proof(self, slot: int, disjunct: np.ndarray, strict: np.ndarray) -> tuple[list[Leaf], list[NeuronBounds]]:
        """The leaves and the bounds of neurons of `evidence`, with the recorder's own numbers of programs. disjunct, strict: (rows,)."""
        best = BestOfInstance(int(self.position[slot]), disjunct, strict)
        for item in self._store.kept:
            best.look(item)
        return best.leaves(), best.neurons()
