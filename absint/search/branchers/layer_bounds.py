"""Lower bounds of functionals of a one-layer network over boxes with phases, many at once: hints by a few ascent steps, proofs in float64.

For any numbers B (m,):  a.y + e.x + d >= d + sum_j (min over z in [l_j, u_j] of a_j f_j(z) - B_j z) + B.(z's constants)
+ min over the box of (e + B inner).x, as z = inner x + constants. B is the slope of the concave or convex hull where nothing is
assumed, and free in sign where a phase is; whatever it is, the bound holds. Source: Wang et al., Beta-CROWN, NeurIPS 2021, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from absint.encode.one_layer import OneLayer
from absint.numeric.outward import down, up
from absint.numeric.rounding import gamma, smallest_normal

# Steps of the ascent, their first size, and what the next one is of it. Measured in benchmarks/results/small.md.
_STEPS, _SLOPE, _PRICE, _DECAY = 8, 1.2, 8.0, 0.8
_INFLATE = 1 + 1e-6
# Sums of weights of rows are 1 up to rounding; a bound gives so much of itself for it.
_UNSURE = 1e-12
# Prices tried for a phase before it is imposed, as shares of the bend.
_PRICES = (0.0, 0.5, 1.0)


class Functionals(NamedTuple):
    """Of N boxes. input: (N, n), layer: (N, m), constant: (N,), the charge (N,) that goes with them included.

    unit: (N, m) float32 > 0, how far z ranges over the region: what steps of the hints are measured by.
    """

    input: Tensor
    layer: Tensor
    constant: Tensor
    unit: Tensor


@dataclass(frozen=True, eq=False)
class Phased:
    """low, high: (N, n) float64.  phase: (N, m) int8: 1 where z >= knot is assumed, -1 where z <= knot, else 0.

    slope: (N, m) float32 in [0, 1], price: (N, m) float32 >= 0: hints, where the functional is convex in z and where a phase is.
    """

    low: Tensor
    high: Tensor
    phase: Tensor
    slope: Tensor
    price: Tensor

    def take(self, index: Tensor) -> Phased:
        """Some of them."""
        return Phased(self.low[index], self.high[index], self.phase[index], self.slope[index], self.price[index])


@dataclass(frozen=True, eq=False)
class Bounded:
    """bound: (N,) proved.  weight: (N, n): bound + sum of |weight| times the distance from `worst` (N, n) is proved of each point of
    the box, too.  z_low, z_high: (N, m).  void: (N,): no point of the box has these phases.  hint: (N, m) float32, the numbers B.
    """

    bound: Tensor
    weight: Tensor
    worst: Tensor
    z_low: Tensor
    z_high: Tensor
    void: Tensor
    hint: Tensor


class LayerBounds:
    """Of one network. steps: of the ascent."""

    def __init__(self, net: OneLayer, steps: int = _STEPS) -> None:
        self.net, self.steps = net, steps
        self._inner = net.inner.float()
        self._knot, self._left, self._right = (t.float() for t in (net.knot, net.left, net.right))
        self._middle = ((net.z_low + net.z_high) / 2).float()
        self._z_size = 2 * net.depth + net.inner.abs() @ net.reach + torch.maximum(net.z_low.abs(), net.z_high.abs())
        self._terms = 4 * (len(net.reach) + len(net.knot)) + 64

    def ends(self, boxes: Phased) -> tuple[Tensor, Tensor, Tensor]:
        """z_low, z_high (N, m) and void (N,), float64, with the phases."""
        low, high = self.net.before(boxes.low, boxes.high)
        low = torch.where(boxes.phase > 0, torch.maximum(low, self.net.knot), low)
        high = torch.where(boxes.phase < 0, torch.minimum(high, self.net.knot), high)
        return low, high, (low > high).any(1)

    def proved(self, of: Functionals, boxes: Phased) -> tuple[Bounded, Phased]:
        """Bounds, rounded; the boxes with better hints."""
        net = self.net
        low, high, void = self.ends(boxes)
        hint, boxes = self._ascended(of, boxes, low.float(), high.float())
        b = hint.double()
        a = of.layer
        at = [self._value(a, z) - b * z for z in (low, high)]
        inside = (low < net.knot) & (high > net.knot)
        least = torch.minimum(torch.minimum(*at), torch.where(inside, -b * net.knot, torch.inf))
        least = least + torch.minimum(a * net.y_low, a * net.y_high) + torch.minimum(b * net.z_low, b * net.z_high)
        weight = of.input + b @ net.inner
        worst = torch.where(weight > 0, boxes.low, boxes.high)
        total = least.sum(1) + (weight * worst).sum(1) + of.constant
        size = a.abs() @ net.height + b.abs() @ self._z_size + of.input.abs() @ net.reach + of.constant.abs()
        slack = gamma(self._terms, torch.float64) * size * _INFLATE + self._terms * self._terms * smallest_normal(torch.float64)
        bound = torch.where(void, torch.inf, down(total - slack))
        return Bounded(bound, weight, worst, low, high, void, hint), boxes

    def _value(self, a: Tensor, z: Tensor) -> Tensor:
        """a times f without its constant."""
        net = self.net
        off = z - net.knot
        return a * (net.left * off.clamp(max=0) + net.right * off.clamp(min=0))

    def _ascended(self, of: Functionals, boxes: Phased, low: Tensor, high: Tensor) -> tuple[Tensor, Phased]:
        """Hints B (N, m) in float32, the best of some steps, and the boxes that remember them. Nothing here is proved."""
        a, knot = of.layer.float(), self._knot
        open_ = (boxes.phase == 0) & (low < knot) & (high > knot)
        right = ~open_ & (high > knot)
        bend = a * (self._right - self._left)
        convex, concave = open_ & (bend > 0), open_ & (bend <= 0)
        share = torch.where(concave, (high - knot) / (high - low).clamp(min=1e-30), right.float())
        base = a * self._left
        sign = boxes.phase.float()
        x_low, x_high = boxes.low.float(), boxes.high.float()
        # What the least over z of a f(z) - B z adds, with the hull's slope for B where nothing is assumed; zero at the knot elsewhere.
        below = torch.where(concave, -bend * share * (low - knot), 0.0)
        fixed = of.constant.float() + below.sum(1)
        e, middle = of.input.float(), self._middle
        scale = _PRICE * a.abs().mean(1, keepdim=True) / of.unit
        slope, price, step = boxes.slope, boxes.price, 1.0
        best = torch.full_like(of.constant, -torch.inf, dtype=torch.float32)
        kept, kept_slope, kept_price = base, slope, price
        for turn in range(self.steps):
            hint = base + bend * torch.where(convex, slope, share) - sign * price
            weight = e + hint @ self._inner
            x = torch.where(weight > 0, x_low, x_high)
            # f is 0 at its knot here, so that B z counts from there.
            value = (weight * x).sum(1) + (hint * (middle - knot)).sum(1) + fixed
            better = value > best
            best, mask = torch.where(better, value, best), better[:, None]
            kept, kept_slope, kept_price = (torch.where(mask, new, old) for new, old in
                                            ((hint, kept), (slope, kept_slope), (price, kept_price)))
            if turn + 1 < self.steps:
                off = x @ self._inner.T + (middle - knot)
                slope = torch.where(convex, (slope + _SLOPE * step * off / of.unit).clamp(0, 1), slope)
                price = torch.where(sign != 0, (price - step * scale * sign * off).clamp(min=0), price)
                step *= _DECAY
        return kept, Phased(boxes.low, boxes.high, boxes.phase, kept_slope, kept_price)


    def foreseen(self, of: Functionals, found: Bounded, boxes: Phased, entry: Tensor) -> Tensor:
        """(2, N, k) what both phases of the entries (N, k) raise the bounds to, by the best of a few prices each. Float32, no proof."""
        inner = self._inner[entry]
        a, low, high, b = (t.float().gather(1, entry) for t in (of.layer, found.z_low, found.z_high, found.hint))
        knot, left, right, shift = (t[entry] for t in (self._knot, self._left, self._right, self._middle - self._knot))
        base = found.weight.float()[:, None] - b[..., None] * inner
        at = torch.minimum(a * left * (low - knot) - b * (low - knot), a * right * (high - knot) - b * (high - knot)).clamp(max=0)
        rest = (found.bound.float() - (found.weight * found.worst).sum(1).float())[:, None] - at - b * shift
        middle, radius = ((boxes.low + boxes.high) / 2).float()[:, None], ((boxes.high - boxes.low) / 2).float()[:, None]
        bend = (a * (right - left)).abs()
        raised = []
        for slope, sign in ((a * right, 1.0), (a * left, -1.0)):
            best = None
            for price in _PRICES:
                co = slope - sign * price * bend
                weight = base + co[..., None] * inner
                value = (weight * middle).sum(2) - (weight.abs() * radius).sum(2) + rest + co * shift
                best = value if best is None else torch.maximum(best, value)
            assert best is not None
            raised.append(best)
        return torch.stack(raised)


def clipped(found: Bounded, boxes: Phased, goal: Tensor) -> Phased:
    """The boxes without what the bound's own affine form proves above `goal` (N,) > 0, rounded outward: one entry after the other is cut.

    The form rises by |weight| from `worst`: where it comes to the goal nothing further away is needed.
    """
    room = up(goal - found.bound)[:, None]
    far = up(up(room / found.weight.abs()))
    far = torch.where((found.weight != 0) & far.isfinite(), far, torch.inf)
    high = torch.where(found.weight > 0, torch.minimum(boxes.high, up(found.worst + far).nan_to_num(nan=torch.inf)), boxes.high)
    low = torch.where(found.weight < 0, torch.maximum(boxes.low, down(found.worst - far).nan_to_num(nan=-torch.inf)), boxes.low)
    return Phased(low, high, boxes.phase, boxes.slope, boxes.price)


def combined(rows_input: Tensor, rows_layer: Tensor, rows_constant: Tensor, share: Tensor, unit: Tensor, net: OneLayer) -> Functionals:
    """A combination of the rows (N, R, ...) by shares (N, R) >= 0 of sum 1, rounded down: the greatest row is at least that.

    Exact where there is one row.
    """
    if share.shape[1] == 1:
        return Functionals(rows_input[:, 0], rows_layer[:, 0], rows_constant[:, 0], unit)
    size = rows_input.abs() @ net.reach + rows_layer.abs() @ net.height + rows_constant.abs()
    charge = (gamma(2 * share.shape[1] + 16, torch.float64) + _UNSURE) * (share * size).sum(1) * _INFLATE
    charge = charge + share.shape[1] * 64 * smallest_normal(torch.float64)
    weights = share[:, None]
    return Functionals((weights @ rows_input)[:, 0], (weights @ rows_layer)[:, 0], (share * rows_constant).sum(1) - charge, unit)
