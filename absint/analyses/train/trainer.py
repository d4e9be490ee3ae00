"""The loop: steps, epochs, checkpoints. The same seed and number of threads give the same bits, also after a kill."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

from absint.analyses.train.augment import crop_flip
from absint.analyses.train.checkpoint import EpochSums, State, numbers_file, read_numbers, read_state, same_shapes, write_state
from absint.analyses.train.evaluation import Measured, file_of, measured, with_means
from absint.analyses.train.method import terms_of
from absint.analyses.train.progress import EpochProgress
from absint.analyses.train.record import EpochRecord, Phase
from absint.analyses.train.step import Step
from absint.analyses.train.task import TrainTask
from absint.contract.whole_files import write_whole
from absint.errors import AbsintError, InputError, ResourceError

CHECKPOINT, BEST, LAST = "checkpoint.safetensors", "best", "last"


class TimeOverError(Exception):
    """The run's time is over; the state is on disk."""


class Trainer:
    """One network in training. Mutable: its parameters, their moments, and how far it is.

    done: steps.  records: of the epochs.  last_loss: of the last step.
    """

    def __init__(self, task: TrainTask, stage: Callable[[str], None], end: float, note: Callable[[str], None], *, resume: bool) -> None:
        """note: told what a user has to know of a training that goes on.

        Raises InputError E-CHECKPOINT-FORMAT, E-CHECKPOINT-OTHER, E-CHECKPOINT-EXISTS for one that nobody asked to continue.
        """
        self.task, self.end = task, end
        self.folder = Path(task.options.save)
        self.device = torch.device(task.options.device)
        self.parameters = {name: value.clone().to(self.device).requires_grad_() for name, value in task.network.parameters.items()}
        self.optimiser = torch.optim.Adam(self.parameters.values(), lr=task.schedule.rate, fused=True)
        self.done, self.sums = 0, EpochSums()
        self.last_loss, self._whole = 0.0, True    # whole: between two steps, so that what is kept is the state after one
        self.records: list[EpochRecord] = []
        for torn in self.folder.glob(".*.part"):    # what a kill left of a file
            torn.unlink(missing_ok=True)
        if (self.folder / CHECKPOINT).exists():
            if not resume:
                raise InputError("E-CHECKPOINT-EXISTS", "another training is there already", where=str(self.folder / CHECKPOINT),
                                 hint="add --resume to continue it, or give --save another folder")
            self._restore(read_state(self.folder / CHECKPOINT, task.bound), note)
            if self.records and self.done == self.records[-1].step:     # a kill may have come between the checkpoint and the networks
                self._keep_networks(self.records[-1])
        self.progress = EpochProgress(stage, task.schedule.steps, self.done)
        self._kept = time.monotonic()

    # ---- state -------------------------------------------------------------------------------------------------

    def _restore(self, state: State, note: Callable[[str], None]) -> None:
        same_shapes(self.folder / CHECKPOINT, state, self.task.network.parameters)
        threads = torch.get_num_threads()
        if state.threads != threads:
            note(f"note: the checkpoint was made with {state.threads} threads; with {threads}, sums are taken in another order and the "
                 f"last bits differ (--threads {state.threads})")
        self.done, self.sums, self.records = state.step, state.sums, list(state.records)
        for name, value in self.parameters.items():
            value.data.copy_(state.parameters[name])
            self.optimiser.state[value] = {"step": torch.tensor(float(state.step), device=self.device),
                                           "exp_avg": state.means[name].to(self.device),
                                           "exp_avg_sq": state.squares[name].to(self.device)}

    def keep(self) -> None:
        """The state onto the disk, if it is one to go on from. Raises ResourceError E-OUT-WRITE, E-TRAIN-NAN."""
        if not all(bool(torch.isfinite(value).all()) for value in self.parameters.values()):
            raise self._no_number(self.done - 1, "weights that are no numbers")
        moments = [{name: self.optimiser.state[value][key] if self.optimiser.state[value] else torch.zeros_like(value)
                    for name, value in self.parameters.items()} for key in ("exp_avg", "exp_avg_sq")]
        state = State(self.parameters, moments[0], moments[1], self.done, self.sums, tuple(self.records), self.task.bound,
                      torch.get_num_threads())
        write_state(self.folder / CHECKPOINT, state)
        self._kept = time.monotonic()

    def best(self) -> tuple[bytes, dict[str, Tensor]]:
        """The file of the network that is kept, and its parameters. Raises InputError E-CHECKPOINT-FORMAT, E-CHECKPOINT-OTHER."""
        record, file = best_of(self.records), self.folder / f"{BEST}.onnx"
        assert record is not None, "epochs come before their evaluation"
        numbers = read_numbers(self.folder / f"{BEST}.safetensors", self.parameters)
        content = file_of(self.task, numbers, _note(record))
        if not file.is_file() or file.read_bytes() != content:
            raise InputError("E-CHECKPOINT-OTHER", f"it and {BEST}.safetensors are not the network of epoch {record.epoch}, the best one",
                             where=str(file), hint="give --save another folder and begin again")
        return content, numbers

    # ---- epochs ------------------------------------------------------------------------------------------------

    def epoch(self, number: int) -> EpochRecord:
        """The record of that epoch, counted from 0: of the checkpoint, or trained now; then it is in the checkpoint.

        Raises ResourceError E-TRAIN-NAN, TimeOverError, InputError E-CHECKPOINT-MISSING where the epochs before it are nowhere.
        """
        if number > len(self.records):
            raise InputError("E-CHECKPOINT-MISSING", f"epochs in the journal: {number}, in the checkpoint: {len(self.records)}",
                             where=str(self.folder / CHECKPOINT), hint="give --save another folder and begin again")
        if number < len(self.records):
            return self.records[number]
        begin = number * self.task.epoch_steps
        last = min(begin + self.task.epoch_steps, self.task.schedule.steps)
        self._steps(number, range(begin + (self.done - begin), last), begin)
        record = self._measured(number)
        self.records.append(record)
        self.sums = EpochSums()
        self.keep()     # first: whatever ends the run in between, the networks are those of the checkpoint, or are made from it
        self._keep_networks(record)
        return record

    def _steps(self, number: int, steps: range, begin: int) -> None:
        order = torch.randperm(len(self.task.data.train), generator=_random(self.task.options.seed, "order", number))
        parts = order.split(self.task.batch)
        since = time.monotonic()
        try:
            for step in steps:
                self._step(step, parts[step - begin])
                self.progress.step(number + 1, step + 1, lambda: self.last_loss, self.task.schedule.at(step).eps)
                now = time.monotonic()
                if now - self._kept > self.task.options.checkpoint or now > self.end:
                    self.sums.seconds, since = self.sums.seconds + now - since, now
                    self.keep()
                if now > self.end:
                    raise TimeOverError
        except KeyboardInterrupt:
            if self._whole:
                self.keep()
            raise
        self.sums.seconds += time.monotonic() - since

    def _step(self, step: int, chosen: Tensor) -> None:
        """One step of Adam. Raises ResourceError E-TRAIN-NAN before anything is changed by a loss that is no number."""
        task, moment = self.task, self.task.schedule.at(step)
        generator = _random(task.options.seed, "step", step)
        inputs, labels = task.data.train.inputs(chosen), task.data.train.targets(chosen)
        if task.augmented:
            inputs = crop_flip(inputs, generator)
        batch = Step(task.network.graph, self.parameters, inputs.to(self.device), labels.to(self.device), moment.eps,
                     moment.kappa, task.clip, task.domain, task.options.elide, generator)
        self.optimiser.zero_grad()
        value = 0.0
        for term in self._terms(batch):
            value += float(term.detach())
            if not isfinite(value):
                raise self._no_number(step, f"a loss of {value}")
            torch.autograd.backward(term)
        for group in self.optimiser.param_groups:
            group["lr"] = moment.rate
        self._whole = False
        self.optimiser.step()
        self.done = step + 1
        self._add(batch, value, len(chosen))
        self._whole = True

    def _terms(self, batch: Step) -> Iterator[Tensor]:
        """The method's, and the width term: with the first one that rests on bounds, whose gradient frees them, or by itself."""
        weight, added = self.task.width_weight, batch.eps == 0
        for term in terms_of(self.task.method, batch):
            bounded = weight > 0 and not added and batch.bounded
            added = added or bounded
            yield term + weight * batch.widths(self.task.options.width_layers) if bounded else term
        if weight > 0 and not added:
            yield weight * batch.widths(self.task.options.width_layers)

    def _add(self, batch: Step, loss: float, count: int) -> None:
        self.last_loss = loss
        self.sums.loss += loss * count
        self.sums.inputs += count
        logits = batch.__dict__.get("logits")   # of a method that looked at the inputs themselves
        if logits is not None:
            self.sums.wrong += int((logits.detach().flatten(1).argmax(1) != batch.labels).sum())
            self.sums.seen += count

    def _no_number(self, step: int, what: str) -> AbsintError:
        held = self.folder / CHECKPOINT
        there = f"{held} holds the last good state" if held.exists() else "no epoch was done"
        return ResourceError("E-TRAIN-NAN", f"{what} at step {step + 1} of {self.task.schedule.steps}; {there}",
                             where=f"--method {self.task.options.method}",
                             hint="a smaller --rate, a longer --ramp or a smaller --width-weight")

    # ---- what an epoch leaves ----------------------------------------------------------------------------------

    def _measured(self, number: int) -> EpochRecord:
        task, moment, sums = self.task, self.task.schedule.at(self.done - 1), self.sums
        found, begin = Measured(), time.monotonic()
        if (number + 1) % task.options.every == 0 or number + 1 == task.epochs:
            self.keep()     # measuring takes a while, and may be interrupted
            self.progress.doing(f"epoch {number + 1}: errors on {len(task.data.test)} test inputs")
            found = measured(task, self.parameters, self.end)
            if not found.whole:     # half a measurement is none: who resumes measures the epoch again
                raise TimeOverError
        record = EpochRecord(
            number, Phase(moment.phase), number + 1, self.done, sums.loss / sums.inputs if sums.inputs else None,
            sums.wrong / sums.seen if sums.seen else None, moment.eps, moment.kappa, moment.rate, found.clean_error, found.clean_n,
            found.pgd_error, found.pgd_n, found.verified_error, found.verified_n, found.width,
            seconds=sums.seconds + time.monotonic() - begin)
        return with_means(record, self.records)

    def _keep_networks(self, record: EpochRecord) -> None:
        """The network of this epoch, and the best one by verified error."""
        content = file_of(self.task, self.parameters, _note(record))
        write_whole(self.folder / f"{LAST}.onnx", content)
        if best_of(self.records) is record:
            write_whole(self.folder / f"{BEST}.onnx", content)
            write_whole(self.folder / f"{BEST}.safetensors", numbers_file(self.parameters, {"absint_epoch": str(record.epoch)}))


