"""What the blocks of `taboo calibrate` add up to: the traps, and tables of thresholds, keys and false alarms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from absint.analyses.taboo.alarms import alarms_of
from absint.analyses.taboo.calibrate_record import ThresholdBlock
from absint.analyses.taboo.calibrate_task import TabooTask
from absint.analyses.taboo.calibrating import TrapCalibration, with_facts
from absint.analyses.taboo.exchangeable import held_out
from absint.analyses.taboo.executions import fed
from absint.analyses.taboo.false_alarms import FalseAlarms, HeldValues
from absint.analyses.taboo.options import TabooCalibrateOptions
from absint.analyses.taboo.traps import Traps, read_traps
from absint.contract.analysis import facts
from absint.contract.document import Document, Json, Section, Table
from absint.contract.run import Run
from absint.engine.domain import Domain
from absint.errors import InputError, InternalError
from absint.numeric.decimal import exact_text, outward_text
from absint.numeric.percent import percent_number, percent_text, percents
from absint.registry import own_version
from absint.search.names import called, source_of

_LARGEST = 64 << 20     # bytes of a file that may be a detector
_WIDEST = 8             # keys whose matrix people still read
KEYS = ("key", "key id", "masked", "neurons", "share", "dropped", "training alarms", "false alarms", "n", "percent", "low", "high")
NEURONS = ("key", "tensor", "entry", "threshold", "dead", "fires")


def masks_hash(making: TrapCalibration) -> str:
    """SHA-256 of the neurons of each key."""
    masks = [[[watch.tensor, list(watch.entries)] for watch in mask] for mask in making.masks]
    return hashlib.sha256(json.dumps(masks, separators=(",", ":")).encode()).hexdigest()


def described(run: Run[TabooCalibrateOptions]) -> Mapping[str, Json]:
    """For the header. Keys by their numbers alone."""
    task: TabooTask = run.problem
    making, settings, domain = task.making, task.making.settings, task.making.domain
    shown: dict[str, Json] = {} if domain is None else {"domain": {
        "name": called(domain), "class": f"{type(domain).__module__}.{type(domain).__qualname__}", "options": _options(domain),
        "source": source_of(domain)}}
    return {**shown, "taboo": {
        "rule": settings.rule, "promise": making.rule.promise, "keys": len(making.keys), "public_key": task.public,
        "neurons": len(making.union), "of": making.total, **_asked(making), "inputs": len(making.inputs),
        "held_out": None if task.held is None else {"name": task.held.name, "inputs": len(task.held)}}}


def _options(domain: Domain[Any]) -> dict[str, Json]:
    values: dict[str, Any] = {one.name: getattr(domain, one.name) for one in fields(domain) if one.init} if is_dataclass(domain) else {}
    return {name: value if isinstance(value, (bool, int, float, str)) else repr(value) for name, value in values.items()}


def _asked(making: TrapCalibration) -> dict[str, Json]:
    """What was asked for, where it matters."""
    settings = making.settings
    found: dict[str, Json] = {"share": exact_text(settings.part), "policy": settings.policy,
                              "clip": None if settings.clip is None else list(settings.clip)}
    if settings.policy == "calibrated":
        found["budget"] = exact_text(settings.tolerated)
    if settings.rule == "percentile":
        found["percentile"] = exact_text(settings.order)
    if settings.radius is not None:
        found["eps"] = exact_text(settings.radius)
    return found


def reported(blocks: Sequence[ThresholdBlock], run: Run[TabooCalibrateOptions]) -> Document:
    """Nothing where blocks are missing. Raises InputError E-TABOO-THRESHOLD, InternalError E-CONTRADICTION."""
    task: TabooTask = run.problem
    missing = len(run.asked) - len(blocks)
    if missing:
        said = f"none: {missing} of {len(run.asked)} blocks of inputs are not done"
        return Document({"inputs": len(task.training), "calibrated": False}, (facts(("thresholds", said)),), exit_code=1)
    found = CalibrationOutcome.of(task, blocks, exchangeable=run.options.exchangeable)
    keys = list(found.keys(shown=run.options.show_keys))
    columns = (*KEYS, "the key itself") if run.options.show_keys else KEYS
    neurons = found.neurons()
    sections = [Section("keys, with 95 % intervals of false alarms (Clopper-Pearson)", (Table(columns, tuple(keys), "keys"),)),
                *found.transfer(), Section("thresholds", (Table(NEURONS, tuple(neurons), "thresholds"),)), facts(*found.lines(task))]
    warnings = tuple(f"W-TABOO-KEY-REUSED: the key with id {one} makes taboo neurons of another network, too, in {path}: what is learnt of "
                     "one mask is learnt of both" for path, one in ([] if task.public else reused(Path(run.options.detector), found.traps)))
    return Document(
        found.summary, tuple(sections), warnings=warnings,
        values={"detector": found.traps.as_dict(), "detector_file": str(run.options.detector),
                "transfer": None if found.held is None else [list(row) for row in found.held.together],
                "keys": [dict(zip(KEYS, row, strict=False)) for row in keys]})


@dataclass(frozen=True, eq=False)
class CalibrationOutcome:
    """traps: as they are written.  training: alarms on training inputs of one execution, by trap, and of any.  held: None without inputs.

    fires: by trap, of each of its neurons, on how many held-out inputs.  dead: neurons that fire on no training input, whoever executes.
    """

    making: TrapCalibration
    traps: Traps
    training: tuple[tuple[int, ...], int]
    held: FalseAlarms | None
    fires: tuple[tuple[int, ...], ...] | None
    dead: frozenset[tuple[str, int]]
    refined: int
    open: int

    @staticmethod
    def of(task: TabooTask, blocks: Sequence[ThresholdBlock], *, exchangeable: bool) -> CalibrationOutcome:
        """From all blocks. Raises InternalError E-CONTRADICTION where a training input alarms although that is excluded."""
        making = task.making
        thresholds = making.thresholds(blocks)
        traps, held, fires = making.traps(thresholds), None, None
        if task.held is not None:
            inputs = torch.from_numpy(np.ascontiguousarray(task.held.inputs))
            labels = None if task.held.labels is None else torch.from_numpy(task.held.labels)
            values = HeldValues.of(making.observer(traps), inputs, labels)
            traps = making.traps(thresholds, making.dropped(thresholds, values))
            held, fires = values.alarms(traps, *making.executions.bounds(fed(inputs, inputs))), tuple(map(values.fires, traps.traps))
        training = _training_alarms(making, traps, blocks)
        if making.rule.sound and training[1]:
            raise InternalError("E-CONTRADICTION", f"{training[1]} training inputs alarm although every float32 execution was bounded",
                                hint="an operator states too small an error: report this network")
        lite = making.lite(blocks).tolist()
        dead = frozenset(neuron for neuron, bound in zip(making.union.neurons, lite, strict=True) if bound <= 0)
        opened = sum(block.open for block in blocks)
        traps = with_facts(traps, _facts(task, held, opened, exchangeable=exchangeable))
        return CalibrationOutcome(making, traps, training, held, fires, dead, sum(block.refined for block in blocks), opened)

    def keys(self, *, shown: bool) -> Iterator[tuple[Json, ...]]:
        """`KEYS` of each key. shown: with the key itself."""
        for number, trap in enumerate(self.traps.traps):
            alarms = None if self.held is None else self.held.by_trap[number]
            n = None if self.held is None else self.held.n
            rate = (None, None, None) if alarms is None or n is None else percents(alarms, n)
            share = f"{percent_number(Fraction(trap.masked, self.making.total)):.5g} %"
            cells = (number + 1, trap.key_id, trap.masked, self.making.total, share, trap.dropped, self.training[0][number], alarms, n,
                     *rate)
            yield (*cells, self.making.keys[number]) if shown else cells

    def transfer(self) -> Iterator[Section]:
        """Of the held-out inputs on which one key alarms: on how many another one does, for so many keys as people read."""
        if self.held is None or not 1 < len(self.traps) <= _WIDEST or not self.held.any:
            return
        rows = tuple((f"key {number + 1}", *row) for number, row in enumerate(self.held.together))
        heads = ("alarms of", *(f"key {number + 1}, too" for number in range(len(rows))))
        yield Section("transfer: held-out inputs on which both keys alarm", (Table(heads, rows, "transfer"),))

    def neurons(self) -> Iterator[tuple[Json, ...]]:
        """One a watched neuron of each key."""
        for number, trap in enumerate(self.traps.traps):
            for place, ((tensor, entry), threshold) in enumerate(zip(trap.neurons, trap.thresholds, strict=True)):
                yield (number + 1, tensor, entry, threshold, "dead" if (tensor, entry) in self.dead else "",
                       None if self.fires is None else self.fires[number][place])

    @property
    def summary(self) -> dict[str, Json]:
        """Counts."""
        held = self.held
        return {
            "inputs": len(self.making.inputs), "calibrated": True, "keys": len(self.traps), "neurons": len(self.traps.union),
            "dropped": sum(trap.dropped for trap in self.traps.traps), "dead": len(self.dead), "training_alarms": self.training[1],
            "held_out": None if held is None else held.n, "false_alarms": None if held is None else held.any,
            "within_rounding": None if held is None else held.shaky, "accuracy": None if held is None or held.right is None
            else held.right / held.n, "refined": self.refined, "open": self.open}

    def lines(self, task: TabooTask) -> Iterator[tuple[str, str]]:
        """Name and value, for people."""
        making, traps, held = self.making, self.traps, self.held
        radius = "" if making.settings.radius is None else f", eps {exact_text(making.settings.radius)}"
        yield "rule", f"{making.settings.rule}{radius}: {making.rule.promise}"
        yield "an alarm", traps.meaning
        yield "training", (f"{self.training[1]} of {len(making.inputs)} inputs alarm in onnxruntime"
                           + (", and in no other float32 execution either" if making.rule.sound else ""))
        if held is None:
            yield "held out", "none: nothing is known of false alarms; give --held-out FILE or --hold-out N"
        else:
            yield "held out", _of_held(held, making)
        yield "promise", _promise(self, task)
        if self.dead:
            yield "dead", f"{len(self.dead)} neurons fire on no training input, in any execution"
        if making.rule.carries:
            bounds = len(making.inputs) * len(making.union)
            yield "domain", f"asked for {self.refined} of {bounds} bounds; the others could not raise a threshold"
        if self.open:
            yield "limit", f"{self.open} bounds are those of boxes, for lack of time: thresholds hold, and may be lower with more"
        if task.public:
            yield "key", "a public one: anyone can make this mask; give secret keys with --keys FILE"


def _of_held(held: FalseAlarms, making: TrapCalibration) -> str:
    share, low, high = percents(held.any, held.n)
    chosen = "; its neurons were chosen on these very inputs, so that new ones may alarm more often" \
        if making.settings.policy == "calibrated" else ""
    right = "" if held.right is None else f"; the network classifies {percent_text(Fraction(held.right, held.n), 2)} % right"
    return (f"{held.any} of {held.n} inputs alarm, {share} % ({low} to {high} at 95 %); {held.shaky} of these alarms lie within the "
            f"rounding bound of a threshold, {held.near} quiet inputs do{right}{chosen}")


def _promise(outcome: CalibrationOutcome, task: TabooTask) -> str:
    """P(alarm) of a new input, or why nothing is promised."""
    found = held_out(outcome.traps)
    if found is not None:
        return (f"P(alarm) <= {found.masked} ({found.above} + 1) / ({found.inputs} + 1) = {outward_text(found.bound, 1)} "
                f"on a new input, where it and the {found.inputs} inputs are exchangeable and neither the network nor the keys depend "
                "on them")
    if outcome.making.rule.above(1) is None:
        return "none: these thresholds are no order statistics of activations"
    return ("none: the network was trained on the inputs, or nobody said that it was not (--exchangeable); "
            "for new inputs see the false alarms above")


def _facts(task: TabooTask, held: FalseAlarms | None, opened: int, *, exchangeable: bool) -> dict[str, Json]:
    """What the file says of its making."""
    making = task.making
    above = making.rule.above(len(making.inputs))
    found: dict[str, Json] = {
        "absint": own_version(), "training": {"name": task.training.name, "sha256": task.training.sha256, "inputs": len(making.inputs)},
        "neurons": making.total, **_asked(making), "open": opened}
    if held is not None:
        found["false_alarms"] = {"inputs": held.n, "by_trap": list(held.by_trap), "any": held.any, "within_rounding": held.shaky}
    if exchangeable and above is not None:
        found["held_out"] = {"inputs": len(making.inputs), "above": above}
    return found


def _training_alarms(making: TrapCalibration, traps: Traps, blocks: Sequence[ThresholdBlock]) -> tuple[tuple[int, ...], int]:
    """(by trap, any) of one execution; blocks that reach no threshold are not executed again."""
    place = {neuron: column for column, neuron in enumerate(making.union.neurons)}
    columns = [place[neuron] for neuron in traps.union.neurons]
    limits = torch.tensor(traps.union.thresholds, dtype=torch.float64)
    by_trap, together = [0] * len(traps), 0
    for block in blocks:
        if bool((torch.tensor(block.executed, dtype=torch.float64)[columns] <= limits).all()):
            continue
        values = making.executions.executed(making.inputs[block.first : block.first + block.inputs])[:, columns]
        found = alarms_of(traps, values)
        by_trap = [one + more for one, more in zip(by_trap, found.by_trap.sum(0).tolist(), strict=True)]
        together += int(found.any.sum())
    return tuple(by_trap), together


def reused(file: Path, traps: Traps) -> list[tuple[str, str]]:
    """(file, key id) of detectors in the same folder, the one that is replaced included, that watch another network by the same key."""
    mine = {trap.key_id for trap in traps.traps}
    found = []
    for path in sorted({*file.parent.glob("*.json"), file}):
        other = _detector(path)
        if other is not None and other.model_sha256 != traps.model_sha256:
            found += [(str(path), trap.key_id) for trap in other.traps if trap.key_id in mine]
    return found


def _detector(path: Path) -> Traps | None:
    try:
        return read_traps(path) if path.is_file() and path.stat().st_size <= _LARGEST else None
    except (InputError, OSError):       # another kind of file
        return None

