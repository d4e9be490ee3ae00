"""The images of `clever.py`, read from a folder; no torchvision."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}


class AbsentError(Exception):
    """What a stage needs is not here; the message says what."""


@dataclass(frozen=True, eq=False)
class Images:
    """train, test: (n, *shape) float32 in [0, 1], and their labels."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


class Data:
    """A folder's images, read when they are asked for. Raises AbsentError."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._read: dict[str, Images] = {}

    def __getitem__(self, name: str) -> Images:
        """name: mnist, fashion_mnist or cifar10."""
        if name not in self._read:
            place = None if self.folder is None else self.folder / name
            if place is None or not place.is_dir():
                raise AbsentError(f"--data has no folder {name}")
            self._read[name] = {"mnist": _mnist, "fashion_mnist": _mnist, "cifar10": _cifar}[name](place)
        return self._read[name]


def _mnist(folder: Path) -> Images:
    def part(stem: str) -> tuple[Tensor, Tensor]:
        raw = [gzip.decompress((folder / f"{stem}-{kind}.gz").read_bytes()) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
        labels = np.frombuffer(raw[1], np.uint8, offset=8)
        return _pair(np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 1, 28, 28), labels)

    nothing = torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64)      # where only trained networks are to be looked at
    return Images(part("train") if (folder / "train-images-idx3-ubyte.gz").exists() else nothing, part("t10k"))


def _cifar(folder: Path) -> Images:
    whole = sorted(set(folder.glob("*.npz")) - {folder / "test_first1000.npz"})
    if whole:
        with np.load(whole[0]) as found:
            return Images(*(_pair(found[f"{part}_images"].transpose(0, 3, 1, 2), found[f"{part}_labels"]) for part in ("train", "test")))
    from PIL import Image

    sheets = sorted(folder.glob("train_images_*.webp"))
    if not sheets:
        raise AbsentError(f"{folder} has neither sheets train_images_NN.webp nor an .npz of all")
    every = np.fromfile(folder / "train_labels.u8", np.uint8)
    tiles, labels = [], []
    for sheet in sheets:      # of 50 rows of 40 images
        begin = 2000 * int(sheet.stem[-2:])
        pixels = np.asarray(Image.open(sheet).convert("RGB"))
        tiles.append(pixels.reshape(50, 32, 40, 32, 3).transpose(0, 2, 4, 1, 3).reshape(2000, 3, 32, 32))
        labels.append(every[begin:begin + 2000])
    with np.load(folder / "test_first1000.npz") as found:
        test = _pair(found["images"].transpose(0, 3, 1, 2), found["labels"])
    return Images(_pair(np.concatenate(tiles), np.concatenate(labels)), test)


def _pair(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images.astype(np.float32) / np.float32(255)), torch.from_numpy(labels.astype(np.int64))
