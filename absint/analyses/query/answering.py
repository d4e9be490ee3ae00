"""Answers a VNN-LIB query: every cell an instance of the verifier, every counterexample proved against the exact query."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from absint.analyses.query.class_index import ScoreQuery, about_scores, check_index, check_outputs
from absint.analyses.verify import Problem, VerifyOptions, verify
from absint.attacks.proof import Judgement, by_intervals, in_rationals
from absint.model.graph import Graph
from absint.model.reference import runtime
from absint.problem.query import Group, Query
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.verdict import Assurance, InstanceResult, Reason, Verdict


class QueryAnswer(Enum):
    """The four answers of the VNN-LIB standard's solver interface."""

    SAT = "sat"               # a proved and replayed counterexample
    UNSAT = "unsat"           # a sound proof that there is none
    UNKNOWN = "unknown"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True)
class Assignment:
    """A counterexample. inputs: flat, as text; each is the exact value of an input.  outputs: what onnxruntime returned.

    point: the same inputs, each at the nearest float64 number or one of the two around it.
    distance: greatest distance of an entry of `point` from what the model was fed.
    """

    inputs: tuple[str, ...]
    outputs: tuple[float, ...]
    point: tuple[float, ...]
    distance: float


@dataclass(frozen=True)
class QueryResult:
    """The answer. results: of the instances, which are the boxes of the query (cut up where one has very many disjuncts).

    asked: how many instances there are.  stage: what decided.  reason: why the answer is neither sat nor unsat; `solver`
    also where it is unsat on a solver's word.
    margin: least certified margin of the instances, None where one has none that is finite.
    """

    answer: QueryAnswer
    results: tuple[InstanceResult, ...]
    asked: int
    witness: Assignment | None = None
    stage: str | None = None
    reason: Reason | None = None

    @property
    def margin(self) -> float | None:
        """See above."""
        margins = [result.margin for result in self.results if result.margin is not None]
        return min(margins) if margins and len(margins) == self.asked else None


def verify_query(graph: Graph, query: Query, options: VerifyOptions) -> QueryResult:
    """Whether some input of the query has an unsafe output. `options.total_timeout` is the limit of the whole call.

    Of a network that ends in ArgMax the output is the class index; a counterexample's output is that of the whole network.
    Sound: UNSAT only if every instance is verified with rounded bounds alone and no constraint contradicts another;
    SAT only if a point of the exact decimal box is proved, by outward-rounded or rational arithmetic, to have an output in the exact
    unsafe set, and onnxruntime's output at the nearest input of its format lies there, too.
    Raises InputError E-VNNLIB-COUNT where query and network do not fit, and what `verify` raises.
    """
    chooses = graph.source.chooses
    if chooses is None:
        query.check((graph.input.shape, graph.output.shape))
        return _Run(graph, query, options).result()
    check_outputs(query, chooses)
    query.check((graph.input.shape, (1,)))
    asked = about_scores(query, graph, chooses)
    if chooses.model is not None and query.cells:
        check_index(graph.source, query.region.shaped(graph.input.shape).searchable().hull)
    return _Run(graph, asked.query, options, asked).result()


class _Found(Exception):  # noqa: N818  # no error: it ends `verify` early
    """A counterexample was proved."""

    def __init__(self, witness: Assignment, stage: str | None) -> None:
        super().__init__()
        self.witness, self.stage = witness, stage


