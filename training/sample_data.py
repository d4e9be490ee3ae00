"""Images for `train_samples.py`: the four IDX files of MNIST or Fashion-MNIST, gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BUNDLED = 100


@dataclass(frozen=True)
class Split:
    """One split, read: images (N, 28, 28) uint8, labels (N,) int64."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Pixels in [0, 1], (N, 1, 28, 28) float32, and labels (N,)."""
        pixels = torch.from_numpy(self.images[:, None].astype(np.float32) / np.float32(255))
        return pixels, torch.from_numpy(self.labels)


def idx_path(folder: Path, stem: str) -> Path:
    """The IDX file of that stem, gzipped or not."""
    found = [path for path in (folder / f"{stem}.gz", folder / stem) if path.is_file()]
    if not found:
        raise SystemExit(f"{folder}: neither {stem}.gz nor {stem} is there; --data must hold the IDX files")
    return found[0]


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The uint8 array of one IDX file, in the shape its header states."""
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    dimensions = raw[3]
    shape = np.frombuffer(raw, dtype=">u4", count=dimensions, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dimensions).reshape([int(size) for size in shape])


def read_split(folder: Path, prefix: str) -> Split:
    """The "train" or "t10k" split of one data set."""
    images = read_idx(idx_path(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(idx_path(folder, f"{prefix}-labels-idx1-ubyte"))
    return Split(images, labels.astype(np.int64))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def raw_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of an IDX file's content, unzipped: the same however it was compressed."""
    raw = path.read_bytes()
    return hashlib.sha256(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).hexdigest()


def pack_images(split: Split, path: Path) -> None:
    """Write the first BUNDLED images and labels, both uint8, as one compressed npz."""
    np.savez_compressed(path, images=split.images[:BUNDLED], labels=split.labels[:BUNDLED].astype(np.uint8))
