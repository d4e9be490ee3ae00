"""Bounds as people ask for them: by names, as tensors with gradients, as affine coefficients."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from absint.analyses.bounds import BoundingSettings, affine_bounds, bounds, names_of, tensor_intervals
from absint.engine.domain import DOMAINS
from absint.engine.product import Product
from absint.errors import AbsintError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.backend import Budget
from absint.problem.regions import ball
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.search.names import domain_of, method_names, walker_of
from absint.testing.networks import case, network
from absint.testing.truth import ExactTensor, evaluate


def settings(name="deeppoly", **more):
    return BoundingSettings(DOMAINS.get(name)(), **more)


def refused(code, call):
    with pytest.raises(AbsintError) as caught:
        call()
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    return caught.value


# ---- names ----------------------------------------------------------------------------------------------------------


def named():
    build = GraphBuilder("x", (2,))
    hidden = build.add(Gemm(torch.eye(2, dtype=torch.float64), None), ("x",), "hidden", ("dense/out", "dense/alias"))
    return build.graph(build.add(Relu(), (hidden,), "last", ("relu/out",)))


def test_names():
    graph = named()
    assert names_of(graph) == ("last",)
    assert names_of(graph, "all") == ("x", "dense/out", "relu/out")
    assert names_of(graph, "dense/alias") == ("dense/alias",)
    for given in (["relu/out", "x", "relu/out"], ("relu/out", "x"), np.array(["relu/out", "x"])):
        assert names_of(graph, given) == ("relu/out", "x")


def test_an_unknown_name_is_answered_with_near_ones():
    assert "dense/out" in refused("E-TENSOR", lambda: names_of(named(), "dense/ot")).hint
    assert "known: " in refused("E-TENSOR", lambda: names_of(named(), ["?"])).hint
    for given in (1, True, b"x", [], [1], [None], {}, [["x"]], object(), lambda: 0, np.zeros(3), "", 0.5, "x" * 10000):
        refused("E-TENSOR", lambda g=given: names_of(named(), g))


def test_a_tensor_that_is_called_all_is_that_tensor():
    build = GraphBuilder("all", (2,))
    graph = build.graph(build.add(Relu(), ("all",), "y"))
    assert names_of(graph, "all") == ("all",)


# ---- gradients ------------------------------------------------------------------------------------------------------


def differentiable():
    return [name for name in method_names() if walker_of(name).traits.differentiable]


def ends(graph, region, how, *, grad):
    found = tensor_intervals(graph, region, [graph.output.name], how, grad=grad)[graph.output.name]
    return torch.cat([found.lower.flatten(1), found.upper.flatten(1)], 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["box", "zonotope", "deeppoly"])
def test_values_are_those_found_without_and_gradients_those_of_differences(name, norm):
    """On piecewise-linear networks; rounding is on."""
    graph, how = network("residual", 1.0), settings(name)
    generator = torch.Generator().manual_seed(11)
    center, radius = (torch.rand(shape, generator=generator, dtype=torch.float64) for shape in ((2, 3), (2,)))
    shape = (2, 1) if norm == "linf" else (2,)

    def at(center, radius, grad=False):
        return ends(graph, ball(norm, center, radius.reshape(shape) / 10 + 0.01, None), how, grad=grad)

    live = center.clone().requires_grad_(), radius.clone().requires_grad_()
    found = at(*live, grad=True)
    near = {"rtol": 1e-12, "atol": 1e-12}   # which kernel multiplies may hang on how tensors lie in memory, and on the processor
    assert torch.allclose(found.detach(), at(center, radius), **near)
    plain = bounds(graph, ball(norm, center, radius.reshape(shape) / 10 + 0.01, None), [graph.output.name], how)[graph.output.name]
    assert torch.allclose(found.detach()[:, :3], torch.from_numpy(plain.lower), **near)
    weight = torch.rand(found.shape, generator=generator, dtype=torch.float64)
    slopes = torch.autograd.grad((found * weight).sum(), live)
    step = torch.randn(2, 3, generator=generator, dtype=torch.float64), torch.rand(2, generator=generator, dtype=torch.float64)
    h = 1e-7
    ahead, behind = (at(center + s * h * step[0], radius + s * h * step[1]) for s in (1, -1))
    difference = ((ahead - behind) * weight).sum() / (2 * h)
    derivative = (slopes[0] * step[0]).sum() + (slopes[1] * step[1]).sum()
    assert float(derivative) == pytest.approx(float(difference), rel=1e-4)


def test_gradients_reach_live_parameters_anew_at_every_step():
    """A second step on changed weights sees the new ones, and no bound of the old |W|."""
    weight = torch.tensor([[1.0, -2.0], [0.5, 1.0]], dtype=torch.float64, requires_grad=True)
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Gemm(torch.tensor([[1.0, -1.0]], dtype=torch.float64)),
                                  (build.add(Relu(), (build.add(Gemm(weight), ("x",)),)),)))
    region = LinfBall(torch.full((1, 2), 0.5, dtype=torch.float64), Fraction(1, 10), None)
    for name in ("box", "zonotope", "deeppoly"):
        for value in (1.0, 3.0):
            with torch.no_grad():
                weight[0, 0] = value
            found = ends(graph, region, settings(name), grad=True)
            slope = torch.autograd.grad(found.sum(), weight)[0]
            assert bool(slope.abs().sum() > 0)
            build = GraphBuilder("x", (2,))
            still = build.graph(build.add(Gemm(torch.tensor([[1.0, -1.0]], dtype=torch.float64)),
                                          (build.add(Relu(), (build.add(Gemm(weight.detach().clone()), ("x",)),)),)))
            assert torch.equal(found.detach(), ends(still, region, settings(name), grad=False)), (name, value)


def test_without_gradients_none_are_recorded():
    center = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    region = LinfBall(center, torch.full((1, 1), 0.1, dtype=torch.float64), None)
    assert not ends(network("relu", 1.0), region, settings(), grad=False).requires_grad
    assert ends(network("relu", 1.0), region, settings(), grad=True).requires_grad


def test_a_domain_whose_bounds_are_a_solvers_is_refused():
    assert {"box", "zonotope", "deeppoly", "alpha", "auto", "exact", "milp"} <= set(differentiable())
    region = case("relu", 1.0).region
    for domain in (domain_of("refine"), Product(DOMAINS.get("box")(), walker_of("refine"))):
        error = refused("E-GRADIENT", lambda d=domain: tensor_intervals(network("relu", 1.0), region, ["x"], BoundingSettings(d)))
        assert "deeppoly" in error.hint
        assert "refine" not in error.hint


# ---- affine coefficients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deeppoly", "alpha"])
def test_coefficients_have_the_tensors_shape_and_the_inputs_and_hold(name):
    graph, boxes = network("conv", 1.0), case("conv", 1.0)
    names = names_of(graph, "all")
    found = affine_bounds(graph, boxes.region, names, settings(name))
    for tensor in names:
        node, one = graph.find(tensor), found[tensor]
        assert one.lower_weight.shape == one.upper_weight.shape == (boxes.region.batch, *node.shape, *graph.input.shape)
        assert one.lower_bias.shape == one.upper_bias.shape == (boxes.region.batch, *node.shape)
    one = found[names[-1]]
    for instance, points in enumerate(boxes.points):
        values = evaluate(graph, points)[graph.output.name]
        for weight, bias, below in ((one.lower_weight, one.lower_bias, True), (one.upper_weight, one.upper_bias, False)):
            rows = weight[instance].reshape(-1, graph.input.size)
            line = ExactTensor.of(points) @ ExactTensor.of(rows.T) + ExactTensor.of(bias[instance].reshape(1, -1))
            assert (line.at_most(values) if below else values.at_most(line)).all()


def test_coefficients_do_not_depend_on_how_many_rows_are_worked_on_at_once(monkeypatch):
    graph, region = network("residual", 1.0), case("residual", 1.0).region
    whole = affine_bounds(graph, region, names_of(graph), settings())[graph.output.name]
    monkeypatch.setattr(Budget, "rows", lambda self, size: 1)
    single = affine_bounds(graph, region, names_of(graph), settings())[graph.output.name]
    np.testing.assert_allclose(single.lower_weight, whole.lower_weight, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(single.upper_bias, whole.upper_bias, rtol=1e-12, atol=1e-12)


def test_no_inputs_no_coefficients():
    graph, region = network("residual", 1.0), case("residual", 1.0).region.take(torch.zeros(0, dtype=torch.int64))
    one = affine_bounds(graph, region, names_of(graph), settings())[graph.output.name]
    assert one.lower_weight.shape == (0, 3, 3)
    assert tensor_intervals(graph, region, names_of(graph), settings())[graph.output.name].lower.shape == (0, 3)


def test_where_nothing_affine_is_known_the_entrys_own_bound_stands():
    """Coefficients beyond float64 leave the weight 0 and the constant what the engine knows, infinite here."""
    huge = torch.full((1, 2), 1e200, dtype=torch.float64)
    build = GraphBuilder("x", (2,))
    middle = build.add(Relu(), (build.add(Gemm(huge), ("x",)),))
    graph = build.graph(build.add(Gemm(torch.full((1, 1), 1e200, dtype=torch.float64)), (middle,)))
    region = BoxRegion(torch.full((1, 2), -1.0, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    one = affine_bounds(graph, region, [graph.output.name], settings())[graph.output.name]
    assert one.upper_weight.tolist() == [[[0.0, 0.0]]]
    assert one.upper_bias.tolist() == [[np.inf]]
    assert np.isfinite(one.lower_weight).all()


def test_domains_without_forms_are_refused_and_those_with_them_named():
    graph, region = network("relu", 1.0), case("relu", 1.0).region
    box = DOMAINS.get("box")()
    for domain in (box, Product(box, box)):
        error = refused("E-AFFINE", lambda d=domain: affine_bounds(graph, region, ["x"], BoundingSettings(d)))
        assert "deeppoly" in error.hint
        assert "box" not in error.hint


def test_coefficients_that_do_not_fit_are_refused_before_the_work():
    graph = network("conv", 1.0)
    refused("E-MEMORY", lambda: affine_bounds(graph, case("conv", 1.0).region, names_of(graph, "all"), settings(memory=1 << 12)))
    refused("E-TIMEOUT", lambda: affine_bounds(graph, case("conv", 1.0).region, names_of(graph), settings(seconds=1e-9)))
    refused("E-TIMEOUT", lambda: tensor_intervals(graph, case("conv", 1.0).region, names_of(graph), settings(seconds=1e-9)))
    refused("E-TENSOR", lambda: affine_bounds(graph, case("conv", 1.0).region, ["?"], settings()))


def test_coefficients_of_a_strategy_are_those_of_its_walker():
    graph, region = network("relu", 1.0), case("relu", 1.0).region
    mine, its = (affine_bounds(graph, region, ["x"], BoundingSettings(domain)) for domain in (domain_of("exact"), walker_of("exact")))
    assert mine["x"].lower_weight.tolist() == its["x"].lower_weight.tolist()


def test_a_relaxation_of_the_wrong_kind_is_a_plug_ins_fault():
    class Short(DOMAINS.get("deeppoly")):
        """Returns something else than lines."""

        def relax(self, node, inputs, ctx):
            return inputs

    with pytest.raises(AbsintError) as caught:
        affine_bounds(network("relu", 1.0), case("relu", 1.0).region, [network("relu", 1.0).output.name], BoundingSettings(Short()))
    assert caught.value.code == "E-PLUGIN-CONTRACT"
