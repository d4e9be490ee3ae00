"""How a detector fares on perturbed inputs: row by row, each perturbation of all inputs at once.

The attacks know the network alone, neither traps nor thresholds. Detection is counted over all perturbed inputs, also those that the
network still gets right. Source: Shumailov et al., Towards Certifiable Adversarial Sample Detection, 2020, section 4.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.analyses.taboo.alarms import ratios, unsteady_by_trap
from absint.analyses.taboo.asked import FoundTraps
from absint.analyses.taboo.evaluation_record import ALL, CLEAN, SUPPORT, PerturbedRow, row_name
from absint.analyses.taboo.executions import Executions, fed
from absint.analyses.taboo.observing import Observer, Seen
from absint.attacks.foolbox_attacks import Sent, Setting
from absint.attacks.perturbations import Perturbation
from absint.contract.whole_files import write_whole
from absint.errors import InputError
from absint.numeric.backend import DeadlineError, numeric_mode
from absint.problem.dataset import Dataset

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class PerturbationPlan:
    """What to evaluate. perturbations: a row each, for each region that it can be confined to.  regions: 'all', 'support' or both.

    background: value of entries outside of an object's support.  clip: range of the data, None for that of the inputs.
    """

    perturbations: tuple[Perturbation, ...]
    regions: tuple[str, ...] = (ALL, SUPPORT)
    background: float = 0.0
    seed: int = 0
    clip: tuple[float, float] | None = (0.0, 1.0)

    @property
    def rows(self) -> tuple[tuple[Perturbation | None, str], ...]:
        """The clean row first."""
        asked = [(one, region) for one in self.perturbations for region in self.regions if region == ALL or one.confinable]
        return ((None, ""), *asked)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rows."""
        return tuple(CLEAN if one is None else row_name(one.text, region) for one, region in self.rows)

    @property
    def unconfined(self) -> tuple[str, ...]:
        """Perturbations that are left out where the support is asked for."""
        return tuple(one.text for one in self.perturbations if SUPPORT in self.regions and not one.confinable)


@dataclass(frozen=True, eq=False)
class MeasuredRow:
    """A row, and what it is about. sent: what was perturbed.  seen: what the detector saw of it."""

    row: PerturbedRow
    sent: Sent
    seen: Seen


