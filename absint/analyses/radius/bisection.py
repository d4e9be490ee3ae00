"""Robustness radius: how far each input can be moved before its class is no longer proved, by bisection.

All inputs of a chunk bisect in lockstep, each at its own radius. What is proved of a ball that could not be decided is
known in every smaller ball. Radii are exact rationals k upper / 2^n; the engine gets them rounded up.
Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification, Algorithm 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf, isqrt, prod

import numpy as np
import torch
from torch import Tensor

from absint.analyses.verify.options import VerifyOptions
from absint.analyses.verify.portfolio import Portfolio
from absint.engine.domain import chosen_domain
from absint.errors import InputError, PluginError, UsageError
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.numeric import backend
from absint.numeric.backend import default_memory, numeric_mode
from absint.numeric.decimal import float_above
from absint.numeric.interval import Interval
from absint.problem.problem import Problem, check_classes
from absint.problem.regions import ball
from absint.problem.spec import Spec
from absint.verdict import InstanceResult, Reason, Verdict

_MOST_HALVINGS = 60   # numbers of the grid stay far inside int64
_MOST_FAN = 6         # 63 radii an input at a time
_CHUNK = 128          # inputs that bisect together: what a kill may lose
_FAN = {"cpu": 1, "cuda": 3}


def halvings(upper: Fraction, tolerance: Fraction) -> int:
    """Refinements until upper / 2^n < tolerance, counted in integers; one at least. (0.256, 0.001) -> 9."""
    return max(1, (upper // tolerance).bit_length())


@dataclass(frozen=True)
class RadiusOptions:
    """How to look for radii. upper, tolerance: exact, in raw input units; upper itself is not tested.

    verify: the engine's options; `timeout` is per input for all of its refinements.  norm: linf, l2 or l1.  clip: the data
    range or None.  fan: levels of the bisection tree that are asked at once, 2^fan - 1 radii an input; None: 1 on a CPU,
    3 on CUDA.  carry: give a ball what is known of the last larger one that failed. Answers do not depend on `fan` where
    nothing is carried; what is carried may only prove more.
    Raises UsageError E-RADIUS for upper or tolerance that are not positive or need more than 60 halvings, E-USAGE.
    """

    upper: Fraction
    tolerance: Fraction
    verify: VerifyOptions
    norm: str = "linf"
    clip: tuple[float, float] | None = (0.0, 1.0)
    fan: int | None = None
    carry: bool = True

    def __post_init__(self) -> None:
        for name, value in (("upper", self.upper), ("tolerance", self.tolerance)):
            if value <= 0:
                raise UsageError("E-RADIUS", f"{name} must be positive, not {value}", where=f"--{name}")
        if float_above(self.upper) == inf:
            raise UsageError("E-RADIUS", "upper is beyond every float64", where="--upper", hint="give a smaller one")
        if self.halvings > _MOST_HALVINGS:
            raise UsageError("E-RADIUS", f"a tolerance of {float_above(self.tolerance):g} below {float_above(self.upper):g} "
                             f"takes {self.halvings} halvings", where="--tolerance", hint=f"at most {_MOST_HALVINGS} are possible")
        if self.fan is not None and not 1 <= self.fan <= _MOST_FAN:
            raise UsageError("E-RADIUS", f"{self.fan} levels at once", where="--fan", hint=f"1 to {_MOST_FAN}")
        if self.verify.accept_solver:
            raise UsageError("E-USAGE", "a certified radius needs proofs, not a solver's word", where="accept_solver")
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


@dataclass(frozen=True)
class RadiusResult:
    """What is known of one input's radius r*, the distance of the nearest input of another class: certified <= r* <= refuted.

    certified: every real input at most this far away (and in the data range) has the predicted class; exact; 0 where
    nothing was proved.  refuted: the distance of the nearest proved witness, rounded up to the grid; inf where none is known.
    witness: that point, flat float64.  calls: radii asked about.  reason: why the next radius of the grid is not certified,
    None where a witness or the untested upper end stands there; timeout: the search was cut short.  tied: several outputs
    are largest at the input itself, so that it has no class to keep.  time_s: its share of the wall time.
    """

    index: int
    certified: Fraction
    refuted: Fraction | float
    predicted: int | None
    label: int | None
    calls: int = 0
    reason: Reason | None = None
    tied: bool = False
    time_s: float = 0.0
    witness: tuple[float, ...] | None = None

    @property
    def cut(self) -> bool:
        """Whether a time limit ended the search."""
        return self.reason is Reason.TIMEOUT


@dataclass(frozen=True)
class RadiusAnswer:
    """One ball's: whether it is proved, or the witness in it and how many steps away that is (rounded up).

    over: whether a time limit that it ran into was that of the whole search, not its share of it.
    """

    proved: bool
    reason: Reason | None
    time_s: float
    distance: int | None = None
    witness: tuple[float, ...] | None = None
    over: bool = True


@dataclass(frozen=True)
class Bracket:
    """Where one input's search stands, in steps of the grid: `low` is proved (or 0), `high` is not."""

    low: int
    high: int
    refuted: int | None = None
    calls: int = 0
    reason: Reason | None = None
    tied: bool = False
    closed: bool = False
    time_s: float = 0.0
    witness: tuple[float, ...] | None = None

    @property
    def open(self) -> bool:
        """Whether there is something left to refine."""
        return self.high - self.low > 1 and not self.closed

    @property
    def steps(self) -> int:
        """Refinements that are left."""
        return (self.high - self.low - 1).bit_length() if self.open else 0

    @property
    def middle(self) -> int:
        """The next radius to ask about."""
        return (self.low + self.high) // 2

    def after(self, answer: RadiusAnswer) -> Bracket:
        """What the answer about `middle` leaves: unknown counts as not robust, a nearer witness lowers the upper end."""
        asked = replace(self, calls=self.calls + 1, time_s=self.time_s + answer.time_s)
        if answer.proved:
            return replace(asked, low=self.middle)
        if answer.reason is Reason.TIMEOUT and answer.over:
            return asked.timed_out()
        if answer.distance is None:
            return replace(asked, high=self.middle, reason=answer.reason)
        asked = replace(asked, high=min(self.middle, answer.distance), reason=None)
        if self.refuted is not None and self.refuted <= answer.distance:
            return asked
        return replace(asked, refuted=answer.distance, witness=answer.witness)

    def timed_out(self) -> Bracket:
        """No further refinement; what is certified stands."""
        return replace(self, closed=True, reason=Reason.TIMEOUT)

    def tree(self, levels: int) -> list[int]:
        """Every radius that the next `levels` refinements may ask about."""
        if levels == 0 or not self.open:
            return []
        below, above = replace(self, high=self.middle), replace(self, low=self.middle)
        return [self.middle, *below.tree(levels - 1), *above.tree(levels - 1)]


