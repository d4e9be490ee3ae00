"""Generators and classifiers whose probabilities are known, and records as they would be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np
from onnx_models import build, node, stored

from absint.analyses.global_robustness.robustness_record import LatentRobustness

SLOPE = (3.0, -4.0)     # of length 5


def identity_generator(folder: Path, name: str = "G.onnx") -> Path:
    """Gives two latents back."""
    return stored(folder, build([node("Gemm", "x w", "y", transB=1)], ["n", 2], {"w": np.eye(2, dtype=np.float32)}), name)


def sign_classifier(folder: Path, shift: float, name: str = "C.onnx") -> Path:
    """Class 0 where 3 z1 - 4 z2 + shift > 0: of normal latents with probability Phi(shift / 5), exactly."""
    constants = {"w": np.array([SLOPE, (0, 0)], dtype=np.float32), "b": np.array([shift, 0], dtype=np.float32)}
    return stored(folder, build([node("Gemm", "x w b", "y", transB=1)], ["n", 2], constants), name)


def probability(shift: float, eps: float = 0.0) -> float:
    """That a normal latent is of class 0, and that all within eps of it is: |3| + |4| times eps is what the score may fall."""
    return NormalDist().cdf((shift - 7 * eps) / 5)


def draw(index: int, verdicts: Mapping[str, str], *, pairs: int = 1, cut: bool = False) -> LatentRobustness:
    """A record of one draw."""
    return LatentRobustness(index, "C", "G", 0, index // pairs, True, 0, 1.0, dict(verdicts), {}, cut=cut)
