"""How far elementwise relaxations are from the best ones: worst ratios of area (lines) and radius (bands) per operator.

    python benchmarks/tightness.py

Intervals of width 1e-6 to 1e3 on, beside and across every knot and piece end. The best line maximises the value at the
middle, the best band minimises the radius; both are convex in the slope and found by ternary search over a fine grid.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from pathlib import Path

import torch
from torch import Tensor

from absint.model.families.elementwise import Elementwise
from absint.model.ops.step import _Staircase
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, unit_roundoff

WIDTHS = (1e-6, 1e-4, 1e-2, 0.3, 1.0, 4.0, 12.0, 100.0, 1e3)
SHARES = (-0.7, -1e-3, 0.0, 0.1, 0.5, 0.77, 1.0, 1.3)


def cuts(op: Elementwise) -> list[float]:
    """Where f is special, and two places where it is not."""
    found = {0.0, 1.0, -2.6, *(k.x for k in op.knots), *(j.x for j in op.jumps), *(x for p in op.pieces for x in (p.low, p.high))}
    return sorted(x for x in found if abs(x) < inf)


def intervals(op: Elementwise) -> Interval:
    """Finite intervals on which f is defined and finite."""
    low = torch.tensor([[c - s * w, c - s * w + w] for c in cuts(op) for w in WIDTHS for s in SHARES], dtype=torch.float64)
    low, high = low[:, 0], low[:, 1]
    keep = op.evaluate(low).isfinite() & op.evaluate(high).isfinite() & (high > low) & (low.abs() < 1e5)
    if isinstance(op, _Staircase):  # every corner must be on the grid
        keep = keep & (high - low <= 12)
    fine = op.defined(low, high)
    keep = keep if fine is None else keep & fine
    return Interval(low[keep], high[keep])


def grid(op: Elementwise, box: Interval) -> tuple[Tensor, Tensor]:
    """Points (intervals, points) as distances from the middle, and f there: uniform, and ever closer to every cut and end."""
    low, high = box.lower[:, None], box.upper[:, None]
    near = torch.logspace(-7, 3, 70, dtype=torch.float64)
    around = torch.cat([-near, torch.zeros(1, dtype=torch.float64), near])
    parts = [low + (high - low) * torch.linspace(0, 1, 301, dtype=torch.float64)]
    parts += [(around + c).expand(len(low), -1) for c in cuts(op)]
    parts += [low + near, high - near]
    places = [j.x for j in op.jumps] + ([k + op.place for k in range(-30, 30)] if isinstance(op, _Staircase) else [])
    for place in places:
        sides = torch.nextafter(torch.tensor(place, dtype=torch.float64), torch.tensor([-inf, inf], dtype=torch.float64))
        parts.append(sides.expand(len(low), -1))
    x = torch.minimum(torch.maximum(torch.cat(parts, 1), low), high).sort(1).values
    return x - (low / 2 + high / 2), op.evaluate(x)


def search(height: Callable[[Tensor], Tensor], reach: Tensor, steps: int = 64) -> Tensor:
    """Least value of a convex function of the slope, one for each interval."""
    a, b = -reach, reach
    for _ in range(steps):
        p, q = a + (b - a) / 3, b - (b - a) / 3
        right = height(p) > height(q)
        a, b = torch.where(right, p, a), torch.where(right, b, q)
    return height((a + b) / 2)


def best(x: Tensor, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Highest value of a line below and lowest of one above at the middle; radius of the narrowest band."""
    rise = f.amax(1) - f.amin(1)
    reach = 4 * rise / (x.amax(1) - x.amin(1)) + 1e-300

    def residual(s: Tensor) -> Tensor:
        return f - s[:, None] * x

    below = -search(lambda s: -residual(s).amin(1), reach)
    above = search(lambda s: residual(s).amax(1), reach)
    return below, above, search(lambda s: residual(s).amax(1) - residual(s).amin(1), reach) / 2


def mean(x: Tensor, f: Tensor) -> Tensor:
    """Integral over width, by trapezoids."""
    step = x.diff(dim=1)
    return ((f[:, 1:] + f[:, :-1]) / 2 * step).sum(1) / step.sum(1)


def ratios(op: Elementwise, box: Interval) -> dict[str, Tensor]:
    """1 + excess over the best, per interval; what rounding explains is no excess."""
    num = Numerics()
    x, f = grid(op, box)
    below, above, radius = best(x, f)
    middle = box.lower / 2 + box.upper / 2
    area = mean(x, f)
    planes, band = op.planes((box,), num), op.band((box,), num)
    size = f.abs().amax(1) + box.magnitude * (planes.lower[0].abs() + planes.upper[0].abs() + band.slope[0].abs())
    floor = size * unit_roundoff(torch.float64) * (4 * op.error.ulps + 64) + 8 * op.error.absolute + 1e-300
    floor = floor + 4 * (op.derivative_error.absolute + op.derivative_error.ulps * unit_roundoff(torch.float64)
                         * planes.lower[0].abs().maximum(planes.upper[0].abs())) * (box.upper - box.lower)
    lower, upper = planes.lower[0] * middle + planes.lower_offset, planes.upper[0] * middle + planes.upper_offset
    pairs = {"band": (band.radius, radius), "lower": (area - lower, area - below), "upper": (upper - area, above - area)}
    return {name: 1 + (ours - least - floor).clamp(min=0) / least.clamp(min=1e-300).maximum(floor) for name, (ours, least) in pairs.items()}


def worst(op: Elementwise, every: int = 1) -> dict[str, tuple[float, tuple[float, float]]]:
    """Largest ratio of each kind and the interval where it occurs, over one interval out of `every`."""
    box = intervals(op)
    box = Interval(box.lower[::every], box.upper[::every])
    found = {}
    for name, ratio in ratios(op, box).items():
        k = int(ratio.nan_to_num(nan=inf).argmax())
        found[name] = (float(ratio[k]), (float(box.lower[k]), float(box.upper[k])))
    return found


def main() -> None:
    """One line per operator of the contract suite."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from contract.operators import NONLINEAR

    torch.set_num_threads(1)
    print(f"{'operator':28s} {'band':>8s} {'lower':>8s} {'upper':>8s}   worst on")
    for name, make in NONLINEAR.items():
        op = make()[0]
        if isinstance(op, Elementwise):
            found = worst(op)
            where = max(found.values())[1]
            numbers = " ".join(f"{found[k][0]:8.4f}" for k in ("band", "lower", "upper"))
            print(f"{name:28s} {numbers}   [{where[0]:.7g}, {where[1]:.7g}]", flush=True)


if __name__ == "__main__":
    main()
