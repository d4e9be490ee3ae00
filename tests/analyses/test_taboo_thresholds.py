"""Thresholds: no training input alarms in any execution, maxima are what they would be if every ball were asked of the domain."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import inf

import numpy as np
import pytest
import torch
from onnx_models import build, node
from taboo_nets import cancelling, convolutional, executed_at, paired, read, rectifier, training_digits
from torch import Tensor

from absint.analyses.taboo.calibrate_record import ThresholdBlock
from absint.analyses.taboo.calibrating import ThresholdSettings, TrapCalibration
from absint.analyses.taboo.exchangeable import HeldOut
from absint.analyses.taboo.executions import Executions, fed
from absint.analyses.taboo.refining import Refining
from absint.analyses.taboo.thresholds import Certified, InputBlock, Literal, Percentile
from absint.analyses.taboo.traps import SMALLEST, Trap, threshold_above, thresholds_above
from absint.contract.record import record_of, row_of
from absint.engine.forward import tensor_bounds
from absint.errors import InputError, UnsupportedError, UsageError
from absint.model.watched import Watch, rectified, watched
from absint.numeric.backend import numeric_mode
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.search.names import walker_of

WATCHES = (Watch("relu_3", (305, 700, 1200)), Watch("relu_5", (31, 200, 363)), Watch("relu_8", (3, 17, 30, 44)))
DOMAIN = "deeppoly:intermediate=box"


@lru_cache
def executions(batch: int | None = None) -> Executions:
    return Executions(watched(convolutional(), WATCHES), batch=batch)


def making(inputs: Tensor, batch: int | None = None, **settings: object) -> TrapCalibration:
    """Traps on `WATCHES` in the making."""
    chosen = ThresholdSettings(**settings)      # type: ignore[arg-type]
    found = TrapCalibration.of(convolutional(), ("a", "b"), inputs, chosen)
    where = executions(batch)
    union = Trap(WATCHES, (SMALLEST,) * sum(map(len, WATCHES)))
    return replace(found, masks=(WATCHES,), keys=("a",), union=union, executions=where, rule=chosen.of_rule(where, len(inputs)))


def made(inputs: Tensor, size: int = 50, batch: int | None = None, **settings: object) -> tuple[float, ...]:
    found = making(inputs, batch, **settings)
    return tuple(found.thresholds(list(found.blocks(size))).values())


# ---- lite -------------------------------------------------------------------------------------------------------------


def test_no_training_input_alarms_in_onnxruntime_with_optimisations_and_without() -> None:
    x = training_digits(400)
    thresholds = torch.tensor(made(x), dtype=torch.float64)
    for values in executed_at(executions().graph, x):
        assert bool((values <= thresholds).all())
    assert bool((executions().exact(x).amax(0) <= thresholds).all())


def test_no_training_input_alarms_where_executions_err_by_more_than_the_values(tmp_path) -> None:
    """Sums of large numbers that cancel: what one order of summation gives is far from the exact value."""
    graph = read(tmp_path, rectifier(cancelling()))
    x = paired(60)
    found = TrapCalibration.of(graph, ("k",), x, ThresholdSettings())
    neurons = watched(graph, (Watch("h", (0, 1, 2)),))
    where = Executions(neurons)
    lite = torch.tensor(thresholds_above(where.bounds(fed(x, x))[1].amax(0).tolist()), dtype=torch.float64)
    exact = torch.tensor(thresholds_above(where.exact(x).amax(0).tolist()), dtype=torch.float64)
    runs = [*executed_at(neurons, x), where.graph(x.float()).double(), where.graph(x.flip(0).float()).flip(0).double()]
    assert all(bool((values <= lite).all()) for values in runs)
    assert any(bool((values > exact).any()) for values in runs), "the very inputs alarm without the rounding bound"
    chosen = found.thresholds(list(found.blocks(7)))
    (tensor, entry), = chosen
    assert chosen[tensor, entry] == float(lite[entry])


def test_the_rounding_of_raw_inputs_counts(tmp_path) -> None:
    """A raw input that float32 does not hold is rounded, here up, before the network sees it."""
    graph = read(tmp_path, rectifier(np.array([[1.0, 0.0], [0.0, 1.0]])))
    x = torch.tensor([[0.1, 0.3], [1 / 3, 2 / 3]], dtype=torch.float64)
    neurons = watched(graph, (Watch("h", (0, 1)),))
    upper = Executions(neurons).bounds(fed(x, x))[1]
    assert bool((x.float().double() > x).any())
    assert bool((upper >= x.float().double()).all())
    box = fed(x, x)
    assert bool((box.lower <= x).all() and (box.upper >= x).all())
    assert torch.equal(box.lower, box.lower.float().double())
    assert torch.equal(box.upper, box.upper.float().double())


def test_a_neuron_that_never_fires_has_the_smallest_normal_number_as_its_threshold(tmp_path) -> None:
    graph = read(tmp_path, rectifier(np.array([[1.0, 1.0]]), np.array([-5.0])))
    found = TrapCalibration.of(graph, ("k",), torch.rand(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
                           ThresholdSettings())
    blocks = list(found.blocks(4))
    assert [block.inputs for block in blocks] == [4, 4, 1]
    assert list(found.thresholds(blocks).values()) == [SMALLEST]
    assert found.lite(blocks).tolist() == [0.0]


# ---- percentile -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", ["50", "90", "99.5", "100", "33.3"])
def test_a_percentile_is_an_order_statistic(q: str) -> None:
    x = training_digits(200)
    values = np.sort(executions().bounds(fed(x, x))[1].numpy(), axis=0)
    place = int(-(-Fraction(q) * 200 // 100))      # the ceil(q n / 100)-th smallest
    expected = tuple(threshold_above(float(one)) for one in values[place - 1])
    assert made(x, 37, rule="percentile", percentile=q) == made(x, 200, rule="percentile", percentile=q) == expected
    above = (torch.from_numpy(values) > torch.tensor(expected, dtype=torch.float64)).sum(0)
    assert int(above.max()) <= 200 - place


def test_rounding_lifts_no_more_inputs_above_a_percentile_than_it_says(tmp_path) -> None:
    """Two of three inputs are plain, and nothing is higher: float32 executions give all of them more than the exact value."""
    x = torch.full((60, 2), 0.7, dtype=torch.float64)      # rounded down, before a negative weight
    x[:20] += 0.01
    graph = read(tmp_path, rectifier(np.array([[-8.0, 0.0]]), np.array([5.75])))
    found = TrapCalibration.of(graph, ("k",), x, ThresholdSettings(rule="percentile", percentile="90"))
    edge = torch.tensor(list(found.thresholds(list(found.blocks(25))).values()), dtype=torch.float64)
    neurons = watched(graph, (Watch("h", (0,)),))
    plain = Executions(neurons).exact(x)
    runs = executed_at(neurons, x)
    assert all(int((values > threshold_above(float(plain.max()))).sum()) == 40 for values in runs), "rounding lifts them all"
    assert all(int((values > edge).sum()) <= 6 for values in runs)


def test_a_percentile_that_is_the_maximum_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        making(training_digits(99), rule="percentile")
    assert refused.value.code == "E-TABOO-FEW"
    assert "100" in str(refused.value.hint)


def test_false_alarms_on_exchangeable_inputs_stay_within_the_promise() -> None:
    """m (j + 1) / (n + 1) is met, and nearly reached by neurons that fire apart: (m j) / (n + 1) would be too little."""
    n, m, trials, generator = 40, 3, 4000, torch.Generator().manual_seed(11)
    for q, above in ((Fraction(100), 0), (Fraction(95), 2)):
        rule = Percentile(q, n)
        assert rule.above(n) == above
        drawn = torch.randn(trials, n + 1, m, generator=generator, dtype=torch.float64)
        alarms = sum(bool((new > rule.bounds(list(old.split(13)))).any()) for old, new in zip(drawn[:, :-1], drawn[:, -1], strict=True))
        promise = float(HeldOut(m, n, above).bound)
        spread = 4 * (promise / trials) ** 0.5
        assert m * above / (n + 1) < alarms / trials
        assert promise * 0.8 < alarms / trials < promise + spread


# ---- literal ----------------------------------------------------------------------------------------------------------


def test_sound_boxes_hold_what_the_signed_equation_does_not() -> None:
    """10,000 random inputs between each pixel's least and greatest value, layer by layer (S0.6 check 4, error E1)."""
    x = training_digits(300)
    low, high = x.amin(0), x.amax(0)
    at = torch.rand(10_000, *low.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    inside = low + at * (high - low)
    for layer in rectified(convolutional()):
        every = Executions(watched(convolutional(), (Watch(layer.tensor, tuple(range(layer.size))),)))
        values = every.exact(inside)
        lower, upper = every.bounds(BoxRegion(low[None], high[None]))
        assert bool((values >= lower).all() and (values <= upper).all())
        literal = Literal(every)
        kept = [literal.keep(_block(part), None, inf).rows for part in x.split(90)]
        passing = (values > literal.bounds(kept)).any(1).double().mean()
        assert passing > 0.9, f"inputs pass the larger end of Eq. 3 in {layer.tensor}"


def test_the_literal_rule_is_the_networks_own_evaluation_of_two_images() -> None:
    x = training_digits(130)
    ends = torch.stack((x.amax(0), x.amin(0)))
    expected = thresholds_above(executions().exact(ends).amax(0).tolist())
    assert made(x, 130, rule="literal") == made(x, 17, rule="literal") == expected
    assert Literal(executions()).above(130) is None


def _block(inputs: Tensor) -> InputBlock:
    return InputBlock(inputs, inputs, inputs)


# ---- certified --------------------------------------------------------------------------------------------------------

EPS = "0.02"


@lru_cache
def asked_everywhere(count: int = 60, eps: str = EPS) -> tuple[Tensor, Tensor, Tensor]:
    """(k,) each: the greatest of min(box, domain) over balls that are all asked of the domain; the greatest box; lite."""
    x = training_digits(count)
    hull = LinfBall(x, Fraction(eps), (0.0, 1.0)).hull
    region, output = fed(hull.lower, hull.upper), executions().graph.output.name
    with numeric_mode(), torch.no_grad():
        each = tensor_bounds(walker_of(DOMAIN), executions().context(region), (output,))[output].upper
    return each.amax(0), executions().bounds(region)[1].amax(0), executions().bounds(fed(x, x))[1].amax(0)


def test_certified_is_the_greatest_bound_of_all_balls_whatever_the_blocks() -> None:
    both, box, lite = asked_everywhere()
    x = training_digits(60)
    expected = thresholds_above(torch.maximum(both, lite).tolist())
    for size, batch in ((60, None), (7, None), (25, 3)):
        assert made(x, size, batch, rule="certified", eps=EPS) == expected
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    assert made(x[order], 13, rule="certified", eps=EPS) == expected
    assert any(one < above for one, above in zip(expected, thresholds_above(box.tolist()), strict=True)), "the domain is of use here"
    assert all(one >= least for one, least in zip(expected, made(x), strict=True))


def test_a_ball_with_the_lower_box_may_have_the_higher_bound(tmp_path) -> None:
    """z = 5 + x1 + 10 (h - h'), h = h' = relu(x0 + 2 x2 - 2): a box is far too high where h is active, and exact where it is not."""
    first = np.array([[1, 0, 2], [1, 0, 2], [0, 1, 0]], dtype=np.float32)
    nodes = [node("Gemm", "x w b", "p", transB=1), node("Relu", "p", "h"), node("Gemm", "h v c", "q", transB=1), node("Relu", "q", "z"),
             node("Gemm", "z u", "y", transB=1)]
    constants = {"w": first, "b": np.array([-2, -2, 0], np.float32), "v": np.array([[10, -10, 1]], np.float32),
                 "c": np.array([5], np.float32), "u": np.ones((2, 1), np.float32)}
    where = Executions(watched(read(tmp_path, build(nodes, ["n", 3], constants).SerializeToString()), (Watch("z", (0,)),)))
    x = torch.tensor([[0.5, 0.5, 1.0], [0.5, 0.6, 0.0]], dtype=torch.float64)
    hull = LinfBall(x, Fraction("0.1"), (0.0, 1.0)).hull
    region = fed(hull.lower, hull.upper)
    box = where.bounds(region)[1].flatten().tolist()
    assert box[0] > 9 > 6 > box[1]
    for size in (1, 2):
        rule = ThresholdSettings(rule="certified", eps="0.1").of_rule(where, 2)
        kept = [rule.keep(InputBlock.of(part, range(2), where), None, inf).rows for part in x.split(size)]
        assert float(rule.bounds(kept)) == pytest.approx(5.7, abs=1e-4)


def test_few_balls_are_asked_of_the_domain() -> None:
    x = training_digits(120)
    blocks = list(making(x, rule="certified", eps=EPS).blocks(40))
    bounds = 120 * executions().graph.output.size
    assert 0 < sum(block.refined for block in blocks) < bounds / 4
    assert sum(block.open for block in blocks) == 0


def test_a_journal_that_goes_on_leads_to_the_same_thresholds() -> None:
    x = training_digits(60)
    found = making(x, rule="certified", eps=EPS)
    whole = list(found.blocks(9))
    kept = [record_of(ThresholdBlock, json.loads(json.dumps(row_of(block)))) for block in whole[::2]]
    rest = list(found.blocks(9, [1, 3, 5], done=kept))
    assert found.thresholds(sorted((*kept, *rest), key=lambda block: block.index)) == found.thresholds(whole)
    assert found.thresholds([*rest, *kept]) == found.thresholds(whole)


def test_what_the_domain_had_no_time_for_counts_as_its_box_has_it() -> None:
    both, box, lite = asked_everywhere()
    found = making(training_digits(60), rule="certified", eps=EPS)
    (block,) = found.blocks(60, timeout=1e-9)
    assert block.open > 0
    assert block.refined == 0
    assert torch.tensor(block.rows[0], dtype=torch.float64).tolist() == pytest.approx(torch.maximum(box, lite).tolist(), rel=1e-12)
    assert bool((torch.tensor(block.rows[0], dtype=torch.float64) >= both).all())


def test_a_run_whose_time_is_over_keeps_no_half_block() -> None:
    found = making(training_digits(60), rule="certified", eps=EPS)
    assert list(found.blocks(20, end=-1.0)) == []


def test_no_input_of_any_ball_passes_a_certified_threshold() -> None:
    x = training_digits(40)
    thresholds = torch.tensor(made(x, rule="certified", eps=EPS), dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    signs = torch.randint(0, 2, (5, *x.shape), generator=generator, dtype=torch.float64) * 2 - 1
    for direction in (*signs, torch.ones_like(x), -torch.ones_like(x)):
        near = (x + direction * 0.02).clamp(0, 1)
        near = torch.where((near - x).abs() <= 0.02, near, x)
        assert bool((executions().executed(near) <= thresholds).all())
    assert bool((made_tensor(x) < thresholds).any())


def made_tensor(inputs: Tensor) -> Tensor:
    return torch.tensor(made(inputs), dtype=torch.float64)


def test_balls_are_cut_to_the_data_range() -> None:
    x = training_digits(30)
    cut = made(x, rule="certified", eps="0.1")
    whole = made(x, rule="certified", eps="0.1", clip=None)
    assert all(one <= other for one, other in zip(cut, whole, strict=True))
    assert cut != whole


# ---- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "code"), [
    ({"rule": "certified"}, "E-TABOO-EPS"), ({"rule": "certified", "eps": "0"}, "E-TABOO-EPS"), ({"eps": "0.1"}, "E-TABOO-EPS"),
    ({"rule": "certified", "eps": "-1"}, "E-EPS"), ({"rule": "loose"}, "E-TABOO-RULE"), ({"policy": "best"}, "E-TABOO-POLICY"),
    ({"share": "0.002"}, "E-TABOO-SHARE"), ({"share": 0}, "E-TABOO-SHARE"), ({"share": "many"}, "E-TABOO-SHARE"),
    ({"percentile": "99"}, "E-TABOO-PERCENTILE"), ({"rule": "percentile", "percentile": "101"}, "E-TABOO-PERCENTILE"),
    ({"rule": "percentile", "percentile": "nan"}, "E-TABOO-PERCENTILE"), ({"budget": "0.1"}, "E-TABOO-BUDGET"),
    ({"policy": "calibrated", "budget": "2"}, "E-TABOO-BUDGET"),
    ({"rule": "certified", "eps": "0.1", "domain": "octagon"}, "E-DOMAIN-UNKNOWN"),
])
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        ThresholdSettings(**settings)   # type: ignore[arg-type]
    assert refused.value.code == code


