"""Every elementwise operator: kernels, ranges, lines and bands against mpmath; tightness against a search; ONNX; domains."""

from __future__ import annotations

import importlib.util
from functools import cache, partial
from math import inf

import mpmath
import numpy as np
import pytest
import torch
from contract.operators import ELEMENTWISE
from mpmath import mp, mpf
from onnx_models import compare, imported, node
from places import ROOT

from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import tensor_bounds
from absint.errors import AbsintError, UnsupportedError
from absint.model.families.elementwise import Elementwise
from absint.model.graph import GraphBuilder
from absint.model.ops.exponential import Exp, Log, Softplus
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Clip, HardSigmoid, HardSwish, PRelu
from absint.model.ops.power import Power
from absint.model.ops.smooth import Gelu, Mish, Swish, TanhGelu
from absint.model.ops.step import Floor, Round, Sign
from absint.model.ops.trigonometric import Cos, Sin
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import smallest_normal, unit_roundoff
from absint.problem.regions.region import BoxRegion
from absint.testing.kit import FLOAT64, MIXED, SINGLE

_spec = importlib.util.spec_from_file_location("tightness", ROOT / "benchmarks" / "tightness.py")
tightness = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tightness)
mp.dps = 60


def unit(op):
    alpha, beta, scale = mpf(op.alpha), mpf(op.beta), mpf(op.scale)
    return lambda x: scale * x if x > 0 else scale * alpha * mpmath.expm1(x / beta)


def power(p):
    return lambda x: x ** int(p) if p.is_integer() else x ** mpf(p)


TANH_GELU = (mpmath.sqrt(2 / mpmath.pi), mpf("0.044715"))
EXACT = {
    "Abs": lambda op: abs,
    "PRelu": lambda op: lambda x: x if x > 0 else x * mpf(float(op.slope)),
    "Clip": lambda op: lambda x: min(max(x, mpf(op.low)), mpf(op.high)),
    "ThresholdedRelu": lambda op: lambda x: x if x > op.alpha else mpf(0),
    "HardSwish": lambda op: lambda x: x * min(max(x + 3, mpf(0)), mpf(6)) / 6,
    "Exp": lambda op: mpmath.exp, "Log": lambda op: mpmath.log, "Softplus": lambda op: lambda x: mpmath.log1p(mpmath.exp(x)),
    "ExponentialUnit": unit, "Power": lambda op: power(op.exponent), "Erf": lambda op: mpmath.erf,
    "Gelu": lambda op: lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "TanhGelu": lambda op: lambda x: x / (1 + mpmath.exp(-2 * TANH_GELU[0] * (x + TANH_GELU[1] * x**3))),
    "Swish": lambda op: lambda x: x / (1 + mpmath.exp(-x)),
    "Mish": lambda op: lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "Atan": lambda op: mpmath.atan, "Asinh": lambda op: mpmath.asinh, "Sinh": lambda op: mpmath.sinh, "Cosh": lambda op: mpmath.cosh,
    "Asin": lambda op: mpmath.asin, "Acos": lambda op: mpmath.acos, "Atanh": lambda op: mpmath.atanh, "Acosh": lambda op: mpmath.acosh,
    "Tan": lambda op: mpmath.tan,
    "Softsign": lambda op: lambda x: x / (1 + abs(x)),
    "Sin": lambda op: mpmath.sin, "Cos": lambda op: mpmath.cos, "Sign": lambda op: lambda x: mpf(mpmath.sign(x)),
    "Floor": lambda op: mpmath.floor, "Ceil": lambda op: mpmath.ceil, "Round": lambda op: mpmath.nint,
}


def exact(op):
    return EXACT[type(op).__name__](op)


def steps(op):
    return type(op).__name__ in {"Floor", "Ceil", "Round", "Sign", "ThresholdedRelu"}


def fits(op, x):
    """Points at which f is defined and finite in float64."""
    fine = op.defined(x, x)
    value = op.evaluate(x)
    return x[value.isfinite() if fine is None else value.isfinite() & fine]


