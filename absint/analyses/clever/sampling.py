"""The maxima of batches of samples: gradients' norms (order 1) or Hessians' (order 2) of all images, targets and samples together.

Every batch is drawn afresh; only its maximum enters the fit. Batches are cut into blocks of a fixed size, and as many blocks as
memory holds are computed together: what is drawn does not depend on it.
Source: Weng et al., Evaluating the Robustness of Neural Networks, ICLR 2018, algorithm 1; On Extensions of CLEVER, GlobalSIP 2018.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from absint.analyses.clever.curvature import curvature
from absint.analyses.clever.gradients import ORDER, Scores, dual_norms, margin_gradients, margins
from absint.analyses.clever.maxima import Maxima, Sampled
from absint.analyses.clever.samplers import ball_offsets, generator_of
from absint.analyses.clever.settings import Images, ScoreSettings, Transformed
from absint.numeric.backend import Budget

_BLOCK = 1 << 18       # numbers that one generator draws at once; 8 samples at least
_STEPS = 24            # Hessian-vector products that a sample is expected to need
_LOOKED_AT = 16        # samples at least, one alone is always like all
_ULPS, _TIMES = 64, 8  # what rounding may make of a margin: ulps of the greatest score, and times what it made of it at the image


@dataclass(frozen=True)
class SampleBlock:
    """Samples that are drawn together. image: its row.  batch: its number.  part: of the batch."""

    image: int
    batch: int
    part: int
    samples: int


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A chunk of one image's samples. row, batch: (samples,) whose they are.  home: (*shape,) the image.  points: (samples, *shape).

    start: (samples * targets, size) for Hessians.
    """

    row: Tensor
    batch: Tensor
    home: Tensor
    points: Tensor
    start: Tensor | None


