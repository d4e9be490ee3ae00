"""Runs of `taboo calibrate` that take a moment: a network of 3,000 neurons, three of them taboo for each of two keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from taboo_nets import read, rectifier

import absint
from absint.analyses.taboo.traps import read_traps
from absint.contract.document import Document
from absint.errors import AbsintError

KEYS = ("seven small keys", "another one")
HIDDEN = 3000       # three of them are taboo


def net(folder: Path, seed: int = 1) -> Path:
    """x (n, 4) -> 3,000 rectified neurons -> 2 scores."""
    weight = np.random.default_rng(seed).standard_normal((HIDDEN, 4))
    path = folder / f"net{seed}.onnx"
    read(folder, rectifier(weight), path.name)
    return path


def inputs(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 17]).random((count, 4)).astype(np.float32).astype(np.float64)


def calibrated(folder: Path, x: np.ndarray, **options: object):
    options = {"detector": folder / "taboo.json", "keys": KEYS, **options}
    found = absint.taboo_calibrate(str(net(folder)), x, **options)
    return found.document, read_traps(folder / "taboo.json")


def facts(document: Document) -> dict[str, str]:
    return {name: value for section in document.sections for part in section.parts if hasattr(part, "items") for name, value in part.items}


def refused(folder: Path, x: np.ndarray, **options: object) -> AbsintError:
    with pytest.raises(AbsintError) as error:
        calibrated(folder, x, **options)
    assert not (folder / "taboo.json").exists()
    return error.value
