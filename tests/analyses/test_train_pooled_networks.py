"""Networks with maximum pooling that train: Mayo's LeNet-5, and pools of a user's own as chains."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trainings import trainer_in

from absint.analyses.train.networks import lenet5_pool, untrained
from absint.errors import UsageError
from absint.model.chains import chain_onnx
from absint.model.frontend import load_model
from absint.model.watched import rectified
from absint.numeric.backend import numeric_mode


def made(model, shape, **more):
    return untrained(model, shape, 10, **{"mean": None, "std": None, "initial": "default", "seed": 0, **more})


def test_the_lenet5_of_the_taboo_papers():
    """11,520 + 3,200 + 500 rectified neurons, and 2 x - 1 inside by mean and deviation 0.5; the graph computes what torch does."""
    half = torch.full((1, 1, 1), 0.5)
    network = made("lenet5-pool", (1, 28, 28), mean=half, std=half)
    assert [layer.shape for layer in rectified(network.graph)] == [(20, 24, 24), (50, 8, 8), (500,)]
    assert network.count == 20 * 26 + 50 * 501 + 500 * 801 + 10 * 501
    module = lenet5_pool((1, 28, 28), 10).eval()
    module.load_state_dict(dict(zip(module.state_dict(), network.parameters.values(), strict=True)))
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network.graph(x), module(2 * x - 1), atol=1e-5)


def test_images_that_pooling_leaves_nothing_of_are_refused():
    with pytest.raises(UsageError, match="too small"):
        made("lenet5-pool", (1, 12, 12))


@pytest.mark.parametrize("pool", [
    nn.MaxPool2d(2), nn.MaxPool2d(3, 2), nn.MaxPool2d((2, 3), (1, 2), (1, 0)), nn.MaxPool2d(2, 2, 1), nn.MaxPool2d(2, 1, 0, 2)])
def test_a_pool_in_a_chain_is_torchs(pool):
    x = torch.randn(2, 2, 7, 8, generator=torch.Generator().manual_seed(1))
    width = pool(x)[0].numel()
    module = nn.Sequential(pool, nn.Flatten(), nn.Linear(width, 3))
    graph = load_model("pool.onnx", content=chain_onnx(module, (2, 7, 8), 3))
    with torch.no_grad():
        assert torch.allclose(graph(x), module(x), atol=1e-5)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2, return_indices=True)])
def test_pools_that_a_chain_does_not_write(pool):
    assert chain_onnx(nn.Sequential(pool, nn.Flatten(), nn.Linear(8, 3)), (2, 3, 3), 3) is None


def pooled(shape, classes):
    return nn.Sequential(nn.Conv2d(shape[0], 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, classes))


def test_a_pooled_network_trains_and_is_measured(tmp_path):
    trainer = trainer_in(tmp_path, model=pooled, epochs=1, attacked=6)
    with numeric_mode():
        record = trainer.epoch(0)
        none = trainer.task.network.graph(torch.zeros(0, 1, 5, 5))     # the points that an attack broke, where it broke none
    assert record.clean_error <= record.verified_error
    assert none.shape == (0, 3)
