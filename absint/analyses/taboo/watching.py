"""Detections of some inputs of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch

from absint.analyses.taboo.alarms import unsteady_by_trap
from absint.analyses.taboo.asked import FoundTraps
from absint.analyses.taboo.detection import Detection
from absint.analyses.taboo.executions import Executions, fed
from absint.analyses.taboo.observing import Observer
from absint.contract.run import Run
from absint.numeric import backend
from absint.numeric.backend import DeadlineError

_LARGE = float(np.finfo(np.float64).max)


def detections(run: Run[Any], index: Sequence[int]) -> Iterator[Detection]:
    """Of the inputs of these names, in their order; none where the time is over."""
    found: FoundTraps = run.problem
    options, begin = run.options, time.monotonic()
    data = run.inputs.at(index)
    inputs, device = torch.from_numpy(np.ascontiguousarray(data.inputs)), backend.device(options.device)
    executions = Executions(found.watched, device, options.batch, options.memory, run.end)
    try:
        lower, upper = executions.bounds(fed(inputs, inputs))
    except DeadlineError:
        return
    seen = Observer(run.network, found.traps, device, options.memory, options.batch).seen(inputs)
    sure = ~unsteady_by_trap(found.traps, lower, upper).any(1)
    neurons, spent = found.traps.union.neurons, (time.monotonic() - begin) / max(1, len(index))
    labels = [None] * len(index) if data.labels is None else [int(one) for one in data.labels]
    over, alarms, broken = seen.alarms.scores.tolist(), seen.alarms.by_trap.tolist(), (~seen.values.isfinite()).any(1).tolist()
    for slot, (name, place) in enumerate(zip(index, seen.firing(), strict=True)):
        fired = None if place is None else "{}[{}]".format(*neurons[place])
        yield Detection(int(name), labels[slot], int(seen.predicted[slot]), any(alarms[slot]),
                        over[slot] if isfinite(over[slot]) else _LARGE, fired, bool(sure[slot]), tuple(alarms[slot]),
                        broken[slot], spent)
