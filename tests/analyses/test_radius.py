"""Robustness radii: exact counting, soundness against closed forms, and answers that do not depend on how they are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf, sqrt
from typing import Any, ClassVar

import bundled
import numpy as np
import pytest
import torch
from torch import Tensor

import absint
from absint import samples
from absint.analyses.radius import bisection as module
from absint.analyses.radius.bisection import BisectionSettings, Bracket, RadiusAnswer, RadiusResult, halvings, radius, steps_to
from absint.analyses.verify.portfolio import Portfolio
from absint.analyses.verify.settings import ProofSettings
from absint.attacks import ATTACKS, Search
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Traits
from absint.engine.rows import Rows, Sense
from absint.errors import AbsintError, InputError, PluginError, UsageError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.numeric.interval import Interval
from absint.problem.regions.region import LinfBall
from absint.problem.spec import Spec
from absint.search.names import Method, domain_of
from absint.verdict import InstanceResult, Reason, Verdict

Box = DOMAINS.get("box")


def linear(weight: Tensor, bias: Tensor) -> Graph:
    build = GraphBuilder("x", (weight.shape[1],))
    return build.graph(build.add(Gemm(weight, bias), ("x",)))


def options(upper: str = "0.256", tolerance: str = "0.001", domain: str | Method = "zonotope", **more: Any) -> BisectionSettings:
    own = {name: more.pop(name) for name in ("norm", "clip", "fan", "carry") if name in more}
    chosen = domain_of(domain)
    return BisectionSettings(Fraction(upper), Fraction(tolerance), ProofSettings(chosen, **{"attack": None, **more}), **own)


def digits(count: int = 100) -> tuple[Graph, Tensor]:
    return bundled.mnist(), bundled.digits(count)[0]


def certified(results: list[RadiusResult]) -> list[Fraction]:
    return [result.certified for result in results]


# ---- counting ----------------------------------------------------------------------------------------------------------


def test_halvings_are_counted_in_integers() -> None:
    assert halvings(Fraction("0.256"), Fraction("0.001")) == 9, "0.256 / 2^8 is the tolerance itself, not below it"
    for upper in ("0.256", "0.128", "1", "0.3", "1/3", "7", "0.0005", "1e-9", "255/256"):
        for tolerance in ("0.001", "0.0005", "1/3", "0.1", "1/255", "1e-9", "0.007"):
            top, least = Fraction(upper), Fraction(tolerance)
            count = halvings(top, least)
            assert top / 2**count < least
            assert count == 1 or top / 2 ** (count - 1) >= least


def test_bad_searches_are_refused() -> None:
    for upper, tolerance, more in (("0", "0.1", {}), ("-1", "0.1", {}), ("1", "0", {}), ("1", "1e-30", {}), ("1", "0.1", {"fan": 0}),
                                   ("1", "0.1", {"fan": 7}), ("1", "0.1", {"rounding": False})):
        with pytest.raises(UsageError):
            options(upper, tolerance, **more)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_distances_are_rounded_up_to_the_grid_exactly(norm: str) -> None:
    random = np.random.default_rng(0)
    for trial in range(200):
        center, point = random.random(4), random.random(4)
        step = Fraction(random.integers(1, 99).item(), 1000)
        if trial % 2:  # on the grid, where a float rounds either way
            point = center.copy()
            point[0] = center[0] + 3 * step
        gap = [abs(Fraction(float(p)) - Fraction(float(c))) for p, c in zip(point, center, strict=True)]
        k = steps_to(norm, center, point, step)

        def within(radius_: Fraction, gap: list[Fraction] = gap) -> bool:
            if norm == "l2":
                return sum((g * g for g in gap), Fraction(0)) <= radius_ * radius_
            return (max(gap) if norm == "linf" else sum(gap, Fraction(0))) <= radius_

        assert within(k * step)
        assert k == 0 or not within((k - 1) * step)
    assert steps_to(norm, center, center, step) == 0


def test_a_bracket_follows_algorithm_1() -> None:
    """unknown counts as not robust; a witness moves the end to its own distance; a time limit changes nothing but the end."""
    whole = Bracket(0, 512)
    assert (whole.after(RadiusAnswer(True, None, 0.0)).low, whole.after(RadiusAnswer(False, Reason.IMPRECISE, 0.0)).high) == (256, 256)
    near = whole.after(RadiusAnswer(False, None, 0.0, 100, (1.0,)))
    assert (near.low, near.high, near.refuted, near.middle, near.witness) == (0, 100, 100, 50, (1.0,))
    beyond = whole.after(RadiusAnswer(False, None, 0.0, 257, (1.0,)))
    assert (beyond.high, beyond.refuted) == (256, 257), "a radius rounded up lets a witness lie a little beyond the ball"
    cut = near.after(RadiusAnswer(False, Reason.TIMEOUT, 0.0))
    assert (cut.low, cut.high, cut.open, cut.reason, cut.refuted) == (0, 100, False, Reason.TIMEOUT, 100)
    assert not Bracket(0, 1).open
    assert sorted(whole.tree(2)) == [128, 256, 384]


# ---- closed forms ------------------------------------------------------------------------------------------------------

_STRETCH: dict[str, Callable[[np.ndarray], float]] = {
    "linf": lambda w: float(np.abs(w).sum()), "l2": lambda w: sqrt(float((w * w).sum())), "l1": lambda w: float(np.abs(w).max()),
}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("domain", ["zonotope", "deeppoly", "auto"])
def test_the_radius_of_a_linear_classifier(domain: str, norm: str) -> None:
    """margin / ||w||*: certified lies at most one step below it, and never above; refuted never below it."""
    random = np.random.default_rng(1)
    weight, bias = random.normal(size=(3, 5)), random.normal(size=3)
    graph = linear(torch.tensor(weight), torch.tensor(bias))
    inputs = random.uniform(-1, 1, size=(5, 5))
    plain, attacked = (radius(graph, torch.tensor(inputs), options(domain=domain, norm=norm, clip=None, attack=a)) for a in (None, "pgd"))
    for point, result in zip([*inputs, *inputs], [*plain, *attacked], strict=True):
        y = weight @ point + bias
        top = int(y.argmax())
        exact = min((y[top] - y[j]) / _STRETCH[norm](weight[top] - weight[j]) for j in range(3) if j != top)
        assert result.predicted == top
        assert float(result.certified) <= exact + 1e-12
        if norm == "linf" or domain != "zonotope":    # a zonotope starts from the ball's box
            assert float(result.certified) >= min(exact, 0.256) - 0.0005 - 1e-9
        assert float(result.refuted) >= exact - 1e-12
        assert result.certified < result.refuted


def test_nine_calls_and_radii_on_the_grid() -> None:
    graph, inputs = digits(6)
    for result in radius(graph, inputs, options()):
        assert result.calls == 9
        assert (result.certified / Fraction("0.0005")).denominator == 1
        assert result.certified < Fraction("0.256"), "the upper end itself is not tested"
        assert result.reason is Reason.IMPRECISE
        assert result.refuted == inf


def test_no_attack_succeeds_within_a_certified_radius() -> None:
    graph, inputs = digits(12)
    found = radius(graph, inputs, options(fan=1))
    assert sum(result.certified > 0 for result in found) > 9
    eps = torch.tensor([float(result.certified) for result in found], dtype=torch.float64).reshape(-1, 1, 1, 1)
    region = LinfBall(inputs, eps * (1 - 1e-15))
    labels = torch.tensor([result.predicted for result in found])
    spec = Spec.robust(labels, 10)
    for seed in range(2):
        points = ATTACKS.get("pgd")()(graph, region, spec, Search(torch.device("cpu"), seed=seed, effort=2.0))
        assert (graph(points).argmax(1) == labels).all()


# ---- answers do not depend on how they are asked ------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["zonotope", "deeppoly"])
def test_lockstep_is_one_by_one(domain: str) -> None:
    graph, inputs = digits(5)
    together = radius(graph, inputs, options(domain=domain))
    alone = [radius(graph, inputs[k:k + 1], options(domain=domain))[0] for k in range(5)]
    backwards = radius(graph, inputs.flip(0), options(domain=domain, batch=2))[::-1]
    assert certified(together) == certified(alone) == certified(backwards)
    assert len(set(certified(together))) > 2


@pytest.mark.parametrize(("fan", "attack"), [(2, None), (3, None), (5, None), (3, "pgd")])
def test_several_levels_at_once_are_one_after_the_other(fan: int, attack: str | None) -> None:
    graph, inputs = digits(2)

    def found(levels: int) -> list[tuple[Any, ...]]:
        rows = radius(graph, inputs, options("0.256", "0.01", fan=levels, carry=False, attack=attack))
        return [(r.certified, r.refuted, r.calls, r.reason) for r in rows]

    assert found(fan) == found(1)


@pytest.mark.parametrize("domain", ["zonotope", "deeppoly"])
def test_what_is_carried_proves_no_less(domain: str) -> None:
    graph, inputs = digits(6)
    for fan in (1, 3):
        plain, carried = (certified(radius(graph, inputs, options(domain=domain, carry=carry, fan=fan))) for carry in (False, True))
        assert all(more >= less for more, less in zip(carried, plain, strict=True))


def watched(monkeypatch: pytest.MonkeyPatch, graph: Graph) -> list[float]:
    """How many times wider than its ball the known bounds of each input node are; they must hold in the ball."""
    ratios: list[float] = []
    real = module.Problem

    def noted(given: Graph, region: LinfBall, *rest: Any, known: dict[str, Interval]) -> Any:
        if known:
            low, high = known[graph.input.name].lower, known[graph.input.name].upper
            there = low.flatten(1).isfinite().all(1)
            assert (low <= region.hull.lower)[there].all()
            assert (high >= region.hull.upper)[there].all()
            share = (high - low).flatten(1).amax(1) / (region.hull.upper - region.hull.lower).flatten(1).amax(1)
            ratios.extend(share[there].tolist())
        return real(given, region, *rest, known=known)

    monkeypatch.setattr(module, "Problem", noted)
    return ratios


@pytest.mark.parametrize("fan", [1, 2])
def test_what_is_carried_holds_in_the_smaller_ball_and_comes_from_the_last_that_failed(fan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of the input node tell which ball, and whose, the known ones are of."""
    graph, inputs = digits(5)
    ratios = watched(monkeypatch, graph)
    radius(graph, inputs, options("0.256", "0.01", "box", fan=fan, clip=None, dtype="float64"))
    assert len(ratios) > 10
    assert min(ratios) > 1
    assert fan > 1 or max(ratios) < 2.01, "twice the radius: the ball that failed just before"


