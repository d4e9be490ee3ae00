"""The linear programs of one batch, built when they are asked for and freed when memory is short; what was learnt of them is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.encode.builder import with_greatest
from absint.encode.network import Encoding, Functional, encode
from absint.encode.recorded import program_of, splits_of
from absint.engine.context import Context
from absint.engine.evidence import INFEASIBLE, PROGRAM, VOID, Leaf
from absint.engine.recorder import Recorder
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.numeric.outward import next_below
from absint.problem.spec import Spec
from absint.search.branchers.phases import Gains, Phases
from absint.solvers.model import Model, SolverAnswer


def undecided(ctx: Context) -> Tensor:
    """(batch,) int64: entries of nonlinear nodes whose function is not affine over what is known of their inputs."""
    count = torch.zeros(ctx.batch, dtype=torch.int64)
    for node in ctx.graph.nodes:
        if isinstance(node.op, Nonlinear):
            for mask in node.op.undecided(ctx.inputs(node.inputs)):
                count += mask.flatten(1).sum(1).cpu()
    return count


@dataclass(frozen=True, eq=False)
class Target:
    """One disjunct as an objective. model: its own, or None where the instance's serves.

    factor: the power of two its rows were multiplied by: tolerances of solvers are absolute.
    """

    cost: np.ndarray
    offset: float
    model: Model | None = None
    factor: float = 1.0


@dataclass(eq=False)
class InstancePrograms:
    """One instance's relaxation, and its disjuncts as objectives over it. Mutable: sessions and targets are made when asked for.

    A disjunct of one row is a cost of one LP that stays warm over all of them; one of several rows has a column of its own that
    is at least every row, so that its least value decides the whole conjunction.
    """

    graph: Graph
    encoding: Encoding
    spec: Spec
    solvers: tuple[str, ...]
    gains: dict[int | None, Gains]
    report: Callable[[str], None]
    targets: dict[int, Target] = field(default_factory=dict)
    sessions: dict[int | None, Phases] = field(default_factory=dict)
    recorded: dict[int, int] = field(default_factory=dict)

    def target(self, disjunct: int) -> Target:
        """The objective of a disjunct."""
        if disjunct not in self.targets:
            self.targets[disjunct] = self._target(disjunct)
        return self.targets[disjunct]

    def phases(self, disjunct: int) -> Phases:
        """The LP of a disjunct: the shared one, or its own."""
        model = self.target(disjunct).model
        key = None if model is None else disjunct
        if key not in self.sessions:
            gains = self.gains.setdefault(key, Gains.of(self.encoding.choices))
            self.sessions[key] = Phases(model or self.encoding.model, self.encoding.choices, self.solvers, gains)
        return self.sessions[key]

    def leaf(self, disjunct: int, path: np.ndarray, bound: float, answer: SolverAnswer, recorder: Recorder) -> Leaf:
        """Why one leaf of a disjunct's tree is closed. path: positions of alternatives.  bound: in the units of the LP."""
        encoding, target = self.encoding, self.target(disjunct)
        if disjunct not in self.recorded:
            model = target.model or encoding.model
            program = program_of(model, encoding.blocks, self.graph, target.cost, target.offset, target.factor)
            self.recorded[disjunct] = recorder.program(program)
        steps = splits_of(encoding.choices, encoding.blocks, self.graph, path)
        bound = float(next_below(bound / target.factor)) if abs(bound) < inf else bound
        if answer.infeasible:
            void = answer.multipliers is None
            return Leaf(bound, VOID if void else INFEASIBLE, steps, program=self.recorded[disjunct], ray=answer.multipliers)
        return Leaf(bound, PROGRAM, steps, program=self.recorded[disjunct], multipliers=answer.multipliers)

    @property
    def bytes(self) -> int:
        """A rough guess: a solver keeps a few copies of a model."""
        models = [p.model for p in self.sessions.values()] or [self.encoding.model]
        return sum(4 * 16 * m.matrix.nnz + 400 * sum(m.matrix.shape) for m in models)

    def told(self) -> None:
        """Report what the sessions noted since the last time."""
        for phases in self.sessions.values():
            for trouble in phases.notes:
                self.report(f"{trouble.code}: {trouble.what}")
            phases.notes.clear()

    def close(self) -> None:
        """Free the sessions."""
        self.told()
        for phases in self.sessions.values():
            phases.session.close()
        self.sessions.clear()

    def _target(self, disjunct: int) -> Target:
        encoding = self.encoding
        rows = (self.spec.disjunct == disjunct).nonzero().flatten().tolist()
        weight, bias = self.spec.weight[0, rows].numpy(), self.spec.bias[0, rows].numpy()
        parts = [encoding.functional(w, float(b)) for w, b in zip(weight, bias, strict=True)]
        factor = _factor(encoding, parts)
        if factor != 1:
            parts = [encoding.functional(w, float(b)) for w, b in zip(weight * factor, bias * factor, strict=True)]
        if len(parts) == 1:
            return Target(parts[0].cost, parts[0].offset, None, factor)
        model = with_greatest(encoding.model, np.stack([p.cost for p in parts]), np.array([p.offset for p in parts]))
        return Target(model.cost, 0.0, model, factor)


class Models:
    """The programs of a batch's instances, those used last within a share of the memory. Mutable.

    report: told (instance, what the user should know).
    """

    def __init__(self, ctx: Context, spec: Spec, solvers: tuple[str, ...], report: Callable[[int, str], None], memory: float = inf) -> None:
        self.ctx, self.spec, self.solvers, self.report, self.memory = ctx, spec.to(torch.device("cpu")), solvers, report, memory
        self._kept: OrderedDict[int, InstancePrograms] = OrderedDict()
        self._gains: dict[int, dict[int | None, Gains]] = {}

    def of(self, instance: int) -> InstancePrograms:
        """Those of one instance. Raises what `encode` raises."""
        if instance not in self._kept:
            encoding = encode(self.ctx, instance)
            self._kept[instance] = InstancePrograms(self.ctx.graph, encoding, self.spec.take(torch.tensor([instance])), self.solvers,
                                            self._gains.setdefault(instance, {}), lambda text: self.report(instance, text))
        self._kept.move_to_end(instance)
        while len(self._kept) > 1 and sum(p.bytes for p in self._kept.values()) > self.memory:
            self.forget(next(iter(self._kept)))
        return self._kept[instance]

    def forget(self, instance: int) -> None:
        """Free those of one instance; they are built anew where they are asked for again."""
        if instance in self._kept:
            self._kept.pop(instance).close()

    def close(self) -> None:
        """Free all."""
        for instance in list(self._kept):
            self.forget(instance)


def _factor(encoding: Encoding, parts: list[Functional]) -> float:
    """A power of two that lifts rows whose summands are below 1 to about 1; products with it are exact."""
    reach = np.maximum(np.abs(encoding.model.lower), np.abs(encoding.model.upper))
    with np.errstate(invalid="ignore", over="ignore"):
        size = max(float(np.where(p.cost != 0, np.abs(p.cost) * reach, 0.0).sum()) + abs(p.offset) for p in parts)
    return 2.0 ** min(200, -int(np.floor(np.log2(size)))) if 0 < size < 1 else 1.0