def radius(graph: Graph, center: Tensor, options: RadiusOptions, *, labels: Tensor | None = None,
           index: Sequence[int] | None = None, on_result: Callable[[RadiusResult], None] | None = None) -> list[RadiusResult]:
    """Bracket each input's robustness radius; one result per input, in order. The class kept is the predicted one.

    center: (batch, *shape) float64, raw units.  labels: (batch,) int64, only reported.  index: the inputs' names.
    `on_result` is told of a chunk's inputs as soon as all of them are done.
    Sound: `certified` was proved, or is 0; an unknown answer lowers the upper end only. Not the largest provable radius
    where a domain's answers are not monotone: then one of its boundaries, as in Algorithm 1.
    Raises InputError E-DATA-NAN, E-REGION, UnsupportedError E-CLASSES, E-IMPORT-MISMATCH, PluginError E-CONTRADICTION where
    a proved radius reaches a proved witness. KeyboardInterrupt passes through.
    """
    names = tuple(range(len(center)) if index is None else index)
    _check_inputs(graph, center, names)
    largest = ball(options.norm, center, options.upper, options.clip)
    if not bool(largest.hull.lower.isfinite().all() and largest.hull.upper.isfinite().all()):
        raise UsageError("E-RADIUS", "the largest ball leaves the range of float64", where="--upper")
    results: list[RadiusResult] = []
    with numeric_mode():
        if graph.source.model is not None and len(center):
            check_import(graph, region=largest.hull)
        end = time.monotonic() + options.verify.total_timeout
        for part in torch.arange(len(center)).split(_chunk(graph, options)):
            chunk = _Chunk(graph, center[part].double(), options, tuple(names[k] for k in part.tolist()), end)
            found = chunk.run(None if labels is None else labels[part].tolist())
            results += found
            if on_result is not None:
                for result in found:
                    on_result(result)
    return results


