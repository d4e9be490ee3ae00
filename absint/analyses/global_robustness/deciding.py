"""Draws verified, falsified or unknown at each radius: a latent itself first, then what lies around it, from the largest radius down.

What is verified within one radius is within all smaller ones; a latent that is classified otherwise falsifies every radius that reaches it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import isfinite

import torch
from torch import Tensor

from absint.analyses.global_robustness.counting import Count, prefix
from absint.analyses.global_robustness.options import GlobalRobustnessOptions
from absint.analyses.global_robustness.pairs import JudgedPair
from absint.analyses.global_robustness.robustness_record import FALSIFIED, UNKNOWN, VERIFIED, LatentRobustness
from absint.analyses.global_robustness.task import GlobalTask
from absint.analyses.verify.deciding import decided
from absint.analyses.verify.settings import ProofSettings
from absint.attacks import Given, Search, falsify
from absint.contract.analysis import Item
from absint.contract.run import Run
from absint.errors import InternalError
from absint.numeric.backend import Budget, numeric_mode
from absint.numeric.decimal import float_above
from absint.problem.problem import Problem
from absint.problem.regions import ball
from absint.problem.spec import Spec
from absint.search.classified import Classified, classified
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

_ROUND = 64     # draws of each class that are decided before the next ones begin: a run that ends early has a long prefix


@dataclass(frozen=True, eq=False)
class Radii:
    """What is asked of each draw. exact: ascending, by their texts.  settings: of the proofs."""

    task: GlobalTask
    exact: dict[str, Fraction]
    settings: ProofSettings


def asked(run: Run[GlobalRobustnessOptions]) -> list[Item]:
    """Draws, of every pair in turn: index = draw * pairs + pair, whatever their number. Each has its limit once for every radius.

    payload: the record of one of which nothing is known.
    """
    radii: Radii = run.problem
    limit = run.timeout * len(radii.exact)
    made = []
    for draw in range(radii.task.draws):
        for pair in radii.task.pairs:
            index = draw * len(radii.task.pairs) + pair.place
            nothing = LatentRobustness(index, pair.classifier, pair.generator, pair.label, draw, None, -1, None,
                                       dict.fromkeys(radii.exact, UNKNOWN), {})
            made.append(Item(index, f"class {pair.label}, draw {draw}", limit if isfinite(limit) else None, nothing))
    return made


def of_pair(found: dict[int, LatentRobustness], pair: JudgedPair, radii: Radii) -> list[LatentRobustness]:
    """The draws that count: the longest complete prefix. What the run's own limit cut counts as not drawn."""
    task = radii.task
    whole = {index: record for index, record in found.items() if not record.cut}
    return prefix(whole, (draw * len(task.pairs) + pair.place for draw in range(task.draws)))


def count_of(records: Sequence[LatentRobustness], task: GlobalTask, eps: str) -> Count:
    """At one radius."""
    verdicts = [record.verdicts[eps] for record in records]
    return Count(task.draws, len(records), verdicts.count(VERIFIED), verdicts.count(FALSIFIED))


def correct_of(records: Sequence[LatentRobustness], task: GlobalTask) -> Count:
    """Of the latents themselves."""
    return Count(task.draws, len(records), sum(record.correct is True for record in records),
                 sum(record.correct is False for record in records))