def points(op, dtype=torch.float64):
    near = torch.logspace(-12, 2.7, 40, dtype=torch.float64)
    offsets = torch.cat([-near, torch.zeros(1), near])
    return fits(op, torch.cat([offsets + c for c in tightness.cuts(op)]).to(dtype).unique())


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_kernels_are_as_accurate_as_stated(name):
    op, f = ELEMENTWISE[name](), exact(ELEMENTWISE[name]())
    for dtype, error in ((torch.float64, op.error), (torch.float32, op.execution or op.error)):
        x = points(op, dtype)
        x = x[x.abs() < 80] if dtype == torch.float32 else x
        u, tiny = unit_roundoff(dtype), smallest_normal(dtype)
        for place, value in zip(x.tolist(), op.evaluate(x).tolist(), strict=True):
            allowed = error.ulps * u * abs(value) + error.absolute + tiny
            assert abs(mpf(value) - f(mpf(place))) <= allowed, (name, dtype, place, value)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if not steps(ELEMENTWISE[n]())])
def test_derivatives_are_as_accurate_as_stated(name):
    op, f = ELEMENTWISE[name](), exact(ELEMENTWISE[name]())
    special = torch.tensor(sorted({k.x for k in op.knots} | {0.0}))
    x = points(op)[::3]
    x = x[((x[:, None] - special).abs() > 1e-9).all(1)]
    error, tiny = op.derivative_error, smallest_normal(torch.float64)
    for place, value in zip(x.tolist(), op.derivative(x).tolist(), strict=True):
        allowed = error.ulps * 2.0**-53 * abs(value) + error.absolute + tiny
        h = mpf(10) ** -22 * max(1, abs(place)) if abs(place) > 1e-3 else mpf(10) ** -22
        slope = (f(mpf(place) + h) - f(mpf(place) - h)) / (2 * h)
        assert abs(mpf(value) - slope) <= allowed + mpf(10) ** -28 * (1 + abs(slope)), (name, place, value)


def boxes(op, vector):
    """Some intervals of the benchmark in the format, and points of each."""
    box = tightness.intervals(op)
    low, high = box.lower[::11].to(vector), box.upper[::11].to(vector)
    if bool((fine := op.defined(low, high)) is not None):
        low, high = low[fine], high[fine]
    high = torch.maximum(low, high)
    keep = op.evaluate(low.double()).abs().maximum(op.evaluate(high.double()).abs()) < 1e30
    low, high = low[keep], high[keep]
    share = torch.tensor([0.0, 1e-4, 0.2, 0.5, 0.83, 1.0], dtype=vector)[:, None]
    inner = [torch.full_like(low, c) for c in tightness.cuts(op)[:4]]
    x = torch.cat([low + (high - low) * share, torch.stack(inner), torch.nextafter(torch.stack(inner), low.new_tensor(inf))])
    return Interval(low, high), torch.minimum(torch.maximum(x, low), high)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_ranges_lines_and_bands_enclose_exact_values(name):
    op, f = ELEMENTWISE[name](), cache(exact(ELEMENTWISE[name]()))      # two of the formats have the same points
    for num in (FLOAT64, MIXED, SINGLE):
        box, x = boxes(op, num.vector)
        image, planes, band = op.range((box,), num), op.planes((box,), num), op.band((box,), num)
        columns = zip(
            x.T.tolist(), image.lower.tolist(), image.upper.tolist(), planes.lower[0].tolist(), planes.lower_offset.tolist(),
            planes.upper[0].tolist(), planes.upper_offset.tolist(), band.slope[0].tolist(), band.offset.tolist(), band.radius.tolist(),
            strict=True,
        )
        for places, low, high, s, t, s2, t2, s3, c, r in columns:
            for place in set(places):
                p, value = mpf(place), f(mpf(place))
                assert mpf(low) <= value <= mpf(high), (name, num, places, place)
                assert mpf(s) * p + mpf(t) <= value <= mpf(s2) * p + mpf(t2), (name, num, places, place)
                assert abs(value - mpf(s3) * p - mpf(c)) <= mpf(r), (name, num, places, place)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_lines_and_bands_are_within_one_percent_of_the_best(name):
    for kind, (ratio, where) in tightness.worst(ELEMENTWISE[name](), every=5).items():
        assert ratio < 1.01, (name, kind, where)


