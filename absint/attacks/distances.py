"""How far the nearest input is, that attacks find, at which one class overtakes another: upper ends for certified radii, pair by pair.

The network is seen as a classifier of two logits, f_c and f_t of each pair, so that every untargeted attack of Foolbox attacks this row
and no other. What an attack finds is pulled towards the centre for as long as it can be proved; a point that is not proved does not count.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import inf

import numpy as np
import torch
from torch import Tensor, nn

from absint.attacks.foolbox_attacks import AttackPlan, Parameters, check_foolbox, parse_attacks, place, run_foolbox, seeded
from absint.attacks.proof import above_by_intervals
from absint.errors import InputError, UsageError
from absint.model.graph import Graph
from absint.model.reference import Runtime, runtime
from absint.model.work import work
from absint.numeric.backend import Budget, DeadlineError, default_memory
from absint.numeric.decimal import float_above
from absint.numeric.outward import up
from absint.numeric.rounding import gamma, smallest_normal
from absint.problem.spec import Spec
from absint.problem.whereabouts import HOME

# (points, original, target) -> (batch,) bool: where f_target > f_original is proved.
Proof = Callable[[Tensor, Tensor, Tensor], Tensor]
Model = Callable[[Tensor], Tensor]

# The order matters: an attack at given radii comes last, where it is told how far to go by what the others found.
DEFAULT_ATTACKS = {"linf": "deepfool,fmn,pgd", "l2": "deepfool,ddn,cw,pgd", "l1": "fmn,fmn:max_stepsize=0.3,ead,pgd"}
CENTER = "center"       # wins where the row fails at the centre itself
_CHUNK = 512
_HALVINGS = 20
# Radii of attacks that need one: R 2^(-k/2). Each pair is attacked at those around what is known of it: what is found within the next
# one above is often nearer once it is shortened.
_RUNGS = 12
_ABOVE, _BELOW = 1.5, 2.5
# No pair's logits are stretched by more, however near to a tie its centre is.
_STEEP = 1e6


@dataclass(frozen=True)
class DistanceSettings:
    """Where to look, and by what.

    norm: linf, l2 or l1.  radius: exact; points beyond it do not count.  clip: the data range or None.  attacks: in order; () for the
    defaults of the norm.  seed: of all random numbers.  memory: bytes, or None.  deadline: a `time.monotonic()` instant.
    Raises UsageError E-NORM, E-RADIUS, E-ATTACK-NORM.
    """

    norm: str
    radius: Fraction
    clip: tuple[float, float] | None = (0.0, 1.0)
    attacks: tuple[AttackPlan, ...] = ()
    seed: int = 0
    memory: int | None = None
    deadline: float = inf

    def __post_init__(self) -> None:
        if self.norm not in DEFAULT_ATTACKS:
            raise UsageError("E-NORM", f"there is no norm '{self.norm}'", where="--norm", hint="linf, l2 or l1")
        if self.radius <= 0 or float_above(self.radius) == inf:
            raise UsageError("E-RADIUS", "the radius must be positive and finite", where="--radius", hint="for example 0.1")
        for plan in self.attacks:
            plan.in_norm(self.norm)

    @property
    def plans(self) -> tuple[AttackPlan, ...]:
        """The attacks that run."""
        return self.attacks or parse_attacks(DEFAULT_ATTACKS[self.norm], self.norm)

    @property
    def within(self) -> float:
        """The largest float64 that is no larger than the radius."""
        return -float_above(-self.radius)


@dataclass(frozen=True, eq=False)
class Attacked:
    """The nearest points found, one a pair.

    distance: (P,) float64, of the point, rounded upward; inf where none was found within the radius.  points: (P, *shape) float64 in
    the data range, NaN where there is none.  by: the attack that found each, 'center' where the row fails there already, '' for none.
    proved: whether f_t > f_c is proved at the points; otherwise it is what float64 (or the module's own format) says.
    cut: the deadline passed before all attacks had run; what was found stands.  seconds: wall time of all pairs.
    """

    distance: Tensor
    points: Tensor
    by: tuple[str, ...]
    proved: bool
    cut: bool
    seconds: float


def attacked_distances(model: Model, center: Tensor, original: Tensor, target: Tensor, settings: DistanceSettings,
                       prove: Proof | None = None) -> Attacked:
    """For each pair the nearest input found with f_target > f_original strictly, within the radius and the data range.

    model: a Graph, a torch module or a callable, (batch, *shape) -> (batch, classes), differentiable.  center: (P, *shape) in the data
    range, raw units.  original, target: (P,) int64.  prove: decides which points count; None: for a Graph an interval proof in float64
    over the exact-real network with a replay in its own model, for anything else its values alone.
    Sound with a proof: the real distance of the pair's nearest counterexample is at most `distance`. Looks at the deadline in each
    evaluation. Raises UnsupportedError E-ATTACK-MISSING, InputError E-DATA-RANGE, E-LABEL, UsageError E-ATTACK-FAILED.
    """
    check_foolbox()
    start = time.monotonic()
    center, original, target = center.to(HOME, torch.float64), original.to(HOME).long(), target.to(HOME).long()
    _check(center, original, target, settings.clip)
    proved = prove is not None or isinstance(model, Graph)
    chosen = prove or (exact_proof(model, settings.memory) if isinstance(model, Graph) else _values(model))
    search = _Search(model, chosen, settings, (center, original, target))
    with seeded(settings.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cut = search.run()
    return search.result(proved, cut, time.monotonic() - start)


def exact_proof(graph: Graph, memory: int | None = None) -> Proof:
    """The proof of a Graph: intervals over the exact-real network, and a replay in onnxruntime where there is a model.

    Raises UnsupportedError E-IMPORT-RUNTIME where onnxruntime refuses the model.
    """
    reference = runtime(graph.source) if graph.source.runs else None

    def prove(points: Tensor, original: Tensor, target: Tensor) -> Tensor:
        proved = above_by_intervals(graph, points, original, target, memory)
        rows = proved.nonzero().flatten()
        if reference is not None and len(rows):
            proved[rows] = _replayed(reference, points[rows], original[rows], target[rows])
        return proved

    return prove


def _replayed(reference: Runtime, points: Tensor, original: Tensor, target: Tensor) -> Tensor:
    output = torch.from_numpy(reference.run(np.asarray(points))).flatten(1)
    return output.isfinite().all(1) & (_gap(output, original, target) > 0)


def _values(model: Model) -> Proof:
    """What the model itself says, in float64 where it computes in it."""

    def says(points: Tensor, original: Tensor, target: Tensor) -> Tensor:
        output = _outputs(model, points)
        return output.isfinite().all(1) & (_gap(output, original, target) > 0)

    return says


def _outputs(model: Model, points: Tensor) -> Tensor:
    """(batch, classes) float64, computed in the parameters' format where the model is a module that has some."""
    dtype = next((p.dtype for p in model.parameters()), torch.float64) if isinstance(model, nn.Module) else torch.float64
    with torch.no_grad():
        return torch.cat([model(part.to(place(model), dtype)).flatten(1).to(HOME, torch.float64) for part in points.split(256)])


def _gap(output: Tensor, original: Tensor, target: Tensor) -> Tensor:
    return (output.gather(1, target[:, None]) - output.gather(1, original[:, None]))[:, 0]


def norm_above(offsets: Tensor, norm: str) -> Tensor:
    """(batch,): at least the norm of each row. offsets: (batch, *shape) float64, rounded differences; 0 for a row of zeros.

    Sound: a rounded difference is 0 only where the exact one is, and below it by less than one step; then as a sum of n terms.
    """
    gaps = offsets.flatten(1)
    size = torch.where(gaps == 0, 0.0, up(gaps.abs()))
    n = max(1, size.shape[1])
    if norm == "linf":
        return size.amax(1) if size.shape[1] else size.new_zeros(len(size))
    if norm == "l1":
        length = up(size.sum(1) * (1 + gamma(n + 8, torch.float64)))
    else:
        length = up(((size * size).sum(1) + 2 * n * smallest_normal(torch.float64)).sqrt() * (1 + gamma(n + 8, torch.float64)))
    return torch.where((size == 0).all(1), 0.0, length)


def _check(center: Tensor, original: Tensor, target: Tensor, clip: tuple[float, float] | None) -> None:
    low, high = clip or (-inf, inf)
    if not bool((center.isfinite() & (center >= low) & (center <= high)).all()):
        raise InputError("E-DATA-RANGE", f"centres outside [{low:g}, {high:g}], or not finite", where="attack",
                         hint="scale the data, or state its range: --clip LOW,HIGH (clip= in Python)")
    if original.shape != center.shape[:1] or target.shape != center.shape[:1]:
        raise InputError("E-LABEL", f"{len(center)} centres, originals of shape {tuple(original.shape)}, targets of shape "
                         f"{tuple(target.shape)}", where="target", hint="give one original and one target class per centre")
    if bool((original == target).any()):
        raise InputError("E-LABEL", "a target equals the original class", where="target", hint="a target must be another class")


class _Pairs(nn.Module):
    """Two logits a row, f_original and f_target of the row's pair, less the first, by a factor of the pair's own: at its centre they differ
    by 1, so that neither the exponentials of losses flatten out nor an attack's constants fit the one pair and not the other.

    Rows keep their order: Foolbox gives whole batches, or is refused.
    """

    def __init__(self, model: Model, classes: Tensor, factor: Tensor, deadline: float) -> None:
        super().__init__()
        self.model, self.classes, self.factor, self.budget = model, classes, factor[:, None], Budget(deadline=deadline)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2). Raises DeadlineError, UsageError E-ATTACK-FAILED for a batch that is not the pairs'."""
        self.budget.check()
        if len(x) != len(self.classes):
            raise UsageError("E-ATTACK-FAILED", f"the attack evaluates {len(x)} rows of {len(self.classes)} pairs", where="--attack",
                             hint="leave this attack away")
        dtype = next((p.dtype for p in self.model.parameters()), x.dtype) if isinstance(self.model, nn.Module) else x.dtype
        pair = self.model(x.to(place(self.model), dtype)).flatten(1).to(x.device).gather(1, self.classes)
        # Of the difference alone, so that nothing is lost where both are large.
        gap = (pair[:, 1:] - pair[:, :1]) * self.factor.to(pair.dtype)
        return torch.cat([torch.zeros_like(gap), gap], 1).to(x.dtype)


