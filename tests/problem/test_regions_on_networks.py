"""Regions other than boxes on whole nets, patches, and their way through the API and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundled import digits, mnist
from regional import MAGNITUDES, F, dot, fractions, rand, randn
from torch import Tensor

import absint
from absint import samples
from absint.analyses.verify import ProofSettings, robustness, verify
from absint.attacks import Search
from absint.attacks.pgd import Pgd, violation
from absint.domains import zonotope as zonotope_module
from absint.engine import affine_bounds
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import margins, tensor_bounds
from absint.errors import AbsintError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.numeric.rounding import Numerics
from absint.problem.regions import L1Ball, L2Ball, Patches, Photometric, ZonotopeRegion, all_positions
from absint.problem.regions.region import Region
from absint.problem.spec import Spec
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

NAMES = ("box", "zonotope", "deeppoly")


pytestmark = pytest.mark.usefixtures("numerics")


# ---- whole nets ----------------------------------------------------------------------------------------------------------


def small(conv: bool = False, seed: int = 30) -> Graph:
    builder = GraphBuilder("x", (1, 6, 6))
    last = "x"
    if conv:
        builder.add(Conv(randn(4, 1, 3, 3, seed=seed) / 3, randn(4, seed=seed + 1) / 9, (1, 1), ((0, 0), (0, 0)), (1, 1)), (last,), "pre")
        builder.add(Relu(), ("pre",), "relu")
        last = builder.add(Reshape((64,)), ("relu",))
    else:
        last = builder.add(Reshape((36,)), (last,))
        last = builder.add(Gemm(randn(12, 36, seed=seed) / 6, randn(12, seed=seed + 1) / 9), (last,), "pre")
        last = builder.add(Relu(), (last,))
    width = 64 if conv else 12
    builder.add(Gemm(randn(3, width, seed=seed + 2) / width**0.5, randn(3, seed=seed + 3)), (last,), "y")
    return builder.graph("y")


def context(graph: Graph, region: Region, name: str, dtype: torch.dtype = torch.float64, **more: Any) -> tuple[Any, Context]:
    dom = DOMAINS.get(name)()
    numerics = Numerics(dtype, **more)
    return dom, Context(graph, region, numerics if dom.traits.mixed else numerics.single())


def regions_on(x: Tensor) -> list[Region]:
    return [L2Ball(x, F("0.4")), L2Ball(x, F("0.4"), None), L1Ball(x, F("0.9")), L1Ball(x, F("0.9"), None),
            L2Ball(x, torch.linspace(0, 0.5, len(x), dtype=torch.float64)),
            Photometric(x, (F("0.8"), F("1.2")), (F("-0.1"), F("0.1"))), Photometric(x, (F("0.8"), F("1.2")), (F("0.1"), F("0.2")), None),
            ZonotopeRegion(x, randn(len(x), 5, *x.shape[1:], seed=40) / 20, rand(*x.shape, seed=41) / 100)]


def points_of(region: Region, count: int) -> list[Tensor]:
    """Points of the sets: pulled corners, pulled noise, and each functional's own worst direction."""
    generator = torch.Generator().manual_seed(5)
    out = []
    for k in range(count):
        gradient = torch.randn(region.center.shape, generator=generator, dtype=torch.float64)
        far = region.center + region.descent(gradient) * (1 if k % 2 else 10)
        out.append(region.pull(far if k % 3 else region.center + gradient))
    return out


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_bounds_contain_what_points_of_the_set_attain(name: str, conv: bool, dtype: torch.dtype, limit: int | None,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """limit 0: one norm per output instead of rows per instance, where the first operator reads the input."""
    if limit is not None:
        monkeypatch.setattr(affine_bounds, "_ROW_ENTRIES", limit)
    graph = small(conv)
    x = rand(3, 1, 6, 6, seed=42)
    x[:, :, :2] = 0
    for region in regions_on(x):
        dom, ctx = context(graph, region, name, dtype)
        with torch.no_grad():
            found = tensor_bounds(dom, ctx, ("pre", "y"))
            for point in points_of(region, 24):
                for tensor, bounds in found.items():
                    value = graph.upto(tensor)(point)
                    assert bool((value >= bounds.lower - 1e-12).all() and (value <= bounds.upper + 1e-12).all())
        wide = tensor_bounds(*context(graph, _Hull(region), name, dtype), ("pre",))["pre"]
        assert bool((found["pre"].upper <= wide.upper + 1e-4).all()), "never worse than the box"


class _Hull(Region):
    """The enclosing box of another region, with its centre."""

    def __init__(self, inner: Region) -> None:
        self.inner = inner

    hull = property(lambda self: self.inner.hull)
    center = property(lambda self: self.inner.center)

    def take(self, index: Tensor) -> Region:
        return _Hull(self.inner.take(index))

    def contains(self, instance: int, point: np.ndarray) -> bool:
        raise NotImplementedError

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_radius_zero_keeps_the_exact_value(name: str, dtype: torch.dtype) -> None:
    """On whole nets at every magnitude; float32 semantics too."""
    graph = small(True)
    for scale, semantics in product(MAGNITUDES, (False, True)):
        x = randn(2, 1, 6, 6, seed=50) * scale
        for region in (L2Ball(x, F(0), None), L1Ball(x, F(0), None), ZonotopeRegion(x, torch.zeros(2, 1, 1, 6, 6, dtype=torch.float64))):
            dom, ctx = context(graph, region, name, dtype, float32_semantics=semantics)
            found = tensor_bounds(dom, ctx, ("pre",))["pre"]
            for row in range(0, 64, 7):
                channel, place = divmod(row, 16)
                top, left = divmod(place, 4)
                op: Any = graph["pre"].op
                exact = F(float(op.offset.flatten()[channel])) + dot(fractions(op.weight[channel]),
                                                                    fractions(x[1, :, top : top + 3, left : left + 3]))
                low, high = (F(float(side[1].flatten()[row])) for side in (found.lower, found.upper))
                assert low <= exact <= high


@pytest.mark.parametrize("name", NAMES)
def test_a_linear_net_gets_the_dual_norm_itself(name: str) -> None:
    weight, x = randn(3, 40, seed=60), rand(2, 40, seed=61)
    builder = GraphBuilder("x", (40,))
    builder.add(Gemm(weight), ("x",), "y")
    graph = builder.graph("y")
    spec = Spec.robust(torch.tensor([0, 1]), 3)
    for region, norm in ((L2Ball(x, F("0.2"), None), 2), (L1Ball(x, F("0.2"), None), torch.inf)):
        dom, ctx = context(graph, region, name)
        lower = margins(dom, ctx, spec)[0].lower
        rows = spec.weight @ weight
        exact = (rows * x[:, None]).sum(2) - 0.2 * torch.linalg.vector_norm(rows, norm, dim=2)
        single = name == "deeppoly"
        assert bool((lower <= exact).all())
        if single:
            torch.testing.assert_close(lower, exact, rtol=1e-9, atol=1e-9)
        unit = tensor_bounds(dom, ctx, ("y",))["y"]
        radius = 0.2 * torch.linalg.vector_norm(weight, norm, dim=1)
        torch.testing.assert_close(unit.lower, x @ weight.T - radius, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(unit.upper, x @ weight.T + radius, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [L1Ball, L2Ball])
def test_margins_on_a_trained_net_beat_the_enclosing_box(name: str, kind: type[L1Ball | L2Ball]) -> None:
    inputs, labels = digits(6)
    spec = Spec.robust(labels, 10)
    ball = kind(inputs, F("0.1"))
    with torch.no_grad():
        own, box, free = (spec.margin(margins(*context(mnist(), region, name), spec)[0].lower)
                          for region in (ball, _Hull(ball), kind(inputs, F("0.1"), None)))
    assert bool((own > box).all())
    assert float(own.mean()) > float(free.mean()), "the range cuts the ball"


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_does_not_depend_on_its_batch(name: str) -> None:
    inputs, labels = digits(5)
    for region in (L2Ball(inputs, F("0.2")), L1Ball(inputs, F("0.5")), Photometric(inputs, (F("0.9"), F("1.1")))):
        spec = Spec.robust(labels, 10)
        with torch.no_grad():
            whole = spec.margin(margins(*context(mnist(), region, name), spec)[0].lower)
            one = torch.tensor([3])
            alone = spec.take(one).margin(margins(*context(mnist(), region.take(one), name), spec.take(one))[0].lower)
        torch.testing.assert_close(whole[3:4], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("region", "verified", "falsified"), [
    (lambda x: L2Ball(x, F("0.2")), 10, 0), (lambda x: L2Ball(x, F(2)), 0, 5), (lambda x: L1Ball(x, F("0.8")), 8, 0),
    (lambda x: L1Ball(x, F(20)), 0, 5), (lambda x: Photometric(x, (F("0.95"), F("1.05")), (F("-0.01"), F("0.01"))), 8, 0),
    (lambda x: Photometric(x, (F("0.2"), F("1.5")), (F("-0.5"), F("0.5"))), 0, 3)])
def test_verify_and_falsify_on_the_bundled_net(region: Callable[[Tensor], Region], verified: int, falsified: int) -> None:
    inputs, labels = digits(12)
    area = region(inputs)
    results = verify(robustness(mnist(), area, labels), ProofSettings("deeppoly"))
    spec = Spec.robust(labels, 10)
    counts = [r.verdict for r in results]
    assert counts.count(Verdict.VERIFIED) >= verified
    assert counts.count(Verdict.FALSIFIED) >= falsified
    attacked = Pgd(steps=30, restarts=3, seed=9)(mnist(), area, spec, Search(torch.device("cpu")))
    with torch.no_grad():
        broken = violation(mnist(), attacked, spec) < 0
    for k, result in enumerate(results):
        if result.verdict is Verdict.FALSIFIED:
            assert result.witness is not None
            point = np.array(result.witness).reshape(mnist().input.shape)
            assert area.contains(k, point)
            assert int(mnist()(torch.from_numpy(point)[None]).argmax()) != int(labels[k])
        elif result.verdict is Verdict.VERIFIED:
            assert not bool(broken[k]), "a sampled point contradicts a proof"


def test_a_zonotope_region_keeps_its_relations() -> None:
    """x2 = x1 on the set, so that x1 - x2 = 0: exact for Zonotope and DeepPoly."""
    builder = GraphBuilder("x", (2,))
    builder.add(Gemm(torch.tensor([[1.0, -1.0]], dtype=torch.float64)), ("x",), "y")
    region = ZonotopeRegion(torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 1, 2, dtype=torch.float64))
    for name in NAMES:
        found = tensor_bounds(*context(builder.graph("y"), region, name, torch.float32), ("y",))["y"]
        assert float(found.upper - found.lower) < 1e-5


def test_the_cast_of_generators_is_charged() -> None:
    """0.1 is no float32: the fault of forgetting it is seen in the zonotope's own element."""
    generators = torch.full((1, 1, 1), 1 / 3, dtype=torch.float64)
    region = ZonotopeRegion(torch.zeros(1, 1, dtype=torch.float64), generators * 3e5)
    builder = GraphBuilder("x", (1,))
    builder.add(Gemm(torch.ones(1, 1, dtype=torch.float64)), ("x",), "y")
    graph = builder.graph("y")
    dom = zonotope_module.Zonotope()
    _, ctx = context(graph, region, "zonotope", torch.float32)
    ctx = replace(ctx, known={"x": region.hull})
    hull = dom.hull(dom.start(graph.input, ctx), ctx)
    assert float(hull.upper) >= float(region.generators()[1])
    assert float(hull.lower) <= -float(region.generators()[1])


# ---- patches -------------------------------------------------------------------------------------------------------------


def test_patches_are_all_positions() -> None:
    x = rand(2, 3, 5, 4, seed=70)
    patches = Patches(2, 3, layout="chw")
    region, owner = patches.of(x)
    assert patches.positions((3, 5, 4)) == [(t, left) for t in range(4) for left in range(2)]
    assert owner.tolist() == [0] * 8 + [1] * 8
    for k, (top, left) in enumerate(patches.positions((3, 5, 4))):
        free = torch.zeros(3, 5, 4, dtype=torch.bool)
        free[:, top : top + 2, left : left + 3] = True
        low, high = region.lower[8 + k], region.upper[8 + k]
        assert bool((low[free] == 0).all() and (high[free] == 1).all())
        assert bool((low[~free] == x[1][~free]).all() and (high[~free] == x[1][~free]).all())
    assert torch.equal(region.center, x[owner])
    flat, _ = Patches(2, 3, image=(5, 4), layout="chw").of(x.flatten(1))
    assert torch.equal(flat.lower.reshape(region.lower.shape), region.lower)


@pytest.mark.parametrize("bad", [lambda x: Patches(0, 1).of(x), lambda x: Patches(6, 1).of(x), lambda x: Patches(1, 1, image=(7, 5)).of(x),
                                 lambda x: Patches(1, 1).of(x.flatten(1)), lambda x: Patches(1, 1, (0.9, 1.0)).of(x)])
def test_a_patch_that_does_not_fit_is_refused(bad: Callable[[Tensor], object]) -> None:
    with pytest.raises(AbsintError, match=r"patch|range"):
        bad(rand(2, 3, 5, 4, seed=70) * 0.5)


def test_an_input_is_verified_only_if_every_position_is() -> None:
    good = InstanceResult(0, Verdict.VERIFIED, margin=2.0, assurance=Assurance.SOUND)
    worse = replace(good, margin=0.5)
    bad = InstanceResult(1, Verdict.UNKNOWN, reason=Reason.IMPRECISE, margin=-1.0)
    broken = InstanceResult(2, Verdict.FALSIFIED, assurance=Assurance.REPLAYED, witness=(0.0,))
    places = [(0, 0), (0, 1)]
    joined = all_positions([good, worse], 7, places)
    assert (joined.verdict, joined.margin, joined.index, joined.assurance) == (Verdict.VERIFIED, 0.5, 7, Assurance.SOUND)
    assert all_positions([good, bad], 7, places).verdict is Verdict.UNKNOWN
    assert all_positions([bad, broken], 7, places).verdict is Verdict.FALSIFIED
    assert all_positions([good, replace(good, verdict=Verdict.LIKELY)], 7).verdict is Verdict.LIKELY
    assert all_positions([good, replace(good, assurance=Assurance.SOLVER)], 7).assurance is Assurance.SOLVER
    assert "column 1" in str(all_positions([good, broken], 7, places).detail)
    for short in ([], [good]):
        with pytest.raises(AbsintError):
            all_positions(short, 7, places)


def test_patches_end_to_end() -> None:
    graph = small(True)
    x = rand(3, 1, 6, 6, seed=71)
    patches = Patches(1, 1)
    region, owner = patches.of(x)
    labels = graph(x).argmax(1)
    results = verify(robustness(graph, region, labels[owner]), ProofSettings("deeppoly"))
    for k in range(3):
        mine = [r for r, o in zip(results, owner.tolist(), strict=True) if o == k]
        joined = all_positions(mine, k, patches.positions(graph.input.shape))
        truth = [int(graph(point[None]).argmax()) == int(labels[k]) for value in (0.0, 1.0)
                 for top, left in patches.positions(graph.input.shape) for point in [_painted(x[k], top, left, value)]]
        if joined.verdict is Verdict.VERIFIED:
            assert all(truth)
        if joined.verdict is Verdict.FALSIFIED:
            assert joined.witness is not None
    assert {r.verdict for r in results} >= {Verdict.VERIFIED}


def _painted(x: Tensor, top: int, left: int, value: float) -> Tensor:
    out = x.clone()
    out[:, top, left] = value
    return out


# ---- API and command line ------------------------------------------------------------------------------------------------


def test_the_api_takes_norms_and_regions() -> None:
    inputs, labels = digits(4)
    by_norm = absint.verify(mnist(), inputs, labels, "0.1", norm="l2", domain="deeppoly")
    by_region = absint.verify(mnist(), L2Ball(inputs, F("0.1")), labels, domain="deeppoly")
    assert [(r.verdict, r.margin) for r in by_norm] == [(r.verdict, r.margin) for r in by_region]
    assert all(r.verdict is Verdict.VERIFIED for r in by_norm)
    narrow, wide = (absint.bounds(mnist(), inputs, "0.1", norm=norm)["logits"] for norm in ("l2", "linf"))
    assert (narrow.upper < wide.upper).all()
    assert absint.verify(mnist(), inputs, labels, ["0.01"])[0].eps == "0.01"
    assert [r.verdict for r in absint.verify(mnist(), inputs, labels, [[[[0.1]]]] * 4, norm="l2", domain="deeppoly")] \
        == [r.verdict for r in by_norm]


@pytest.mark.parametrize("arguments", [{"eps": "0.1", "norm": "l3"}, {"eps": ["0.1"] * 3}, {}, {"eps": ["0.1"] * 3, "norm": "l2"},
                                       {"eps": np.linspace(0, 1, 784).reshape(1, 1, 28, 28), "norm": "l1"}])
def test_the_api_refuses_regions_without_meaning(arguments: dict[str, Any]) -> None:
    inputs, labels = digits(2)
    with pytest.raises(AbsintError):
        absint.verify(mnist(), inputs, labels, **arguments)
    with pytest.raises(AbsintError, match="own radius"):
        absint.verify(mnist(), L1Ball(inputs, F(1)), labels, 0.1)


@pytest.fixture
def run_cli(cli: Callable[..., Any]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        done = cli("verify", samples.default_network(), "--domain", "deeppoly", *arguments)
        return done.code, done.out, done.err

    return run


@pytest.mark.parametrize(("arguments", "said"), [
    (("--norm", "l2", "--eps", "0.1"), {"norm": "l2", "eps": "0.1"}), (("--norm", "l1", "--eps", "0.2"), {"norm": "l1"}),
    (("--patch", "26x26"), {"norm": None, "eps": None, "patch": {"height": 26, "width": 26, "image": None}}),
    (("--brightness", "0.01", "--contrast", "0.99:1.02"), {"brightness": ["-1/100", "1/100"], "contrast": ["99/100", "51/50"]}),
    (("--eps", "0.001"), {"norm": "linf"})])
def test_the_command_says_which_region_it_proved(run_cli: Any, arguments: tuple[str, ...], said: dict[str, Any]) -> None:
    code, out, err = run_cli(*arguments, "--index", "0:1", "--format", "json", "--quiet")
    assert code in (0, 1), err
    report = json.loads(out)
    shown = report["header"]["property"] if "header" in report else report["property"]
    assert {key: shown[key] for key in said} == said
    if arguments[0] != "--patch":
        assert code == 0
        text = run_cli(*arguments, "--index", "0:1", "--quiet")[1]
        assert ("linf" in text) == (said.get("norm") == "linf")


@pytest.mark.parametrize(("arguments", "code"), [
    (("--norm", "l7"), "E-NORM"), (("--norm", "l2", "--patch", "3x3"), "E-USAGE"), (("--patch", "0x3"), "E-PATCH"),
    (("--patch", "3"), "E-PATCH"), (("--patch", "99x1"), "E-PATCH"), (("--patch", "1x1", "--clip", "none"), "E-PATCH"),
    (("--contrast", "2:3"), "E-RANGE"), (("--brightness", "1/0"), "E-RANGE"), (("--eps", "0.1,0.2"), "E-EPS")])
def test_the_command_refuses_regions_without_meaning(run_cli: Any, arguments: tuple[str, ...], code: str) -> None:
    found, _, err = run_cli(*arguments)
    assert found == 2
    assert code in err
    assert "Traceback" not in err


def test_a_journal_is_bound_to_the_region(run_cli: Any, tmp_path: Path) -> None:
    journal = ("--index", "0:2", "--eps", "0.01", "--quiet", "--journal", str(tmp_path / "run.jsonl"))
    assert run_cli(*journal, "--norm", "l1")[0] == 0
    for other in ((), ("--norm", "l2"), ("--patch", "1x1"), ("--brightness", "0.1")):
        code, _, err = run_cli(*journal, "--resume", *other)
        assert code == 3
        assert "E-JOURNAL-MISMATCH" in err
    assert run_cli(*journal, "--norm", "l1", "--resume")[0] == 0
