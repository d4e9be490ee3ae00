"""How often a classifier errs: on the inputs themselves, under attack, and as far as a domain cannot prove; batched, for many images.

What is called wrong under attack is proved to be: the point found lies in the exact set, and box steps in float64, rounded outward,
prove that the exact-real network prefers another class there. So no input is both attacked and proved unless something is unsound, and

    clean error  <=  error under attack  <=  verified error

holds where the misclassified count as attacked, and as not proved. The attack is projected gradient descent (Madry et al., ICLR 2018,
section 2.1) as Gowal et al. 2018, arXiv:1810.12715, section 4, use it: Adam on the perturbation, margin objective, uniform starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

import torch
from torch import Tensor

from absint.attacks.proof import above_by_intervals
from absint.engine.attempts import by_rounding, refuted_by, slack_of
from absint.engine.batch_size import batch_size, most_at_once
from absint.engine.context import Context
from absint.engine.cost import within
from absint.errors import InputError, InternalError
from absint.model.graph import Graph
from absint.numeric.backend import Budget, DeadlineError, default_memory, numeric_mode, rate
from absint.numeric.decimal import float_below, parse_eps
from absint.numeric.outward import down, up
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import LinfBall, check_center, inner_range
from absint.problem.spec import Spec
from absint.search.names import strategy_of
from absint.search.parts import in_parts
from absint.search.strategy import Stage

Radius = str | float | Fraction
DataRange = tuple[float, float] | None

_CPU = torch.device("cpu")
_SURE = 1e-4            # a margin so large, beside the outputs, is no rounding error of a float32 evaluation
_ON_A_CPU = 256         # points that a CPU evaluates at a time: more leave its caches
_RATE, _PER_RADIUS = 0.1, 2.0       # Adam's first rate, in raw input units, and at most so many radii: that is across the ball
_BETAS, _TINY = (0.9, 0.999), 1e-8


@dataclass(frozen=True, eq=False)
class Flagged:
    """Of a batch of inputs. flags: (n,) bool on the CPU.  done: the first so many were decided in time; no later flag is set."""

    flags: Tensor
    done: int

    @property
    def count(self) -> int:
        """How many flags are set."""
        return int(self.flags.sum())

    @property
    def share(self) -> float | None:
        """Of those decided; None where none is."""
        return self.count / self.done if self.done else None


@dataclass(frozen=True)
class Descent:
    """An attack. steps: of each start.  restarts: starts, each of the images still unbroken, at least 1.  seed: of the starts.

    rate: Adam's, in raw input units, a tenth of it in the second half; None for 0.1, or twice the radius where that is less.
    The starts of an image depend on the seed alone, not on the images beside it.
    """

    steps: int = 20
    restarts: int = 1
    seed: int = 0
    rate: float | None = None


def predicted_wrong(graph: Graph, inputs: Tensor, labels: Tensor, *, end: float = inf, memory: int | None = None,
                    device: torch.device = _CPU) -> Flagged:
    """Which inputs (n, *shape) a float64 evaluation misclassifies: another class's score is not below the label's, or is NaN.

    labels: (n,) int64.  end: a `time.monotonic()` instant.  memory: bytes.  Raises InputError E-LABEL.
    """
    _check(graph, inputs, labels)

    def wrong(part: slice) -> Tensor:
        return ~(_lead(graph(inputs[part].to(device).double()), labels[part].to(device)) < 0)

    return _by_chunks(len(inputs), _points_at_once(graph, 8, memory, device), wrong, end)


def attacked_wrong(graph: Graph, inputs: Tensor, labels: Tensor, eps: Radius, clip: DataRange, descent: Descent | None = None, *,
                   end: float = inf, memory: int | None = None, device: torch.device = _CPU) -> Flagged:
    """Which inputs are misclassified, or proved to be so at a point of their exact ball that the attack found.

    eps: the radius in linf, raw input units, exact as written.  clip: the data range.  Steps run in float32 where the network's
    constants allow it, the claim rests on float64 and its rounding bounds; what rounding leaves open counts as not broken.
    The chunk that the time cuts counts as not done. Raises InputError E-LABEL, E-REGION, UsageError E-EPS, E-CLIP.
    """
    _check(graph, inputs, labels)
    check_center(inputs, clip)
    radius, descent = parse_eps(eps), Descent() if descent is None else descent
    dtype = torch.float32 if graph.fits(torch.float32) else torch.float64

    room = _points_at_once(graph, 3 * dtype.itemsize, memory, device)

    def broken(part: slice) -> Tensor:
        count = part.stop - part.start      # `room`, or less where memory ran out
        attack = _Attack(graph, inputs[part].to(device).double(), labels[part].to(device), radius, clip, descent, dtype, memory, end)
        return attack.broken(room if count == len(inputs) else count)

    return _by_chunks(len(inputs), room, broken, end)


def proved(graph: Graph, inputs: Tensor, labels: Tensor, eps: Radius, clip: DataRange, domain: object, *, end: float = inf,
           memory: int | None = None, device: torch.device = _CPU) -> Flagged:
    """Which inputs keep their label's output the strict maximum over their ball, as a domain proves it.

    domain: a Domain, or what `--domain` takes; of a strategy its stages, without their searches.  eps, clip: as `attacked_wrong`.
    Sound for the exact-real network of the graph: every bound is rounded outward; float32 first, float64 for what rounding left open.
    Nothing rests on a solver's word. The chunk that the time cuts counts as not done; one that memory does not hold is cut in two.
    Raises InputError E-LABEL, E-REGION, UsageError E-EPS, E-CLIP, and what the domain raises.
    """
    _check(graph, inputs, labels)
    stages, radius = strategy_of(domain).stages(), parse_eps(eps)
    memory = within(memory or default_memory(device), graph)
    wide = Numerics(torch.float64, device=device)
    formats = (Numerics(torch.float32, device=device), wide) if graph.fits(torch.float32) else (wide,)
    budget = Budget(memory, end, rate(device))

    def sure(part: slice) -> Tensor:
        region = LinfBall(inputs[part].cpu(), radius, clip)
        return _proved_by(graph, region, Spec.robust(labels[part].cpu(), graph.output.size), stages, formats, budget)

    size = batch_size(graph, [stage.domain.traits for stage in stages], formats, memory, device)
    return _by_chunks(len(inputs), size, sure, end)


def check_order(attacked: Tensor, proofs: Tensor, where: str, names: Sequence[int] | None = None) -> None:
    """Raise InternalError E-CONTRADICTION where inputs (n,) are both proved and attacked: a bound or a witness is unsound.

    attacked: flags of `attacked_wrong` less those of `predicted_wrong`.  where: whose proof it is.
    names: of the inputs; 0, 1, ... if None.
    """
    both = (attacked & proofs).nonzero().flatten().tolist()
    if both:
        raise InternalError("E-CONTRADICTION", f"{len(both)} inputs are proved robust and misclassified at a proved point of their balls",
                          where=where, details=[f"input {k if names is None else names[k]}" for k in both[:5]],
                          hint="the domain or an operator is unsound: run absint.testing.kit on it")


def _check(graph: Graph, inputs: Tensor, labels: Tensor) -> None:
    if labels.shape != (len(inputs),):
        raise InputError("E-LABEL", f"of shape {tuple(labels.shape)} for {len(inputs)} inputs", where="labels",
                         hint="give one class per input")
    Spec.check_labels(labels, graph.output.size)


def _points_at_once(graph: Graph, size: int, memory: int | None, device: torch.device) -> int:
    """Evaluations together. size: bytes an activation takes, those of the way back included."""
    memory = within(memory or default_memory(device), graph)
    fit = min(Budget(memory).rows(size * (sum(node.size for node in graph.nodes) + 2 * graph.input.size)), most_at_once(graph, device))
    return min(fit, _ON_A_CPU) if device.type == "cpu" else fit


def _by_chunks(count: int, size: int, decide: Callable[[slice], Tensor], end: float) -> Flagged:
    """`decide` on so many at a time; fewer where memory runs out, until the time is up."""
    flags = torch.zeros(count, dtype=torch.bool)

    def work(part: slice) -> None:
        with numeric_mode(), torch.no_grad():
            flags[part] = decide(part).cpu()

    return Flagged(flags, in_parts(count, size, work, end))


def _lead(outputs: Tensor, labels: Tensor) -> Tensor:
    """(n,): by how much the best other class leads the label; NaN where any score is NaN."""
    scores = outputs.flatten(1)
    own = scores.gather(1, labels[:, None])
    others = scores.scatter(1, labels[:, None], -inf)
    return (others - own).amax(1)


def _proved_by(graph: Graph, region: LinfBall, spec: Spec, stages: tuple[Stage, ...], formats: tuple[Numerics, ...],
               budget: Budget) -> Tensor:
    """(n,) bool: the stages in turn on what is open, each in the formats that may decide it."""
    sure = torch.zeros(region.batch, dtype=torch.bool)
    for stage in stages:
        left = ~sure & stage.takes(graph, region)
        for numerics in formats if stage.domain.traits.mixed else [one.single() for one in formats]:
            index = left.nonzero().flatten()
            if not len(index):
                break
            asked = spec.take(index).to(numerics.device)
            found = stage.attempt(Context(graph, region.take(index), numerics, budget), asked)
            margin = refuted_by(found, asked).double().amin(1)
            solver = torch.zeros_like(margin, dtype=torch.bool) if found.interval.solver is None else found.interval.solver
            sure[index] = ((margin > 0) & ~solver).cpu()
            left[index] = (by_rounding(margin, slack_of(found, asked).to(margin)) & ~(margin > 0)).cpu()
    return sure


@dataclass(frozen=True, eq=False)
class _Attack:
    """One chunk of images under attack. center: (n, *shape) float64.  labels: (n,) on its device."""

    graph: Graph
    center: Tensor
    labels: Tensor
    radius: Fraction
    clip: DataRange
    descent: Descent
    dtype: torch.dtype
    memory: int | None
    end: float

    def broken(self, room: int) -> Tensor:
        """(n,) bool. room: points that are evaluated together: few images fly from several starts at once, after the first one."""
        broken = ~(_lead(self.graph(self.center), self.labels) < 0)
        low, high = self._inside()
        hopeless = (low > high).flatten(1).any(1)    # no float64 number lies in the ball
        number, restarts = 0, max(1, self.descent.restarts)
        while number < restarts:
            open_ = (~(broken | hopeless)).nonzero().flatten()
            if not len(open_):
                break
            copies = 1 if number == 0 else min(restarts - number, max(1, room // len(open_)))
            owner = open_.repeat(copies)
            start = torch.stack([self._start(number + k) for k in range(copies)]).repeat_interleave(len(open_), 0)
            points, lead = self._descended(owner, low[owner].to(self.dtype), high[owner].to(self.dtype), start)
            seen = owner[lead > 0]
            at = torch.minimum(torch.maximum(points[lead > 0].double(), low[seen]), high[seen])
            broken[seen[self._proved_wrong(at, self.labels[seen])]] = True
            number += copies
        return broken

    def _inside(self) -> tuple[Tensor, Tensor]:
        """(n, *shape) each: float64 numbers between which every one lies in the exact ball and range."""
        reach = float_below(self.radius)
        low = torch.minimum(up(self.center - reach), self.center)
        high = torch.maximum(down(self.center + reach), self.center)
        return (low, high) if self.clip is None else tuple(side.clamp(*inner_range(self.clip)) for side in (low, high))  # type: ignore[return-value]

    def _start(self, number: int) -> Tensor:
        """(*shape,) in [0, 1], where in their balls the images start; the same for each."""
        generator = torch.Generator().manual_seed(self.descent.seed * 1009 + number)
        return torch.rand(self.center.shape[1:], generator=generator, dtype=torch.float64).to(self.center.device, self.dtype)

    def _descended(self, owner: Tensor, low: Tensor, high: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """The best points (P, *shape) and their leads, by Adam; those of images (P,) that are surely broken leave on the way."""
        best = low + start * (high - low)
        lead, done = low.new_full((len(low),), -inf), torch.zeros_like(self.labels, dtype=torch.bool)
        x, live = best.clone(), torch.arange(len(low), device=low.device)
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for step in range(self.descent.steps + 1):
            if time.monotonic() > self.end:
                raise DeadlineError
            gradient, here, size = self._gradient(x, self.labels[owner])
            better = here > lead[live]
            best[live[better]], lead[live[better]] = x[better], here[better]
            done[owner[here > _SURE * (1 + size)]] = True
            left = ~done[owner]
            if step == self.descent.steps or not bool(left.any()):
                break
            if int(left.sum()) * 8 < 7 * len(live):
                live, owner, low, high, x, first, second, gradient = (
                    one[left] for one in (live, owner, low, high, x, first, second, gradient))
            first.lerp_(gradient, 1 - _BETAS[0])
            second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            scale = self._rate(step) / (1 - _BETAS[0] ** (step + 1))
            x = x + scale * first / (second.div(1 - _BETAS[1] ** (step + 1)).sqrt_().add_(_TINY))
            x = torch.minimum(torch.maximum(x, low), high)
        return best, lead

    def _gradient(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the lead at x, the lead itself (-inf for NaN), and the size of the outputs."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            outputs = self.graph(x)
            lead = _lead(outputs, labels)
            (gradient,) = torch.autograd.grad(lead.sum(), x)
        return torch.nan_to_num(gradient), torch.nan_to_num(lead.detach(), nan=-inf), outputs.detach().flatten(1).abs().amax(1)

    def _rate(self, step: int) -> float:
        chosen = self.descent.rate
        first = min(_RATE, _PER_RADIUS * float(self.radius)) if chosen is None else chosen
        return first if 2 * step < self.descent.steps else first / 10

    def _proved_wrong(self, points: Tensor, labels: Tensor) -> Tensor:
        """(n,) bool: another class surely wins there, in exact arithmetic."""
        scores = self.graph(points).flatten(1).scatter(1, labels[:, None], -inf)
        return above_by_intervals(self.graph, points, labels, scores.argmax(1), self.memory)