def answers(items: Sequence[Item], run: Run[GlobalRobustnessOptions]) -> Iterator[LatentRobustness]:
    """The record of each draw the moment it is known, round by round; in a sequential run until every class is narrow enough.

    Sound: VERIFIED where the engine proves that the class's output is the strict maximum for every real latent within the radius;
    FALSIFIED with a proved and replayed latent. Raises what `decided` raises.
    """
    radii: Radii = run.problem
    task, pairs = radii.task, len(radii.task.pairs)
    found: dict[int, LatentRobustness] = dict(run.done)
    for number in sorted({item.index // pairs // _ROUND for item in items}):
        for pair in task.pairs:
            mine = [item for item in items if item.index // pairs // _ROUND == number and item.index % pairs == pair.place]
            if not mine:
                continue
            if _narrow(found, pair, radii):
                made: Iterator[LatentRobustness] = (replace(item.payload, verdicts={}, cut=True) for item in mine)     # nobody keeps these
            elif run.over:
                return
            else:
                made = _Draws(run, pair, mine).records()
            for record in made:
                found[record.index] = record
                yield record


def _narrow(found: dict[int, LatentRobustness], pair: JudgedPair, radii: Radii) -> bool:
    """Whether the interval of every radius is narrow enough."""
    task = radii.task
    if task.width is None:
        return False
    counted = of_pair(found, pair, radii)
    ends = [count_of(counted, task, eps).interval(task.rest_of(pair), sequential=True) for eps in radii.exact]
    return all(high - low <= task.width for low, high in ends)


@dataclass(eq=False)
class _Draw:
    """What is known of one so far. witness, distance: of the nearest latent that is classified otherwise."""

    item: Item
    latent: Tensor
    verdicts: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    witness: tuple[float, ...] | None = None
    distance: Fraction | None = None
    time_s: float = 0.0
    cut: bool = False


class _Draws:
    """Some draws of one pair. draws: by the index of their items."""

    def __init__(self, run: Run[GlobalRobustnessOptions], pair: JudgedPair, items: Sequence[Item]) -> None:
        self.run, self.pair = run, pair
        self.radii: Radii = run.problem
        self.task = self.radii.task
        self.items = list(items)
        numbers = [item.index // len(self.task.pairs) for item in items]
        self.points = self.task.chosen(pair, numbers)
        self.draws = {item.index: _Draw(item, self.points[slot]) for slot, item in enumerate(items)}
        self.told: set[int] = set()

    @property
    def todo(self) -> list[_Draw]:
        """Those without a record."""
        return [draw for index, draw in self.draws.items() if index not in self.told]

    def records(self) -> Iterator[LatentRobustness]:
        """Wrong ones first, then from the largest radius down."""
        begin = time.monotonic()
        self.found = self._classified()
        if self.found.done < len(self.items):
            return
        self._wrong()
        for draw in self.draws.values():
            draw.time_s += (time.monotonic() - begin) / len(self.items)
        yield from self._told()
        for eps in reversed(self.radii.exact):
            yield from self._asked(eps)
        for draw in self.todo:      # what the time did not suffice for
            for eps in self.radii.exact:
                self._learn(draw, eps, UNKNOWN, Reason.TIMEOUT.value)
            draw.cut = True
        yield from self._told()

    # ---- the latents themselves --------------------------------------------------------------------------------

    def _classified(self) -> Classified:
        task = self.task
        return classified(self.pair.graph, self.points, self.pair.label, end=self.run.end, memory=task.memory, batch=task.batch,
                          device=task.device)

    def _wrong(self) -> None:
        """A latent that is classified otherwise falsifies every radius, once both models have been seen to do so. Radius 0 is decided
        by what is proved of the latent itself."""
        wrong = self.found.wrong.nonzero().flatten()
        for slot in self._replayed(wrong):
            draw = self.draws[self.items[slot].index]
            draw.witness, draw.distance = tuple(draw.latent.flatten().tolist()), Fraction(0)
            for eps in self.radii.exact:
                self._learn(draw, eps, FALSIFIED)
        for slot, item in enumerate(self.items):
            draw = self.draws[item.index]
            right, not_right = bool(self.found.right[slot]), bool(self.found.wrong[slot])
            for eps, radius in self.radii.exact.items():
                if not_right:
                    self._learn(draw, eps, UNKNOWN, Reason.AMBIGUOUS.value)     # where it was not replayed
                elif radius == 0:
                    self._learn(draw, eps, VERIFIED if right else UNKNOWN, "" if right else Reason.AMBIGUOUS.value)

    def _replayed(self, wrong: Tensor) -> list[int]:
        """Slots of latents that are proved, and seen, to violate the property themselves."""
        if not len(wrong):
            return []
        points = self.points[wrong]
        spec = self._specify(torch.arange(len(wrong)))
        with numeric_mode():
            found = falsify(self.pair.graph, ball("linf", points, Fraction(0), None), spec, Given(points.to(self.task.device)),
                            Search(self.task.device, Budget(self.task.memory)))
        return [int(wrong[place]) for place in found.witnesses]

    def _specify(self, chosen: Tensor) -> Spec:
        return Spec.robust(torch.full((len(chosen),), self.pair.label, dtype=torch.int64), self.pair.graph.output.size)

    # ---- balls -------------------------------------------------------------------------------------------------

    def _asked(self, eps: str) -> Iterator[LatentRobustness]:
        """One radius, of the draws that are open there; the record of each that is open nowhere then."""
        asked = [draw for draw in self.todo if eps not in draw.verdicts]
        if not asked:
            return
        if self.run.over:
            return
        region = ball("linf", torch.stack([draw.latent for draw in asked]), self.radii.exact[eps], None)
        problem = Problem(self.pair.graph, region, self._specify, tuple(draw.item.index for draw in asked), eps=eps)
        settings = replace(self.radii.settings, total_timeout=self.run.left,
                           on_stage=lambda text: self.run.stage(f"class {self.pair.label}, radius {eps}: {text}"))
        with closing(decided(problem, settings)) as found:
            for result in found:
                self._answered(self.draws[result.index], eps, result)
                yield from self._told()

    def _answered(self, draw: _Draw, eps: str, result: InstanceResult) -> None:
        draw.time_s += result.time_s
        draw.cut = draw.cut or result.cut
        if result.verdict is Verdict.VERIFIED and result.assurance is Assurance.SOUND:
            for smaller, radius in self.radii.exact.items():
                if radius <= self.radii.exact[eps]:
                    self._learn(draw, smaller, VERIFIED)
        elif result.verdict is Verdict.FALSIFIED and result.witness is not None:
            self._reached(draw, result.witness)
        else:
            self._learn(draw, eps, UNKNOWN, Reason.IMPRECISE.value if result.reason is None else result.reason.value)

    def _reached(self, draw: _Draw, witness: tuple[float, ...]) -> None:
        """Every radius at least as large as its exact distance."""
        pairs = zip(draw.latent.flatten().tolist(), witness, strict=True)
        distance = max(abs(Fraction(one) - Fraction(two)) for one, two in pairs)
        if draw.distance is None or distance < draw.distance:
            draw.witness, draw.distance = witness, distance
        for eps, radius in self.radii.exact.items():
            if radius >= distance:
                self._learn(draw, eps, FALSIFIED)

    @staticmethod
    def _learn(draw: _Draw, eps: str, verdict: str, reason: str = "") -> None:
        """What was decided stands; what was open may be decided by another radius.

        Raises InternalError E-CONTRADICTION where what is proved denies what was: a bound or a witness is unsound, and no count is one.
        """
        known = draw.verdicts.get(eps, UNKNOWN)
        if {known, verdict} == {VERIFIED, FALSIFIED}:
            raise InternalError("E-CONTRADICTION", f"{draw.item.name} is proved to be classified rightly within {eps}, and otherwise",
                                hint="report it with the networks")
        if known == UNKNOWN:
            draw.verdicts[eps] = verdict
            draw.reasons.pop(eps, None)
            if reason:
                draw.reasons[eps] = reason

    # ---- records -----------------------------------------------------------------------------------------------

    def _told(self) -> Iterator[LatentRobustness]:
        """Of those of which nothing is left to ask."""
        for draw in self.todo:
            if len(draw.verdicts) == len(self.radii.exact):
                self.told.add(draw.item.index)
                yield self._record(draw)

    def _record(self, draw: _Draw) -> LatentRobustness:
        slot = next(k for k, item in enumerate(self.items) if item is draw.item)
        right, wrong, margin = bool(self.found.right[slot]), bool(self.found.wrong[slot]), float(self.found.margin[slot])
        order = {eps: draw.verdicts[eps] for eps in self.radii.exact}
        return LatentRobustness(
            draw.item.index, self.pair.classifier, self.pair.generator, self.pair.label, draw.item.index // len(self.task.pairs),
            True if right else False if wrong else None, int(self.found.predicted[slot]), margin if isfinite(margin) else None, order,
            {eps: reason for eps, reason in draw.reasons.items() if order[eps] == UNKNOWN},
            None if draw.distance is None else float_above(draw.distance), self._taken(draw), draw.witness, draw.time_s, draw.cut)

    def _taken(self, draw: _Draw) -> int | None:
        """The class of the witness, by a float64 evaluation; of several greatest scores another one than the draw's own."""
        if draw.witness is None:
            return None
        with torch.no_grad(), numeric_mode():
            point = torch.tensor(draw.witness, dtype=torch.float64).reshape(1, *draw.latent.shape)
            scores = self.pair.graph(point).flatten()
        scores[self.pair.label] = -torch.inf
        return int(scores.argmax())
