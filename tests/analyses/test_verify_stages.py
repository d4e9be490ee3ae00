"""The stages of `verify`: what one proves the next one knows, and nothing that goes wrong in one becomes a verdict."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from bundled import digits, mnist
from costly import Stages

import absint
from absint.analyses.verify import ProofSettings, robustness, verify
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.rows import Rows, Sense
from absint.errors import PluginError
from absint.model.graph import Node
from absint.numeric.decimal import parse_eps
from absint.numeric.interval import Interval
from absint.problem.regions.region import LinfBall
from absint.search.names import Method, class_of
from absint.verdict import InstanceResult


def named(name: str, **options: Any) -> Method:
    return class_of(name)(**options)


Box, Zonotope = DOMAINS.get("box"), DOMAINS.get("zonotope")


@dataclass(frozen=True)
class Spy(Box):  # type: ignore[misc, valid-type]
    """Box that notes which bounds it was given: the greatest width of any node known beforehand, and how many instances."""

    seen: list[tuple[int, dict[str, Interval]]] = field(default_factory=list)

    def start(self, node: Node, ctx: Context) -> Any:
        self.seen.append((ctx.batch, dict(ctx.known)))
        return super().start(node, ctx)


def run(domain: Method, eps: str = "0.02", count: int = 12, **options: Any) -> list[InstanceResult]:
    graph, (images, labels) = mnist(), digits()
    region = LinfBall(images[:count], parse_eps(eps))
    return verify(robustness(graph, region, labels[:count], eps=eps), ProofSettings(domain, **options))


def verdicts(rows: list[InstanceResult]) -> list[str]:
    return [row.verdict.value for row in rows]


def test_the_stage_that_decided_is_named():
    rows = run(named("auto"), count=40)
    stages = {row.stage for row in rows if row.verdict.value in ("verified", "falsified")}
    assert "attack" in stages
    assert "zonotope float32" in stages
    assert all(row.stage is None for row in rows if row.verdict.value == "unknown")


def test_auto_decides_all_that_its_members_decide():
    auto = verdicts(run(named("auto"), count=40))
    for name in ("box", "zonotope", "deeppoly"):
        for one, all_ in zip(verdicts(run(named(name), count=40)), auto, strict=True):
            assert one in (all_, "unknown")


def test_a_stage_gets_what_is_undecided_and_what_was_proved():
    spy = Spy()
    graph, (images, _) = mnist(), digits()
    rows = run(Stages((Zonotope(), spy)), eps="0.05", attack=None, batch=12)
    left = verdicts(rows).count("unknown")
    (batch, known), *_ = spy.seen
    assert 0 < batch == left < len(rows)
    undecided = torch.tensor([k for k, row in enumerate(rows) if row.verdict.value == "unknown"])
    region = LinfBall(images[undecided], parse_eps("0.05"))
    plain = absint.engine.forward.boxes(Context(graph, region, absint.numeric.rounding.Numerics())).known
    widths = [(known[n].upper - known[n].lower).sum() < 0.9 * (plain[n].upper - plain[n].lower).sum() for n in plain]
    assert any(widths)


@dataclass(frozen=True)
class Hungry(Box):  # type: ignore[misc, valid-type]
    """Never has memory enough."""

    def start(self, node: Node, ctx: Context) -> Any:
        raise torch.cuda.OutOfMemoryError("out of memory")


def test_a_stage_without_memory_leaves_the_next_one_its_chance():
    rows = run(Stages((Hungry(), Zonotope())), count=4)
    assert verdicts(rows) == verdicts(run(Zonotope(), count=4))
    assert "verified" in verdicts(rows)


def test_memory_is_the_reason_where_no_stage_has_enough():
    assert {(r.verdict.value, r.reason.value) for r in run(Stages((Hungry(),)), count=3, attack=None)} == {("unknown", "memory")}


@dataclass(frozen=True)
class Slow(Box):  # type: ignore[misc, valid-type]
    """Takes its time at every node, as a costly domain does."""

    def linear(self, node: Node, args: list[Any], ctx: Context) -> Any:
        time.sleep(0.3)
        ctx.budget.check()
        return super().linear(node, args, ctx)


def test_a_timeout_inside_a_stage_ends_at_the_next_node(clock):
    begin = clock.now
    rows = run(Stages((Slow(), Slow(), Slow(), Zonotope())), count=2, total_timeout=0.5, attack=None)
    assert {(r.verdict.value, r.reason.value) for r in rows} == {("unknown", "timeout")}
    assert clock.now - begin <= 0.5 + 0.3


@dataclass(frozen=True)
class Solver(Box):  # type: ignore[misc, valid-type]
    """Claims everything on a solver's word: neurons that are narrower than they are, and margins."""

    def hull(self, element: Any, ctx: Context) -> Interval:
        found = super().hull(element, ctx)
        middle = (found.lower + found.upper) / 2
        return Interval(middle, middle, torch.ones(ctx.batch, dtype=torch.bool))

    def bounds(self, element: Any, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        found = super().bounds(element, rows, ctx, sense)
        return replace(found, lower=torch.full_like(found.lower, 1e-9), solver=torch.ones(len(rows), dtype=torch.bool))


def test_a_solvers_word_in_one_stage_proves_nothing_in_another():
    honest = verdicts(run(Box(), eps="0.03", count=8, attack=None))
    rows = run(Stages((Solver(), Box())), eps="0.03", count=8, attack=None)
    assert verdicts(rows) == honest
    assert "verified" not in honest


def test_a_solvers_word_is_the_reason_where_nothing_else_was_tried():
    rows = run(Stages((Solver(),)), eps="0.03", count=8, attack=None)
    assert {(r.verdict.value, r.reason.value) for r in rows} == {("unknown", "solver")}


@dataclass(frozen=True)
class Liar(Box):  # type: ignore[misc, valid-type]
    """Proves anything."""

    def bounds(self, element: Any, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        found = super().bounds(element, rows, ctx, sense)
        return replace(found, lower=torch.full_like(found.lower, 1e9))


@pytest.mark.parametrize("first", [(), (Zonotope(),)])
def test_a_lying_stage_is_found_out(first):
    with pytest.raises(PluginError, match="exceed values"):
        run(Stages((*first, Liar())), eps="0.2", count=8, attack=None)


def test_stages_do_not_depend_on_the_batch():
    together = run(named("auto"), eps="0.04", count=4)
    alone = run(named("auto"), eps="0.04", count=4, batch=1)
    assert [(r.verdict, r.stage) for r in together] == [(r.verdict, r.stage) for r in alone]


def test_no_rounding_stays_likely_through_every_stage():
    rows = run(named("auto"), count=8, rounding=False, attack=None)
    assert "likely" in verdicts(rows)
    assert "verified" not in verdicts(rows)


def test_a_solvers_word_does_not_taint_the_next_stages_own_proof():
    assert verdicts(run(Stages((Solver(), Zonotope())), count=8, attack=None)) == verdicts(run(Zonotope(), count=8, attack=None))