class _Search:
    """Mutable: the best of each pair so far. best: (P,) float64, rounded upward, also beyond the radius."""

    def __init__(self, model: Model, prove: Proof, settings: DistanceSettings, pairs: tuple[Tensor, Tensor, Tensor]) -> None:
        self.model, self.prove, self.settings = model, prove, settings
        self.center, self.original, self.target = pairs
        outputs = _outputs(model, self.center)
        Spec.check_labels(torch.cat(pairs[1:]), outputs.shape[1])
        gap = _gap(outputs, self.original, self.target).abs()
        self.factor = torch.where((gap > 0) & gap.isfinite(), 1 / gap, 1.0).clamp(max=_STEEP)
        self.best = torch.full((len(self.center),), inf, dtype=torch.float64)
        self.points = torch.full_like(self.center, torch.nan)
        self.by = [""] * len(self.center)

    def run(self) -> bool:
        """All attacks; whether the deadline cut them."""
        everything = torch.arange(len(self.center))
        for part in self._parts(everything):
            self._take(CENTER, part, self.center[part])
        try:
            for plan in self.settings.plans:
                for parameters, rows in self._calls(plan):
                    for part in self._parts(rows):
                        self._take(plan.name, part, self._attacked(plan, parameters, part))
        except DeadlineError:
            return True
        return False

    def _calls(self, plan: AttackPlan) -> Iterator[tuple[Parameters, Tensor]]:
        """Parameters of a call, and the pairs that it is for: those not yet at distance 0, by radius for attacks that need one."""
        parameters = plan.in_norm(self.settings.norm)[1]
        if "eps" not in parameters:
            yield parameters, (self.best.isfinite() & (self.best > 0) if plan.kind.starts else self.best > 0).nonzero().flatten()
            return
        if "eps" in plan.given:
            yield parameters, (self.best > float(parameters["eps"])).nonzero().flatten()
            return
        for rung in range(_RUNGS):
            eps = self.settings.within * 2 ** (-rung / 2)
            near = (_ABOVE * self.best > eps) & ((self.best <= _BELOW * eps) if rung else True)
            yield {**parameters, "eps": eps}, near.nonzero().flatten()

    def _attacked(self, plan: AttackPlan, parameters: Parameters, part: Tensor) -> Tensor:
        """What the attack makes of these pairs, in the data range, float64; NaN and worse may be among it."""
        classes = torch.stack([self.original[part], self.target[part]], 1)
        pairs = _Pairs(self.model, classes, self.factor[part], self.settings.deadline)
        pairs.budget.check()
        how = plan.in_norm(self.settings.norm)[0], parameters
        start = self.points[part] if plan.kind.starts else None
        found = run_foolbox(pairs, self.center[part], torch.zeros_like(part), how, self._range(), start)
        return self._clipped(found.double())

    def _range(self) -> tuple[float, float]:
        """The data range; without one as far as any point may lie."""
        room = float_above(self.settings.radius)
        return self.settings.clip or (float(self.center.amin()) - room, float(self.center.amax()) + room)

    def _clipped(self, points: Tensor) -> Tensor:
        return points if self.settings.clip is None else points.clamp(*self.settings.clip)

    def _take(self, name: str, part: Tensor, points: Tensor) -> None:
        """Keep what is proved, shortened, where it is nearer than what was known. part: (k,) pairs, points: (k, *shape)."""
        good = points.flatten(1).isfinite().all(1)
        good[good.clone()] = self.prove(points[good], self.original[part[good]], self.target[part[good]]) if bool(good.any()) else False
        part, points = part[good], points[good]
        if not len(part):
            return
        points = points if name == CENTER else self._shortened(part, points)
        lengths = norm_above(points - self.center[part], self.settings.norm)
        nearer = lengths < self.best[part]
        self.best[part[nearer]], self.points[part[nearer]] = lengths[nearer], points[nearer]
        for slot in part[nearer].tolist():
            self.by[slot] = name

    def _shortened(self, part: Tensor, points: Tensor) -> Tensor:
        """Proved points nearer to the centres: in l1 with the least moved entries put back first, then along the segment."""
        center = self.center[part]
        if self.settings.norm == "l1":
            offsets = (points - center).flatten(1)
            size = offsets.shape[1]
            rank = torch.argsort(offsets.abs(), dim=1, descending=True, stable=True).argsort(1)
            points = self._nearest(part, points, size.bit_length(), lambda share: torch.where(
                (rank < (share * size)[:, None]).reshape(points.shape), points, center))
        gaps = points - center
        return self._nearest(part, points, _HALVINGS, lambda share: self._clipped(
            center + share.reshape(-1, *(1,) * (gaps.dim() - 1)) * gaps))

    def _nearest(self, part: Tensor, points: Tensor, halvings: int, path: Callable[[Tensor], Tensor]) -> Tensor:
        """The proved point of least share that bisection comes to. path: (k,) shares in [0, 1] to points; share 1 is `points`, proved."""
        low, high = torch.zeros(len(part), dtype=torch.float64), torch.ones(len(part), dtype=torch.float64)
        for _ in range(halvings):
            middle = (low + high) / 2
            tried = path(middle)
            proved = self.prove(tried, self.original[part], self.target[part])
            low, high = torch.where(proved, low, middle), torch.where(proved, middle, high)
            points = torch.where(proved.reshape(-1, *(1,) * (points.dim() - 1)), tried, points)
        return points

    def _parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Pairs that are attacked together, bounded by memory."""
        if not len(rows):
            return ()
        held = 64 * self.center[0].numel() + (4 * sum(node.size for node in self.model.nodes) if isinstance(self.model, Graph) else 0)
        most = Budget(self.settings.memory or default_memory()).rows(8 * held)
        if isinstance(self.model, Graph):
            most = min(most, Budget().pieces(work(self.model)))
        parts: tuple[Tensor, ...] = rows.split(min(_CHUNK, most))
        return parts

    def result(self, proved: bool, cut: bool, seconds: float) -> Attacked:
        """Censored at the radius."""
        far = self.best > self.settings.within
        distance = torch.where(far, inf, self.best)
        points = torch.where(far.reshape(-1, *(1,) * (self.points.dim() - 1)), torch.nan, self.points)
        return Attacked(distance, points, tuple("" if gone else name for gone, name in zip(far.tolist(), self.by, strict=True)),
                        proved, cut, seconds)
