"""Results leave an analysis the moment they exist: witnesses before proofs, one stage's proofs before the next stage."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
import torch
from bundled import digits, mnist
from costly import Costly, Stages, Zonotope, images
from solver_contract import build

from absint.analyses.query.answering import QueryAnswer, answered, verify_query
from absint.analyses.radius import bisection
from absint.analyses.radius.bisection import BisectionSettings, radii
from absint.analyses.verify import ProofSettings, decided, verify
from absint.analyses.verify.patches import decided_patches, verify_patches
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.model.graph import Node
from absint.model.ops.gemm import Gemm
from absint.problem.query import read_query
from absint.problem.regions import Patches
from absint.search.names import domain_of
from absint.verdict import InstanceResult, Verdict

Box = DOMAINS.get("box")


def listened(problem: Any, domain: Costly | Stages, log: list[Any], **options: Any) -> list[Any]:
    """Starts of proofs and results in the order in which they came."""
    for result in decided(problem, ProofSettings(domain, **options)):
        log.append(result)
    return log


def before_the_first_proof(log: list[Any]) -> list[InstanceResult]:
    first = next(k for k, entry in enumerate(log) if isinstance(entry, tuple))
    return log[:first]


def test_counterexamples_are_out_before_any_proof_starts():
    log: list[Any] = []
    listened(images(10, "0.12", wrong=(7,)), Stages((Costly(log=log),)), log, batch=10)
    early = before_the_first_proof(log)
    assert {r.verdict for r in early} == {Verdict.MISCLASSIFIED, Verdict.FALSIFIED}
    assert 7 in [r.index for r in early if r.verdict is Verdict.MISCLASSIFIED]


def test_what_a_stage_proves_is_out_before_the_next_one_starts():
    log: list[Any] = []
    listened(images(12, "0.02"), Stages((Zonotope(), Costly(log=log, single=False))), log, attack=None, batch=12)
    early = before_the_first_proof(log)
    assert len(early) > 3
    assert {r.stage for r in early} <= {None, "zonotope float32", "zonotope float64"}  # None: misclassified
    (_, size), *_ = [entry for entry in log if isinstance(entry, tuple)]
    assert size == 12 - len(early)


def test_one_by_one_each_is_out_before_the_next_one_starts():
    log: list[Any] = []
    listened(images(6), Stages((Costly(log=log),)), log, attack=None, batch=6)
    order = ["start" if isinstance(entry, tuple) else "result" for entry in log]
    proved = [k for k, entry in enumerate(log) if isinstance(entry, InstanceResult) and entry.verdict is Verdict.VERIFIED]
    assert len(proved) >= 4
    assert all(order[k - 1] == "start" for k in proved)
    assert {size for _, size in (entry for entry in log if isinstance(entry, tuple))} == {1}


@dataclass(frozen=True)
class Hungry(Zonotope):  # type: ignore[misc, valid-type]
    """A stage that has memory for a few instances only."""

    most: int = 2
    sizes: list[int] = field(default_factory=list)

    def start(self, node: Node, ctx: Context) -> Any:
        self.sizes.append(ctx.batch)
        if ctx.batch > self.most:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return super().start(node, ctx)


def test_a_batch_too_large_is_done_again_without_what_was_told():
    problem, hungry = images(16, "0.04"), Hungry()
    told = list(decided(problem, ProofSettings(Stages((Box(), Zonotope(), hungry)), attack=None, batch=16)))
    plain = verify(problem, ProofSettings(Stages((Box(), Zonotope())), attack=None))
    assert sorted(r.index for r in told) == list(range(16))
    assert sorted((r.index, r.verdict.value) for r in told) == [(r.index, r.verdict.value) for r in plain]
    early = [r.index for r in told if r.verdict is Verdict.VERIFIED]
    assert early
    assert max(hungry.sizes) == hungry.sizes[0] > hungry.most  # it did happen, after some had been told


def flags() -> list[Any]:
    return [torch.backends.cudnn.enabled, torch.backends.cuda.matmul.fp32_precision, torch.is_grad_enabled(), threading.active_count()]


@pytest.mark.parametrize("domain", ["zonotope", "exact:solver=highs"])
def test_closed_early_nothing_is_left_behind(domain):
    before = flags()
    steps = decided(images(8, "0.03"), ProofSettings(domain_of(domain), batch=8))
    next(steps)
    assert flags()[:3] == before[:3], "who consumes results is outside of the numeric mode"
    steps.close()
    assert flags() == before
    assert list(steps) == []


def test_interrupted_nothing_is_left_behind():
    class Stop(Zonotope):  # type: ignore[misc, valid-type]
        def linear(self, node: Node, args: list[Any], ctx: Context) -> Any:
            raise KeyboardInterrupt

    before, told = flags(), []
    with pytest.raises(KeyboardInterrupt):
        verify(images(12, "0.02"), ProofSettings(Stages((Zonotope(), Stop())), attack=None, batch=12), told.append)
    assert told
    assert flags() == before


def test_an_input_of_a_radius_is_out_in_the_round_that_closes_it(monkeypatch):
    graph, (inputs, _) = mnist(), digits(3)
    log: list[Any] = []
    real = bisection._Chunk._round
    monkeypatch.setattr(bisection._Chunk, "_round", lambda self, brackets: (log.append("round"), real(self, brackets))[1])
    settings = BisectionSettings(Fraction("0.256"), Fraction("0.02"), ProofSettings("zonotope"), fan=1)
    black = torch.zeros_like(inputs[:1])
    for result in radii(graph, torch.cat([inputs, black]), settings):
        log.append(result)
    rounds = log.count("round")
    assert rounds == settings.halvings
    when = {r.index: log[:k].count("round") for k, r in enumerate(log) if r != "round"}
    assert sorted(when) == list(range(4))
    assert all(r.calls == when[r.index] for r in log if r != "round")
    assert min(when.values()) < rounds, "a witness closes some brackets early"


def test_patches_come_one_by_one():
    graph, (inputs, labels) = mnist(), digits(3)
    settings = ProofSettings("box", attack=None)
    patches = Patches(27, 27, layout="chw")
    steps = decided_patches(graph, inputs, labels, patches, settings)
    first = next(steps)
    steps.close()
    whole = verify_patches(graph, inputs, labels, patches, settings)
    assert (first.index, first.verdict, first.margin) == (whole[0].index, whole[0].verdict, whole[0].margin)


QUERY = """(declare-const X_0 Real)(declare-const Y_0 Real)
(assert (or {boxes}))
(assert (>= Y_0 {bound}))
"""


def query(folder: Any, bound: float, boxes: int) -> Any:
    file = folder / "q.vnnlib"
    each = " ".join(f"(and (>= X_0 {k}) (<= X_0 {k + 0.5}))" for k in range(boxes))
    file.write_text(QUERY.format(boxes=each, bound=bound))
    return read_query(file)


def identity() -> Any:
    return build((1,), Gemm(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))


def test_a_query_yields_its_instances_and_ends_with_a_counterexample(tmp_path):
    graph = identity()
    run = answered(graph, query(tmp_path, 2.25, 5), ProofSettings("box", batch=1))
    told = [(r.index, r.verdict) for r in run]
    assert told == [(0, Verdict.VERIFIED), (1, Verdict.VERIFIED), (2, Verdict.FALSIFIED)]
    assert run.result.answer is QueryAnswer.SAT
    assert verify_query(graph, query(tmp_path, 9, 5), ProofSettings("box")).answer is QueryAnswer.UNSAT


def test_a_query_left_early_says_no_more_than_it_knows(tmp_path):
    run = answered(identity(), query(tmp_path, 9, 5), ProofSettings("box", batch=1))
    steps = iter(run)
    next(steps)
    run.close()
    assert (run.result.answer, run.result.reason.value) == (QueryAnswer.UNKNOWN, "interrupted")
    assert len(run.result.results) == 1
