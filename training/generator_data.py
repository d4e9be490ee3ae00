"""Images for `train_generators.py`: eight bits as the files hold them, by class, in halves, or turned, sheared and shifted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional

from absint.problem.training_data import Split

ROTATION, SHEAR, SHIFT = 20 * pi / 180, 20 * pi / 180, 0.2       # radians, radians, share of the side; each to both sides
_CHUNK = 10_000
PARTS = ("all", "first-half", "second-half", "augmented")


@dataclass(frozen=True, eq=False)
class Images:
    """values: (n, 1, 28, 28) uint8.  labels: (n,) int64.  sha256: of both."""

    values: Tensor
    labels: Tensor

    @property
    def sha256(self) -> str:
        """Hexadecimal, of values and labels."""
        digest = hashlib.sha256(self.values.cpu().numpy().tobytes())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device) -> Images:
        """On another device."""
        return Images(self.values.to(device), self.labels.to(device))

    def unit(self, index: Tensor | slice) -> Tensor:
        """(m, 1, 28, 28) float32 in [0, 1]."""
        return self.values[index].float() / 255

    def signed(self, index: Tensor | slice) -> Tensor:
        """(m, 1, 28, 28) float32 in [-1, 1]."""
        return (self.values[index].float() - 127.5) / 127.5


def images(split: Split) -> Images:
    """The split's images, which must be eight bits."""
    return Images(torch.from_numpy(split.values.copy()), torch.from_numpy(split.labels.copy()))


def chosen(data: Images, label: int | None, part: str, seed: int) -> Images:
    """Of one class (None for all) one of PARTS: halves in the order of the file; augmented is four times as many images."""
    if label is not None:
        of_class = data.labels == label
        data = Images(data.values[of_class], data.labels[of_class])
    half = len(data) // 2
    if part == "augmented":
        return augmented(data, seed)
    piece = {"all": slice(None), "first-half": slice(half), "second-half": slice(half, None)}[part]
    return Images(data.values[piece], data.labels[piece])


def augmented(data: Images, seed: int) -> Images:
    """Each image, and it turned by up to 20 degrees, sheared by up to 20 degrees, shifted by up to a fifth of its side: four for one.

    Outside is black. Bilinear, rounded to eight bits.
    """
    source = torch.Generator().manual_seed(seed)
    count = len(data)
    angle, shear = ((2 * torch.rand(count, generator=source) - 1) * most for most in (ROTATION, SHEAR))
    shift = (2 * torch.rand(count, 2, generator=source) - 1) * (2 * SHIFT)      # the grid's side is 2
    plain = torch.eye(2, 3).repeat(count, 1, 1)
    turned, sheared, moved = plain.clone(), plain.clone(), plain.clone()
    turned[:, 0, 0], turned[:, 0, 1], turned[:, 1, 0], turned[:, 1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    sheared[:, 0, 1], sheared[:, 1, 1] = -shear.sin(), shear.cos()
    moved[:, :, 2] = shift
    values = [data.values, *(_warped(data.values, maps) for maps in (turned, sheared, moved))]
    return Images(torch.cat(values), data.labels.repeat(4))


def _warped(values: Tensor, maps: Tensor) -> Tensor:
    """values (n, 1, 28, 28) uint8 through the inverse maps (n, 2, 3)."""
    parts = []
    for start in range(0, len(values), _CHUNK):
        part = values[start:start + _CHUNK].float()
        grid = functional.affine_grid(maps[start:start + _CHUNK], list(part.shape), align_corners=False)
        parts.append(functional.grid_sample(part, grid, align_corners=False).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)