# ---- odd domains, inputs and limits -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moody(Box):  # type: ignore[misc, valid-type]
    """Proves exactly the radii in `yes`: no monotone domain."""

    # What it does not prove, the engine's own box may not prove for it.
    stated: ClassVar[Traits] = Traits(mixed=False, alone=True)
    yes: frozenset[int] = frozenset()
    asked: list[int] = field(default_factory=list)

    def bounds(self, element: Any, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        found = super().bounds(element, rows, ctx, sense)
        hull = ctx.region.hull
        steps = ((hull.upper - hull.lower).flatten(1).amax(1) / 2 / 0.125).round().long().tolist()
        self.asked.extend(steps)
        keep = torch.tensor([k in self.yes for k in steps])[rows.instance]
        return replace(found, lower=torch.where(keep, 1e-9, -1.0).to(found.lower))


@pytest.mark.parametrize("fan", [1, 2, 3])
@pytest.mark.parametrize(("yes", "path", "result"), [
    ({4, 6, 7}, [4, 6, 7], 7), ({1, 2, 3, 5, 6, 7}, [4, 2, 3], 3), ({6, 7}, [4, 2, 1], 0), ({4, 5, 7}, [4, 6, 5], 5), (set(), [4, 2, 1], 0),
])
def test_a_domain_that_is_not_monotone_ends_where_algorithm_1_does(fan: int, yes: set[int], path: list[int], result: int) -> None:
    graph = linear(torch.eye(2, dtype=torch.float64), torch.tensor([5.0, 0.0], dtype=torch.float64))
    domain = Moody(yes=frozenset(yes))
    (found,) = radius(graph, torch.zeros(1, 2, dtype=torch.float64), options("1", "0.2", domain, clip=None, fan=fan, dtype="float64"))
    assert found.certified == Fraction(result, 8)
    assert found.calls == 3
    assert found.reason is (None if result == 7 else Reason.IMPRECISE)
    if fan == 1:
        assert domain.asked == path


def test_a_failed_ball_off_the_path_is_not_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    """2, 4 and 6 are asked at once; 2 and 6 fail, and 5 comes next."""
    graph = linear(torch.eye(2, dtype=torch.float64), torch.tensor([5.0, 0.0], dtype=torch.float64))
    ratios = watched(monkeypatch, graph)
    domain = Moody(yes=frozenset({4, 5}))
    (found,) = radius(graph, torch.zeros(1, 2, dtype=torch.float64), options("1", "0.2", domain, clip=None, fan=2, dtype="float64"))
    assert found.certified == Fraction(5, 8)
    assert ratios == [pytest.approx(6 / 5)]


def test_ties_have_radius_zero_and_say_so() -> None:
    graph = linear(torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    tied, clear = radius(graph, torch.tensor([[0.5, 0.5], [0.75, 0.5]], dtype=torch.float64), options())
    assert (tied.certified, tied.tied, tied.predicted, tied.calls) == (0, True, None, 0)
    assert (clear.tied, clear.predicted) == (False, 0)
    assert Fraction("0.1245") <= clear.certified < Fraction("0.125")


def test_outputs_that_are_not_finite_have_radius_zero() -> None:
    huge = torch.full((2, 2), 1.5e308, dtype=torch.float64)
    (found,) = radius(linear(huge, torch.zeros(2, dtype=torch.float64)), torch.ones(1, 2, dtype=torch.float64), options())
    assert (found.certified, found.reason, found.predicted, found.calls) == (0, Reason.OVERFLOW, None, 0)


def test_bad_inputs_are_refused_by_name() -> None:
    graph, inputs = digits(3)
    inputs[1, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="entries: 17") as error:
        radius(graph, inputs, options(), index=[16, 17, 18])
    assert error.value.code == "E-DATA-NAN"
    with pytest.raises(AbsintError) as other:
        radius(graph, digits(1)[1] + 1, options())
    assert other.value.code == "E-REGION"
    with pytest.raises(UsageError):
        radius(graph, digits(1)[1], options("1e400", "1e399"))
    with pytest.raises(AbsintError) as one:
        radius(linear(torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)), torch.ones(1, 2), options())
    assert one.value.code == "E-CLASSES"


def test_an_upper_end_beyond_the_range_and_another_range() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    graph = linear(weight, torch.tensor([0.5, 0.0], dtype=torch.float64))    # class 0 while x0 > -0.5
    point = torch.tensor([[0.25, 0.25]], dtype=torch.float64)
    (inside,) = radius(graph, point, options("100", "0.5"))
    assert (inside.certified, inside.reason) == (Fraction(100) * 255 / 256, None), "the whole range is safe"
    (free,) = radius(graph, point, options("4", "0.01", clip=None))
    assert Fraction("0.74") < free.certified < Fraction("0.75")
    (wide,) = radius(graph, point, options("4", "0.01", clip=(-1.0, 3.0)))
    assert wide.certified == free.certified
    assert radius(graph, point[:0], options()) == []


def test_a_time_limit_keeps_what_is_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = digits(3)
    whole = certified(radius(graph, inputs, options(fan=1)))
    calls: list[int] = []
    real = Portfolio.results

    def counted(self: Portfolio) -> Any:
        calls.append(1)
        return real(self)

    monkeypatch.setattr(Portfolio, "results", counted)
    monkeypatch.setattr(module.time, "monotonic", lambda: 1000.0 * (len(calls) >= 5))
    found = radius(graph, inputs, options(fan=1, total_timeout=500.0))
    assert {(r.calls, r.reason, r.cut) for r in found} == {(5, Reason.TIMEOUT, True)}
    # Four answers came in time, the fifth did not.
    assert all(0 < part.certified <= end < part.certified + Fraction("0.016") for part, end in zip(found, whole, strict=True))


def test_a_time_limit_inside_a_refinement_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Portfolio.results
    rounds: list[int] = []

    def slow(self: Portfolio) -> Any:
        rounds.append(1)
        for position, result in real(self):
            late = len(rounds) == 5 and result.verdict is Verdict.UNKNOWN
            yield position, replace(result, reason=Reason.TIMEOUT, cut=True) if late else result

    graph, inputs = digits(8)
    whole = radius(graph, inputs, options(fan=1))
    monkeypatch.setattr(Portfolio, "results", slow)
    found = radius(graph, inputs, options(fan=1))
    assert {True, False} == {result.cut for result in found}
    for one, two in zip(found, whole, strict=True):
        assert one == replace(two, time_s=one.time_s) if not one.cut else one.certified <= two.certified and one.calls == 5


def test_a_witness_inside_a_certified_ball_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a unit proved at first, then a witness three steps away."""
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    graph = linear(weight, torch.zeros(2, dtype=torch.float64))
    point = torch.tensor([[0.5, 0.375]], dtype=torch.float64)     # radius 1/16
    search = options("1", "0.01", clip=None, attack="pgd", fan=1)
    assert radius(graph, point, search)[0].certified < Fraction(1, 16)
    first: list[int] = []

    def near(self: Any, slot: int, result: InstanceResult) -> RadiusAnswer:
        first.append(1)
        return RadiusAnswer(len(first) == 1, Reason.IMPRECISE, 0.0, None if len(first) == 1 else 3, (0.0, 0.0))

    monkeypatch.setattr(module._Chunk, "_answer", near)
    with pytest.raises(PluginError) as error:
        radius(graph, point, search)
    assert error.value.code == "E-CONTRADICTION"


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_engine_gets_radii_rounded_up_and_exactly_those_asked(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = digits(2)
    given: list[Fraction] = []
    real = module.ball

    def noted(name: str, center: Tensor, eps: Any, clip: Any) -> Any:
        if isinstance(eps, Tensor):
            given.extend(Fraction(value) for value in eps.flatten().tolist())
        return real(name, center, eps, clip)

    monkeypatch.setattr(module, "ball", noted)
    search = options("1/3", "1/1000", norm=norm, fan=1)
    radius(graph, inputs, search)
    assert len(given) == 2 * 9
    for eps in given:
        k = round(eps / search.step)
        assert k * search.step <= eps <= k * search.step * (1 + Fraction(1, 2**52))


def test_the_import_check_runs_once_on_the_largest_balls(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = digits(3)
    seen: list[Any] = []
    monkeypatch.setattr(module, "check_import", lambda graph, region, budget: seen.append(region))
    radius(graph, inputs, options(batch=1))
    assert len(seen) == 1
    assert torch.equal(seen[0].lower, LinfBall(inputs, Fraction("0.256")).hull.lower)


def test_results_come_chunk_by_chunk_in_order() -> None:
    graph, inputs = digits(5)
    told: list[int] = []
    found = radius(graph, inputs, options(batch=2), index=[9, 7, 5, 3, 1], labels=torch.arange(5), on_result=lambda r: told.append(r.index))
    assert told == [result.index for result in found] == [9, 7, 5, 3, 1]
    assert [result.label for result in found] == [0, 1, 2, 3, 4]


def test_the_python_function() -> None:
    graph, inputs = digits(3)
    found = absint.radius(graph, inputs.numpy(), upper=0.256, tolerance=0.001, fan=1)
    assert certified(found) == certified(radius(graph, inputs, options()))
    flat = absint.radius(samples.network_path("mnist_relu_3x50"), inputs.flatten(1), norm="l2", upper="2", tolerance="1/50",
                         domain="deeppoly")
    assert all(0 < result.certified < 2 and result.refuted == inf for result in flat)
    with pytest.raises(UsageError):
        absint.radius(graph, inputs, colour="red")
