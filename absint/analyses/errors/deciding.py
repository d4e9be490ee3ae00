"""Images in blocks: evaluated, attacked for a moment, asked of each domain, attacked at length where no domain proved anything.

What searches (branching, programs) comes last, and is not asked about images that an attack broke: a point of the ball that is proved to
be misclassified leaves nothing to prove. All other domains are asked about these, too, unless only what is open is asked for: a proof
and a counterexample of one image are a contradiction, and end the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from absint.analyses.errors.asking import ErrorsTask, images
from absint.analyses.errors.options import ErrorsOptions
from absint.analyses.errors.record import ATTACK, ATTACKED, FALSIFIED, ImageErrors
from absint.analyses.verify.deciding import decided
from absint.contract.run import Run
from absint.numeric.backend import numeric_mode
from absint.problem.problem import robustness
from absint.problem.regions.region import LinfBall
from absint.search.error_rates import Descent, attacked_wrong, check_order, predicted_wrong
from absint.verdict import Assurance, InstanceResult, Verdict

_BLOCK, _SEARCHED = 256, 16      # images of a block: what is attacked together; fewer where each may take long


def answers(run: Run[ErrorsOptions], index: Sequence[int]) -> Iterator[ImageErrors]:
    """A record of each image the moment it is known, block by block; none of those that the time did not suffice to evaluate.

    Raises InternalError E-CONTRADICTION where an image is both proved and broken, and what `decided` raises.
    """
    task: ErrorsTask = run.problem
    for part in torch.tensor(index, dtype=torch.int64).split(_SEARCHED if task.searching else _BLOCK):
        if run.over:
            return
        with numeric_mode():
            block = _Block.begun(run, tuple(part.tolist()))
        if block is not None:
            yield from block.records()


@dataclass(eq=False)
class _Block:
    """Images on their way. index: their names.  wrong, broken: (n,) bool; broken by the attack.  tried: (n,) whether to its end.

    proofs: by domain, a verdict of each; None is open.  reasons, seconds: of each image, by domain.  told: (n,) has its record.
    """

    run: Run[ErrorsOptions]
    index: tuple[int, ...]
    inputs: Tensor
    labels: Tensor
    predicted: list[int | None]
    wrong: Tensor
    spent: float
    broken: Tensor
    tried: Tensor
    told: Tensor
    proofs: dict[str, list[bool | None]] = field(default_factory=dict)
    reasons: list[dict[str, str]] = field(default_factory=list)
    seconds: list[dict[str, float]] = field(default_factory=list)
    cut: set[int] = field(default_factory=set)

    @staticmethod
    def begun(run: Run[ErrorsOptions], index: tuple[int, ...]) -> _Block | None:
        """Evaluated; None where the time was up."""
        task: ErrorsTask = run.problem
        begin = time.monotonic()
        inputs, labels = images(run, index), torch.tensor([task.labels[name] for name in index], dtype=torch.int64)
        found = predicted_wrong(run.network, inputs, labels, end=run.end, memory=task.memory, device=task.device)
        if found.done < len(index):
            return None
        predicted: list[int | None] = list(labels.tolist())
        wrong = found.flags.nonzero().flatten()
        for slot, one in zip(wrong.tolist(), _classes(run, inputs[wrong]), strict=True):
            predicted[slot] = one
        none = torch.zeros(len(index), dtype=torch.bool)
        return _Block(run, index, inputs, labels, predicted, found.flags, (time.monotonic() - begin) / len(index), none, none.clone(),
                      none.clone(), {name: [None] * len(index) for name in task.domains}, [{} for _ in index], [{} for _ in index])

    @property
    def task(self) -> ErrorsTask:
        """What is asked."""
        task: ErrorsTask = self.run.problem
        return task

    @property
    def proved(self) -> Tensor:
        """(n,) by any domain."""
        return torch.tensor([any(answers[k] for answers in self.proofs.values()) for k in range(len(self.index))], dtype=torch.bool)

    def records(self) -> Iterator[ImageErrors]:
        """Misclassified ones first, then as they are decided."""
        yield from self._told(self.wrong)
        with numeric_mode():
            self._attacked(self.task.quick, ~self.wrong)
            for name in self.task.plain:
                self._asked_all(name)
            if self.task.attack != self.task.quick:
                self._attacked(self.task.attack, ~self.wrong & ~self.broken & ~self.proved)
        late = [name for name in self.task.domains if name in self.task.searching]
        for name in late[:-1]:
            self._asked_all(name)
        if late:
            self._skip_broken(late[-1])
            yield from self._told(~self._chosen(late[-1]))
            for slot in self._asked(late[-1]):
                yield from self._told(torch.arange(len(self.index)) == slot)
        yield from self._told(~self.told)

    # ---- attacks -----------------------------------------------------------------------------------------------

    def _attacked(self, descent: Descent | None, chosen: Tensor) -> None:
        """Images (n,) bool, within their limit and the run's; what the time cut was not tried to the end."""
        index = chosen.nonzero().flatten()
        if descent is None or not len(index):
            return
        run, task, begin = self.run, self.task, time.monotonic()
        run.stage(f"{descent.steps} steps of attack, {len(index)} inputs")
        found = attacked_wrong(run.network, self.inputs[index], self.labels[index], task.eps, run.options.clip, descent,
                               end=min(run.end, begin + run.timeout * len(index)), memory=task.memory, device=task.device)
        self.broken[index] = found.flags
        self.tried[index[: found.done]] = descent == task.attack
        self.cut |= set(index[found.done :].tolist()) if run.over else set()
        for slot in index.tolist():
            self.seconds[slot][ATTACK] = self.seconds[slot].get(ATTACK, 0.0) + (time.monotonic() - begin) / len(index)
        check_order(self.broken, self.proved, "attack", self.index)

    # ---- proofs ------------------------------------------------------------------------------------------------

    def _chosen(self, name: str) -> Tensor:
        """(n,) bool: whom a domain is asked about."""
        chosen = ~self.wrong
        if name in self.task.searching or self.task.only_open:
            chosen = chosen & ~self.broken
        return chosen & ~self.proved if self.task.only_open else chosen

    def _skip_broken(self, name: str) -> None:
        """Nothing can be proved of what an attack broke."""
        for slot in (self.broken & ~self._chosen(name)).nonzero().flatten().tolist():
            self.proofs[name][slot], self.reasons[slot][name] = False, ATTACKED

    def _asked_all(self, name: str) -> None:
        self._skip_broken(name)
        for _ in self._asked(name):
            pass

    def _asked(self, name: str) -> Iterator[int]:
        """The slot of each image asked, once its answer is known."""
        run, task, index = self.run, self.task, self._chosen(name).nonzero().flatten()
        if not len(index):
            return
        if run.over:
            self.cut |= set(index.tolist())
            return
        place = {self.index[slot]: slot for slot in index.tolist()}
        problem = robustness(run.network, LinfBall(self.inputs[index], task.eps, run.options.clip), self.labels[index],
                             index=tuple(place), eps=task.text)
        settings = replace(task.proof, domain=task.domains[name], timeout=run.timeout, total_timeout=run.left,
                           on_stage=lambda text: run.stage(f"{name}: {text}"))
        found = decided(problem, settings)
        with closing(found):
            for result in found:
                self._learn(name, place[result.index], result)
                yield place[result.index]

    def _learn(self, name: str, slot: int, result: InstanceResult) -> None:
        proved = result.verdict is Verdict.VERIFIED and result.assurance is Assurance.SOUND
        self.proofs[name][slot], self.seconds[slot][name] = proved, result.time_s
        if not proved:
            witness = result.verdict is Verdict.FALSIFIED
            self.reasons[slot][name] = FALSIFIED if witness else "" if result.reason is None else result.reason.value
        if result.cut:
            self.cut.add(slot)
        here = torch.tensor([slot])
        check_order(self.broken[here] | (FALSIFIED in self.reasons[slot].values()),
                    torch.tensor([any(answers[slot] for answers in self.proofs.values())]), name, (self.index[slot],))

    # ---- records -----------------------------------------------------------------------------------------------

    def _told(self, chosen: Tensor) -> Iterator[ImageErrors]:
        """Records of images (n,) bool that have none yet."""
        slots = (chosen & ~self.told).nonzero().flatten().tolist()
        for slot in slots:
            self.told[slot] = True
            yield self._record(slot)

    def _record(self, slot: int) -> ImageErrors:
        broken, tried = bool(self.broken[slot]), bool(self.tried[slot])
        seconds = self.seconds[slot]
        return ImageErrors(
            self.index[slot], int(self.labels[slot]), self.predicted[slot], not bool(self.wrong[slot]),
            True if broken else False if tried else None, {name: found[slot] for name, found in self.proofs.items()},
            dict(self.reasons[slot]), dict(seconds), self.spent + sum(seconds.values()), slot in self.cut)


def _classes(run: Run[ErrorsOptions], inputs: Tensor) -> list[int | None]:
    """Of a few images; None where a score is NaN."""
    if not len(inputs):
        return []
    with torch.no_grad():
        scores = run.network(inputs).flatten(1)
    return [None if nan else one for nan, one in zip(scores.isnan().any(1).tolist(), scores.argmax(1).tolist(), strict=True)]