def _note(record: EpochRecord) -> str:
    return f"absint train: epoch {record.epoch}, step {record.step}"


def best_of(records: list[EpochRecord]) -> EpochRecord | None:
    """The one with the least verified error, of equal ones that with the least PGD error, then clean error, then the latest.

    Where none was measured the last one. Nothing may be proved of any, as after clean training.
    """
    found = [one for one in records if one.verified_error is not None and one.phase is not Phase.FINAL]
    return min(found, key=_rank) if found else records[-1] if records else None


def _rank(record: EpochRecord) -> tuple[float, ...]:
    return record.verified_error or 0.0, record.pgd_error or 0.0, record.clean_error or 0.0, -record.index


def _random(seed: int, what: str, number: int) -> torch.Generator:
    """A stream of its own for each epoch's order and each step: a resumed run needs no state of a generator."""
    digest = hashlib.sha256(f"{seed}/{what}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def final_record(records: list[EpochRecord], number: int, found: Measured, eps: float, seconds: float) -> EpochRecord:
    """The closing evaluation as a record. eps: that it was made at."""
    best = best_of(records)
    assert best is not None, "epochs come before their evaluation"
    base = EpochRecord(number, Phase.FINAL, best.epoch, best.step, eps=eps, seconds=seconds)
    return replace(base, clean_error=found.clean_error, clean_n=found.clean_n, pgd_error=found.pgd_error, pgd_n=found.pgd_n,
                   verified_error=found.verified_error, verified_n=found.verified_n, width=found.width)