def test_inputs_on_which_executions_may_overflow_are_named(tmp_path) -> None:
    graph = read(tmp_path, rectifier(np.full((1, 2), 1e30)))
    x = torch.tensor([[0.0, 0.0], [1e9, 1e9], [0.0, 0.0], [0.5, 1e10]], dtype=torch.float64)
    found = TrapCalibration.of(graph, ("k",), x, ThresholdSettings(), names=(10, 11, 12, 13))
    with pytest.raises(InputError) as refused:
        list(found.blocks(10))
    assert refused.value.code == "E-TABOO-NAN"
    assert refused.value.where == "inputs 11, 13"


def test_a_threshold_without_a_bound_names_its_neuron(tmp_path) -> None:
    """At radius 0 all is well; over the ball an execution may overflow."""
    graph = read(tmp_path, rectifier(np.array([[1e30, 0.0]])))
    x = torch.full((3, 2), 1e-4, dtype=torch.float64)
    settings = ThresholdSettings(rule="certified", eps="1e10", clip=None)
    found = TrapCalibration.of(graph, ("k",), x, settings)
    with pytest.raises(InputError) as refused:
        found.thresholds(list(found.blocks(3)))
    assert refused.value.code == "E-TABOO-THRESHOLD"
    assert list(refused.value.details) == ["h[0]"]


