"""Searches on the device: boxes that are halved, rows taken together, slopes over balls, and steps of an attack in every region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from regional import randn
from torch import Tensor

import absint
from absint.analyses.verify import ProofSettings, verify
from absint.attacks import ATTACKS, Search, falsify
from absint.engine import affine_bounds as affine_bounds_module
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import margins
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.gemm import Gemm
from absint.model.ops.normalise import Normalise, Softmax
from absint.problem.problem import Problem
from absint.problem.regions import L1Ball, L2Ball
from absint.problem.regions.region import BoxRegion, Region
from absint.problem.spec import Spec
from absint.search.names import strategy_of
from absint.search.strategies.refine import Refine
from absint.search.strategy import Stage
from absint.testing.kit import FLOAT64
from absint.testing.networks import network
from device.compared import both, scenario
from device.runs import SLACK, F, boxes, pictures, regions, small, told


def _asked(graph: Graph, region: Region, spec: Spec, there: str, domain: str, **more: Any) -> list[Any]:
    """A property by its rows, with what the verdicts rest on."""
    found = verify(Problem(graph, region, spec.take, tuple(range(region.batch))), ProofSettings(domain=domain, device=there, **more))
    return [told(found), [None if one.evidence is None else one.evidence.text() for one in found]]


def conjunction(weight: Tensor, bias: float = 0.0) -> Spec:
    """Of every instance two rows that make one disjunct, and one that is another."""
    rows = weight.expand(2, 3, -1)
    return Spec.rows(rows, torch.full((2, 3), bias, dtype=torch.float64), torch.tensor([0, 0, 1]), torch.tensor([False, True, False]))


def barely(graph: Graph, region: Region, spec: Spec, short: float) -> Spec:
    """The property with biases by which DeepPoly falls short of proving it."""
    with torch.no_grad():
        found, _ = margins(DOMAINS.get("deeppoly")(), Context(graph, region, FLOAT64), spec)
    return replace(spec, bias=-found.lower - short)


@scenario("searches")
def boxes_are_halved(device: object) -> None:
    region = of_three_inputs()
    spec = barely(network("relu", 1.0), region, conjunction(randn(1, 3, 3, seed=12)), 0.03)
    both(lambda there: _asked(network("relu", 1.0), region, spec, there, "exact:nodes=1,boxes=30", evidence=True, attack=None),
         tolerance=SLACK)


@scenario("searches")
def corners_are_tried(device: object) -> None:
    """An attack that finds nothing, where inputs are few; and one that finds."""
    region = of_three_inputs()
    for short in (0.03, 1.0):
        spec = barely(network("relu", 1.0), region, conjunction(randn(1, 3, 3, seed=12)), short)

        def run(there: str, spec: Spec = spec) -> list[Any]:
            search = Search(torch.device(there), effort=1.0)
            found = falsify(network("relu", 1.0), region, spec, ATTACKS.get("pgd")(), search)
            return [sorted(found.ambiguous), {slot: list(witness.point) for slot, witness in found.witnesses.items()}]

        both(run)


def of_three_inputs() -> BoxRegion:
    """One of them is fixed."""
    middle, radius = randn(2, 3, seed=11), torch.tensor([[0.5, 0.7, 0.0], [1.0, 0.8, 0.9]], dtype=torch.float64)
    return BoxRegion(middle - radius, middle + radius)


@scenario("searches")
def conjunctions_of_rows(device: object) -> None:
    spec = conjunction(randn(1, 3, 3, seed=13), 0.2)
    for domain in ("deeppoly", "alpha:steps=2", "refine:neurons=2"):
        both(lambda there, domain=domain: _asked(small(), boxes(0.2, 0.3), spec, there, domain, attack=None), domain, SLACK)


@scenario("searches")
def slopes_over_a_ball(device: object) -> None:
    both(lambda there: told(absint.verify(small(), regions()["zonotope"](), domain="zonotope", device=there, attack="none")),
         tolerance=SLACK)
    both(lambda there: told(absint.verify(small(), L2Ball(pictures(2), F("0.3")), domain="alpha:steps=2", device=there,
                                          attack="none")), tolerance=SLACK)
    both(lambda there: told(absint.verify(small(), pictures(2), eps=[0.3, 0.5], norm="l2", domain="zonotope", device=there,
                                          attack="none")), tolerance=SLACK)


@scenario("searches")
def norms_instead_of_rows(device: object) -> None:
    """Where the rows of the first operator would be too many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(affine_bounds_module, "_ROW_ENTRIES", 0)
        both(lambda there: told(absint.verify(small(), L1Ball(pictures(2), F("0.2")), domain="deeppoly", device=there, attack="none")),
             tolerance=SLACK)


@scenario("searches")
def steps_of_a_search_in_every_region(device: object) -> None:
    for kind, make in regions().items():
        def run(there: str, make: Callable[[], Region] = make) -> list[Tensor]:
            region = make().to(torch.device(there))
            count = region.batch
            points, gradient = (randn(count, 1, 4, 4, seed=seed).to(there, torch.float32) for seed in (14, 15))
            return [region.pull(points), region.descent(gradient), region.pull(region.center.to(points) + region.descent(gradient))]

        both(run, kind, SLACK)


@scenario("searches", slow=True)
def several_parts_come_together(device: object) -> None:
    """A stage that takes instances one by one, then one that takes what is left of them together."""
    class ThenAlpha(Refine):
        def stages(self) -> tuple[Stage, ...]:
            return *super().stages(), *strategy_of("alpha:steps=1").stages()

    how = ThenAlpha(neurons=1, undecided=20)
    both(lambda there: told(absint.verify(small(), boxes(0.4, 0.45), domain=how, device=there, attack="none")), tolerance=SLACK)


@scenario("searches")
def compositions(device: object) -> None:
    """Softmax and normalisation, which expand into other operators and know a closed form."""
    def run(there: str, op: Op) -> Any:
        build = GraphBuilder("x", (4,))
        build.add(Gemm(randn(4, 4, seed=16), randn(4, seed=17)), ("x",), "scores")
        made = build.add(op, ("scores",))
        build.add(Gemm(randn(3, 4, seed=18), randn(3, seed=19)), (made,), "y")
        x = randn(2, 4, seed=20)
        return told(absint.verify(build.graph("y"), BoxRegion(x - 0.05, x + 0.05), domain="deeppoly", device=there, attack="none"))

    for op in (Softmax(0), Softmax(0, True), Normalise(1, 1e-3)):
        both(lambda there, op=op: run(there, op), type(op).__name__, SLACK)