@pytest.mark.parametrize(("op", "low", "high"), [
    (Log(), 0.0, 1.0), (Log(), -1.0, 1.0), (Log(), -2.0, -1.0), (Power(0.5), -1e-30, 1.0), (Power(-1.0), -1.0, 1.0),
    (Power(-1.0), 0.0, 1.0), (Power(-1.0), -1.0, 0.0), (Power(-2.0), -1.0, 1.0), (Power(1.5), -1.0, 2.0), (Power(-0.5), 0.0, 2.0),
    (Power(-0.5), -3.0, -2.0),
])
def test_nothing_is_claimed_outside_the_definition_domain(op, low, high):
    for num in (FLOAT64, MIXED, SINGLE):
        box = Interval(torch.full((3,), low, dtype=num.vector), torch.full((3,), high, dtype=num.vector))
        box.lower[2], box.upper[2] = 1.0, 2.0
        image, planes, band = op.range((box,), num), op.planes((box,), num), op.band((box,), num)
        for lower, upper in ((image.lower, image.upper), (planes.lower_offset, planes.upper_offset), (-band.radius, band.radius)):
            assert lower[:2].tolist() == [-inf] * 2
            assert upper[:2].tolist() == [inf] * 2
            assert bool(lower[2].isfinite() and upper[2].isfinite())
        assert not any(bool(t.isnan().any()) for t in (*planes.lower, *planes.upper, *band.slope, band.offset))
        assert op.undecided((box,))[0].tolist() == [True] * 3


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_nan_on_any_interval(name):
    op = ELEMENTWISE[name]()
    for num in (FLOAT64, SINGLE):
        ends = [(-inf, inf), (-inf, 0.5), (0.5, inf), (-3e38, 3e38), (float("nan"), 1.0)]
        low, high = torch.tensor([*ends, (-1e300, 1e300)] if num is FLOAT64 else ends, dtype=num.vector).T
        box = Interval(low, high)
        image, planes, band = op.range((box,), num), op.planes((box,), num), op.band((box,), num)
        tensors = (*planes.lower, planes.lower_offset, *planes.upper, planes.upper_offset, *band.slope, band.offset, band.radius)
        if not (op.error.ulps or op.error.absolute):  # NaN is passed on
            image, tensors = (Interval(image.lower[~low.isnan()], image.upper[~low.isnan()]), [t[~low.isnan()] for t in tensors])
        assert not any(bool(t.isnan().any()) for t in (image.lower, image.upper, *tensors))


def test_waves_find_every_extreme():
    low = torch.linspace(-9, 9, 181, dtype=torch.float64)[:, None].expand(181, 60)
    high = low + torch.linspace(0, 13.5, 60, dtype=torch.float64)
    dense = low[..., None] + (high - low)[..., None] * torch.linspace(0, 1, 2001, dtype=torch.float64)
    for op in (Sin(), Cos()):
        image, value = op.range((Interval(low, high),), FLOAT64), op.evaluate(dense)
        assert bool((image.lower <= value.amin(-1)).all() and (image.upper >= value.amax(-1)).all())
        assert float((value.amin(-1) - image.lower).max()) < 4e-5
        assert float((image.upper - value.amax(-1)).max()) < 4e-5
        far = op.range((Interval(torch.tensor([1e9]), torch.tensor([1e9])),), FLOAT64)
        assert (far.lower.item(), far.upper.item()) == (-1.0, 1.0)


def test_finite_wherever_the_function_is():
    x = torch.tensor([90.0, -90.0, 1e38, -1e38])
    assert Softplus().evaluate(x)[0] == 90
    for op in (Softplus(), Gelu(), TanhGelu(), Mish(), Swish(), HardSwish()):
        assert bool(op.evaluate(x).isfinite().all() and op.derivative(x).isfinite().all())


def test_prelu_slopes_differ_by_channel():
    op = PRelu(torch.tensor([[0.3], [-0.5], [2.0]], dtype=torch.float64))
    box = Interval(-torch.ones(2, 3, 4, dtype=torch.float64), 2 * torch.ones(2, 3, 4, dtype=torch.float64))
    image, planes, band = op.range((box,), FLOAT64), op.planes((box,), FLOAT64), op.band((box,), FLOAT64)
    torch.testing.assert_close(image.lower[0, :, 0], torch.tensor([-0.3, 0.0, -2.0], dtype=torch.float64))
    for share in np.linspace(0, 1, 13):
        x = box.lower + (box.upper - box.lower) * share
        y = op.forward(x)
        assert bool((planes.lower[0] * x + planes.lower_offset <= y + 1e-12).all())
        assert bool((planes.upper[0] * x + planes.upper_offset >= y - 1e-12).all())
        assert bool(((y - band.slope[0] * x - band.offset).abs() <= band.radius + 1e-12).all())
    # Kinked by 0.7, 1.5 and 1 over [-1, 2]: half the largest distance to the chord, 1 * 2 / 3 of it.
    torch.testing.assert_close(band.radius[0, :, 0], torch.tensor([0.7, 1.5, 1.0], dtype=torch.float64) / 3)


