"""How far each input can be moved before what has to hold is no longer proved, by bisection: the predicted class, or any property.

All inputs of a chunk bisect in lockstep, each at its own radius. What is proved of a ball that could not be decided is
known in every smaller ball. Radii are exact rationals k upper / 2^n; the engine gets them rounded up.
Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification, Algorithm 1.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf, isqrt, prod

import numpy as np
import torch
from torch import Tensor

from absint.analyses.radius.bracket import Bracket, RadiusAnswer
from absint.analyses.radius.kept import Asked, Kept, check_targets, classes_kept
from absint.analyses.radius.record import RadiusResult
from absint.analyses.verify.portfolio import Portfolio
from absint.analyses.verify.settings import ProofSettings
from absint.errors import InputError, PluginError, UsageError
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.model.work import work
from absint.numeric import backend
from absint.numeric.backend import Budget, DeadlineError, default_memory, in_numeric_mode
from absint.numeric.decimal import float_above
from absint.numeric.interval import Interval
from absint.problem.problem import Problem, check_classes
from absint.problem.regions import ball
from absint.problem.spec import Spec
from absint.search.names import domain_of
from absint.verdict import InstanceResult, Reason, Verdict

__all__ = ["BisectionSettings", "Bracket", "RadiusAnswer", "RadiusResult", "halvings", "radii", "radii_of", "radius", "steps_to"]

_MOST_HALVINGS = 60   # numbers of the grid stay far inside int64
_MOST_FAN = 6         # 63 radii an input at a time
_CHUNK = 128          # inputs that bisect together: what a kill may lose
_FAN = {"cpu": 1, "cuda": 3}


def halvings(upper: Fraction, tolerance: Fraction) -> int:
    """Refinements until upper / 2^n < tolerance, counted in integers; one at least. (0.256, 0.001) -> 9."""
    return max(1, (upper // tolerance).bit_length())


@dataclass(frozen=True)
class BisectionSettings:
    """How to look for radii. upper, tolerance: exact, in raw input units; upper itself is not tested.

    verify: the engine's options; `timeout` is per input for all of its refinements, by its share.  norm: linf, l2 or l1.  clip: the data
    range or None.  fan: levels of the bisection tree that are asked at once, 2^fan - 1 radii an input; None: 1 on a CPU,
    3 on CUDA.  carry: give a ball what is known of the last larger one that failed. Answers do not depend on `fan` where
    nothing is carried; what is carried may only prove more.
    Raises UsageError E-RADIUS for upper or tolerance that are not positive or need more than 60 halvings, E-USAGE.
    """

    upper: Fraction
    tolerance: Fraction
    verify: ProofSettings
    norm: str = "linf"
    clip: tuple[float, float] | None = (0.0, 1.0)
    fan: int | None = None
    carry: bool = True

    def __post_init__(self) -> None:
        for name, value in (("upper", self.upper), ("tolerance", self.tolerance)):
            if value <= 0:
                raise UsageError("E-RADIUS", f"{name} must be positive, not {value}", where=f"--{name}", hint="for example 0.01")
        if float_above(self.upper) == inf:
            raise UsageError("E-RADIUS", "upper is beyond every float64", where="--upper", hint="give a smaller one")
        if self.halvings > _MOST_HALVINGS:
            raise UsageError("E-RADIUS", f"a tolerance of {float_above(self.tolerance):g} below {float_above(self.upper):g} "
                             f"takes {self.halvings} halvings", where="--tolerance",
                             hint=f"a larger --tolerance, or a smaller --upper: at most {_MOST_HALVINGS} halvings are possible")
        if self.fan is not None and not 1 <= self.fan <= _MOST_FAN:
            raise UsageError("E-RADIUS", f"{self.fan} levels at once", where="--fan", hint=f"1 to {_MOST_FAN}")
        if self.verify.accept_solver:
            raise UsageError("E-USAGE", "a certified radius needs proofs, not a solver's word", where="accept_solver",
                             hint="leave accept_solver away")
        if not self.verify.rounding:
            raise UsageError("E-USAGE", "a certified radius needs rounding", where="rounding", hint="leave rounding on")

    @property
    def halvings(self) -> int:
        """Refinements of an input that no witness shortens."""
        return halvings(self.upper, self.tolerance)

    @property
    def step(self) -> Fraction:
        """The distance between neighbouring radii of the grid."""
        return self.upper / Fraction(1 << self.halvings)


def radius(graph: Graph, center: Tensor, settings: BisectionSettings, *, labels: Tensor | None = None, target: Tensor | None = None,
           index: Sequence[int] | None = None, on_result: Callable[[RadiusResult], None] | None = None) -> list[RadiusResult]:
    """One result per input, in order: what `radii` yields. `on_result` is told of each as soon as it is known.

    KeyboardInterrupt passes through; what `on_result` was given until then stands.
    """
    names = tuple(range(len(center)) if index is None else index)
    results: dict[int, RadiusResult] = {}
    for slot, result in _radii(graph, center, settings, _classes(graph, center, target, names), names, labels):
        results[slot] = result
        if on_result is not None:
            on_result(result)
    return [results[slot] for slot in range(len(center))]


def radii(graph: Graph, center: Tensor, settings: BisectionSettings, *, labels: Tensor | None = None, target: Tensor | None = None,
          index: Sequence[int] | None = None) -> Generator[RadiusResult, None, None]:
    """Bracket each input's robustness radius; one result per input, in the round that closes its bracket. Its predicted class is kept.

    center: (batch, *shape) float64, raw units.  labels: (batch,) int64, only reported.  index: the inputs' names.
    target: (batch,) int64, the one class that has to stay below the predicted class c. `certified` and `refuted` then say of f_c - f_t > 0
    alone how far it holds, whatever other classes do; an input is tied where f_c = f_t. None: every other class.
    Sound: `certified` was proved, or is 0; an unknown answer lowers the upper end only. Not the largest provable radius
    where a domain's answers are not monotone: then one of its boundaries, as in Algorithm 1.
    Raises InputError E-DATA-NAN, E-REGION, E-LABEL (targets that are no class, or the predicted one), UnsupportedError E-CLASSES,
    E-IMPORT-MISMATCH, PluginError E-CONTRADICTION where a proved radius reaches a proved witness.
    """
    names = tuple(range(len(center)) if index is None else index)
    for _, result in _radii(graph, center, settings, _classes(graph, center, target, names), names, labels):
        yield result


def radii_of(graph: Graph, center: Tensor, settings: BisectionSettings, asked: Asked, *, index: Sequence[int] | None = None
             ) -> Generator[RadiusResult, None, None]:
    """As `radii`, of any property: what `asked` says must hold around each input, in place of its class. `predicted` is None.

    center: (batch, *shape) float64, raw units.  index: the inputs' names.
    Raises InputError E-DATA-NAN, E-REGION, UnsupportedError E-IMPORT-MISMATCH, PluginError E-CONTRADICTION.
    """
    for _, result in _radii(graph, center, settings, asked, tuple(range(len(center)) if index is None else index)):
        yield result


def _classes(graph: Graph, center: Tensor, target: Tensor | None, names: Sequence[int]) -> Asked:
    """That the predicted class is kept, after the checks of what only classes have."""
    check_classes(graph)
    _check_inputs(center, names)
    check_targets(graph, center, target, names)
    return classes_kept(target)


def _radii(graph: Graph, center: Tensor, settings: BisectionSettings, asked: Asked, names: tuple[int, ...],
           labels: Tensor | None = None) -> Generator[tuple[int, RadiusResult], None, None]:
    """With the position of each."""
    _check_inputs(center, names)
    largest = ball(settings.norm, center, settings.upper, settings.clip)
    if not bool(largest.hull.lower.isfinite().all() and largest.hull.upper.isfinite().all()):
        raise UsageError("E-RADIUS", "the largest ball leaves the range of float64", where="--upper",
                         hint="a smaller --upper, such as 1")
    end = time.monotonic() + settings.verify.total_timeout
    if graph.source.runs and len(center):
        try:
            check_import(graph, region=largest.hull, budget=Budget(deadline=end))
        except DeadlineError:
            # Not compared, not analysed.
            for slot, name in enumerate(names):
                label = None if labels is None else int(labels[slot])
                yield slot, RadiusResult(name, Fraction(0), inf, None, label, reason=Reason.TIMEOUT, cut=True)
            return
    yield from in_numeric_mode(_chunks(graph, center, settings, asked, names, labels=labels, end=end))


def _chunks(graph: Graph, center: Tensor, settings: BisectionSettings, asked: Asked, names: tuple[int, ...], *, labels: Tensor | None,
            end: float) -> Generator[tuple[int, RadiusResult], None, None]:
    for part in torch.arange(len(center)).split(_chunk(graph, settings)):
        here = center[part].double()
        chunk = _Chunk(graph, here, settings, tuple(names[k] for k in part.tolist()), end, asked(graph, here, part))
        for slot, result in chunk.run(None if labels is None else labels[part].tolist()):
            yield int(part[slot]), result


def _check_inputs(center: Tensor, names: Sequence[int]) -> None:
    broken = (~center.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
    if broken:
        shown = ", ".join(str(names[k]) for k in broken[:10]) + (", ..." if len(broken) > 10 else "")
        raise InputError("E-DATA-NAN", f"inputs with NaN or infinite entries: {shown}", where="inputs",
                         hint="remove or repair these inputs")


def _fan(options: BisectionSettings) -> int:
    return options.fan or _FAN.get(backend.device(options.verify.device).type, 1)


def _chunk(graph: Graph, options: BisectionSettings) -> int:
    """Inputs that bisect together: a quarter of the memory holds what is known of all of their balls, twice."""
    most = Budget(rate=backend.rate(backend.device(options.verify.device))).pieces(work(graph))
    if options.verify.batch is not None:
        return min(options.verify.batch, most)
    need = 4 * 8 * sum(prod(node.shape) for node in graph.nodes) << _fan(options)
    memory = options.verify.memory or default_memory(backend.device(options.verify.device))
    return max(1, min(_CHUNK, most, memory // 4 // max(1, need)))


def steps_to(norm: str, center: np.ndarray, point: np.ndarray, step: Fraction) -> int:
    """The least k with ||point - center|| <= k step, in rationals. center, point: flat float64."""
    if norm == "linf":
        gap = np.abs(point - center)                     # one rounding, which is monotone: the largest is among these
        chosen = np.flatnonzero(gap == gap.max(initial=0.0)) if len(gap) else np.zeros(0, dtype=np.int64)
    else:
        chosen = np.flatnonzero(point != center)
    exact = [abs(Fraction(float(point[k])) - Fraction(float(center[k]))) / step for k in chosen]
    if norm == "l2":
        square = -(-sum((d * d for d in exact), Fraction(0)) // 1)
        return isqrt(square - 1) + 1 if square else 0
    length = max(exact, default=Fraction(0)) if norm == "linf" else sum(exact, Fraction(0))
    return int(-(-length // 1))


@dataclass(eq=False)
class _Known:
    """Mutable: for each input of a chunk, bounds of nodes over the last ball that could not be decided."""

    size: int
    nodes: dict[str, Interval] = field(default_factory=dict)

    def keep(self, inputs: Tensor, found: Mapping[str, Interval]) -> None:
        """Replace what is known of these inputs; found: one row for each of them, in float64."""
        for name, interval in found.items():
            if name not in self.nodes:
                shape = (self.size, *interval.lower.shape[1:])
                self.nodes[name] = Interval(interval.lower.new_full(shape, -inf), interval.upper.new_full(shape, inf))
            kept, there = self.nodes[name], inputs.to(interval.lower.device)
            # In place: the tensors are its own, and `of` gives copies away.
            self.nodes[name] = Interval(kept.lower.index_copy_(0, there, interval.lower), kept.upper.index_copy_(0, there, interval.upper))

    def of(self, inputs: Tensor) -> dict[str, Interval]:
        """The rows of these inputs, repeats allowed."""
        return {name: interval.take(inputs.to(interval.lower.device)) for name, interval in self.nodes.items()}


class _Left:
    """Mutable: what a round's undecided balls have proved of nodes, by the ball's position in the round."""

    def __init__(self) -> None:
        self.parts: list[Mapping[str, Interval]] = []
        self.place: dict[int, tuple[int, int]] = {}

    def add(self, positions: Tensor, known: Mapping[str, Interval]) -> None:
        """As `Portfolio.on_left`."""
        for row, position in enumerate(positions.tolist()):
            self.place[position] = len(self.parts), row
        self.parts.append({name: Interval(i.lower.double(), i.upper.double()) for name, i in known.items()})

    def move(self, chosen: Mapping[int, int], known: _Known) -> None:
        """chosen: position -> input that inherits its bounds."""
        for number, part in enumerate(self.parts):
            pairs = [(self.place[p][1], owner) for p, owner in chosen.items() if p in self.place and self.place[p][0] == number]
            if pairs:
                rows, owners = (torch.tensor(side) for side in zip(*pairs, strict=True))
                known.keep(owners, {name: i.take(rows.to(i.lower.device)) for name, i in part.items()})


class _Chunk:
    """Inputs that bisect together. end: of the whole call, on the monotonic clock.  kept: what must hold around them."""

    def __init__(self, graph: Graph, center: Tensor, options: BisectionSettings, names: tuple[int, ...], end: float, kept: Kept) -> None:
        self.graph, self.center, self.options, self.names, self.end, self.kept = graph, center, options, names, end, kept
        self.levels = _fan(options)
        self.known = _Known(len(center))

    def run(self, labels: list[int] | None) -> Generator[tuple[int, RadiusResult], None, None]:
        """Bisect until every input is decided or time is over; an input whose share reaches its limit stays where it stands."""
        brackets = list(self._start())
        left = set(range(len(brackets)))
        while True:
            late = time.monotonic() >= self.end
            for slot in sorted(left):
                if brackets[slot].open and (late or brackets[slot].time_s >= self.options.verify.timeout):
                    brackets[slot] = brackets[slot].timed_out(cut=late)
                if not brackets[slot].open:
                    left.remove(slot)
                    yield slot, self._result(slot, brackets[slot], labels)
            if not left:
                return
            self._round(brackets)

    def _start(self) -> Iterator[Bracket]:
        """Nothing is left to keep at a tied input; nothing is known of one whose outputs are not finite."""
        for finite, tied in zip(self.kept.finite.tolist(), self.kept.tied.tolist(), strict=True):
            whole = Bracket(0, 2**self.options.halvings, tied=finite and tied, closed=tied or not finite)
            yield whole if finite else replace(whole, reason=Reason.OVERFLOW)

    def _round(self, brackets: list[Bracket]) -> None:
        """One call of the engine: the next levels of every open input."""
        asked = [(slot, k) for slot, bracket in enumerate(brackets) for k in bracket.tree(self.levels)]
        now, rounds = time.monotonic(), max(-(-bracket.steps // self.levels) for bracket in brackets)
        answers, left = self._ask(asked, now + (self.end - now) / rounds, self._allowed(asked, brackets))
        places: dict[int, dict[int, int]] = {}
        for place, (slot, k) in enumerate(asked):
            places.setdefault(slot, {})[k] = place
        inherit: dict[int, int] = {}
        for slot, mine in places.items():
            self._check(slot, brackets[slot], {k: answers[place] for k, place in mine.items()})
            brackets[slot], failed = self._walked(brackets[slot], mine, answers)
            if failed is not None and brackets[slot].open:
                inherit[failed] = slot
        if self.options.carry:
            left.move(inherit, self.known)

    def _allowed(self, asked: list[tuple[int, int]], brackets: list[Bracket]) -> list[float]:
        """Seconds of each ball: an even share of what its input has left, so that one hard ball leaves some to the smaller ones."""
        balls = Counter(slot for slot, _ in asked)
        rounds = {slot: -(-brackets[slot].steps // self.levels) for slot in balls}
        whole = self.options.verify.timeout
        return [max((whole - brackets[slot].time_s) / (rounds[slot] * balls[slot]), 1e-9) for slot, _ in asked]

    def _walked(self, bracket: Bracket, places: Mapping[int, int], answers: Sequence[RadiusAnswer]) -> tuple[Bracket, int | None]:
        """Down the tree along the answers, as one refinement after the other would go; and the place of the last failed ball."""
        failed = None
        for _ in range(self.levels):
            place = places.get(bracket.middle) if bracket.open else None
            if place is None:    # decided, or a witness moved the end to where nobody asked
                break
            bracket = bracket.after(answers[place])
            failed = failed if answers[place].proved else place
        return bracket, failed

    def _ask(self, asked: list[tuple[int, int]], end: float, allowed: list[float]) -> tuple[list[RadiusAnswer], _Left]:
        """One answer per pair of input and radius. end: an even share of the time for everything.  allowed: seconds of each."""
        options, left = self.options, _Left()
        owners = torch.tensor([slot for slot, _ in asked])
        eps = torch.tensor([float_above(k * options.step) for _, k in asked], dtype=torch.float64)
        if options.norm == "linf":
            eps = eps.reshape(-1, *(1,) * (self.center.dim() - 1))
        region = ball(options.norm, self.center[owners], eps, options.clip)
        problem = Problem(self.graph, region, lambda chosen: self._kept(owners[chosen]), tuple(range(len(asked))),
                          known=self.known.of(owners))
        limits = replace(options.verify, timeout=inf, total_timeout=max(end - time.monotonic(), 1e-9))
        run = Portfolio(problem, limits, left.add if options.carry else None, allowed)
        found = dict(run.results())
        return [self._answer(slot, found[place]) for place, (slot, _) in enumerate(asked)], left

    def _kept(self, slots: Tensor) -> Spec:
        """What must hold around these inputs."""
        return self.kept.specify(slots)

    def _answer(self, slot: int, result: InstanceResult) -> RadiusAnswer:
        if result.verdict is not Verdict.FALSIFIED or result.witness is None:
            over = result.cut and (self.end == inf or time.monotonic() >= self.end)
            return RadiusAnswer(result.verdict is Verdict.VERIFIED, result.reason, result.time_s, over=over)
        center, point = self.center[slot].reshape(-1).numpy(), np.array(result.witness, dtype=np.float64)
        distance = steps_to(self.options.norm, center, point, self.options.step)
        return RadiusAnswer(False, None, result.time_s, distance, result.witness)

    def _check(self, slot: int, bracket: Bracket, answers: Mapping[int, RadiusAnswer]) -> None:
        """A proved witness inside a proved ball is a bug somewhere: refuse everything. answers: by radius, on the path or off it."""
        proved = max([bracket.low, *(k for k, answer in answers.items() if answer.proved)])
        met = [bracket.refuted, *(answer.distance for answer in answers.values())]
        nearest = min((distance for distance in met if distance is not None), default=proved + 1)
        if nearest <= proved:
            step = self.options.step
            raise PluginError("E-CONTRADICTION", f"input {self.names[slot]} has a witness within {float(nearest * step):g}, and "
                              f"{float(proved * step):g} was certified", where=str(domain_of(self.options.verify.domain)),
                              hint="the domain or an operator is unsound: run absint.testing.kit on it")

    def _result(self, slot: int, bracket: Bracket, labels: list[int] | None) -> RadiusResult:
        step = self.options.step
        return RadiusResult(
            self.names[slot], bracket.low * step, inf if bracket.refuted is None else bracket.refuted * step,
            self.kept.answer(slot),
            None if labels is None else labels[slot], bracket.calls, bracket.reason, bracket.tied, bracket.time_s, bracket.witness,
            bracket.cut,
        )
