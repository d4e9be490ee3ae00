"""What is kept of samples while they are drawn: the maximum of each batch, and what tells of gradients that say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.analyses.clever.settings import Images, ScoreSettings

_SAME = 1e-5         # relative: gradients that differ by less are one
_FOLLOWS = 1e-2      # of the greatest change of the margin: what a linear function with that gradient may miss


@dataclass(frozen=True, eq=False)
class Sampled:
    """Of one image, on the CPU. row: of the images.  maxima: (targets, batches) float64, of the batches that are complete.

    quotient: (targets,) the greatest |g(x) - g(x0)| / |x - x0| met, less what rounding may make; 0 where a transform stands before
    the network, and for order 2.
    steady: (targets,) every gradient was the same, and the margin did not follow it.
    steps: (targets,) median Hessian-vector products of a sample, 0 for order 1.  unsettled: (targets,) share of samples whose
    Hessian's norm is not known to 1e-3.  curved: whether the maxima are of Hessians, which may be zero.  time_s: its share.
    late: a limit left batches out.
    """

    row: int
    maxima: Tensor
    quotient: Tensor
    steady: Tensor
    steps: Tensor
    unsettled: Tensor
    curved: bool
    time_s: float
    late: bool


class Maxima:
    """Mutable. time: seconds of each image so far.  noise: (targets, n) float64, what a difference of margins says nothing below."""

    def __init__(self, images: Images, settings: ScoreSettings, noise: Tensor) -> None:
        count, targets, device = len(images), images.target.shape[1], settings.device
        self.settings, self.count, self.noise = settings, count, noise
        self.norms = torch.full((targets, count * settings.batches), -inf, dtype=torch.float64, device=device)
        self.quotient = torch.zeros(targets, count, dtype=torch.float64, device=device)
        # Of the gradients' norms and sums: the least and the greatest; of what a linear function misses, and of the change: the greatest.
        self.spread = torch.full((6, targets, count), -inf, dtype=torch.float64, device=device)
        self.taken: list[tuple[Tensor, Tensor, Tensor]] = []
        self.time = [0.0] * count
        self.drawn = [0] * count

    @property
    def share(self) -> float:
        """Of all samples that are drawn."""
        return sum(self.drawn) / max(1, self.count * self.settings.batches * self.settings.samples)

    def add(self, row: Tensor, batch: Tensor, norms: Tensor) -> None:
        """norms: (targets, samples). NaN spreads to the batch."""
        place = (row * self.settings.batches + batch).expand(len(norms), -1)
        self.norms.scatter_reduce_(1, place, norms.double(), "amax")

    def quotients(self, row: Tensor, values: Tensor) -> None:
        """values: (targets, samples)."""
        self.quotient.scatter_reduce_(1, row.expand(len(values), -1), values, "amax")

    def steadiness(self, target: int, row: Tensor, gradients: Tensor, along: Tensor, change: Tensor) -> None:
        """Of one target. gradients: (samples, size).  along: (samples,) what they promise of the change of the margin."""
        norm, total = torch.linalg.vector_norm(gradients, dim=1, dtype=torch.float64), gradients.sum(1, dtype=torch.float64)
        values = torch.stack([norm, -norm, total, -total, (along - change).abs(), change.abs()])
        self.spread[:, target].scatter_reduce_(1, row.expand(len(values), -1), values, "amax")

    def products(self, row: Tensor, steps: Tensor, settled: Tensor) -> None:
        """steps, settled: (targets, samples) of each sample's Hessian."""
        self.taken.append((row.cpu(), steps.cpu(), settled.cpu()))

    def spent(self, image: int, samples: int, seconds: float) -> None:
        """On a chunk of its samples."""
        self.time[image] += seconds
        self.drawn[image] += samples

    def sampled(self, image: int) -> Sampled:
        """What is known of an image by now."""
        settings = self.settings
        whole = self.drawn[image] // settings.samples
        norms = self.norms[:, image * settings.batches:image * settings.batches + whole].cpu()
        steps, unsettled = self._products(image, len(norms))
        return Sampled(image, norms, self.quotient[:, image].cpu(), self._steady(image), steps, unsettled,
                       settings.order == 2, self.time[image], whole < settings.batches)

    def _steady(self, image: int) -> Tensor:
        norm, least, total, below, missed, change = self.spread[:, :, image].cpu()
        same: Tensor = (norm + least <= _SAME * norm) & (total + below <= _SAME * torch.maximum(total.abs(), norm))
        unfollowed: Tensor = (missed > _FOLLOWS * change + self.noise[:, image].cpu()) & (change > 0)
        return same.logical_and(unfollowed)

    def _products(self, image: int, targets: int) -> tuple[Tensor, Tensor]:
        own = [(steps[:, row == image], settled[:, row == image]) for row, steps, settled in self.taken if bool((row == image).any())]
        if not own:
            return torch.zeros(targets), torch.zeros(targets)
        steps, settled = torch.cat([one for one, _ in own], 1), torch.cat([one for _, one in own], 1)
        return steps.double().median(1).values, 1 - settled.double().mean(1)