def _check_inputs(graph: Graph, center: Tensor, names: Sequence[int]) -> None:
    check_classes(graph)
    broken = (~center.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
    if broken:
        shown = ", ".join(str(names[k]) for k in broken[:10]) + (", ..." if len(broken) > 10 else "")
        raise InputError("E-DATA-NAN", f"inputs with NaN or infinite entries: {shown}", hint="remove or repair these inputs")


def _fan(options: RadiusOptions) -> int:
    return options.fan or _FAN.get(backend.device(options.verify.device).type, 1)


def _chunk(graph: Graph, options: RadiusOptions) -> int:
    """Inputs that bisect together: a quarter of the memory holds what is known of all of their balls, twice."""
    if options.verify.batch is not None:
        return options.verify.batch
    need = 4 * 8 * sum(prod(node.shape) for node in graph.nodes) << _fan(options)
    memory = options.verify.memory or default_memory()
    return max(1, min(_CHUNK, memory // 4 // max(1, need)))


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
            self.nodes[name] = Interval(kept.lower.index_copy(0, there, interval.lower), kept.upper.index_copy(0, there, interval.upper))

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
    """Inputs that bisect together. end: of the whole call, on the monotonic clock."""

    def __init__(self, graph: Graph, center: Tensor, options: RadiusOptions, names: tuple[int, ...], end: float) -> None:
        self.graph, self.center, self.options, self.names = graph, center, options, names
        self.end = min(end, time.monotonic() + options.verify.timeout * len(center))
        self.levels = _fan(options)
        with torch.no_grad():
            outputs = torch.cat([graph(part).flatten(1).double() for part in center.split(256)])
        self.predicted = outputs.argmax(1)
        self.finite = outputs.isfinite().all(1)
        self.tied = (outputs == outputs.amax(1, keepdim=True)).sum(1) > 1
        self.known = _Known(len(center))

    def run(self, labels: list[int] | None) -> list[RadiusResult]:
        """Bisect until every input is decided or time is over."""
        brackets = list(self._start())
        while any(bracket.open for bracket in brackets):
            if time.monotonic() >= self.end:
                brackets = [bracket.timed_out() if bracket.open else bracket for bracket in brackets]
                break
            self._round(brackets)
        return [self._result(slot, bracket, labels) for slot, bracket in enumerate(brackets)]

    def _start(self) -> Iterator[Bracket]:
        """A tied input has no class to keep, one whose outputs are not finite has none that is known."""
        for finite, tied in zip(self.finite.tolist(), self.tied.tolist(), strict=True):
            whole = Bracket(0, 2**self.options.halvings, tied=finite and tied, closed=tied or not finite)
            yield whole if finite else replace(whole, reason=Reason.OVERFLOW)

    def _round(self, brackets: list[Bracket]) -> None:
        """One call of the engine: the next levels of every open input."""
        asked = [(slot, k) for slot, bracket in enumerate(brackets) for k in bracket.tree(self.levels)]
        now, rounds = time.monotonic(), max(-(-bracket.steps // self.levels) for bracket in brackets)
        answers, left = self._ask(asked, now + (self.end - now) / rounds)
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

    def _ask(self, asked: list[tuple[int, int]], end: float) -> tuple[list[RadiusAnswer], _Left]:
        """One answer per pair of input and radius. end: an even share of the time, so that no hard ball takes that of the others."""
        options, left = self.options, _Left()
        owners = torch.tensor([slot for slot, _ in asked])
        eps = torch.tensor([float_above(k * options.step) for _, k in asked], dtype=torch.float64)
        if options.norm == "linf":
            eps = eps.reshape(-1, *(1,) * (self.center.dim() - 1))
        region = ball(options.norm, self.center[owners], eps, options.clip)
        labels, classes = self.predicted[owners], self.graph.output.size
        problem = Problem(self.graph, region, lambda chosen: Spec.robust(labels[chosen], classes), tuple(range(len(asked))),
                          known=self.known.of(owners))
        limits = replace(options.verify, timeout=inf, total_timeout=max(end - time.monotonic(), 1e-9))
        run = Portfolio(problem, limits, left.add if options.carry else None)
        found = dict(run.results())
        return [self._answer(slot, found[place]) for place, (slot, _) in enumerate(asked)], left

    def _answer(self, slot: int, result: InstanceResult) -> RadiusAnswer:
        if result.verdict is not Verdict.FALSIFIED or result.witness is None:
            over = self.end == inf or time.monotonic() >= self.end
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
                              f"{float(proved * step):g} was certified", where=str(chosen_domain(self.options.verify.domain)),
                              hint="the domain or an operator is unsound: run absint.testing.kit on it")

    def _result(self, slot: int, bracket: Bracket, labels: list[int] | None) -> RadiusResult:
        step = self.options.step
        return RadiusResult(
            self.names[slot], bracket.low * step, inf if bracket.refuted is None else bracket.refuted * step,
            int(self.predicted[slot]) if bool(self.finite[slot]) and not bracket.tied else None,
            None if labels is None else labels[slot], bracket.calls, bracket.reason, bracket.tied, bracket.time_s, bracket.witness,
        )