class _Run:
    """scores: where the query was put about the scores of a network that itself returns the class index."""

    def __init__(self, graph: Graph, query: Query, options: VerifyOptions, scores: ScoreQuery | None = None) -> None:
        self.graph, self.query, self.options, self.scores = graph, query, options, scores
        self.end = time.monotonic() + options.total_timeout
        self.region = query.region.shaped(graph.input.shape)
        self.groups = list(query.groups())
        self.asked = sum(len(group.cell) for group in self.groups)
        self.results: list[InstanceResult] = []

    def result(self) -> QueryResult:
        """Group by group, until a counterexample is found or the time is up."""
        try:
            first = 0
            for group in self.groups:
                left = self.end - time.monotonic()
                if left <= 0:
                    break
                self._decide(group, first, left)
                first += len(group.cell)
        except _Found as found:
            return QueryResult(QueryAnswer.SAT, tuple(self.results), self.asked, found.witness, found.stage)
        return self._without_witness()

    def _decide(self, group: Group, first: int, left: float) -> None:
        """One call of the engine; results arrive in `_receive`."""
        index = torch.from_numpy(group.cell)

        def specify(chosen: Tensor) -> Spec:
            return self.query.spec(group.rows[chosen.numpy()], inward=False)

        names = tuple(range(first, first + len(index)))
        problem = Problem(self.graph, self.region.take(index).searchable(), specify, names)
        verify(problem, replace(self.options, total_timeout=left), lambda result: self._receive(group, first, result))

    def _receive(self, group: Group, first: int, result: InstanceResult) -> None:
        if result.verdict is not Verdict.FALSIFIED or result.witness is None:
            self.results.append(result)
            return
        position = result.index - first
        witness = self._proved(int(group.cell[position]), group.rows[position : position + 1], result.witness)
        if witness is None:
            result = replace(result, verdict=Verdict.UNKNOWN, reason=Reason.AMBIGUOUS, assurance=Assurance.NONE, witness=None)
        self.results.append(result)
        if witness is not None:
            raise _Found(witness, result.stage or result.domain)

    def _proved(self, cell: int, rows: np.ndarray, candidate: tuple[float, ...]) -> Assignment | None:
        """The counterexample, proved against the exact box and the inward-rounded unsafe set; None where that fails."""
        point = np.array(candidate, dtype=np.float64).reshape(self.graph.input.shape)
        box = self.region.around(cell, point)
        spec = self.query.spec(rows, inward=True)
        if box is None:
            return None
        exact = [Fraction(self.query.exact.get((cell, k), value)) for k, value in enumerate(candidate)]
        found = by_intervals(self.graph, spec, 0, BoxRegion(*box))
        if found is Judgement.SAFE or (found is Judgement.OPEN and not in_rationals(self.graph, spec, 0, exact)):
            return None
        outputs, distance = (), 0.0
        if self.graph.source.whole.model is not None:
            reference = runtime(self.graph.source.whole)
            (output,) = reference.run(point[None])
            unsafe = spec.violated_exactly(0, output) if self.scores is None else self.scores.unsafe(cell, output)
            if not np.isfinite(output).all() or not unsafe:
                return None
            outputs = tuple(output.reshape(-1).tolist())
            distance = 0.0 if reference.prefix else float(np.abs(reference.round(point) - point).max(initial=0.0))
        inputs = tuple(self.query.exact.get((cell, k)) or _written(value) for k, value in enumerate(candidate))
        return Assignment(inputs, outputs, tuple(candidate), distance)

    def _without_witness(self) -> QueryResult:
        """UNSAT where all is verified: with Reason.SOLVER where that rests on a solver's word, which only `accept_solver` lets count."""
        results = tuple(self.results)
        trusted = (Assurance.SOUND, Assurance.SOLVER) if self.options.accept_solver else (Assurance.SOUND,)
        proved = all(r.verdict is Verdict.VERIFIED and r.assurance in trusted for r in results)
        stage = results[-1].stage or results[-1].domain if results else None
        if self.query.vacuous and proved:
            return QueryResult(QueryAnswer.UNKNOWN, results, self.asked, None, stage, Reason.VACUOUS)
        if proved and len(results) == self.asked > 0:
            word = any(r.assurance is not Assurance.SOUND for r in results)
            return QueryResult(QueryAnswer.UNSAT, results, self.asked, None, stage, Reason.SOLVER if word else None)
        late = len(results) < self.asked or any(r.reason is Reason.TIMEOUT for r in results)
        if late and time.monotonic() >= self.end:
            return QueryResult(QueryAnswer.TIMED_OUT, results, self.asked, None, stage, Reason.TIMEOUT)
        reasons = [r.reason for r in results if r.verdict is not Verdict.VERIFIED and r.reason is not None]
        return QueryResult(QueryAnswer.UNKNOWN, results, self.asked, None, stage, reasons[0] if reasons else Reason.SOLVER)


def _written(value: float) -> str:
    """The decimal that is exactly this float64 number: the shortest one that only rounds to it may lie outside of the set."""
    short = repr(value)
    return short if Fraction(short) == Fraction(value) else str(Decimal(value))
