"""Whether the exported detector says what the traps say: its alarms in onnxruntime, run in several ways, against proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from absint.analyses.taboo.alarms import alarms_of, executed, proved_by_trap
from absint.analyses.taboo.executions import Executions, fed
from absint.analyses.taboo.exported import alarm_file
from absint.analyses.taboo.traps import Traps
from absint.errors import InternalError
from absint.model.alarms import AlarmFile
from absint.model.graph import Graph
from absint.model.reference import Runtime, one_session, opened
from absint.model.source import Source
from absint.model.watched import watched

TOGETHER = 64
_SHOWN = 5
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Way:
    """How onnxruntime runs a file. together: inputs in one call, where the file takes several."""

    optimised: bool = False
    threads: int = 1
    together: int = TOGETHER

    @property
    def name(self) -> str:
        """In words."""
        return (f"onnxruntime, optimisations {'on' if self.optimised else 'off'}, {self.threads} thread{'s' * (self.threads > 1)}, "
                f"{self.together} at a time")


PLAIN = Way()
WAYS = (PLAIN, Way(threads=2), Way(optimised=True), Way(optimised=True, threads=2), Way(together=1), Way(optimised=True, together=1))


@dataclass(frozen=True)
class Compared:
    """One execution on all inputs; each number counts inputs. alarms: a trap alarms.  differ: some trap answers otherwise than it does
    in the plain execution of the file.  outside: some trap does not answer as every float32 execution is proved to.

    outputs: the first output is not, to the bit, that of the network's own file run in the same way; None without a file.
    classes: the class is not that of the network's own file in the plain execution.
    """

    name: str
    alarms: int
    differ: int
    outside: int
    outputs: int | None
    classes: int


@dataclass(frozen=True)
class Equality:
    """Of the exported detector. undecided: inputs so near a threshold of some trap that rounding may decide, by proof.

    executions: the plain one first, torch's float32 last.
    """

    inputs: int
    undecided: int
    executions: tuple[Compared, ...]

    @property
    def differ(self) -> int:
        """Inputs on which most executions that differ do, at most `undecided` but for those outside."""
        return max(one.differ for one in self.executions)


def equality(graph: Graph, traps: Traps, inputs: Tensor, found: AlarmFile | None = None) -> Equality:
    """Compare executions on inputs (n, *shape), n > 0, finite, in the raw units of the graph.

    Proofs are box steps at the single inputs, float32 executions included: wherever all executions are proved to answer alike, each
    must. Onnxruntime's optimiser may rewrite constants (a normalisation into the weights before it) and so compute something else than
    the network of the file: where that leaves the bounds it is counted as `outside`.
    Raises InternalError E-CONTRADICTION where torch, or onnxruntime without optimisations, leaves them, and where the plain execution's
    first output is not the network's; UnsupportedError or UsageError E-SEMANTICS where there are no such bounds.
    """
    found = alarm_file(graph, traps) if found is None else found
    source, inputs = graph.source, inputs.double()
    lower, upper = Executions(watched(graph, traps.watches)).bounds(fed(inputs, inputs))
    proof = _Proof(*(part.numpy() for part in proved_by_trap(traps, lower, upper)))
    plain: _Answers | None = None
    compared = []
    for way in WAYS:
        ours, own = _of_file(source, found, inputs.numpy(), way), _of_network(source, inputs.numpy(), way)
        if plain is None:
            plain = _Answers(own.first, own.classes, ours.alarms)
            _hold(ours.differs(own), "the detector's first output is not the network's", way.name, source)
        if not way.optimised:
            _hold(proof.broken(ours.alarms), _OUTSIDE, way.name, source)
        compared.append(_counted(way.name, ours, plain, proof, int(ours.differs(own).sum())))
    assert plain is not None
    scores, values = executed(graph, traps, inputs)
    ours = _Answers([], _greatest(scores.numpy(), graph), alarms_of(traps, values).by_trap.numpy())
    _hold(proof.broken(ours.alarms), _OUTSIDE, _TORCH, source)
    return Equality(len(inputs), int(proof.open.sum()), (*compared, _counted(_TORCH, ours, plain, proof, None)))


_TORCH, _OUTSIDE = "torch, float32", "its alarms are not those of every float32 execution"


@dataclass(frozen=True, eq=False)
class _Proof:
    """(n, traps) bool each: every float32 execution alarms; none does."""

    alarmed: Mask
    quiet: Mask

    @property
    def open(self) -> Mask:
        """(n,): of some trap, nothing is proved."""
        return np.asarray((~(self.alarmed | self.quiet)).any(1))

    def broken(self, alarms: Mask) -> Mask:
        """(n,): some trap does not answer as is proved."""
        return np.asarray(((self.alarmed & ~alarms) | (self.quiet & alarms)).any(1))


@dataclass(frozen=True, eq=False)
class _Answers:
    """Of one execution. first: the first output of each input.  classes: (n,).  alarms: (n, traps)."""

    first: Sequence[npt.NDArray[Any]]
    classes: npt.NDArray[np.int64]
    alarms: Mask

    def differs(self, other: _Answers) -> Mask:
        """(n,): the first outputs are not the same to the bit."""
        return np.array([a.tobytes() != b.tobytes() for a, b in zip(self.first, other.first, strict=True)])


def _counted(name: str, ours: _Answers, plain: _Answers, proof: _Proof, outputs: int | None) -> Compared:
    return Compared(name, int(ours.alarms.any(1).sum()), int((ours.alarms != plain.alarms).any(1).sum()),
                    int(proof.broken(ours.alarms).sum()), outputs, int((ours.classes != plain.classes).sum()))


def _hold(broken: Mask, what: str, name: str, source: Source) -> None:
    """Raise InternalError E-CONTRADICTION for any broken input."""
    if broken.any():
        places = [f"input {place}" for place in np.flatnonzero(broken)[:_SHOWN]]
        raise InternalError("E-CONTRADICTION", f"{name}: {what}, on {int(broken.sum())} of {len(broken)} inputs", where=source.path or None,
                            details=places, hint="report it with the network and its detector")


# ---- onnxruntime ---------------------------------------------------------------------------------------------------------


def _of_network(source: Source, x: npt.NDArray[np.float64], way: Way) -> _Answers:
    """The network's own file. Without alarms."""
    reference = _opened(source.whole, way)
    (first,) = _run(reference, [next(iter(reference.formats))], x, way)
    return _Answers(first, _classes(first, source), np.zeros((len(x), 0), dtype=np.bool_))