class Sampling:
    """The way from images to maxima.

    model: (batch, *shape) -> (batch, classes) in the samples' format.  transform: applied to each sample; gradients are taken there.
    size: numbers that one evaluation of the network computes, an instance.  work: products, likewise.
    """

    def __init__(self, model: Scores, transform: Transformed | None, settings: ScoreSettings, size: int, work: float) -> None:
        self.model, self.transform, self.settings = model, transform, settings
        self.size, self.work = size, work

    def run(self, images: Images, stage: Callable[[str], None] = lambda text: None) -> Iterator[Sampled]:
        """One image after the other, each as soon as its last batch is complete, or its time is over."""
        found, most = Maxima(images, self.settings, self._noise(images)), self._together(images)
        for image in range(len(images)):
            waiting = self._blocks(image, images.center[0].numel())
            while found.time[image] <= self.settings.limit and time.monotonic() <= self.settings.end:
                chunk = list(islice(waiting, most))
                if not chunk:
                    break
                begin = time.monotonic()
                self._compute(images, chunk, found)
                found.spent(image, sum(block.samples for block in chunk), time.monotonic() - begin)
                stage(f"sampling: {found.share:.0%}")
            yield found.sampled(image)

    def _noise(self, images: Images) -> Tensor:
        """(targets, n) float64: a difference of margins up to this may be rounding alone. Not a bound; image by image, so that no other
        image changes it. Zero where no differences are looked at.
        """
        settings = self.settings
        if self.transform is not None or settings.order == 2:
            return torch.zeros_like(images.margin).T
        parts = []
        with torch.no_grad():
            for k in range(len(images)):
                scores = self.model(images.center[k:k + 1].to(settings.dtype)).flatten(1)
                there = margins(scores, images.original[k:k + 1], images.target[k:k + 1]).double()
                ulp = torch.finfo(settings.dtype).eps * scores.abs().max().double()
                parts.append(_TIMES * (there - images.margin[k:k + 1]).abs() + _ULPS * ulp)
        return torch.cat(parts).T

    def _block(self, size: int) -> int:
        """Samples that one generator draws: a matter of the network alone, whatever the memory."""
        # The basis of each sample's Hessian is as large as many samples.
        numbers = _BLOCK if self.settings.order == 1 else _BLOCK // 8
        return min(max(8, numbers // size), self.settings.samples)

    def _blocks(self, image: int, size: int) -> Iterator[SampleBlock]:
        most, samples = self._block(size), self.settings.samples
        for batch in range(self.settings.batches):
            for part, done in enumerate(range(0, samples, most)):
                yield SampleBlock(image, batch, part, min(most, samples - done))

    def _together(self, images: Images) -> int:
        """Blocks of one image that memory holds and the clock allows, one at least.

        Of one image alone: products of matrices round by their size, and an image's score must not depend on what is scored beside it.
        """
        targets, size, again = images.target.shape[1], images.center[0].numel(), _STEPS if self.settings.order == 2 else 1
        held = self.settings.held(self.settings.dtype.itemsize, size, self.size)
        if self.settings.order == 2:
            held = targets * (2 * held + self.settings.dtype.itemsize * again * size)
        budget = Budget(self.settings.memory, rate=self.settings.rate)
        return max(1, min(budget.rows(held), budget.pieces((1 + targets) * again * self.work)) // self._block(size))

    def _compute(self, images: Images, chunk: list[SampleBlock], found: Maxima) -> None:
        drawn = self._drawn(images, chunk)
        at = drawn.points if self.transform is None else self.transform(drawn.points)
        if self.settings.order == 2:
            self._curved(images, drawn, at, found)
        else:
            self._sloped(images, drawn, at, found)

    def _drawn(self, images: Images, chunk: list[SampleBlock]) -> _Drawn:
        settings, shape, size = self.settings, images.center.shape[1:], images.center[0].numel()
        targets, total = images.target.shape[1], sum(block.samples for block in chunk)
        points = torch.empty(total, size, dtype=settings.dtype, device=settings.device)
        start = torch.empty(total * targets, size, dtype=settings.dtype, device=settings.device) if settings.order == 2 else None
        done = 0
        for block in chunk:
            generator = generator_of(settings.device, settings.seed, images.index[block.image], block.batch, block.part)
            ball_offsets(settings.norm, settings.radius, points[done:done + block.samples], generator)
            if start is not None:
                start[done * targets:(done + block.samples) * targets].normal_(generator=generator)
            done += block.samples
        counts = torch.tensor([block.samples for block in chunk])
        row, batch = (torch.tensor(numbers).repeat_interleave(counts).to(settings.device)
                      for numbers in ([block.image for block in chunk], [block.batch for block in chunk]))
        home = images.center[chunk[0].image].to(settings.dtype)
        points = points.reshape(-1, *shape).add_(home)
        points = points if settings.clip is None else points.clamp_(*settings.clip)
        return _Drawn(row, batch, home, points, start)

    def _sloped(self, images: Images, drawn: _Drawn, at: Tensor, found: Maxima) -> None:
        """Norms of gradients, and slopes between two points, which no gradient's norm may lie below everywhere."""
        row = drawn.row
        values, gradients = margin_gradients(self.model, at, images.original[row], images.target[row])
        change, away = values.T.double() - images.margin[row].T, (drawn.points - drawn.home).flatten(1)
        # Whether all gradients are one and the same shows in one batch; of tiny ones, in as many as have these samples.
        first = (drawn.batch * self.settings.samples < _LOOKED_AT).nonzero().flatten()

        def looked_at() -> Iterator[Tensor]:
            for k, slope in enumerate(gradients):
                if len(first) and self.transform is None:
                    along = (slope[first] * away[first]).sum(1, dtype=torch.float64)
                    found.steadiness(k, row[first], slope[first], along, change[k, first])
                yield slope

        found.add(row, drawn.batch, dual_norms(looked_at(), self.settings.norm))
        if self.transform is None:
            length = torch.linalg.vector_norm(away, ord=ORDER[self.settings.norm], dim=1).double()
            found.quotients(row, torch.where(length > 0, (change.abs() - found.noise[:, row]).clamp_min(0) / length, 0.0))

    def _curved(self, images: Images, drawn: _Drawn, at: Tensor, found: Maxima) -> None:
        """Norms of Hessians: each pair of sample and target is an instance."""
        row, targets = drawn.row, images.target.shape[1]
        assert drawn.start is not None
        each = curvature(self.model, at.repeat_interleave(targets, 0), images.original[row].repeat_interleave(targets, 0),
                         images.target[row].flatten(), drawn.start, kind=self.settings.curvature)
        norms, steps, settled = (one.reshape(-1, targets).T for one in (each.norm(self.settings.curvature), each.steps, each.settled))
        found.add(row, drawn.batch, norms)
        found.products(row, steps, settled)
