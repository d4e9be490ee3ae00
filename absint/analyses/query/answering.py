"""Answers a VNN-LIB query: every cell an instance of the verifier, every counterexample proved against the exact query."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from absint.analyses.query.class_index import ScoreQuery, about_scores, check_index, check_outputs
from absint.analyses.verify.deciding import decided
from absint.analyses.verify.settings import ProofSettings
from absint.attacks.proof import Judgement, by_intervals, in_rationals
from absint.model.graph import Graph
from absint.model.reference import runtime
from absint.numeric.backend import numeric_mode
from absint.problem.problem import Problem
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


def verify_query(graph: Graph, query: Query, settings: ProofSettings) -> QueryResult:
    """Whether some input of the query has an unsafe output: what `answered` ends with."""
    run = answered(graph, query, settings)
    for _ in run:
        pass
    return run.result


def answered(graph: Graph, query: Query, settings: ProofSettings) -> Answering:
    """Whether some input of the query has an unsafe output. `settings.total_timeout` is the limit of the whole call.

    Of a network that ends in ArgMax the output is the class index; a counterexample's output is that of the whole network.
    Sound: UNSAT only if every instance is verified with rounded bounds alone and no constraint contradicts another;
    SAT only if a point of the exact decimal box is proved, by outward-rounded or rational arithmetic, to have an output in the exact
    unsafe set, and onnxruntime's output at the nearest input of its format lies there, too.
    Raises InputError E-VNNLIB-COUNT where query and network do not fit; what is iterated raises what `decided` raises.
    """
    chooses = graph.source.chooses
    if chooses is None:
        query.check((graph.input.shape, graph.output.shape), graph.source.named_inputs)
        return Answering(graph, query, settings)
    check_outputs(query, chooses)
    query.check((graph.input.shape, (1,)), graph.source.named_inputs)
    asked = about_scores(query, graph, chooses)
    if graph.source.whole.runs and query.cells:
        check_index(graph.source, query.region.shaped(graph.input.shape).searchable().hull)
    return Answering(graph, asked.query, settings, asked)


class Answering:
    """A query under way: iterated once, it yields each instance the moment it is decided; then `result` is the answer.

    It ends with the first counterexample that is proved. Left early, `result` says what is known until then.
    asked: how many instances there are.
    """

    def __init__(self, graph: Graph, query: Query, settings: ProofSettings, scores: ScoreQuery | None = None) -> None:
        """scores: where the query was put about the scores of a network that itself returns the class index."""
        self.graph, self.query, self.settings, self.scores = graph, query, settings, scores
        self.end = time.monotonic() + settings.total_timeout
        self.region = query.region.shaped(graph.input.shape)
        self.groups = list(query.groups())
        self.asked = sum(len(group.cell) for group in self.groups)
        self._results: list[InstanceResult] = []
        self._found: tuple[Assignment, str | None] | None = None
        self._late = False
        self._steps = self._run()

    def __iter__(self) -> Generator[InstanceResult, None, None]:
        return self._steps

    def close(self) -> None:
        """End it where it stands; nothing is left running."""
        self._steps.close()

    def _run(self) -> Generator[InstanceResult, None, None]:
        """Group by group, until a counterexample is found or the time is up."""
        first = 0
        for group in self.groups:
            left = self.end - time.monotonic()
            if left <= 0:
                self._late = True
                return
            with closing(decided(self._problem(group, first), replace(self.settings, total_timeout=left))) as results:
                for result in results:
                    self._results.append(self._judged(group, first, result))
                    yield self._results[-1]
                    if self._found is not None:
                        return
            first += len(group.cell)

    def _problem(self, group: Group, first: int) -> Problem:
        index = torch.from_numpy(group.cell)

        def specify(chosen: Tensor) -> Spec:
            return self.query.spec(group.rows[chosen.numpy()], inward=False)

        return Problem(self.graph, self.region.take(index).searchable(), specify, tuple(range(first, first + len(index))))

    def _judged(self, group: Group, first: int, result: InstanceResult) -> InstanceResult:
        """The result, with its witness proved against the exact query: unknown where that fails."""
        if result.verdict is not Verdict.FALSIFIED or result.witness is None:
            return result
        position = result.index - first
        witness = self._proved(int(group.cell[position]), group.rows[position : position + 1], result.witness)
        if witness is None:
            return replace(result, verdict=Verdict.UNKNOWN, reason=Reason.AMBIGUOUS, assurance=Assurance.NONE, witness=None,
                           evidence=None)
        self._found = witness, result.stage or result.domain
        return result

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
        if self.graph.source.whole.runs:
            reference = runtime(self.graph.source.whole)
            (output,) = reference.run(point[None])
            unsafe = spec.violated_exactly(0, output) if self.scores is None else self.scores.unsafe(cell, output)
            if not np.isfinite(output).all() or not unsafe:
                return None
            outputs = tuple(output.reshape(-1).tolist())
            distance = 0.0 if reference.prefix else float(np.abs(reference.round(point) - point).max(initial=0.0))
        inputs = tuple(self.query.exact.get((cell, k)) or _written(value) for k, value in enumerate(candidate))
        return Assignment(inputs, outputs, tuple(candidate), distance)

    def proves(self, witness: tuple[float, ...]) -> bool:
        """Whether a point that somebody claims is a counterexample of the query: proved against the exact query and replayed."""
        if len(witness) != self.graph.input.size or not np.isfinite(witness).all():
            return False
        with numeric_mode(), torch.no_grad():
            return any(self._proved(int(cell), group.rows[place : place + 1], witness) is not None
                       for group in self.groups for place, cell in enumerate(group.cell))

    @property
    def result(self) -> QueryResult:
        """The answer, by what is known. UNSAT where all is verified: with Reason.SOLVER where that rests on a solver's word,
        which only `accept_solver` lets count; TIMED_OUT where a limit that the user set left something open.
        """
        results = tuple(self._results)
        if self._found is not None:
            return QueryResult(QueryAnswer.SAT, results, self.asked, *self._found)
        trusted = (Assurance.SOUND, Assurance.SOLVER) if self.settings.accept_solver else (Assurance.SOUND,)
        proved = all(r.verdict is Verdict.VERIFIED and r.assurance in trusted for r in results)
        stage = results[-1].stage or results[-1].domain if results else None
        if self.query.vacuous and proved:
            return QueryResult(QueryAnswer.UNKNOWN, results, self.asked, None, stage, Reason.VACUOUS)
        if proved and len(results) == self.asked > 0:
            word = any(r.assurance is not Assurance.SOUND for r in results)
            return QueryResult(QueryAnswer.UNSAT, results, self.asked, None, stage, Reason.SOLVER if word else None)
        if self._late or any(r.reason is Reason.TIMEOUT for r in results):
            return QueryResult(QueryAnswer.TIMED_OUT, results, self.asked, None, stage, Reason.TIMEOUT)
        if len(results) < self.asked:
            return QueryResult(QueryAnswer.UNKNOWN, results, self.asked, None, stage, Reason.INTERRUPTED)
        reasons = [r.reason for r in results if r.verdict is not Verdict.VERIFIED and r.reason is not None]
        return QueryResult(QueryAnswer.UNKNOWN, results, self.asked, None, stage, reasons[0] if reasons else Reason.SOLVER)


def _written(value: float) -> str:
    """The decimal that is exactly this float64 number: the shortest one that only rounds to it may lie outside of the set."""
    short = repr(value)
    return short if Fraction(short) == Fraction(value) else str(Decimal(value))
