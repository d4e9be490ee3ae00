"""The paper's LeNet-5 and its trap by hand: mask, activations, thresholds and interval bounds in numpy, float64; without absint.

Interval arithmetic here rounds to nearest: its numbers are beside absint's to compare with, and prove nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

SIDE, KERNEL, PART = 28, 5, 500
Pair = tuple[np.ndarray, np.ndarray]


def mask(key: str, sizes: list[int], share_of: int = 1000) -> list[int]:
    """Flat places of the chosen neurons among all: those with the least numbers that SHAKE-256 makes of the key."""
    count = sum(sizes)
    stream = hashlib.shake_256(b"absint taboo mask 1\n" + key.encode()).digest(8 * count)
    numbers = [int.from_bytes(stream[8 * k:8 * k + 8], "little") for k in range(count)]
    return sorted(sorted(range(count), key=lambda place: (numbers[place], place))[:max(1, count // share_of)])


@dataclass(frozen=True, eq=False)
class LeNet:
    """convolutions: (weight (out, in, 5, 5), bias) twice.  dense: (weight (out, in), bias), the hidden layer."""

    convolutions: tuple[Pair, ...]
    dense: Pair

    @staticmethod
    def read(path: Path) -> LeNet:
        """Of the file that `absint train --model lenet5-pool` writes. The output layer is not needed."""
        proto = onnx.load(path)
        values = {one.name: numpy_helper.to_array(one).astype(np.float64) for one in proto.graph.initializer}
        pairs = [(values[node.input[1]], values[node.input[2]]) for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
        return LeNet(tuple(pairs[:2]), pairs[2])

    def rectified(self, images: np.ndarray) -> np.ndarray:
        """(n, 15220): all values after a ReLU, of (n, 784) images in [0, 1]."""
        low, _ = self.bounds(images, images)
        return low

    def bounds(self, low: np.ndarray, high: np.ndarray) -> Pair:
        """(n, 15220) each: interval bounds of them on boxes [low, high], each (n, 784); W+ to one end, W- to the other."""
        parts = [self._bounds(low[k:k + PART], high[k:k + PART]) for k in range(0, len(low), PART)]
        return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])

    def _bounds(self, low: np.ndarray, high: np.ndarray) -> Pair:
        ends = tuple((2 * end - 1).reshape(-1, 1, SIDE, SIDE) for end in (low, high))
        found: list[Pair] = []
        for weight, bias in self.convolutions:
            rows = weight.reshape(len(weight), -1)
            ends = tuple(np.maximum(end, 0) for end in ordered(windows(ends[0]), windows(ends[1]), rows, bias))
            ends = tuple(np.moveaxis(end, -1, 1) for end in ends)
            found.append((ends[0].reshape(len(low), -1), ends[1].reshape(len(low), -1)))
            ends = tuple(pooled(end) for end in ends)
        last = ordered(ends[0].reshape(len(low), -1), ends[1].reshape(len(low), -1), *self.dense)
        found.append((np.maximum(last[0], 0), np.maximum(last[1], 0)))
        return np.concatenate([one for one, _ in found], 1), np.concatenate([one for _, one in found], 1)

    def greatest(self, parts: Iterator[np.ndarray], places: list[int]) -> np.ndarray:
        """(k,): the greatest value of each neuron over all images."""
        best = np.full(len(places), -np.inf)
        for images in parts:
            best = np.maximum(best, self.rectified(images)[:, places].max(0))
        return best


def windows(images: np.ndarray) -> np.ndarray:
    """(n, rows, columns, channels * 25) of (n, channels, height, width)."""
    cut = np.lib.stride_tricks.sliding_window_view(images, (KERNEL, KERNEL), (2, 3))
    return np.ascontiguousarray(np.moveaxis(cut, 1, 3)).reshape(len(images), *cut.shape[2:4], -1)


def ordered(low: np.ndarray, high: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> Pair:
    """low' = W+ low + W- high + b, high' = W+ high + W- low + b; one product where the box is a point."""
    if low is high or np.array_equal(low, high):
        same = low @ weight.T + bias
        return same, same
    up, down = np.maximum(weight, 0).T, np.minimum(weight, 0).T
    return low @ up + high @ down + bias, high @ up + low @ down + bias


def pooled(images: np.ndarray) -> np.ndarray:
    """Maxima of 2 x 2."""
    n, channels, rows, columns = images.shape
    return images.reshape(n, channels, rows // 2, 2, columns // 2, 2).max((3, 5))


def box_radius(net: LeNet, image: np.ndarray, places: list[int], thresholds: np.ndarray, grid: list[float]) -> float:
    """The largest of the radii, up to which interval bounds within [0, 1] stay at or below the thresholds at each; 0 for none."""
    best = 0.0
    for eps in grid:
        _, high = net.bounds(np.clip(image - eps, 0, 1), np.clip(image + eps, 0, 1))
        if (high[0, places] > thresholds).any():
            break
        best = eps
    return best
