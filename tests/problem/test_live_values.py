"""What a user's value is taken to mean: one reading, or a refusal with advice where two are possible."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch

from absint.errors import AbsintError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.problem.dataset import Dataset
from absint.problem.live import clip_of, graph_of, inputs_of, labels_of, norm_of, predicted_classes, region_of
from absint.problem.regions import InstanceRadii, L1Ball, L2Ball
from absint.problem.regions.region import BoxRegion, LinfBall

F = Fraction


def flat(size: int = 3) -> Graph:
    build = GraphBuilder("x", (size,))
    return build.graph(build.add(Gemm(torch.eye(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)), ("x",)))


def picture(shape=(3, 4, 4)) -> Graph:
    build = GraphBuilder("x", shape)
    last = build.add(Reshape((int(np.prod(shape)),)), ("x",))
    return build.graph(build.add(Relu(), (last,)))


def refused(code, call):
    with pytest.raises(AbsintError) as caught:
        call()
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    return caught.value


# ---- norms and ranges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "given"), [
    ("linf", ["linf", "Linf", "LINF", "l_inf", "inf", inf, np.inf, np.float32(np.inf)]),
    ("l2", ["l2", "L2", " l2 ", "2", 2, 2.0, np.int64(2), np.float32(2), F(2), Decimal(2)]),
    ("l1", ["l1", "L1", "1", 1, 1.0, np.uint8(1)]),
])
def test_a_norm_has_many_names(name, given):
    assert {norm_of(one) for one in given} == {name}


@pytest.mark.parametrize("given", ["l3", "", "l", "linfinity", -inf, 0, 3, 1.5, True, None, "-inf", float("nan")])
def test_no_other_norm_is_guessed(given):
    refused("E-NORM", lambda: norm_of(given))


@pytest.mark.parametrize("given", [(0, 1), [0, 1], "0,1", " 0 , 1 ", np.array([0, 1]), torch.tensor([0.0, 1.0]), (F(0), Decimal(1)),
                                   (torch.tensor(0), np.float32(1)), ("0", "1")])
def test_a_range_in_many_forms(given):
    assert clip_of(given) == (0.0, 1.0)


def test_no_range():
    assert clip_of(None) is None
    assert clip_of("None") is None


@pytest.mark.parametrize("given", [(1, 0), (0, inf), (0, float("nan")), (0,), (0, 1, 2), "0", 1, [[0, 1], [0, 1]],
                                   (True, 2), (None, 1), ("a", 1)])
def test_other_ranges_are_refused(given):
    refused("E-CLIP", lambda: clip_of(given))


def test_an_end_that_no_float_prints_is_refused_not_moved():
    """[0, 1/3] as [0, 0.3333333333333333] would be another region than the one asked about."""
    assert clip_of((0, "0.1")) == (0.0, 0.1)
    for end in (F(1, 3), "1/3", "0.10000000000000000001", Decimal("0.10000000000000000001")):
        refused("E-CLIP", lambda e=end: clip_of((0, e)))


# ---- inputs ---------------------------------------------------------------------------------------------------------


def test_a_batch_or_one_input_of_exactly_the_networks_shape():
    graph = picture()
    one = np.random.default_rng(0).random((3, 4, 4))
    tensor = torch.tensor(one)
    for given in (one, one[None], one.reshape(1, -1), one.tolist(), tensor, tensor.clone().requires_grad_(), [tensor]):
        found = inputs_of(graph, given)
        assert torch.equal(found, torch.tensor(one)[None])
        assert found.dtype is torch.float64
        assert not found.requires_grad
    assert tuple(inputs_of(flat(), [0.1, 0.2, 0.3]).shape) == (1, 3)
    assert tuple(inputs_of(flat(1), [[0.1], [0.2]]).shape) == (2, 1)
    assert tuple(inputs_of(flat(1), [0.1, 0.2]).shape) == (2, 1)
    assert tuple(inputs_of(flat(), np.zeros((0, 3))).shape) == (0, 3)


def test_axes_are_never_mixed_up():
    for shape in ((4, 4, 3), (1, 4, 4, 3), (48,), (2, 47), (3, 16), ()):
        refused("E-DATA-SHAPE", lambda s=shape: inputs_of(picture(), np.zeros(s)))


def test_the_history_of_gradients_is_kept_only_where_it_is_asked_for():
    given = torch.zeros(2, 3, requires_grad=True)
    assert inputs_of(flat(), given, differentiable=True).requires_grad
    assert not inputs_of(flat(), given).requires_grad


def test_numbers_that_float64_does_not_hold_are_refused_not_rounded():
    for value in (2**53 + 1, F(1, 3), Decimal("0.1")):
        refused("E-DATA-TYPE", lambda v=value: inputs_of(flat(), [[v, 0, 0]]))
    refused("E-DATA-TYPE", lambda: inputs_of(flat(), torch.tensor([[2**60 + 1, 0, 0]])))
    refused("E-DATA-TYPE", lambda: inputs_of(flat(), np.array([[np.longdouble(1) / 3, 0, 0]])))
    assert inputs_of(flat(), [[F(1, 4), Decimal("0.5"), 2**60]])[0].tolist() == [0.25, 0.5, 2.0**60]
    assert inputs_of(flat(), torch.tensor([[2**60, 0, 0]]))[0, 0] == 2.0**60


def test_data_is_arranged_for_the_network():
    values = np.random.default_rng(1).random((2, 48))
    data = Dataset(values, np.array([1, 2]), "d", "")
    assert torch.equal(inputs_of(picture(), data), torch.tensor(values).reshape(2, 3, 4, 4))
    assert labels_of(picture(), data, 2).tolist() == [1, 2]
    region, text = region_of(picture(), data, "0.1")
    assert (region.batch, text) == (2, "0.1")


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_labels():
    graph = flat()
    assert labels_of(graph, None, 2) is None
    assert labels_of(graph, 1, 3).tolist() == [1, 1, 1]
    for given in ([0, 2], (0, 2), np.array([0, 2], np.uint8), torch.tensor([0.0, 2.0])):
        found = labels_of(graph, given, 2)
        assert found.tolist() == [0, 2]
        assert found.dtype is torch.int64
    for given in ([0, 3], [-1, 0], [0], [0, 1, 2], [[0, 1]], [0.5, 1], [float("nan"), 0], True, [True, False],
                  np.array([True, False]), "1", ["0", "1"], [inf, 0], [1e300, 0]):
        refused("E-LABEL", lambda g=given: labels_of(graph, g, 2))


def test_the_predicted_class_is_never_chosen_among_equals():
    graph = flat()
    assert predicted_classes(graph, torch.eye(3, dtype=torch.float64)).tolist() == [0, 1, 2]
    assert predicted_classes(graph, torch.zeros(0, 3, dtype=torch.float64)).tolist() == []
    tied = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 0, float("nan")], [0, 0, inf]], dtype=torch.float64)
    error = refused("E-LABEL", lambda: predicted_classes(graph, tied))
    assert error.details == ("input 1: tied outputs", "input 2: outputs that are not finite", "input 3: outputs that are not finite")


# ---- radii ----------------------------------------------------------------------------------------------------------


def radii_of(graph, inputs, eps, norm="linf", **more):
    return region_of(graph, inputs, eps, norm, None, **more)[0]


@pytest.mark.parametrize("eps", ["0.1", 0.1, F(1, 10), Decimal("0.1"), np.float64(0.1), ["0.1"], [0.1]])
def test_decimals_stay_exact(eps):
    for norm, kind in (("linf", LinfBall), (2, L2Ball), (1, L1Ball)):
        region = radii_of(flat(), torch.zeros(2, 3), eps, norm)
        assert isinstance(region, kind)
        assert region.eps == F(1, 10)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_one_radius_an_input_in_every_norm(norm):
    graph, inputs = flat(), torch.zeros(2, 3)
    exact = radii_of(graph, inputs, ["0.1", F(1, 3)], norm)
    assert exact.eps == InstanceRadii((F(1, 10), F(1, 3)))
    for eps in (np.array([0.1, 0.3]), torch.tensor([[0.1], [0.3]], dtype=torch.float64), [[0.1], [0.3]]):
        region = radii_of(graph, inputs, eps, norm)
        single = [radii_of(graph, inputs[:1], np.array([e]), norm) for e in (0.1, 0.3)]
        assert torch.equal(region.hull.upper, torch.cat([one.hull.upper for one in single]))
    hull = exact.hull
    assert hull.upper[:, 0].tolist() == [radii_of(graph, inputs[:1], e, norm).hull.upper[0, 0] for e in ("0.1", "1/3")]
    assert torch.equal(exact.take(torch.tensor([1, 1])).hull.upper, hull.upper[[1, 1]])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_membership_knows_the_exact_radius_of_each_input(norm):
    """float64(0.1) lies beyond 1/10, so that a point at that distance is outside; the next float below is inside."""
    region = radii_of(flat(), torch.zeros(3, 3), ["1/10", "1/5", "0.3"], norm) if norm != "linf" else \
        LinfBall(torch.zeros(3, 3), InstanceRadii((F(1, 10), F(1, 5), F(3, 10))), None)
    for instance, radius in enumerate(("1/10", "1/5", "0.3")):
        for value in (float(F(radius)), np.nextafter(float(F(radius)), 0)):
            assert region.contains(instance, np.array([value, 0, 0])) == (F(float(value)) <= F(radius))
        assert region.contains(instance, region.project(instance, np.array([1.0, 0, 0])))


def test_radii_of_another_number_than_inputs_are_refused():
    for norm in ("l1", "l2"):
        refused("E-EPS", lambda n=norm: radii_of(flat(), torch.zeros(2, 3), [0.1, 0.2, 0.3], n))
    refused("E-EPS", lambda: radii_of(flat(), torch.zeros(2, 3), [0.1] * 4 + [0.2]))
    refused("E-EPS", lambda: LinfBall(torch.zeros(2, 3), InstanceRadii((F(1),))))
    refused("E-EPS", lambda: L2Ball(torch.zeros(2, 3), InstanceRadii((F(1),))))
    refused("E-EPS", lambda: InstanceRadii((F(1), F(-1))))


def test_a_list_stays_one_radius_a_channel():
    region = radii_of(picture(), torch.zeros(2, 3, 4, 4), ["0.1", "0.2", "0.3"], layout="chw")
    assert region.eps == (F(1, 10), F(1, 5), F(3, 10))
    assert radii_of(flat(), torch.zeros(2, 3), [0.1, 0.2, 0.3]).hull.upper[0].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_list_that_may_be_both_is_refused():
    three = torch.zeros(3, 3, 4, 4)
    error = refused("E-EPS", lambda: radii_of(picture(), three, ["0.1", "0.2", "0.3"], layout="chw"))
    assert "(3, 1, 1, 1)" in error.hint
    told = radii_of(picture(), three, np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1, 1))
    assert told.hull.upper[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert float(radii_of(picture(), three, ["0.1"] * 3, layout="chw").hull.upper.max()) == pytest.approx(0.1)     # no matter which
    assert radii_of(picture(), three, [0.1, 0.2, 0.3], "l2").eps == InstanceRadii((F(1, 10), F(1, 5), F(3, 10)))    # no channels there


def test_an_array_that_may_be_both_is_refused():
    four = torch.zeros(4, 3, 4, 4)     # an array of shape (4,) may be one an input, or one a column
    refused("E-EPS", lambda: radii_of(picture(), four, np.array([0.1, 0.2, 0.3, 0.4])))
    refused("E-EPS", lambda: radii_of(picture(), four, np.array([[0.1], [0.2], [0.3], [0.4]])))
    assert float(radii_of(picture(), four, np.full(4, 0.1)).hull.upper.max()) == pytest.approx(0.1)
    columns = radii_of(picture(), four[:2], np.array([0.1, 0.2, 0.3, 0.4]))
    assert columns.hull.upper[0, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    rows = radii_of(picture(), torch.zeros(5, 3, 4, 4), np.arange(5) / 10)
    assert rows.hull.upper[:, 2, 3, 1].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_arrays_broadcast_as_before_and_take_the_shape_of_flat_inputs():
    entries = np.random.default_rng(2).random((2, 48))
    region = radii_of(picture(), np.zeros((2, 48)), entries)
    assert torch.allclose(region.hull.upper, torch.tensor(entries).reshape(2, 3, 4, 4))
    shared = radii_of(picture(), np.zeros((2, 48)), entries.reshape(2, 3, 4, 4)[:1])
    assert torch.allclose(shared.hull.upper[1], torch.tensor(entries[0]).reshape(3, 4, 4))
    refused("E-EPS", lambda: radii_of(picture(), np.zeros((2, 48)), np.zeros((2, 7))))
    refused("E-EPS", lambda: radii_of(flat(), torch.zeros(2, 3), np.array([[0.1, 0.2, 0.3]]), "l2"))


def test_radii_that_are_none():
    for eps in (-0.1, float("nan"), inf, "x", True, None, [0.1, None, 0.2], [True, False], np.array([-0.1, 0.1]),
                "1e999999999", Decimal("1e999999999"), 10**400, np.longdouble(1) / 3):
        refused("E-EPS", lambda e=eps: radii_of(flat(), torch.zeros(2, 3), e))
    refused("E-EPS", lambda: region_of(flat(), BoxRegion(torch.zeros(1, 3), torch.ones(1, 3)), 0.1))


def test_gradients_reach_inputs_and_radii():
    inputs, eps = torch.full((2, 3), 0.5, requires_grad=True), torch.tensor([0.1, 0.2], requires_grad=True)
    for norm in ("linf", "l2", "l1"):
        region, _ = region_of(flat(), inputs, eps, norm, differentiable=True)
        found = torch.autograd.grad(region.hull.upper.sum(), (inputs, eps))
        assert torch.allclose(found[0], torch.ones(2, 3))
        assert torch.allclose(found[1], torch.full((2,), 3.0))


# ---- models ---------------------------------------------------------------------------------------------------------


def test_a_module_takes_its_shape_from_the_first_input():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    rows = np.random.default_rng(3).random((5, 3))
    regions = [LinfBall(torch.tensor(rows), F(1, 10)), Dataset(rows, None, "d", ""), rows, rows.tolist()]
    for graph in [graph_of(module, inputs=given) for given in regions[:3]] + [graph_of(module, regions[3])]:
        assert graph.input.shape == (3,)
        assert torch.allclose(graph(torch.tensor(rows)), module(torch.tensor(rows, dtype=torch.float32)).double(), atol=1e-5)
    refused("E-EXAMPLE-INPUT", lambda: graph_of(module))
    refused("E-EXAMPLE-INPUT", lambda: graph_of(module, inputs=np.zeros((0, 3))))


def test_a_graph_stays_and_normalisation_goes_in_front():
    graph = flat()
    assert graph_of(graph) is graph
    moved = graph_of(graph, mean="0.5", std=[F(1, 4)])
    assert torch.equal(moved(torch.full((1, 3), 1.0, dtype=torch.float64)), torch.full((1, 3), 2.0, dtype=torch.float64))
    for mean in ("x", [], [0.1, 0.2], object(), True, [None]):
        refused("E-NORMALISE", lambda m=mean: graph_of(graph, mean=m))