def test_a_network_that_executes_in_another_format_is_refused(tmp_path) -> None:
    nodes = [node("Gemm", "x w", "z"), node("Softmax", "z", "s"), node("Relu", "s", "h"), node("Gemm", "h v", "y")]
    content = build(nodes, ["n", 2], {"w": np.eye(2, dtype=np.float32), "v": np.eye(2, dtype=np.float32)}).SerializeToString()
    with pytest.raises(UnsupportedError) as refused:
        TrapCalibration.of(read(tmp_path, content), ("k",), torch.zeros(1, 2, dtype=torch.float64), ThresholdSettings())
    assert refused.value.code == "E-SEMANTICS"


def test_certified_asks_only_what_is_above_the_floor() -> None:
    """A floor that no box passes asks nothing, and what is told then is not below the boxes."""
    x = training_digits(10)
    hull = LinfBall(x, Fraction(EPS), (0.0, 1.0)).hull
    region, refining = fed(hull.lower, hull.upper), Refining(executions(), walker_of(DOMAIN))
    box = executions().bounds(region)[1].amax(0)
    found = refining.greatest(region, box)
    assert found.refined == 0
    assert torch.equal(found.upper, box)
    assert isinstance(ThresholdSettings(rule="certified", eps=EPS).of_rule(executions(), 10), Certified)


def test_optimisations_that_fold_a_normalisation_into_a_convolution_stay_within_the_bounds(tmp_path) -> None:
    """Large sums that the normalisation takes away again. Folded weights are other ones: this is measured, and no theorem."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    constants = {"w": kernel, "k": np.zeros(4, np.float32), "s": np.array([1, 10, 50, 100], np.float32), "b": np.ones(4, np.float32),
                 "m": (0.7 * kernel.sum((1, 2, 3))).astype(np.float32), "v": np.full(4, 0.5, np.float32), "g": np.ones((64, 2), np.float32)}
    nodes = [node("Conv", "x w k", "c", kernel_shape=[3, 3]), node("BatchNormalization", "c s b m v", "n"), node("Relu", "n", "h"),
             node("Flatten", "h", "q"), node("Gemm", "q g", "y")]
    graph = read(tmp_path, build(nodes, ["n", 3, 6, 6], constants).SerializeToString())
    where = Executions(watched(graph, (Watch("h", tuple(range(64))),)))
    x = (0.7 + 1e-3 * torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))).double()
    lower, upper = where.bounds(fed(x, x))
    for values in executed_at(where.graph, x):
        assert bool(((values >= lower) & (values <= upper)).all())
