"""The network and the images that come along, read once for all tests that only look at them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

import absint
from absint import samples
from absint.model.graph import Graph


@lru_cache
def mnist() -> Graph:
    return absint.load(samples.default_network())


def digits(count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first images, in the network's shape and float64, and their labels."""
    data = samples.data("mnist").shaped_for(mnist().input.shape)
    assert data.labels is not None
    return torch.tensor(data.inputs[:count]), torch.tensor(data.labels[:count])
