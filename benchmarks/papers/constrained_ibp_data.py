"""Data of `constrained_ibp.py`: folders as `absint train` reads them, and CIFAR-10 from lossless sheets made into one.

A folder of sheets: train_images_00.webp .. 24, each 50 rows of 40 tiles; train_labels.u8; test_first1000.npz, with the first 1,000 test
images: errors on it are of 1,000 images, not of 10,000.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

SHEETS, ROWS, COLUMNS = 25, 50, 40
# Of data_batch_1.bin to data_batch_5.bin as published: a label and the channels of an image, image by image.
MD5 = ("5dd7e06a14cb22eb9f671a540d1b7c25", "5ea93a67294ea407fff1d09f752e9692", "942cd6a4bcdd0dd3c604fbe906cb4421",
       "ae636b3ba5c66a11e91e8cb52e771fcb", "53f37980c15c3d472c316c40844f3f0d")


class AbsentError(Exception):
    """What a training needs is not here; the message says what."""


def place(data: Path | None, name: str, build: Path) -> Path:
    """What `--data` of a training is given. build: a folder for what is made. Raises AbsentError."""
    folder = None if data is None else data / name
    if folder is None or not folder.is_dir():
        raise AbsentError(f"--data has no folder {name}")
    if not (folder / "train_images_00.webp").exists():
        return folder
    made = build / f"{name}.npz"
    if not made.exists():
        convert(folder, made)
    return made


def convert(folder: Path, out: Path) -> None:
    """Sheets as one npz: x_train (n, 32, 32, 3) and x_test uint8, y_train and y_test. Raises AbsentError where the images differ."""
    images, labels = sheets(folder)
    with np.load(folder / "test_first1000.npz") as found:
        test = found["images"], found["labels"]
    if len(images) == SHEETS * ROWS * COLUMNS:
        check(images, labels)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, x_train=images, y_train=labels, x_test=test[0], y_test=test[1])
    os.replace(part, out)


def sheets(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Every image that the sheets hold, in order, and its label."""
    try:
        from PIL import Image
    except ImportError as error:
        raise AbsentError("Pillow, which reads the sheets, is not installed") from error
    parts = []
    for path in sorted(folder.glob("train_images_*.webp")):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        tiles = pixels.reshape(ROWS, 32, COLUMNS, 32, 3).transpose(0, 2, 1, 3, 4)
        parts.append(tiles.reshape(ROWS * COLUMNS, 32, 32, 3))
    images = np.concatenate(parts)
    return images, np.fromfile(folder / "train_labels.u8", np.uint8)[:len(images)]


def check(images: np.ndarray, labels: np.ndarray) -> None:
    """Bit for bit the published training images. Raises AbsentError."""
    for k, known in enumerate(MD5):
        own = slice(10000 * k, 10000 * (k + 1))
        rows = np.concatenate([labels[own, None], images[own].transpose(0, 3, 1, 2).reshape(-1, 3072)], 1)
        if hashlib.md5(rows.tobytes()).hexdigest() != known:
            raise AbsentError(f"CIFAR-10's training images differ from the published ones, in batch {k + 1}")
