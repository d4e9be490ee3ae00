"""What is measured of a network in training: errors on test inputs, outward-rounded where they are proofs, and widths of its bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from absint.analyses.train.record import EpochRecord
from absint.analyses.train.step import layer_widths
from absint.analyses.train.task import TrainTask
from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.model.chains import with_numbers
from absint.model.frontend import load_model
from absint.model.graph import Graph
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import LinfBall
from absint.search.error_rates import Descent, Flagged, attacked_wrong, check_order, predicted_wrong, proved

_CHUNK = 250        # inputs whose widths are computed together


@dataclass(frozen=True)
class Measured:
    """Errors, None where time was over before all inputs were asked; n: inputs asked for."""

    clean_error: float | None = None
    clean_n: int = 0
    pgd_error: float | None = None
    pgd_n: int = 0
    verified_error: float | None = None
    verified_n: int = 0
    width: float | None = None

    @property
    def whole(self) -> bool:
        """Whether everything was measured."""
        return None not in (self.clean_error, self.pgd_error, self.verified_error)


def file_of(task: TrainTask, parameters: Mapping[str, Tensor], note: str = "") -> bytes:
    """The network with these weights, as ONNX. Raises InputError E-PARAMETER for numbers that are not finite."""
    return with_numbers(task.network.model, parameters, note)


def graph_of_file(task: TrainTask, content: bytes, *, check: bool) -> Graph:
    """What `absint verify` reads from the file."""
    return load_model(f"{task.network.name}.onnx", content=content, check=check)


def measured(task: TrainTask, parameters: Mapping[str, Tensor], end: float = inf) -> Measured:
    """Of one epoch: all test inputs clean and by bounds, the first ones under a short attack, at the full radius."""
    graph, device = graph_of_file(task, file_of(task, parameters), check=False), torch.device(task.options.device)
    test = task.data.test
    inputs, labels = test.inputs(slice(None)), test.targets(slice(None))
    few = min(task.options.attacked, len(test))
    clean = predicted_wrong(graph, inputs, labels, end=end, device=device)
    attacked = attacked_wrong(graph, inputs[:few], labels[:few], task.eps, task.clip, Descent(), end=end, device=device)
    sure = proved(graph, inputs, labels, task.eps, task.clip, task.options.certify, end=end, device=device)
    check_order(attacked.flags & ~clean.flags[:few], sure.flags[:few], task.options.certify)
    n = len(test)
    return Measured(clean.share if clean.done == n else None, n, attacked.share if attacked.done == few else None, few,
                    _unproved(sure, clean) if sure.done == n else None, n, _width(task, parameters, inputs[:few]))


def closing(task: TrainTask, content: bytes, parameters: Mapping[str, Tensor], end: float = inf) -> Measured:
    """Of the network that is kept, read from its file: the long attack only on inputs that are classified right and not proved."""
    graph, device = graph_of_file(task, content, check=True), torch.device(task.options.device)
    test, options = task.data.test, task.options
    inputs, labels, n = test.inputs(slice(None)), test.targets(slice(None)), len(test)
    clean = predicted_wrong(graph, inputs, labels, end=end, device=device)
    sure = proved(graph, inputs, labels, task.eps, task.clip, options.certify, end=end, device=device)
    open_ = (~clean.flags & ~sure.flags).nonzero().flatten()
    found = attacked_wrong(graph, inputs[open_], labels[open_], task.eps, task.clip, task.closing_attack, end=end,
                           device=device)
    decided = clean.done == n and sure.done == n
    pgd = (clean.count + found.count) / n if decided and found.done == len(open_) else None
    return Measured(clean.share if clean.done == n else None, n, pgd, n, _unproved(sure, clean) if decided else None, n,
                    _width(task, parameters, inputs[: min(options.attacked, n)]))


def _unproved(sure: Flagged, clean: Flagged) -> float:
    """The share that is not proved, or wrong: an evaluation may take a hair's breadth for a tie that a proof tells apart."""
    return float((~sure.flags | clean.flags).double().mean())


def _width(task: TrainTask, parameters: Mapping[str, Tensor], inputs: Tensor) -> float:
    """Sum over hidden layers of the mean squared width of their boxes, rounded outward, at the full radius."""
    device = torch.device(task.options.device)
    graph = task.network.graph.with_parameters({name: value.detach() for name, value in parameters.items()})
    numerics, total = Numerics(torch.float32, torch.float32, device), 0.0
    with numeric_mode(), torch.no_grad():
        for part in inputs.split(_CHUNK):
            known = boxes(Context(graph, LinfBall(part, task.eps, task.clip), numerics)).known
            total += sum(float(one) for one in layer_widths(graph, dict(known), "hidden").values()) * len(part)
    return total / len(inputs)


def with_means(record: EpochRecord, before: Sequence[EpochRecord]) -> EpochRecord:
    """The record with the means of the errors over all epochs measured so far (Morawiecki et al. 2019, figure 4)."""
    means: dict[str, Any] = {}
    for name in ("clean", "pgd", "verified"):
        values = [value for one in (*before, record) if (value := getattr(one, f"{name}_error")) is not None]
        means[f"mean_{name}"] = sum(values) / len(values) if values else None
    return replace(record, **means)