# ---- networks ---------------------------------------------------------------------------------------------------------


def network(op, shift, scale=1.0):
    generator = torch.Generator().manual_seed(5)
    first, last = (torch.randn(*s, dtype=torch.float64, generator=generator) for s in ((6, 3), (4, 6)))
    build = GraphBuilder("x", (3,))
    hidden = build.add(Gemm(scale * first, torch.full((6,), shift, dtype=torch.float64)), ("x",))
    return build.graph(build.add(Gemm(last), (build.add(op, (hidden,)),)))


@pytest.mark.parametrize("name", [*ELEMENTWISE, "hard-sigmoid"])
def test_every_domain_carries_it_through_a_network(name):
    op = HardSigmoid(0.2, 0.5) if name == "hard-sigmoid" else ELEMENTWISE[name]()
    positive = isinstance(op, Elementwise) and op.defined(-torch.ones(1), torch.ones(1)) is not None and not op.piecewise_linear
    bounded = positive and not bool(op.defined(torch.full((1,), 8.0), torch.full((1,), 12.0)))     # as an arcsine's operand is
    graph = network(op, 9.0 if positive and not bounded else 0.2, 0.05 if bounded else 1.0)
    center = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    radius = torch.tensor([[0.0], [0.05], [0.8]], dtype=torch.float64)
    region = BoxRegion(center - radius, center + radius)
    share = torch.from_numpy(np.random.default_rng(7).choice([0.0, 1.0, 0.3, 0.77], size=(300, 1, 3)))
    x = torch.minimum(torch.maximum(center - radius + 2 * radius * share, center - radius), center + radius)
    names = [n.name for n in graph.nodes]
    for domain in ("box", "zonotope", "deeppoly"):
        subject = DOMAINS.get(domain)()
        for num in (FLOAT64, MIXED if subject.traits.mixed else SINGLE):
            with numeric_mode(), torch.no_grad():
                bounds = tensor_bounds(subject, Context(graph, region, num), tuple(names))
                values = graph.evaluate(x.reshape(-1, 3), names)
            for key, box in bounds.items():
                value = values[key].reshape(300, 3, -1)
                slack = 1e-12 * (1 + value.abs())
                assert bool((box.lower.reshape(3, -1) <= value + slack).all()), (domain, key)
                assert bool((box.upper.reshape(3, -1) >= value - slack).all()), (domain, key)
                assert bool(box.lower.isfinite().all() and box.upper.isfinite().all())


# ---- ONNX -------------------------------------------------------------------------------------------------------------


def one(op_type, constants=None, opset=13, inputs=None, **attributes):
    constants = constants or {}
    return [node(op_type, inputs or " ".join(["x", *constants]), "y", **attributes)], constants, opset


def positive(op_type, constants=None, opset=13):
    """Behind |x| + 0.5."""
    constants = {"h": np.float32(0.5), **(constants or {})}
    rest = " ".join(["p", *(k for k in constants if k != "h")])
    return [node("Abs", "x", "a"), node("Add", "a h", "p"), node(op_type, rest, "y")], constants, opset


def behind(first, op_type):
    """Where it is defined."""
    return [node(first, "x", "t"), node(op_type, "t", "y")], {}, 13