class TabooExperiment:
    """An evaluation row by row: `plan.names` in order, `measured` of each, apart from the others and in any order."""

    def __init__(self, found: FoundTraps, data: Dataset, plan: PerturbationPlan, *, device: torch.device = _CPU, memory: int | None = None,
                 batch: int | None = None) -> None:
        """data: labelled, in the network's shape, none of it seen by whoever made the traps.

        Raises InputError E-DATA-*, E-TABOO-MODEL, UnsupportedError E-ATTACK-MISSING, E-SEMANTICS.
        """
        graph, traps = found.graph, found.traps
        if data.labels is None:
            raise InputError("E-DATA-UNLABELLED", "the data has no labels", where=data.name, hint="accuracy is counted against them")
        if not len(data):
            raise InputError("E-DATA-NONE", "no inputs", where=data.name, hint="give one input at least")
        data.check_range(*(plan.clip or (-inf, inf)))
        data.check_labels(graph.output.size)
        for one in plan.perturbations:
            one.check()
        self.found, self.graph, self.traps, self.data, self.plan = found, graph, traps, data, plan
        self.observer = Observer(graph, traps, device, memory, batch)
        self.executions = Executions(found.watched, device, batch, memory)
        self.inputs = torch.from_numpy(np.ascontiguousarray(data.inputs))
        self.labels = torch.from_numpy(np.ascontiguousarray(data.labels))

    @property
    def clip(self) -> tuple[float, float]:
        """The range that perturbed inputs stay in."""
        return self.plan.clip or (float(self.data.inputs.min()), float(self.data.inputs.max()))

    def support(self, region: str) -> Tensor | None:
        """(n, *shape) bool, the entries that differ from the background; None for all."""
        return self.inputs != self.plan.background if region == SUPPORT else None

    def measured(self, place: int, end: float = inf) -> MeasuredRow:
        """The row at this place of `plan.names`. end: on the monotonic clock.

        Raises DeadlineError, ResourceError E-TIMEOUT past it, UsageError E-ATTACK-FAILED.
        """
        begin = time.monotonic()
        one, region = self.plan.rows[place]
        sent = self._sent(one, region, end)
        seen = self.observer.seen(sent.inputs, end)
        either = unsteady_by_trap(self.traps, *self.executions.until(end).bounds(fed(sent.inputs, sent.inputs))).any(1)
        return MeasuredRow(self._counted(place, sent, seen, either, time.monotonic() - begin), sent, seen)

    def _sent(self, one: Perturbation | None, region: str, end: float) -> Sent:
        if one is None:
            return Sent(self.inputs, torch.zeros(len(self.inputs), dtype=torch.bool))
        setting = Setting(self.clip, self.plan.seed, self.support(region), lambda: _look(end))
        with numeric_mode():
            return one.sent(self.graph, self.inputs, self.labels, setting)

    def _counted(self, place: int, sent: Sent, seen: Seen, either: Tensor, spent: float) -> PerturbedRow:
        one, region = self.plan.rows[place]
        right = classes(seen) == self.labels
        fooled, alarm, by_trap = self.right & ~right, seen.alarms.any, seen.alarms.by_trap.long()
        gap = (sent.inputs - self.inputs).flatten(1)
        l2, linf = (None, None) if one is None else (float(gap.norm(dim=1).mean()), float(gap.abs().amax(1).mean()))
        others = by_trap.sum(1, keepdim=True) - by_trap
        return PerturbedRow(
            place, CLEAN if one is None else one.text, region, len(self.inputs), int(right.sum()), int(alarm.sum()), int(fooled.sum()),
            int((fooled & alarm).sum()), int(sent.gave_up.sum()), int(either.sum()), int(seen.alarms.nan.sum()), l2, linf,
            tuple(by_trap.sum(0).tolist()), tuple(map(tuple, (by_trap.T @ by_trap).tolist())), tuple((others > 0).sum(0).tolist()),
            tuple(ratios(self.traps, seen.values).tolist()), spent)

    @cached_property
    def right(self) -> Tensor:
        """(n,) bool, the originals that the network gets right."""
        return classes(self.observer.seen(self.inputs)) == self.labels

    def provenance(self, place: int) -> dict[str, Any]:
        """Of what the row at this place sent."""
        one, region = self.plan.rows[place]
        assert one is not None      # the clean inputs are the user's own
        setting = Setting(self.clip, self.plan.seed)
        return {**one.provenance(setting, self.graph.source.sha256), "region": region, "background": self.plan.background,
                "away_from": "labels", "data": self.data.name, "data_sha256": self.data.sha256, "model_sha256": self.graph.source.sha256}


def save_sent(found: MeasuredRow, experiment: TabooExperiment, path: Path) -> None:
    """Write an npz file: images, labels, predicted, source (places in the data), alarms of each key, gave_up, provenance (JSON).

    Raises InputError E-OUT, ResourceError E-OUT-WRITE.
    """
    file = BytesIO()
    np.savez_compressed(
        file, images=found.sent.inputs.numpy(), labels=experiment.labels.numpy(), predicted=classes(found.seen).numpy(),
        source=experiment.data.index, alarms=found.seen.alarms.by_trap.numpy(), gave_up=found.sent.gave_up.numpy(),
        provenance=np.array(json.dumps(experiment.provenance(found.row.index), sort_keys=True)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("E-OUT", f"no folder can be made there: {error.strerror}", where=str(path.parent),
                         hint="give --adversarial another path") from error
    write_whole(path, file.getvalue())


def place_of(folder: Path, name: str) -> Path:
    """The file of a row."""
    return folder / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}.npz"


def without_file(names: Sequence[str], folder: Path) -> list[str]:
    """Those of the rows that have none there."""
    return [name for name in names if not place_of(folder, name).exists()]


def _look(end: float) -> None:
    if time.monotonic() > end:
        raise DeadlineError


def classes(seen: Seen) -> Tensor:
    """(n,) the class of each; -1 where an output is NaN."""
    return torch.where(seen.outputs.isnan().any(1), -1, seen.predicted)
