"""Analyses on the device, through the Python API: strategies, kinds of regions, attacks, radius, bounds, query, validate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bundled import digits, mnist
from regional import rand, randn
from small_runs import query_list
from torch import Tensor

import absint
from absint.engine.domain import DOMAINS
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.problem.regions import L1Ball, L2Ball, Patches, Photometric, ZonotopeRegion
from absint.problem.regions.region import BoxRegion, LinfBall, Region
from absint.search.strategy import STRATEGIES
from absint.verdict import Verdict
from device.compared import NARROW, WIDE, both, scenario

F = Fraction
# Strategies by the words that keep them short.
SHORT = {"exact": "exact:nodes=30", "refine": "refine:neurons=2", "alpha": "alpha:steps=2"}


def small(inner: int = 12) -> Graph:
    """A convolution, a residual sum and three classes of pictures (1, 4, 4)."""
    build = GraphBuilder("x", (1, 4, 4))
    build.add(Conv(randn(3, 1, 3, 3, seed=1) / 3, randn(3, seed=2) / 9, (1, 1), ((1, 1), (1, 1)), (1, 1)), ("x",), "conv")
    build.add(Relu(), ("conv",), "relu")
    build.add(Reshape((48,)), ("relu",), "flat")
    build.add(Gemm(randn(inner, 48, seed=3) / 5, randn(inner, seed=4) / 9), ("flat",), "dense")
    build.add(Relu(), ("dense",), "again")
    build.add(Gemm(randn(3, inner, seed=5) / 3, randn(3, seed=6)), ("again",), "y")
    return build.graph("y")


def pictures(count: int = 3) -> Tensor:
    return rand(count, 1, 4, 4, seed=7)


def boxes(*radii: float) -> BoxRegion:
    """Around a picture each."""
    x, radius = pictures(len(radii)), torch.tensor(radii, dtype=torch.float64).reshape(-1, 1, 1, 1)
    return BoxRegion(x - radius, x + radius)


def told(results: Any) -> list[dict[str, Any]]:
    """Records without their times; of a witness, that there is one: many points violate a property."""
    rows = [record.as_dict() for record in results]
    return [{key: value is not None if key == "witness" else value for key, value in row.items() if key not in ("time_s", "seconds")}
            for row in rows]


# ---- strategies --------------------------------------------------------------------------------------------------------


def _strategy(name: str) -> None:
    @scenario("runs", f"strategy-{name}", slow=name in PARTS)
    def decide(device: object) -> None:
        region = boxes(0.15, 0.4)    # one is proved, the other one takes divisions
        both(lambda there: told(absint.verify(small(), region, domain=SHORT.get(name, name), device=there, attack="none")), name, SLACK)


SLACK = NARROW
PARTS = {"alpha", "bab"}    # of `auto`, which runs both
for _name in sorted({*DOMAINS.names(), *STRATEGIES.names()}):
    _strategy(_name)


@scenario("runs")
def an_attack_that_finds_and_one_that_does_not(device: object) -> None:
    def run(there: str) -> list[Any]:
        found = absint.verify(small(), boxes(0.15, 0.8), domain="deeppoly", device=there)
        assert {Verdict.VERIFIED, Verdict.FALSIFIED} <= {one.verdict for one in found}, [one.verdict for one in found]
        return told(found)

    both(run, tolerance=SLACK)


@scenario("runs")
def targets_and_evidence(device: object) -> None:
    def run(there: str) -> list[Any]:
        found = absint.verify(small(), pictures(), eps=0.05, targets=[0, 0, 0], labels=[1, 2, 1], device=there, evidence=True,
                              attack="none", domain="deeppoly")
        return [told(found), [str(type(one.evidence)) for one in found]]

    both(run, tolerance=SLACK)


@scenario("runs")
def in_float32_semantics(device: object) -> None:
    both(lambda there: told(absint.verify(small(), pictures(), eps=0.03, semantics="float32", domain="deeppoly", attack="none",
                                            device=there)), tolerance=SLACK)


# ---- regions -----------------------------------------------------------------------------------------------------------


def regions() -> dict[str, Callable[[], Region]]:
    """One of every kind, and of every kind of radius."""
    x = pictures()
    ramp = torch.linspace(0.01, 0.05, 3, dtype=torch.float64)
    return {
        "box": lambda: BoxRegion(x - 0.05, x + 0.05),
        "linf": lambda: LinfBall(x, F("0.05")),
        "linf-of-tensor": lambda: LinfBall(x, ramp.reshape(3, 1, 1, 1)),
        "l2": lambda: L2Ball(x, F("0.1")),
        "l2-of-tensor": lambda: L2Ball(x, ramp),
        "l1": lambda: L1Ball(x, F("0.2")),
        "l1-unclipped": lambda: L1Ball(x, F("0.2"), None),
        "photometric": lambda: Photometric(x, (F("0.95"), F("1.05")), (F("-0.01"), F("0.02"))),
        "zonotope": lambda: ZonotopeRegion(x, randn(3, 4, 1, 4, 4, seed=8) / 50, rand(3, 1, 4, 4, seed=9) / 100),
        "patch": lambda: Patches(1, 2).of(x[:1])[0],
    }


def _region(kind: str, domain: str, *, slow: bool = False, **more: Any) -> None:
    @scenario("runs", f"region-{kind}-{domain}", slow=slow)
    def decide(device: object) -> None:
        both(lambda there: told(absint.verify(small(), regions()[kind](), domain=domain, device=there, **more)), kind, SLACK)


for _kind in regions():
    _region(_kind, "deeppoly", attack="none")
    _region(_kind, "zonotope", slow=True)    # and the attack's steps in it


# ---- other analyses ----------------------------------------------------------------------------------------------------


@scenario("runs")
def bounds_of_every_tensor(device: object) -> None:
    def run(there: str, **more: Any) -> Mapping[str, Any]:
        found = absint.bounds(small(), pictures(), 0.05, tensors="all", device=there, **more)
        return {name: [torch.as_tensor(one.lower), torch.as_tensor(one.upper)] for name, one in found.items()}

    for domain in ("zonotope", "deeppoly"):
        both(partial(run, domain=domain), domain, WIDE)


@scenario("runs")
def bounds_with_gradients(device: object) -> None:
    def run(there: str, domain: str) -> list[Tensor]:
        x = pictures().requires_grad_()
        found = absint.bounds(small(), x, 0.05, device=there, differentiable=True, domain=domain)["y"]
        found.lower.sum().backward()
        assert x.grad is not None
        assert found.lower.device.type == there
        return [found.lower, found.upper, x.grad]

    for domain in ("box", "zonotope", "deeppoly"):
        both(partial(run, domain=domain), domain, WIDE)


@scenario("runs")
def affine_bounds(device: object) -> None:
    def run(there: str) -> list[Any]:
        found = absint.bounds(small(), pictures(), 0.05, device=there, affine=True, domain="deeppoly")["y"].affine
        return [torch.as_tensor(getattr(found, name)) for name in ("lower_weight", "lower_bias", "upper_weight", "upper_bias")]

    both(run, tolerance=WIDE)


@scenario("runs", slow=True)    # `doors` run both on the device
def radii(device: object) -> None:
    def run(there: str, **more: Any) -> list[Any]:
        return told(absint.radius(small(), pictures(2), device=there, **more))

    for more in ({"domain": "zonotope", "norm": "l2", "tolerance": "0.05"},
                 {"domain": "deeppoly", "attack": "pgd", "fan": 2, "tolerance": "0.1"}):
        both(partial(run, **more), str(more))


@scenario("runs")
def queries(device: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        query_list(Path(folder), 2)
        for number in range(2):
            def run(there: str, number: int = number) -> list[Any]:
                found = absint.verify_query(f"{folder}/net.onnx", f"{folder}/{number}.vnnlib", device=there)
                return [found.answer, found.margin, None if found.witness is None else found.witness.inputs]

            both(run, f"query {number}", SLACK)


@scenario("runs", slow=True)
def validation(device: object) -> None:
    x, labels = digits(24)

    def run(there: str) -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "calibration.json"
            more = {"domain": "box", "upper": "0.008", "tolerance": "0.002"}
            radii = absint.validate_calibrate(mnist(), x, labels, rate="0.2", window=20, calibration=file, device=there, **more)
            decisions = [absint.validate_run(mnist(), x[:4], calibration=file, mode=mode, device=there)
                         for mode in ("threshold", "distribution")]
            return [told(radii), *map(told, decisions)]

    both(run)


@scenario("runs", slow=True)
def evaluation(device: object) -> None:
    x, labels = digits(24)
    both(lambda there: told(absint.validate_evaluate(mnist(), x, labels, rate="0.2", count=2, calibrate=20, attack=["fgsm:eps=0.1"],
                                                     device=there, domain="box", upper="0.008", tolerance="0.002")))
