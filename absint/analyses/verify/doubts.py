"""Where a network is right about few of its inputs: usual slips in reading data, tried on the same inputs. Advice, no analysis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.analyses.verify.options import VerifyOptions
from absint.contract.run import Run

_SAMPLE = 100       # inputs tried
_SURE = 0.6         # the share that must then be right
_ENOUGH = 3         # inputs, below which any explanation fits by chance
_USUAL = {1: (("0.1307", "0.3081"), ("0.5", "0.5")),
          3: (("0.485,0.456,0.406", "0.229,0.224,0.225"), ("0.4914,0.4822,0.4465", "0.2470,0.2435,0.2616"), ("0.5", "0.5"))}


def remedy(run: Run[VerifyOptions], before: int) -> str:
    """What makes the network right about most of the first inputs, where one of the usual slips explains it; else ''.

    before: how many it is right about.
    """
    data = run.whole
    if data is None or data.labels is None or len(data) < _ENOUGH:
        return ""
    inputs, labels = torch.from_numpy(data.inputs[:_SAMPLE]), data.labels[:_SAMPLE]
    predicted = _classes(run, inputs)
    for shift, said in ((-1, "labels seem to count from 1"), (1, "labels seem to leave out the network's first class")):
        if _right(predicted, labels + shift) >= _SURE:
            return f"{said}: most predictions are the label {'-' if shift < 0 else '+'} 1; give others with --labels"
    for change, advice in _changes(run, inputs):
        if _right(_classes(run, change), labels) >= _SURE:
            return f"with {advice} it is right about most of them"
    return ""


def _right(predicted: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    return float((predicted == labels).mean())


def _classes(run: Run[VerifyOptions], inputs: Tensor) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return np.asarray(torch.cat([run.network(part).flatten(1).argmax(1) for part in inputs.split(50)]).numpy())


def _changes(run: Run[VerifyOptions], inputs: Tensor) -> Iterator[tuple[Tensor, str]]:
    """The inputs as the network may have been trained on them, and the options that would do that."""
    most = float(inputs.max())
    if most > 2:
        yield inputs / 255, "--scale 1/255"
    elif float(inputs.min()) >= 0:
        yield inputs * 255, "values in 0..255 (--scale 1 of eight-bit files, --scale 255 of others, and --clip 0,255)"
    if run.options.mean is not None or run.options.std is not None:
        return
    shape = run.network.input.shape
    channels = next((axis for axis in (0, len(shape) - 1) if len(shape) == 3 and shape[axis] in _USUAL), None)
    for mean, std in _USUAL[1 if channels is None else shape[channels]]:
        ends = []
        for text in (mean, std):
            values = torch.tensor([float(one) for one in text.split(",")], dtype=torch.float64)
            ends.append(values if channels is None or len(values) == 1 else values.reshape([-1 if k == channels else 1 for k in range(3)]))
        yield (inputs - ends[0]) / ends[1], f"--mean {mean} --std {std}"