def _of_file(source: Source, found: AlarmFile, x: npt.NDArray[np.float64], way: Way) -> _Answers:
    """The detector. Raises InternalError E-CONTRADICTION where its two outputs contradict each other."""
    reference = _opened(replace(source.whole, model=found.content), way)
    first, some, *each = _run(reference, [next(iter(reference.formats)), found.alarm, *([found.alarms] if found.alarms else [])], x, way)
    alarm = np.array([bool(value) for value in some])
    alarms = np.array([value.reshape(-1) for value in each[0]]) if each else alarm[:, None]
    _hold(alarm != alarms.any(1), "an alarm of any trap is not one of some trap", way.name, source)
    return _Answers(first, _classes(first, source), alarms)


def _opened(source: Source, way: Way) -> Runtime:
    return opened(source, partial(one_session, optimised=way.optimised, threads=way.threads))


def _run(reference: Runtime, names: Sequence[str], x: npt.NDArray[np.float64], way: Way) -> list[list[npt.NDArray[Any]]]:
    """By name, then by input. Files that take one instance get one at a time."""
    size = way.together if reference.batchable else 1
    found: list[list[npt.NDArray[Any]]] = [[] for _ in names]
    for start in range(0, len(x), size):
        part = x[start : start + size]
        values = reference.values(names, part, together=size > 1) or reference.values(names, part, together=False)
        for rows, name in zip(found, names, strict=True):
            rows.extend((values or {})[name])
    return found


def _classes(first: Sequence[npt.NDArray[Any]], source: Source) -> npt.NDArray[np.int64]:
    """(n,): the greatest score of each, or what a network that ends in ArgMax chooses."""
    rows = np.array([value.reshape(-1) for value in first])
    return np.asarray(rows[:, 0] if source.chooses is not None else rows.argmax(1), dtype=np.int64)


def _greatest(scores: npt.NDArray[Any], graph: Graph) -> npt.NDArray[np.int64]:
    """(n,): as the network's own end chooses of equal ones."""
    last = graph.source.chooses is not None and graph.source.chooses.last
    return np.asarray(scores.shape[1] - 1 - scores[:, ::-1].argmax(1) if last else scores.argmax(1), dtype=np.int64)
