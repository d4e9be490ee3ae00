"""The undecided instances of one batch, and all that is proved of them so far. Mutable, private to `portfolio`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from math import inf

import torch
from torch import Tensor

from absint.attacks import Witness
from absint.engine.attempts import by_rounding
from absint.engine.context import Context
from absint.engine.evidence import Evidence
from absint.engine.recorder import Recorder
from absint.model.graph import Graph
from absint.numeric.interval import Interval
from absint.problem.problem import Problem
from absint.problem.regions.region import Region
from absint.problem.spec import ATTAINED, Refutation, Spec
from absint.verdict import Assurance, InstanceResult, Reason, Verdict


class Undecided:
    """A batch on its way through the stages.

    positions: (n,) int64 in the whole problem.  part: those instances.  spec: their properties on the device.
    refuted: (n, disjuncts) float64, the best sound bound of a row, or of a combination of rows, of each disjunct.
    claimed: (n, disjuncts) float64, the same where a solver's word counts.
    known: sound bounds of nodes, by any stage.
    corner: (n, *input) where the last relaxation that has one is worst, or None.
    slack: (n,) float64, about what rounding took from the margins in the last attempt.
    origin: (n,) int64, each one's slot at the time of the last `mark`.  marks: how many there were.
    total: whether the deadline of the stage under way is that of the whole call, not that of an instance.
    spent: of every position of the problem, its share of the wall time so far; written to.
    left: positions given up, and what was known of them.  done: reported, and not yet taken by `drain`.
    recorder: of the whole problem, where evidence is asked for.
    """

    def __init__(self, problem: Problem, positions: Tensor, device: torch.device, name: str, spent: list[float]) -> None:
        self.problem, self.positions, self.device, self.name = problem, positions, device, name
        self.part = problem.take(positions)
        self.exact = self.part.spec
        self.spec: Spec = self.exact.to(device)
        self.refuted = torch.full((len(positions), self.spec.disjuncts), -inf, dtype=torch.float64, device=device)
        self.claimed = self.refuted.clone()
        self.known: Mapping[str, Interval] = self.part.known
        self.notes: list[tuple[str, ...]] = [()] * len(positions)
        self.left: tuple[Tensor, Mapping[str, Interval]] = positions[:0], {}
        self.corner: Tensor | None = None
        self.reason: list[Reason] = [Reason.IMPRECISE] * len(positions)
        self.cut = [False] * len(positions)
        self.limit: list[str | None] = [None] * len(positions)
        self.slack = torch.zeros(len(positions), dtype=torch.float64, device=device)
        self.origin = torch.arange(len(positions))
        self.marks = len(positions)
        self.total = False
        self.spent = spent
        self.ambiguous: set[int] = set()
        self.done: list[tuple[int, InstanceResult]] = []
        self.recorder: Recorder | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @staticmethod
    def together(parts: list[Undecided]) -> list[Undecided]:
        """What is undecided in all parts of one batch, as one part; they are left empty. Nothing may wait in them."""
        parts = [part for part in parts if len(part)]
        if len(parts) < 2:
            return parts
        one = copy(parts[0])
        one.positions = torch.cat([part.positions for part in parts])
        one.part = one.problem.take(one.positions)
        one.exact = one.part.spec
        one.spec = one.exact.to(one.device)
        for name in ("refuted", "claimed", "slack"):
            setattr(one, name, torch.cat([getattr(part, name) for part in parts]))
        names = [name for name in parts[0].known if all(name in part.known for part in parts)]
        one.known = {name: Interval(torch.cat([part.known[name].lower for part in parts]),
                                    torch.cat([part.known[name].upper for part in parts])) for name in names}
        one.corner = None
        if any(part.corner is not None for part in parts):
            middles = [part.part.region.center.to(one.refuted) if part.corner is None else part.corner.to(one.refuted) for part in parts]
            one.corner = torch.cat(middles)
        for name in ("reason", "cut", "limit", "notes"):
            setattr(one, name, [each for part in parts for each in getattr(part, name)])
        one.ambiguous = set().union(*(part.ambiguous for part in parts))
        one.done, one.left = [], (one.positions[:0], {})
        one.mark()
        for part in parts:
            part._keep(torch.zeros(len(part), dtype=torch.bool))
        return [one]

    def mark(self) -> None:
        """Begin to remember from which slots those that stay came."""
        self.origin, self.marks = torch.arange(len(self)), len(self)

    @property
    def marked(self) -> Tensor:
        """(marks,) bool: which of those at the time of the last `mark` are still undecided."""
        out = torch.zeros(self.marks, dtype=torch.bool)
        out[self.origin] = True
        return out

    @property
    def again(self) -> Tensor:
        """(n,) bool: those that a finer number format may decide; see `by_rounding`."""
        never = torch.tensor([reason is Reason.MEMORY for reason in self.reason], dtype=torch.bool)
        return by_rounding(self.margin, self.slack).cpu() & ~never

    def split(self, size: int) -> list[Undecided]:
        """Parts of at most `size` undecided instances each; where there are several, this batch is left empty."""
        if len(self) <= size:
            return [self] if len(self) else []
        parts = []
        for start in range(0, len(self), size):
            one = copy(self)
            mine = torch.zeros(len(self), dtype=torch.bool)
            mine[start : start + size] = True
            one.done, one.left = [], (self.positions[:0], {})
            one._keep(mine)
            one.ambiguous = self.ambiguous & set(one.positions.tolist())
            one.mark()
            parts.append(one)
        self._keep(torch.zeros(len(self), dtype=torch.bool))
        return parts

    @staticmethod
    def parted(parts: list[Undecided], takes: Callable[[Graph, Region], Tensor]) -> tuple[list[Undecided], list[Undecided]]:
        """The instances of which `takes` is true, and the others; a part that has both is left empty."""
        chosen: list[Undecided] = []
        others: list[Undecided] = []
        for part in parts:
            mask = takes(part.part.graph, part.part.region)
            if bool(mask.all()) or not bool(mask.any()):
                (chosen if bool(mask.all()) else others).append(part)
                continue
            for found, mine in ((chosen, mask), (others, ~mask)):
                one = copy(part)
                one.done, one.left = [], (part.positions[:0], {})
                one._keep(mine)
                one.ambiguous = part.ambiguous & set(one.positions.tolist())
                one.mark()
                found.append(one)
            part._keep(torch.zeros(len(part), dtype=torch.bool))
        return chosen, others

    def drain(self) -> list[tuple[int, InstanceResult]]:
        """What was reported since the last call: positions and results."""
        out, self.done = self.done, []
        return out

    def soonest(self, allowed: Sequence[float]) -> float:
        """The least time that one of them has left. allowed: seconds, by position."""
        return min(allowed[int(k)] - self.spent[int(k)] for k in self.positions.tolist())

    def expire(self, allowed: Sequence[float], left: float) -> None:
        """Give up those that have at most `left` seconds left: the limit of an instance is compared with its share of the time."""
        over = torch.tensor([allowed[k] - self.spent[k] <= left for k in self.positions.tolist()], dtype=torch.bool)
        if bool(over.any()):
            self._give_up(over, Reason.TIMEOUT)

    @property
    def recording(self) -> Recorder | None:
        """Of those that are undecided."""
        return None if self.recorder is None else self.recorder.over(self.part.region, self.positions)

    def evidence(self, slot: int, witness: Witness | None = None) -> Evidence | None:
        """What is known of one, or the witness; None where nobody asked."""
        recorder = self.recording
        found = None if recorder is None else recorder.evidence(slot, self.part.region, self.exact)
        return found if found is None or witness is None else found.with_witness(witness.point, witness.output)

    @property
    def margin(self) -> Tensor:
        """(n,) certified margins; the property is proved where they are > 0. An empty unsafe set has margin +inf."""
        return self._least(self.refuted)

    @property
    def word(self) -> Tensor:
        """(n,) margins where a solver's word counts."""
        return self._least(torch.fmax(self.refuted, self.claimed))

    def _least(self, bounds: Tensor) -> Tensor:
        return bounds.amin(1) if self.spec.disjuncts else bounds.new_full((len(self),), inf)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Wall time inside is shared by the instances that are undecided at its start."""
        begin, sharing = time.monotonic(), self.positions.tolist()
        try:
            yield
        finally:
            share = (time.monotonic() - begin) / max(1, len(sharing))
            for k in sharing:
                self.spent[k] += share

    def learn(self, refuted: Tensor, before: Context, after: Context, solver: Tensor | None, claimed: Tensor | None = None) -> None:
        """Merge what a stage proved: bounds (n, disjuncts), and bounds of nodes. claimed: what else a solver says of the disjuncts.

        What rests on a solver's word is no proof and is left out: an instance with one such bound anywhere keeps what was
        known before the stage, because what was derived from that bound carries no flag of its own.
        """
        refuted = torch.nan_to_num(refuted.to(self.refuted), nan=-inf, posinf=inf, neginf=-inf)
        for word in (refuted, claimed):
            if word is not None:
                self.claimed = torch.fmax(self.claimed, torch.nan_to_num(word.to(refuted), nan=-inf, posinf=inf, neginf=-inf))
        if solver is not None:
            refuted = torch.where(solver.to(refuted.device)[:, None], torch.full_like(refuted, -inf), refuted)
        self.refuted = torch.fmax(self.refuted, refuted)
        flags = [interval.solver for interval in after.known.values() if interval.solver is not None]
        tainted = torch.stack(flags).any(0) if flags else None
        self.known = {name: interval if tainted is None else _restored(interval, before.known.get(name), tainted)
                      for name, interval in after.known.items()}

    def searched(self, found: Refutation) -> None:
        """Merge what a step of a search says."""
        self.refuted = torch.fmax(self.refuted, found.lower.to(self.refuted))
        for word in (self.refuted, found.claimed):
            if word is not None:
                self.claimed = torch.fmax(self.claimed, torch.nan_to_num(word.to(self.claimed), nan=-inf, posinf=inf, neginf=-inf))
        for slot, text in found.limits:
            self.limit[slot] = text
        self.note(found.notes)
        self.reasons()
        for slot, over in enumerate([] if found.late is None else found.late.tolist()):
            if over and self.reason[slot] in (Reason.IMPRECISE, Reason.OVERFLOW) and not float(self.margin[slot]) > 0:
                self.reason[slot], self.cut[slot] = Reason.TIMEOUT, self.total

    def reasons(self) -> None:
        """Why each instance would be unknown now."""
        for slot, (value, word) in enumerate(zip(self.margin.tolist(), self.word.tolist(), strict=True)):
            open_ = not value > 0
            self.reason[slot] = (
                Reason.SOLVER if 0 < word < inf and open_ else Reason.LIMIT if self.limit[slot] is not None and open_ else
                Reason.OVERFLOW if value == -inf else Reason.VACUOUS if value == inf else Reason.IMPRECISE)
            self.cut[slot] = False

    def late(self) -> None:
        """Time ended the stage under way before it proved anything."""
        self.reason, self.cut = [Reason.TIMEOUT] * len(self), [self.total] * len(self)

    def skip(self, reason: Reason, text: str) -> None:
        """A stage is not begun: that is why they are undecided unless another one says otherwise."""
        self.reason, self.cut = [reason] * len(self), [reason is Reason.TIMEOUT and self.total] * len(self)
        self.note(tuple((slot, text) for slot in range(len(self))))

    def hurried(self) -> None:
        """Time cut the stage short: more of it may decide what is open."""
        for slot, reason in enumerate(self.reason):
            if reason in (Reason.IMPRECISE, Reason.OVERFLOW) and not float(self.margin[slot]) > 0:
                self.reason[slot], self.cut[slot] = Reason.TIMEOUT, self.total

    def note(self, notes: tuple[tuple[int, str], ...]) -> None:
        """Keep what went wrong with single instances (slots), each once."""
        for slot, text in notes:
            self.notes[slot] = tuple(dict.fromkeys((*self.notes[slot], text)))

    def settle(self, verdict: Verdict, reason: Reason | None, chosen: Tensor, stage: str) -> None:
        """Report the instances in the mask (n,) with one verdict, and drop them."""
        margin = self.margin.tolist()
        for slot in chosen.nonzero().flatten().tolist():
            self._report(slot, verdict, reason, margin[slot], stage=stage)
        self._keep(~chosen)

    def trust(self, chosen: Tensor, stage: str) -> None:
        """Report the instances in the mask (n,) as verified on a solver's word, and drop them."""
        margin = self.word.tolist()
        for slot in chosen.nonzero().flatten().tolist():
            self._report(slot, Verdict.VERIFIED, Reason.SOLVER, margin[slot], stage=stage, assurance=Assurance.SOLVER)
        self._keep(~chosen)

    def falsified(self, witnesses: Mapping[int, Witness], stage: str) -> None:
        """Report the instances (slots) that have a proved witness, and drop them."""
        if not witnesses:
            return
        margin = self.margin.tolist()
        left = torch.ones(len(self), dtype=torch.bool)
        for slot, witness in witnesses.items():
            detail = (f"replayed at float distance {witness.distance:.3g}" if witness.output else
                      "proved; this graph has no reference model to replay in")
            self._report(slot, Verdict.FALSIFIED, None, margin[slot], detail=detail, witness=witness, stage=stage)
            left[slot] = False
        self._keep(left)

    def give_up(self, cause: Reason | None = None, *, cut: bool = False) -> None:
        """Report whatever is left as UNKNOWN, with the cause given or its own. cut: by the limit of the whole call."""
        self._give_up(torch.ones(len(self), dtype=torch.bool), cause, cut=cut)

    def _give_up(self, chosen: Tensor, cause: Reason | None, *, cut: bool = False) -> None:
        margin, slots = self.margin.tolist(), chosen.nonzero().flatten()
        there = slots.to(self.device)
        known = self.known if len(slots) == len(self) else {name: interval.take(there) for name, interval in self.known.items()}
        self.left = self.positions[slots], known
        for slot in slots.tolist():
            own = Reason.AMBIGUOUS if int(self.positions[slot]) in self.ambiguous else self.reason[slot]
            reason = cause or own
            detail = self.limit[slot] if reason is Reason.LIMIT else None
            self._report(slot, Verdict.UNKNOWN, reason, margin[slot], detail=detail, cut=cut if cause else self.cut[slot])
        self._keep(~chosen)

    def _keep(self, mask: Tensor) -> None:
        if bool(mask.all()):
            return
        index = mask.cpu().nonzero().flatten()
        there = index.to(self.device)
        chosen = index.tolist()
        self.reason, self.cut = [self.reason[i] for i in chosen], [self.cut[i] for i in chosen]
        self.limit, self.notes = [self.limit[i] for i in chosen], [self.notes[i] for i in chosen]
        self.origin = self.origin[index]
        self.positions, self.part, self.exact = self.positions[index], self.part.take(index), self.exact.take(index)
        self.spec, self.refuted, self.claimed = self.spec.take(there), self.refuted[there], self.claimed[there]
        self.slack = self.slack[there]
        self.known = {name: interval.take(there) for name, interval in self.known.items()} if len(index) else {}
        self.corner = None if self.corner is None else self.corner[there]

    def _report(self, slot: int, verdict: Verdict, reason: Reason | None, margin: float, *, detail: str | None = None,
                witness: Witness | None = None, stage: str | None = None, assurance: Assurance | None = None,
                cut: bool = False) -> None:
        k, problem = int(self.positions[slot]), self.problem
        falsified = Assurance.REPLAYED if problem.graph.source.runs else Assurance.SOUND
        assurance = assurance or {Verdict.VERIFIED: Assurance.SOUND, Verdict.FALSIFIED: falsified}.get(verdict, Assurance.NONE)
        result = InstanceResult(
            problem.index[k], verdict, *_classes(problem, k), reason, _shown(margin),
            assurance, problem.eps, self.name, self.spent[k], detail, witness.point if witness else None, stage,
            cut and reason is Reason.TIMEOUT, self.notes[slot], self._least_refuted(slot) if verdict is Verdict.UNKNOWN else None,
            self.evidence(slot, witness),
        )
        self.done.append((k, result))

    def _least_refuted(self, slot: int) -> int | None:
        bounds = self.refuted[slot]
        return int(bounds.argmin()) if bool((bounds > -inf).any()) else None


