"""Particles on their way down, step by step, with few looks at what the device has found.

A step asks the device for nothing: to read one number is to wait for all that was asked of it before. What is decided is read
every few steps, and what flies on meanwhile is recorded nowhere, so that no outcome depends on when that is.

Source: Madry et al., ICLR 2018, section 2.1; the momentum is that of Dong et al., CVPR 2018, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from absint.attacks.loss import objective
from absint.attacks.starts import StartWork, gradient, sets_of
from absint.problem.regions.region import Region
from absint.problem.spec import Spec

_MOMENTUM = 0.75
_LAST = 0.02             # the last step as a share of the first
_SPARSEST = 6            # on plateaus, random steps move a share of the entries down to 2^-6


@dataclass(frozen=True, eq=False)
class Particles:
    """Points on their way. instance: (P,).  points: (P, *shape).  focus: (P,) a disjunct or -1.  soft: (P,) bool.

    place: (P,) number among the particles of the same instance, below `copies`: so many each has, one after the other.
    step: length of the first step, as a share of the set's radius.  salt: of the random draws on the way.
    recalled: whether it is of interest where each of them was lowest.
    """

    instance: Tensor
    points: Tensor
    focus: Tensor
    soft: Tensor
    place: Tensor
    copies: int
    step: float = 1.0
    salt: int = 0
    recalled: bool = False

    def take(self, index: Tensor | slice) -> Particles:
        """Some of them."""
        return replace(self, instance=self.instance[index], points=self.points[index], focus=self.focus[index], soft=self.soft[index],
                       place=self.place[index])


@dataclass(eq=False)
class Walk:
    """One chunk of particles under way, with their sets and properties and their source of random steps.

    flat: (P,) bool, no gradient was ever felt.  plateaus: whether there may be such particles.  following: the step before
    which the device is read next.  lowest: points (P, *shape) and heights (P,) where each particle was lowest, where that is recalled.
    """

    work: StartWork
    particles: Particles
    region: Region
    spec: Spec
    velocity: Tensor
    flat: Tensor
    generator: torch.Generator
    plateaus: bool = True
    following: int = 1
    lowest: tuple[Tensor, Tensor] | None = None
    drawn: list[tuple[Tensor, float]] = field(default_factory=list)

    @staticmethod
    def begun(work: StartWork, particles: Particles) -> Walk:
        """Before the first step."""
        generator = torch.Generator().manual_seed(work.search.seed * 8191 + particles.salt)
        flat = torch.ones_like(particles.instance, dtype=torch.bool)
        return Walk(work, particles, sets_of(work.region, particles.instance), work.spec.take(particles.instance),
                    torch.zeros_like(particles.points), flat, generator)

    def look(self, step: int) -> None:
        """Read, at once, whose particles leave and whether any is on a plateau; the next time after half as many steps again.

        Sooner where a step is long, so that a deadline is noticed: the clock knows nothing of what the device has still to do.
        """
        done, flat = torch.stack([self.work.best.done[self.particles.instance], self.flat]).cpu().numpy()
        if done.any():
            self._keep(torch.from_numpy(np.flatnonzero(~done)))
        self.plateaus = bool((flat & ~done).any())
        cost = len(self.particles.instance) * self.work.products
        self.following = step + max(1, min(step // 2, self.work.search.budget.pieces(cost)))

    def _keep(self, left: Tensor) -> None:
        """left: positions on the host."""
        there = left.to(self.flat.device)
        self.particles, self.velocity, self.flat = self.particles.take(there), self.velocity[there], self.flat[there]
        self.region, self.spec = sets_of(self.region, there), self.spec.take(there)
        self.lowest = None if self.lowest is None else (self.lowest[0][there], self.lowest[1][there])

    def recall(self, values: Tensor) -> None:
        """Row values (P, rows) where the particles are: each goes by the greatest row of the disjunct that it is after."""
        here = self.particles
        heights, points = objective(values, self.spec, here.focus, torch.zeros_like(here.soft)), here.points.detach()
        if self.lowest is not None:
            before, least = self.lowest
            points = torch.where((heights < least).reshape(-1, *(1,) * (points.dim() - 1)), points, before)
            heights = torch.minimum(heights, least)
        self.lowest = points, heights

    def draw(self, step: int) -> tuple[Tensor, float]:
        """(n,) an offset of every entry, mostly zero, and how far it goes: of this step; those up to the next look at once.

        They are drawn on the host, by the step, whatever the device and the number of particles.
        """
        if not self.drawn:
            parts = [self._draw() for _ in range(self._draws(step))]
            offsets = torch.stack([offset for offset, _ in parts]).to(self.velocity)
            self.drawn = [(offset, length) for offset, (_, length) in zip(offsets, parts, strict=True)]
        return self.drawn.pop(0)

    def _draws(self, step: int) -> int:
        """How many fit into memory, of those that are needed before it is known whether more are."""
        return min(self.following - step, self.work.search.budget.rows(16 * self.velocity[:1].numel()))

    def _draw(self) -> tuple[Tensor, float]:
        shape = self.work.region.shape
        noise, chosen, share = (torch.rand(*size, generator=self.generator, dtype=torch.float64) for size in (shape, shape, (2,)))
        sparse, far = share.tolist()
        # From all entries down to a few, near or right across the set: what is right already must have a chance to stay.
        return torch.where(chosen < 2.0 ** -(_SPARSEST * sparse), noise - 0.5, 0.0).flatten(), 2 * far


def descend(work: StartWork, particles: Particles, steps: int) -> list[Walk]:
    """Take all particles downhill, in chunks that fit into memory; those of decided instances leave. Returns the chunks as they end."""
    return [walk(work, particles.take(chunk), steps) for chunk in chunks(len(particles.instance), particles.copies, work.room)]


def chunks(count: int, copies: int, room: int) -> list[slice]:
    """About `room` of `count` particles at a time: whole instances, or equal parts of one, so that none depends on its batch mates."""
    whole = max(1, room // copies) * copies
    return [slice(start, min(start + room, begin + whole, count)) for begin in range(0, count, whole)
            for start in range(begin, min(begin + whole, count), room)]


def walk(work: StartWork, particles: Particles, steps: int) -> Walk:
    """Take one chunk of particles downhill, `steps` times; all that they meet is recorded. Returns it as it ends."""
    under_way = Walk.begun(work, particles)
    for step in range(steps + 1):
        work.search.budget.check()
        if step == under_way.following:
            under_way.look(step)
        if not len(under_way.particles.instance):
            break
        here = under_way.particles
        x = here.points.detach().requires_grad_()
        # An instance that is decided has its point; its particles, until they leave, must not replace it.
        values = work.evaluate(here.instance, x, spec=under_way.spec, counted=~work.best.done[here.instance])
        if here.recalled:
            under_way.recall(values.detach())
        if step < steps:
            length = here.step * _LAST ** (step / max(1, steps - 1))
            under_way.particles = replace(here, points=_moved(under_way, gradient(_loss(under_way, values), x), step, length))
    return under_way


def _loss(under_way: Walk, values: Tensor) -> Tensor:
    here = under_way.particles
    return objective(values, under_way.spec, here.focus, here.soft).sum()


def _moved(under_way: Walk, slope: Tensor, step: int, length: float) -> Tensor:
    """Where the particles go next: down the gradients felt so far, or a random way where none was."""
    under_way.velocity = _MOMENTUM * under_way.velocity + _unit(slope)
    under_way.flat = under_way.flat & (under_way.velocity == 0).flatten(1).all(1)
    moved = under_way.particles.points + under_way.region.descent(under_way.velocity) * length
    if under_way.plateaus:
        moved = _off_plateaus(under_way, moved, step)
    return under_way.region.pull(moved).to(under_way.work.dtype)


def _unit(slope: Tensor) -> Tensor:
    """Each particle's gradient with mean size 1, or zero."""
    mean = slope.flatten(1).abs().mean(1).reshape(-1, *(1,) * (slope.dim() - 1))
    return slope / torch.where(mean > 0, mean, torch.ones_like(mean))


def _off_plateaus(under_way: Walk, moved: Tensor, step: int) -> Tensor:
    """`moved`, or where no gradient was ever felt a random step from the instance's best point."""
    work, velocity, here = under_way.work, under_way.velocity, under_way.particles
    offset, length = under_way.draw(step)
    # Particles of one instance go different ways: the draw is rolled and mirrored by their place.
    ways = torch.stack([offset.roll(k) * (1 - 2 * (k % 2)) for k in range(here.copies)])
    home = work.best.points[here.instance].to(work.dtype)
    flat = under_way.flat.reshape(-1, *(1,) * (velocity.dim() - 1))
    return torch.where(flat, home + under_way.region.descent(ways[here.place].reshape(velocity.shape)) * length, moved)
