"""What a training step computes: bounds that hold, worst cases, widths, and gradients that are those of the loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from trainings import batch_of, step_of, trained_graph, trainer_in

from absint.analyses.train.method import method_of
from absint.analyses.train.step import ball, layer_widths
from absint.engine.context import Context
from absint.engine.forward import analyse, boxes
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion, LinfBall

EPS = 0.05


@pytest.fixture
def trained(tmp_path):
    """After two epochs."""
    return trained_in(tmp_path)


def trained_in(folder, **more):
    trainer = trainer_in(folder, **more)
    with numeric_mode():
        for number in range(trainer.task.epochs):
            trainer.epoch(number)
    return trainer


def attacked(graph, inputs, labels, lower, upper):
    """Points of the boxes that sign steps lead to."""
    points = inputs.clone()
    for _ in range(10):
        points.requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(graph(points), labels), points)
        points = torch.minimum(torch.maximum(points.detach() + 0.3 * EPS * slope.sign(), lower), upper)
    return points.detach()


def points_of(graph, inputs, labels, lower, upper, count=800):
    """(n * k, ...) random points of the boxes, their corners among them, and attacked ones; and the row of each."""
    generator = torch.Generator().manual_seed(5)
    shares = torch.rand((count, *inputs.shape), generator=generator)
    shares[: count // 2] = shares[: count // 2].round()
    inside = torch.minimum(torch.maximum(lower + shares * (upper - lower), lower), upper)
    return torch.cat([inside, attacked(graph, inputs, labels, lower, upper)[None]])



def test_bounds_of_a_step_hold_at_random_and_attacked_points_of_every_layer(trained):
    inputs, labels = batch_of(trained.task)
    with torch.no_grad():
        step = step_of(trained.task, trained.parameters, inputs, labels, eps=EPS)
        known = dict(step.walked.ctx.known)
    inside = points_of(step.graph, inputs, labels, *ball(inputs, EPS, trained.task.clip))
    assert inside.shape[0] * inside.shape[1] > 9_000
    for node in step.graph.nodes:
        with torch.no_grad():
            found = step.graph.upto(node.name)(inside.flatten(0, 1)).unflatten(0, inside.shape[:2])
        assert (found >= known[node.name].lower - 1e-5).all(), node.name
        assert (found <= known[node.name].upper + 1e-5).all(), node.name
    assert float((known[step.graph.output.name].upper - known[step.graph.output.name].lower).min()) > 1e-3


def test_bounds_that_are_reported_hold_exactly(trained):
    """Rounded outward: in float64 no point leaves them by anything."""
    graph = trained_graph(trained)
    inputs, labels = batch_of(trained.task)
    with numeric_mode(), torch.no_grad():
        region = LinfBall(inputs, trained.task.eps, trained.task.clip)
        known = dict(boxes(Context(graph, region, Numerics(torch.float32, torch.float32))).known)
    lower, upper = region.hull.lower.double(), region.hull.upper.double()
    reach = float(trained.task.eps)
    low, high = ((inputs.double() + side).clamp(0, 1) for side in (-reach, reach))
    inside = points_of(graph, inputs.double(), labels, torch.maximum(low, lower), torch.minimum(high, upper))
    for node in graph.nodes:
        with torch.no_grad():
            found = graph.upto(node.name)(inside.flatten(0, 1).double()).unflatten(0, inside.shape[:2])
        assert (found >= known[node.name].lower.double()).all(), node.name
        assert (found <= known[node.name].upper.double()).all(), node.name


@pytest.mark.parametrize("elided", [True, False])
def test_without_a_radius_the_worst_case_is_the_input_itself(trained, elided):
    inputs, labels = batch_of(trained.task)
    step = step_of(trained.task, trained.parameters, inputs, labels, eps=0.0, elided=elided)
    gap = (step.worst_logits - step.logits).detach()
    assert float((gap - gap[:, :1]).abs().max()) <= 1e-5, "the same but for a number common to all classes"
    assert float(step.worst.detach()) == pytest.approx(float(step.clean.detach()), abs=1e-5)
    assert float(step.widths("all").detach()) == 0.0


def test_worst_cases_through_the_last_layer_are_tighter(tmp_path):
    trainer = trained_in(tmp_path, epochs=4)
    inputs, labels = batch_of(trainer.task)
    for eps in (0.01, 0.05, 0.2):
        elided, split = (step_of(trainer.task, trainer.parameters, inputs, labels, eps=eps, elided=one) for one in (True, False))
        excess = split.worst_logits - split.worst_logits.gather(1, labels[:, None])
        others = torch.arange(3) != labels[:, None]
        assert (elided.worst_logits <= excess + 1e-5)[others].all()
        assert (elided.worst_logits.gather(1, labels[:, None]) == 0).all()
        safe = [(one[others].reshape(-1, 2) < 0).all(1) for one in (elided.worst_logits, excess)]
        assert int(safe[0].sum()) >= int(safe[1].sum())
        assert float((excess - elided.worst_logits)[others].detach().max()) > 1e-4, "and by something"
        assert float(elided.worst.detach()) < float(split.worst.detach())


def test_worst_logits_are_those_that_corners_attain_in_a_linear_network(tmp_path):
    """Elided: exactly the greatest difference, at a corner of the box."""
    trainer = trainer_in(tmp_path, model=nn.Sequential(nn.Flatten(), nn.Linear(25, 3)))
    inputs, labels = batch_of(trainer.task)
    step = step_of(trainer.task, trainer.parameters, inputs, labels, eps=EPS)
    weight, bias = trainer.parameters["1.weight"].detach(), trainer.parameters["1.bias"].detach()
    lower, upper = (side.flatten(1) for side in ball(inputs, EPS, (0.0, 1.0)))
    rows, offset = weight[None] - weight[labels][:, None], bias[None] - bias[labels][:, None]
    best = torch.where(rows > 0, upper[:, None], lower[:, None])
    assert torch.allclose(step.worst_logits.detach(), (rows * best).sum(2) + offset, atol=1e-5)


def test_regions_end_at_the_data_range(tmp_path):
    lower, upper = ball(torch.tensor([[0.0, 0.02, 0.5, 1.0]]), 0.05, (0.0, 1.0))
    assert torch.allclose(lower, torch.tensor([[0.0, 0.0, 0.45, 0.95]]))
    assert torch.allclose(upper, torch.tensor([[0.05, 0.07, 0.55, 1.0]]))
    trainer = trainer_in(tmp_path)
    inputs, labels = torch.zeros(3, 1, 5, 5), torch.tensor([0, 1, 2])
    step = step_of(trainer.task, trainer.parameters, inputs, labels, eps=EPS)
    assert float(step.region.hull.lower.min()) == 0.0
    assert float(step.region.hull.upper.max()) == pytest.approx(EPS)


# ---- widths --------------------------------------------------------------------------------------------------------------


def by_hand(folder):
    """A step of a network of two layers, and its widths, layer by layer, computed without the engine."""
    trainer = trainer_in(folder, model=nn.Sequential(nn.Flatten(), nn.Linear(25, 5), nn.ReLU(), nn.Linear(5, 3)))
    inputs, labels = batch_of(trainer.task)
    step = step_of(trainer.task, trainer.parameters, inputs, labels, eps=EPS)
    first, last = (trainer.parameters[f"{k}.weight"].detach() for k in (1, 3))
    offset = trainer.parameters["1.bias"].detach()
    lower, upper = (side.flatten(1) for side in ball(inputs, EPS, (0.0, 1.0)))
    center, reach = (lower + upper) / 2 @ first.T + offset, (upper - lower) / 2 @ first.abs().T
    active = (center + reach).relu() - (center - reach).relu()
    return step, [float((2 * reach).square().mean()), float(active.square().mean()), float((active @ last.abs().T).square().mean())]


def test_the_width_term_is_the_sum_of_mean_squares_of_hidden_layers(tmp_path):
    step, widths = by_hand(tmp_path)
    assert float(step.widths("hidden").detach()) == pytest.approx(sum(widths[:2]), rel=1e-5)


def test_all_layers_are_the_hidden_ones_and_the_logits(tmp_path):
    step, widths = by_hand(tmp_path)
    assert float(step.widths("all").detach()) == pytest.approx(sum(widths), rel=1e-5)
    each = layer_widths(step.graph, dict(step.walked.ctx.known), "all")
    assert [float(one.detach()) for one in each.values()] == pytest.approx(widths, rel=1e-5)


# ---- parameters that change ----------------------------------------------------------------------------------------------


def test_bounds_after_steps_are_those_of_a_graph_that_is_read_afresh(trained):
    """Nothing that an earlier step computed from the weights is left in a later one."""
    inputs, labels = batch_of(trained.task)
    before = {name: value.detach().clone() for name, value in trained.task.network.parameters.items()}
    assert all(not torch.equal(before[name], value.detach()) for name, value in trained.parameters.items())
    with numeric_mode(), torch.no_grad():
        step = step_of(trained.task, trained.parameters, inputs, labels, eps=EPS)
        region = BoxRegion(*ball(inputs, EPS, trained.task.clip))
        numerics = Numerics(torch.float32, torch.float32, rounding=False)
        fresh = analyse(trained.task.domain, Context(trained_graph(trained), region, numerics))
        for name, interval in step.walked.ctx.known.items():
            for end in ("lower", "upper"):
                assert float((getattr(interval, end) - getattr(fresh.ctx.known[name], end)).abs().max()) <= 1e-6, name


# ---- gradients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ibp", "constrained-ibp", "pgd:steps=1"])
@pytest.mark.parametrize("elided", [True, False])
def test_gradients_against_finite_differences_in_float64(tmp_path, method, elided):
    trainer = trainer_in(tmp_path)
    task, way = trainer.task, method_of(method)
    inputs, labels = batch_of(task, 6)
    parameters = {name: value.detach().double().requires_grad_() for name, value in trainer.parameters.items()}
    fixed = None

    def loss(numbers):
        step = step_of(task, numbers, inputs.double(), labels, eps=EPS, kappa=0.6, elided=elided)
        if method.startswith("pgd"):    # the outer loss: at points that the inner one has found
            return step.cross_entropy(step.graph(fixed))
        return sum(way.loss(step)) + way.width_weight * step.widths("hidden")

    if method.startswith("pgd"):
        fixed = way._attacked(step_of(task, parameters, inputs.double(), labels, eps=EPS)).detach()
        whole = way.loss(step_of(task, parameters, inputs.double(), labels, eps=EPS))
        assert torch.equal(whole, loss(parameters)), "the same points, of the same generator"
        found = torch.autograd.grad(whole, list(parameters.values()))
    else:
        found = torch.autograd.grad(loss(parameters), list(parameters.values()))
    generator = torch.Generator().manual_seed(2)
    for (name, value), slope in zip(parameters.items(), found, strict=True):
        for _ in range(3):
            direction = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            with torch.no_grad():
                there, back = (loss(parameters | {name: value + side * 1e-6 * direction}) for side in (1, -1))
            assert float((there - back) / 2e-6) == pytest.approx(float((slope * direction).sum()), rel=1e-4, abs=1e-7), name
