"""The networks of `train_generators.py`: chains of torch layers, initialised as their recipe says from torch's default generator.

Source: the published programme on global robustness (generator, discriminator, classifiers); sizes in `train_generators.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

IMAGE = (1, 28, 28)
PIXELS = 28 * 28
SLOPE = 0.2          # of LeakyReLU
FIRST_DEVIATION = 0.02


def generator(sizes: Sequence[int]) -> nn.Sequential:
    """Latents (batch, sizes[0]) -> images (batch, 1, 28, 28) in [-1, 1]; sizes ends with 784."""
    return nn.Sequential(*_dense(sizes, 0.0), nn.Tanh(), nn.Unflatten(1, IMAGE))


def discriminator(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """Images (batch, 1, 28, 28) in [-1, 1] -> logits (batch, 1) of being real; sizes runs from 784 to 1."""
    return nn.Sequential(nn.Flatten(), *_dense(sizes, dropout))


def _dense(sizes: Sequence[int], dropout: float) -> list[nn.Module]:
    """Linear layers with LeakyReLU between; the first one's weights N(0, 0.02), the others' Glorot's, biases 0."""
    layers: list[nn.Module] = []
    for inside, outside in pairwise(sizes):
        if layers:
            layers += [nn.LeakyReLU(SLOPE), *([nn.Dropout(dropout)] if dropout else [])]
        linear = nn.Linear(inside, outside)
        if layers:
            nn.init.xavier_uniform_(linear.weight)
        else:
            nn.init.normal_(linear.weight, 0.0, FIRST_DEVIATION)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
    return layers


def convolutional(channels: tuple[int, int], hidden: int, dropout: float) -> nn.Sequential:
    """Images in [0, 1] -> logits: four valid 3x3 convolutions, no pooling, two hidden dense layers, ReLU."""
    one, two = channels
    layers: list[nn.Module] = []
    for inside, outside in ((1, one), (one, one), (one, two), (two, two)):
        layers += [nn.Conv2d(inside, outside, 3), nn.ReLU()]
    side = IMAGE[1] - 2 * 4
    layers += [nn.Flatten(), nn.Linear(two * side * side, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
               *([nn.Dropout(dropout)] if dropout else []), nn.Linear(hidden, 10)]
    return _glorot(nn.Sequential(*layers))


def dense_classifier(sizes: Sequence[int]) -> nn.Sequential:
    """Images in [0, 1] -> logits: ReLU between dense layers; sizes runs from 784 to 10."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inside, outside in pairwise(sizes):
        layers += [*([nn.ReLU()] if len(layers) > 1 else []), nn.Linear(inside, outside)]
    return _glorot(nn.Sequential(*layers))


def judge() -> nn.Sequential:
    """Images in [0, 1] -> logits: the network that says what a generator draws, of another form than those that are measured."""
    return _glorot(nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    ))


def _glorot(net: nn.Sequential) -> nn.Sequential:
    for layer in net:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return net


def exported(net: nn.Sequential) -> nn.Sequential:
    """The layers that stay once it is trained: dropout is the identity then."""
    return nn.Sequential(*(layer for layer in net if not isinstance(layer, nn.Dropout)))
