"""Forward linear bounds in exact arithmetic: both functions hold for their very coefficients, whatever is rounded."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F
from functools import cache

import numpy as np
import pytest
import torch
from forward_nets import box, cancelling, hull_of, two_layers

from absint.domains import anchors as anchoring
from absint.domains import forward_linear
from absint.domains.forward_linear import ForwardLinear
from absint.domains.input_forms import Coordinates, InputForms
from absint.engine.affine_forms import AffineForms
from absint.engine.context import Context
from absint.engine.forward import analyse
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.interval import Relaxation
from absint.problem.regions.region import BoxRegion
from absint.testing.kit import FLOAT64
from absint.testing.networks import case, network
from absint.testing.truth import ExactTensor, evaluate

EVERYWHERE = 1 << 40    # passes enough for every node to be an anchor
NETS = ("gemm", "affine", "residual", "maximum", "leaky-negative", "sigmoid", "cancelling", "tiny", "conv")
SINGLE = replace(FLOAT64, dtype=torch.float32, vector=torch.float32)

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


@cache
def exact_values(name, scale):
    return [evaluate(network(name, scale), points) for points in case(name, scale).points]


def false_forms(forms, instance, points, values):
    """Entries of an instance whose value at some point (points, inputs) lies outside of its two functions, in exact arithmetic."""
    def flat(value):
        return ExactTensor.of(value[instance].double().reshape(1, -1))

    known = forms.rest[instance].flatten().isfinite().numpy()
    finite = torch.where(forms.rest[instance].isfinite(), forms.rest[instance], 0.0)[None]
    middle, reach = flat(forms.center), flat(forms.gap) + ExactTensor.of(finite.double().reshape(1, -1))
    if forms.coordinates is not None:
        slots = forms.coordinates.slots[instance].numpy()
        z = ExactTensor.of(points[:, slots]) - ExactTensor.of(forms.coordinates.about[instance].flatten().numpy()[None, slots])
        reach_of_z = forms.coordinates.reach[instance].double().numpy()
        assert z.abs().at_most(ExactTensor.of(reach_of_z[None].repeat(len(points), 0)))[:, reach_of_z > 0].all()
        for name in ("mean", "wide"):
            coefficients = getattr(forms, name)
            if coefficients is not None:
                product = z @ ExactTensor.of(coefficients[instance].double().flatten(1).numpy())
                middle, reach = (middle + product, reach) if name == "mean" else (middle, reach + product)
    holds = (middle - reach).at_most(values) & values.at_most(middle + reach)
    return int((~holds & known[None]).sum())


def forms_hold(name, scale, num, anchor=0):
    """At every node, at vertices and samples of boxes."""
    c = case(name, scale)
    graph = network(name, scale)
    if not all(graph.fits(dtype) for dtype in (num.dtype, num.vector)):
        return
    names = frozenset(node.name for node in graph.nodes)
    found = analyse(ForwardLinear(anchor), Context(graph, c.region, num), names)
    for node, forms in found.kept.items():
        for instance, points in enumerate(c.points):
            values = exact_values(name, scale)[instance][node].reshape(len(points), -1)
            assert false_forms(forms, instance, points, values) == 0, (node, instance)


@pytest.mark.parametrize("anchor", [0, EVERYWHERE])
@pytest.mark.parametrize("name", NETS)
def test_both_functions_hold_for_their_very_coefficients(name, anchor):
    for scale in (1e-30, 1.0, 1e30):
        for num in (FLOAT64, SINGLE):
            forms_hold(name, scale, num, anchor)


def restarted(seed):
    """What `anchored` makes of given functions encloses these, in exact arithmetic."""
    graph, random = two_layers(), np.random.default_rng(seed)
    node = graph.nodes[3]
    ctx = analyse(ForwardLinear(0), Context(graph, box(0.3), FLOAT64)).ctx
    n, k = node.size, 3
    below, above = (torch.from_numpy(random.normal(size=(2 * n, k)) * 10.0 ** random.integers(-8, 8, size=(2 * n, k))) for _ in range(2))
    low = torch.from_numpy(random.normal(size=2 * n))
    high = low + torch.from_numpy(random.random(size=2 * n))
    zero = torch.zeros(2, *node.shape, dtype=torch.float64)
    reach, about = torch.full((2, k), 0.3, dtype=torch.float64), torch.zeros(2, k, dtype=torch.float64)
    coordinates = Coordinates(reach, about, torch.arange(k).repeat(2, 1))
    wide = InputForms(zero, zero + 1e9, zero, torch.zeros(2, k, *node.shape, dtype=torch.float64), None, coordinates)
    given = AffineForms(below, low, above, high)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anchoring, "backward_forms_about", lambda rows, *_: AffineForms(
            *(getattr(given, name)[:len(rows)] for name in ("lower", "lower_bias", "upper", "upper_bias"))))
        forms = anchoring.anchored(node, wide, None, ctx)
    points = np.array([[sign * 0.3 for sign in signs] for signs in np.ndindex(2, 2, 2)]) * 2 - 0.3
    assert bool((forms.gap < 1e9).all())
    for instance in range(2):
        part = slice(instance * n, instance * n + n)
        for side, weight, bias in ((-1, below, low), (1, above, high)):
            z = ExactTensor.of(np.where(points > 0, 0.3, -0.3))
            values = z @ ExactTensor.of(weight[part].numpy().T) + ExactTensor.of(bias[part].reshape(1, -1))
            center = ExactTensor.of(forms.center[instance].reshape(1, -1)) + z @ ExactTensor.of(forms.mean[instance].numpy())
            reach = (ExactTensor.of((forms.gap[instance]).reshape(1, -1)) + ExactTensor.of(forms.rest[instance].reshape(1, -1))
                     + z @ ExactTensor.of(forms.wide[instance].numpy()))
            assert ((center - reach).at_most(values) if side < 0 else values.at_most(center + reach)).all()


def lines_hold(seed, exponent=0):
    """Two planes over two operands, against the functions that they make of these in rational numbers, at all vertices."""
    random = np.random.default_rng(seed)

    def numbers(*shape):
        return torch.from_numpy(random.normal(size=shape) * 10.0 ** (exponent + random.integers(-3, 4, size=shape)))

    coordinates = Coordinates(torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64), torch.arange(2)[None])
    args = [InputForms(numbers(1, 1), numbers(1, 1).abs(), numbers(1, 1).abs() * 0, numbers(1, 2, 1), numbers(1, 2, 1), coordinates)
            for _ in range(2)]
    slopes = [torch.from_numpy(random.normal(size=(1, 1))) for _ in range(4)]
    # Offsets that take nearly all away: what is rounded stands alone.
    offset = -sum(s * a.center for s, a in zip(slopes[:2], args, strict=True)) + numbers(1, 1) * 1e-12
    lines = Relaxation(tuple(slopes[:2]), offset, tuple(slopes[2:]), offset + numbers(1, 1).abs())
    found = forward_linear._between(args, lines, coordinates, FLOAT64)
    for z in ((a, b) for a in (-1, 1) for b in (-1, 1)):
        for sign, side, t in ((-1, slopes[:2], lines.lower_offset), (1, slopes[2:], lines.upper_offset)):
            truth = F(t.item())
            for s, arg in zip(side, args, strict=True):
                reach = at(arg.wide, z) + F(arg.gap.item())
                truth += F(s.item()) * (at(arg.mean, z) + F(arg.center.item())) + sign * abs(F(s.item())) * reach
            middle = at(found.mean, z) + F(found.center.item())
            given = middle + sign * (at(found.wide, z) + F(found.gap.item()) + F(found.rest.item()))
            assert sign * (given - truth) >= 0


def remainders_pass():
    """A remainder below a line is multiplied with its slope, and added at an identity."""
    zero, rest = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    lines = Relaxation((torch.tensor([[1.0, -0.5]], dtype=torch.float64),), zero, (torch.tensor([[1.0, -4.0]], dtype=torch.float64),), zero)
    found = forward_linear._between([InputForms(zero, zero, rest)], lines, None, FLOAT64)
    assert bool((found.rest >= torch.tensor([[0.5, 1.0]], dtype=torch.float64)).all())


def test_remainders_pass_lines():
    remainders_pass()


def at(coefficients, z):
    return sum((F(c) * v for c, v in zip(coefficients.flatten().tolist(), z, strict=True)), F(0))


def lines_hold_everywhere(exponent):
    for seed in range(30):
        lines_hold(seed, exponent)


@pytest.mark.parametrize("exponent", [0, -318, 100])
def test_lines_make_functions_that_hold_in_rational_numbers(exponent):
    lines_hold_everywhere(exponent)


def one_neuron():
    """y = -max(x, 0) over [-1, 1]: the lower function of y rests on the upper one of the neuron."""
    build = GraphBuilder("x", (1,))
    last = build.add(Gemm(-torch.ones(1, 1, dtype=torch.float64)), (build.add(Relu(), ("x",)),))
    found = hull_of(BoxRegion(-torch.ones(1, 1), torch.ones(1, 1)), build.graph(last), ForwardLinear(0))
    assert float(found.lower) <= -1
    assert float(found.upper) >= 0


def test_a_negative_weight_takes_the_other_side():
    one_neuron()


def coefficients_cancel():
    """Over a box around zero, where no constant rounds."""
    graph, values = cancelling()
    found = hull_of(BoxRegion(-torch.ones(1, 1), torch.ones(1, 1)), graph, ForwardLinear(0))
    assert all(F(upper) >= abs(value) for value, upper in zip(values, found.upper.flatten().tolist(), strict=True))


def constants_cancel():
    """At a point, where there is nothing but constants."""
    graph, values = cancelling()
    found = hull_of(BoxRegion(torch.ones(1, 1), torch.ones(1, 1)), graph, ForwardLinear(0))
    ends = zip(values, found.lower.flatten().tolist(), found.upper.flatten().tolist(), strict=True)
    assert all(F(low) <= value <= F(high) for value, low, high in ends)


def test_sums_that_cancel_are_charged():
    coefficients_cancel()
    constants_cancel()


def test_a_restart_encloses_what_it_starts_from():
    for seed in range(20):
        restarted(seed)


def swings_are_raised():
    """A sum of many products of which each addition loses nearly half a unit in the last place."""
    small = 0.9 * 2.0**-53
    reach = torch.full((1, 256), small, dtype=torch.float64)
    reach[0, 0] = 1.0
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 256, 1, dtype=torch.float64)
    slots = torch.arange(256)[None]
    graph = GraphBuilder("x", (256,)).graph("x")
    region = BoxRegion(-reach, reach)
    ctx = Context(graph, region, FLOAT64)
    found = ForwardLinear(0).hull(InputForms(zero, zero, zero, one, None, Coordinates(reach, 0 * reach, slots)), ctx)
    truth = sum(F(v) for v in reach.flatten().tolist())
    assert F(float(found.upper)) >= truth
    assert F(float(found.lower)) <= -truth


def test_concretised_sums_are_raised_by_what_they_lost():
    swings_are_raised()
