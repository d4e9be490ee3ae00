"""What the reproduction of the CLEVER papers reads and trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from patterned_images import patterned
from torch import nn


def test_sheets_are_cut_in_the_order_of_their_labels(papers, tmp_path):
    image = pytest.importorskip("PIL.Image")
    place = tmp_path / "cifar10"
    place.mkdir()
    tiles = (np.arange(2000) // 10 % 200).astype(np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    sheet = tiles.reshape(50, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1600, 1280, 3)
    image.fromarray(sheet).save(place / "train_images_03.webp", lossless=True, method=0, quality=0)
    np.arange(50000).astype(np.uint8).tofile(place / "train_labels.u8")
    images, labels = patterned(3, 4, (32, 32, 3))
    np.savez(place / "test_first1000.npz", images=images, labels=labels)
    found = papers["clever_data"].Data(tmp_path)["cifar10"]
    assert found.train[0].shape == (2000, 3, 32, 32)
    assert torch.equal((found.train[0][:, 1, 5, 6] * 255).round().to(torch.int64), torch.from_numpy(tiles[:, 0, 0, 0].astype(np.int64)))
    assert found.train[1].tolist() == [k % 256 for k in range(6000, 8000)]
    assert (found.test[0][1, 2, 7, 9] * 255).round() == images[1, 7, 9, 2]


def test_what_is_not_there_is_said(papers, tmp_path):
    with pytest.raises(papers["clever_data"].AbsentError, match="no folder mnist"):
        papers["clever_data"].Data(tmp_path)["mnist"]
    with pytest.raises(papers["clever_data"].AbsentError, match="no folder cifar10"):
        papers["clever_data"].Data(None)["cifar10"]


def test_every_network_is_kept_and_is_what_its_onnx_file_says(toys, folder, tmp_path):
    nets, data = toys["clever_nets"], toys["clever_data"].Data(folder)
    for name, recipe in nets.RECIPES.items():
        one = nets.net(name, data, tmp_path / "nets", nets.Training(epochs=1))
        again = nets.net(name, toys["clever_data"].Data(None), tmp_path / "nets")
        x = data[recipe.data].test[0][:4]
        assert again.made == one.made
        assert torch.equal(nets.answer(again.module, x), nets.answer(one.module, x))
        # Floats near the edge of a step may fall on either side of it: their outputs are not compared.
        if not name.startswith(("stairs", "floor")):
            assert torch.allclose(one.graph(x.double()).flatten(1).float(), nets.answer(one.module, x), atol=1e-5)


def test_training_learns_and_repeats(toys, folder, tmp_path):
    nets, data = toys["clever_nets"], toys["clever_data"].Data(folder)
    made = [nets.net("mnist-mlp", data, tmp_path / str(k)) for k in range(2)]
    assert made[0].made["accuracy"] > 0.9
    assert torch.equal(made[0].module[1].weight, made[1].module[1].weight)


def test_a_limit_ends_training_between_epochs(toys, folder, tmp_path):
    nets, data = toys["clever_nets"], toys["clever_data"].Data(folder)
    assert nets.net("mnist-mlp", data, tmp_path, nets.Training(seconds=-1.0)).made["epochs"] == 0


def test_the_large_module_has_the_layers_of_densenet_121(papers):
    module = papers["clever_nets"].densenet()
    layers = [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert (len(layers), sum(part.numel() for part in module.parameters())) == (121, 7978856)


def test_stairs_are_the_input_within_half_a_step(papers):
    x = torch.linspace(0, 1, 1001)
    for slope in (0.0, 0.3):
        assert (papers["clever_nets"].Stairs(16, slope)(x) - x).abs().max() <= 0.5 / 16 + 1e-6