def _shown(margin: float) -> float | None:
    """The margin as reported: None where it is infinite, 0 where a strict row's bound is attained."""
    return None if abs(margin) == inf else 0.0 if margin == ATTAINED else margin


def _restored(interval: Interval, before: Interval | None, tainted: Tensor) -> Interval:
    """The interval without its flag; where it is tainted, what was there before, or nothing at all."""
    chosen = tainted.reshape(-1, *(1,) * (interval.lower.dim() - 1))
    low = torch.full_like(interval.lower, -inf) if before is None else before.lower
    high = torch.full_like(interval.upper, inf) if before is None else before.upper
    return Interval(torch.where(chosen, low, interval.lower), torch.where(chosen, high, interval.upper))


def misclassified(problem: Problem, k: int, name: str) -> InstanceResult:
    """The result of an instance that is not analysed at all."""
    return InstanceResult(problem.index[k], Verdict.MISCLASSIFIED, *_classes(problem, k), eps=problem.eps, domain=name)


def out_of_time(problem: Problem, k: int) -> InstanceResult:
    """The result of an instance whose turn the limit of the whole call did not let come."""
    label, predicted = _classes(problem, k)
    return InstanceResult(problem.index[k], Verdict.UNKNOWN, label, predicted, Reason.TIMEOUT, eps=problem.eps, cut=True)


def _classes(problem: Problem, k: int) -> tuple[int | None, int | None]:
    """Label and predicted class of one instance."""
    label, predicted = (None if v is None else int(v[k]) for v in (problem.labels, problem.predicted))
    return label, predicted