MODELS = {
    **{n.lower(): one(n) for n in ("Abs", "Clip", "HardSigmoid", "Elu", "Selu", "Softplus", "Exp", "Sin", "Cos", "Sign", "Floor", "Ceil",
                                   "Round", "Erf", "Softsign", "Atan", "Asinh", "Sinh", "Cosh", "ThresholdedRelu", "Celu")},
    "hard swish": one("HardSwish", opset=14), "mish": one("Mish", opset=18), "gelu": one("Gelu", opset=20),
    "gelu tanh": one("Gelu", opset=20, approximate="tanh"),
    "clip 9": one("Clip", opset=9, min=-0.5, max=0.75), "clip 9 half": one("Clip", opset=9, max=0.75),
    "clip both": one("Clip", {"l": np.float32(-0.5), "h": np.float32(0.75)}), "clip low": one("Clip", {"l": np.float32(0.25)}),
    "clip high": one("Clip", {"h": np.float32(0.25)}, inputs="x  h".replace("  ", " '' ")), "clip crossed": one(
        "Clip", {"l": np.float32(0.5), "h": np.float32(-0.75)}),
    "prelu": one("PRelu", {"s": np.array([[0.25], [-0.5], [2.0]], np.float32)}), "prelu scalar": one("PRelu", {"s": np.float32(0.3)}),
    "elu alpha": one("Elu", alpha=2.5), "celu alpha": one("Celu", alpha=0.3), "selu both": one("Selu", alpha=0.5, gamma=2.0),
    "hard sigmoid both": one("HardSigmoid", alpha=-0.7, beta=0.1), "thresholded": one("ThresholdedRelu", alpha=0.3),
    "square": one("Pow", {"e": np.float32(2)}), "cube": one("Pow", {"e": np.array([3], np.int64)}),
    "pow of two": one("Pow", {"e": np.array([1, 2], np.float32)}), "pow of a base": one("Pow", {"e": np.float32(1.5)}, inputs="e x"),
    "pow of bases": one("Pow", {"e": np.array([[1], [2], [0.25]], np.float32)}, inputs="e x"),
    "pow 1": one("Pow", {"e": np.float32(1)}),
    "pow 0": one("Pow", {"e": np.float32(0)}), "log": positive("Log"), "sqrt": positive("Sqrt"), "reciprocal": positive("Reciprocal"),
    "pow -1.5": positive("Pow", {"e": np.float32(-1.5)}), "pow .5": positive("Pow", {"e": np.float32(0.5)}),
    "tan": one("Tan"), **{n.lower(): behind("Tanh", n) for n in ("Asin", "Acos", "Atanh")}, "acosh": behind("Cosh", "Acosh"),
}


@pytest.mark.parametrize("name", MODELS)
def test_import_equals_onnxruntime(name, tmp_path):
    nodes, constants, opset = MODELS[name]
    for n in nodes:
        for k, value in enumerate(n.input):
            n.input[k] = value.strip("'")
    compare(imported(tmp_path, nodes, [1, 3, 2], constants, opset=opset))


@pytest.mark.parametrize(("model", "text"), [
    (one("Pow", {"e": np.ones((2, 3, 2), np.float32) * np.array([1, 2], np.float32)}), "exponent"),
    (one("Celu", alpha=-1.0), "alpha"), (one("Selu", gamma=-1.0), "gamma"),
    (one("Pow", {"e": np.float32(-2)}, inputs="e x"), "base"), (one("PRelu", {"s": np.ones((2, 3, 2), np.float32)}), ""),
])
def test_variants_not_handled_are_refused(model, text, tmp_path):
    nodes, constants, opset = model
    with pytest.raises((UnsupportedError, AbsintError)) as caught:
        partial(imported, tmp_path)(nodes, [1, 3, 2], constants, opset=opset)
    assert text in str(caught.value)


def test_repr_of_small_pieces():
    assert [p.direction for p in Clip(-1.0, 1.0).pieces] == [0, 1, 0]
    assert Clip(2.0, 1.0).evaluate(torch.tensor([0.0, 5.0])).tolist() == [1.0, 1.0]
    assert Exp().evaluate(torch.tensor(800.0)) == inf
    assert Round().evaluate(torch.tensor([0.5, 1.5, -2.5])).tolist() == [0.0, 2.0, -2.0]
    for op, low, high, decided in ((Floor(), 0.0, 0.99, True), (Floor(), 0.5, 1.0, False), (Sign(), 0.0, 1.0, False),
                                   (Sign(), 0.1, 1.0, True)):
        box = Interval(torch.tensor([low]), torch.tensor([high]))
        assert bool(op.undecided((box,))[0]) != decided
