"""The networks that train: shapes and numbers of the published ones, a user's own, their first weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from trainings import batch_of, trainer_in

from absint.analyses.train.networks import untrained
from absint.model.families.linear import Linear
from absint.model.frontend import load_model
from absint.numeric.backend import numeric_mode

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def made(model, shape=MNIST, classes=10, initial="default", seed=0, mean=None, std=None):
    return untrained(model, shape, classes, mean=mean, std=std, initial=initial, seed=seed)


def sizes(network):
    """Rows (or entries) of every affine layer's result."""
    nodes = [node for node in network.graph.nodes if isinstance(node.op, Linear) and not node.op.exact]
    return [node.shape[1] if len(node.shape) == 3 else node.shape[0] for node in nodes]


PUBLISHED = {
    ("small", MNIST): ([13, 10, 100, 10], 3200, 329_606), ("small", CIFAR): ([15, 12, 100, 10], 4608, 470_918),
    ("medium", MNIST): ([26, 12, 10, 4, 512, 512, 10], 1024, 893_418),
    ("medium", CIFAR): ([30, 14, 12, 5, 512, 512, 10], 1600, 1_188_906),
    ("large", MNIST): ([28, 28, 14, 14, 14, 200, 10], 25_088, 5_426_402),
    ("large", CIFAR): ([32, 32, 16, 16, 16, 200, 10], 32_768, 6_963_554),
}


def counted(name, channels, flat):
    """Parameters, from the table of the paper: (in, out, kernel) of convolutions, then dense layers."""
    convolutions = {"small": [(16, 4), (32, 4)], "medium": [(32, 3), (32, 4), (64, 3), (64, 4)],
                    "large": [(64, 3), (64, 3), (128, 3), (128, 3), (128, 3)]}[name]
    dense = {"small": [100, 10], "medium": [512, 512, 10], "large": [200, 10]}[name]
    total, width = 0, channels
    for out, kernel in convolutions:
        total, width = total + (width * kernel**2 + 1) * out, out
    for out in dense:
        total, flat = total + (flat + 1) * out, out
    return total


@pytest.mark.parametrize(("name", "shape"), PUBLISHED)
def test_published_architectures(name, shape):
    expected, flat, count = PUBLISHED[name, shape]
    network = made(name, shape)
    assert sizes(network) == expected
    flattened = next(node for node in network.graph.nodes if node.shape == (flat,))
    assert math.prod(network.graph.by_name[flattened.inputs[0]].shape) == flat
    assert network.count == count == counted(name, shape[0], flat)
    assert network.graph.output.shape == (10,)


def test_lenet5_has_its_hidden_layers():
    assert sizes(made("lenet5"))[-3:] == [120, 84, 10]


def test_first_weights():
    """Orthogonal with zero biases, or torch's; the same for a seed."""
    network = made("small", initial="orthogonal")
    for name, value in network.parameters.items():
        if value.dim() == 1:
            assert not value.any(), name
        else:
            rows = value.flatten(1)
            rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
            assert torch.allclose(rows @ rows.T, torch.eye(len(rows)), atol=1e-5), name
    again, other, usual = made("small", initial="orthogonal"), made("small", initial="orthogonal", seed=1), made("small")
    weight = next(name for name, value in network.parameters.items() if value.dim() > 1)
    assert torch.equal(network.parameters[weight], again.parameters[weight])
    assert not torch.equal(network.parameters[weight], other.parameters[weight])
    assert any(value.any() for value in usual.parameters.values() if value.dim() == 1)


def test_a_seed_draws_weights_and_leaves_the_users_generator_alone():
    before = torch.get_rng_state()
    made("small")
    assert torch.equal(before, torch.get_rng_state())


def test_normalisation_is_inside_the_network():
    mean, std = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1), torch.tensor([0.2, 0.25, 0.5]).reshape(3, 1, 1)
    plain, inside = made("small", CIFAR), made("small", CIFAR, mean=mean, std=std)
    x = torch.rand(4, *CIFAR, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(inside.graph(x), plain.graph((x - mean) / std), atol=1e-5)
    assert inside.count == plain.count, "mean and deviation are not trained"


class Residual(nn.Module):
    """A sum of two ways, and a normalisation in evaluation mode."""

    def __init__(self, classes):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Linear(50, classes)
        self.norm.running_mean.fill_(0.1)
        self.norm.running_var.fill_(0.5)
        nn.init.constant_(self.first.bias, 1.0)     # its rectifiers are open, whatever is drawn: gradients reach all numbers

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        return self.last((x + self.second(x)).relu().flatten(1))


def residual(shape, classes):
    return Residual(classes)


def test_a_network_of_the_users_own_with_a_sum_and_a_batch_normalisation(tmp_path):
    """It trains, and what is written is the module with the trained numbers."""
    trainer = trainer_in(tmp_path, model=residual, epochs=1, attacked=2)
    names = {"first.weight", "first.bias", "norm.weight", "norm.bias", "second.weight", "second.bias", "last.weight", "last.bias"}
    assert set(trainer.parameters) == names
    with numeric_mode():
        record = trainer.epoch(0)
    assert record.clean_error <= record.verified_error
    assert all(not torch.equal(trainer.parameters[name], trainer.task.network.parameters[name]) for name in names)
    again = Residual(3).eval()
    again.load_state_dict(again.state_dict() | trainer.parameters)
    x, _ = batch_of(trainer.task)
    with torch.no_grad():
        assert torch.allclose(load_model(tmp_path / "out" / "best.onnx")(x), again(x), atol=1e-5)
        assert torch.allclose(trainer.task.network.graph.with_parameters(trainer.parameters)(x), again(x), atol=1e-5)
