"""What `global_robustness.py` asks of absint, what of its records the tables need, and models in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

import absint

RESCALED, AS_IS = "rescaled", "as-is"
NEAREST = 20        # draws of each verdict that are looked at one by one


@dataclass(frozen=True)
class Pair:
    """A generator of one class and a classifier, as files.  fit: RESCALED or AS_IS, which feeds [-1, 1] to a classifier of [0, 1]."""

    generator: Path
    label: int
    classifier: Path
    fit: str
    seed: int

    def joined(self) -> dict[str, Any]:
        """Of both calls."""
        return {"generator": {self.label: self.generator}, "rescale": self.fit == RESCALED, "as_is": self.fit == AS_IS, "seed": self.seed}


@dataclass(frozen=True)
class Share:
    """k of n draws are proved to be so, `refuted` not to be; the rest is unknown.  low, high: the interval of the probability.

    correct: of robustness, draws that are right themselves.
    """

    n: int
    k: int
    refuted: int
    low: float
    high: float
    eps: str = ""
    correct: int = 0

    def said(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)


class Model:
    """A file in onnxruntime, with torch's number of threads."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, *shape) -> its first output."""
        (one,) = self.session.get_inputs()
        return np.asarray(self.session.run(None, {one.name: inputs})[0])


@dataclass(frozen=True)
class Robust:
    """shares: by radius.  whole: whether every draw was asked.  nearest: radius -> verdict -> draws that the class leads least on."""

    shares: list[Share]
    whole: bool
    nearest: dict[str, dict[str, list[int]]]


def correct(pair: Pair, draws: int, level: str, grid: Path) -> Share:
    """How often the classifier is right on what the generator draws. grid: a folder for pictures of the worst draws."""
    records = absint.global_correctness(pair.classifier, **pair.joined(), draws=draws, level=level, grid=grid)
    (row,) = records.document.values["classes"]
    return Share(row["draws"], row["right"], row["wrong"], row["low"], row["high"])


def right_on(classifier: Path, images: Tensor, labels: Tensor) -> dict[str, list[int]]:
    """By class: how many of its images the file is right on in onnxruntime, and how many there are. images: (n, 1, 28, 28) in [0, 1]."""
    scores = Model(classifier)
    found = torch.from_numpy(np.concatenate([scores(part.numpy()) for part in images.split(500)])).argmax(1)
    return {str(int(label)): [int((found[labels == label] == label).sum()), int((labels == label).sum())] for label in labels.unique()}


@dataclass(frozen=True)
class Asking:
    """draws, level, eps: as absint has them.  timeout: seconds a draw and radius.  seconds: of all.  journal: from which it goes on.

    grid: a folder for pictures of the draws whose witnesses are nearest.
    """

    draws: int
    level: str
    eps: Sequence[str]
    timeout: float
    seconds: float
    journal: Path
    grid: Path


def robust(pair: Pair, asking: Asking) -> Robust:
    """How often it is so for all latents around the drawn one, by radius."""
    left = None if asking.seconds == inf else max(1.0, asking.seconds)
    records = absint.global_robustness(pair.classifier, **pair.joined(), draws=asking.draws, level=asking.level, eps=",".join(asking.eps),
                                       timeout=asking.timeout, journal=asking.journal, resume=True, grid=asking.grid, total_timeout=left)
    rows = records.document.values["classes"]
    shares = [Share(row["draws"], row["verified"], row["falsified"], row["low"], row["high"], row["eps"], row["correct"]) for row in rows]
    right = sorted((one for one in records if one.correct), key=lambda one: one.margin)
    nearest = {radius: {verdict: [one.draw for one in right if one.verdicts.get(radius) == verdict][:NEAREST]
                        for verdict in ("verified", "falsified")} for radius in asking.eps}
    return Robust(shares, bool(records.document.summary["complete"]), nearest)
