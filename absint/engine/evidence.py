"""What a verdict rests on, as plain data: numpy arrays, numbers and strings, recorded where it arises and only where it is asked for.

`Recorder` (recorder.py) collects it for a batch; a `Context` carries one, or none. Nothing here is trusted by anybody: whoever holds
the network and the statement recomputes every bound, with the slopes, shares and multipliers as hints, and a wrong hint proves less.
Signs are said in evidence_parts.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np

from absint.engine.evidence_parts import (
    BOX,
    BYS,
    CLIP,
    COMBINATION,
    INFEASIBLE,
    PROGRAM,
    ROWS,
    VOID,
    Columns,
    CutHints,
    Leaf,
    NeuronBounds,
    Program,
    Ratios,
    SlopeTable,
    SplitStep,
    Values,
    covers,
)
from absint.engine.evidence_text import combined, constant, disjunct_lines, first_of, listed, neurons_lines, program_lines, short

__all__ = [
    "BOX", "BYS", "CLIP", "COMBINATION", "INFEASIBLE", "PROGRAM", "ROWS", "VOID", "Columns", "CutHints", "Evidence", "Leaf", "NeuronBounds",
    "Program", "Ratios", "SlopeTable", "SplitStep", "Values", "covers",
]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one instance's verdict rests on.

    lower, upper: (inputs,) float64, the region's hull; region: its kind.  weight: (rows, outputs), bias: (rows,), disjunct: (rows,)
    int64, strict: (rows,) bool, the unsafe rows.  semantics: real or float32.  stages: bounders that ran, in order.
    leaves: for each disjunct that something is proved of, those that cover the region.  neurons, programs: what they rest on.
    witness: (inputs,) that violates the property; replay: (outputs,) of the user's model there; both None for a proof.
    notes: what is not in here, in words.
    """

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    disjunct: np.ndarray
    strict: np.ndarray
    region: str = "BoxRegion"
    semantics: str = "real"
    stages: tuple[str, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    neurons: tuple[NeuronBounds, ...] = ()
    programs: tuple[Program, ...] = ()
    witness: np.ndarray | None = None
    replay: np.ndarray | None = None
    notes: tuple[str, ...] = field(default=())

    def with_witness(self, witness: Sequence[float], replay: Sequence[float]) -> Evidence:
        """Of an instance that this point (flat) falsifies: nothing is proved. replay: empty where there is no model to replay in."""
        return replace(self, leaves=(), neurons=(), programs=(), witness=np.array(witness, dtype=np.float64),
                       replay=np.array(replay, dtype=np.float64) if len(replay) else None)

    @property
    def disjuncts(self) -> int:
        """How many."""
        return int(self.disjunct.max()) + 1 if len(self.disjunct) else 0

    def of(self, disjunct: int) -> tuple[Leaf, ...]:
        """The leaves of one disjunct; none where nothing is proved of it."""
        return tuple(leaf for leaf in self.leaves if leaf.disjunct == disjunct)

    @property
    def margin(self) -> float:
        """The least over the disjuncts of what is proved of their greatest row; +inf for an empty unsafe set."""
        return min((min((leaf.bound for leaf in self.of(d)), default=-inf) for d in range(self.disjuncts)), default=inf)

    @property
    def arrays(self) -> Iterator[np.ndarray]:
        """Every array in it."""
        return _arrays(self)

    @property
    def bytes(self) -> int:
        """Of all of its arrays, each counted once."""
        return sum(one.nbytes for one in {id(a): a for a in self.arrays}.values())

    def text(self) -> str:
        """For people."""
        return "\n".join(_lines(self))

    def __repr__(self) -> str:
        if self.witness is not None:
            return f"<evidence: a witness, {len(self.witness)} inputs>"
        neurons = sum(map(len, self.neurons))
        return (f"<evidence: {len(self.leaves)} leaves of {self.disjuncts} disjuncts, {neurons} bounds of neurons, "
                f"{len(self.programs)} programs, {self.bytes} bytes>")


def _lines(e: Evidence) -> Iterator[str]:
    yield f"region: {e.region} of {len(e.lower)} inputs; semantics: {e.semantics}; stages: {', '.join(e.stages) or 'none'}"
    yield from first_of([f"  x[{k}] in [{short(low)}, {short(high)}]" for k, (low, high) in enumerate(zip(e.lower, e.upper, strict=True))])
    if e.witness is not None:
        yield f"witness: x = {listed(e.witness)}"
        if e.replay is not None:
            yield f"replay:  y = {listed(e.replay)}"
    for d in range(e.disjuncts):
        rows = np.flatnonzero(e.disjunct == d).tolist()
        yield f"disjunct {d}: unsafe where {' and '.join(_unsafe(e, k) for k in rows)}"
        yield from disjunct_lines(e.of(d))
    for group in e.neurons:
        yield from neurons_lines(group)
    for k, program in enumerate(e.programs):
        yield from program_lines(k, program)
    yield from (f"note: {note}" for note in e.notes)


def _unsafe(e: Evidence, k: int) -> str:
    return f"{combined(e.weight[k], 'y')}{constant(e.bias[k])} {'<' if e.strict[k] else '<='} 0"


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _arrays(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _arrays(inner)
    elif hasattr(type(value), "__dataclass_fields__"):
        for name in type(value).__dataclass_fields__:
            yield from _arrays(getattr(value, name))
