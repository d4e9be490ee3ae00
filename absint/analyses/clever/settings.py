"""What a score is estimated with, and the images it is estimated for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from absint.analyses.clever.gradients import Scores, dual_norms, margin_gradients
from absint.analyses.clever.samplers import generator_of

RUNNER_UP, RANDOM, LEAST, UNTARGETED = "runner-up", "random", "least", "untargeted"
TARGETS = (RUNNER_UP, RANDOM, LEAST, UNTARGETED)
_RANK = {RUNNER_UP: 1, LEAST: -1}
_BACK = 3        # a forward and a backward pass hold so many times what a forward pass computes
_TENSORS = ("center", "original", "target", "margin", "slope", "gap")
_CLOSE = 2.0**-40          # of the greatest score
_CHOICE = 1      # of a generator's key: the random target; batches of samples have keys of four numbers

Transformed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ScoreSettings:
    """order: 1 or 2.  norm: l1, l2 or linf.  radius: of the ball that is sampled, in raw input units; it censors every score.

    clip: the data range or None.  batches, samples: batches and samples in each.  curvature: spectral or neg, of order 2.
    dtype, device: of samples and gradients; margins at the image itself are computed in float64.
    memory: bytes.  limit: seconds an image, its share.  end: on the monotonic clock.  rate: products a second.
    """

    order: int
    norm: str
    radius: float
    clip: tuple[float, float] | None
    batches: int
    samples: int
    curvature: str = "spectral"
    seed: int = 0
    dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    memory: int = 1 << 32
    limit: float = inf
    end: float = inf
    rate: float = 2e9

    @staticmethod
    def held(itemsize: int, size: int, computed: int) -> int:
        """Bytes that the margins and gradients of one point take. size: of the point.  computed: numbers of one evaluation."""
        return itemsize * (4 * size + _BACK * computed)


@dataclass(frozen=True, eq=False)
class Images:
    """Images of the same shape with their targets. index: (n,) names.  center: (n, *shape) float64.  kinds: one a target.

    original: (n,).  target: (n, targets).  margin: (n, targets) float64, f_c - f_t at the transformed image.
    slope: (n, targets) float64, the dual norm of its gradient there.  gap: (n,) of the greatest two scores, less what rounding may
    make of it, so that another batch has the same greatest one.  All on the device.
    """

    index: tuple[int, ...]
    center: Tensor
    kinds: tuple[str, ...]
    original: Tensor
    target: Tensor
    margin: Tensor
    slope: Tensor
    gap: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: Tensor) -> Images:
        """Some of them."""
        tensors = {name: getattr(self, name)[rows] for name in _TENSORS}
        return replace(self, index=tuple(self.index[row] for row in rows.tolist()), **tensors)


def targets_of(scores: Tensor, words: tuple[str, ...], index: tuple[int, ...], seed: int) -> tuple[Tensor, tuple[str, ...], Tensor]:
    """(n,) the predicted classes, one word a target, and (n, targets) the targets.

    scores: (n, classes).  words: of TARGETS, or numbers of classes; `untargeted` stands for all other classes.
    random: uniform over the classes that are neither predicted nor runner-up nor least; over all others where there is none.
    """
    count = scores.shape[1]
    ranked = scores.argsort(dim=1, descending=True, stable=True)
    original, kinds, columns = ranked[:, 0], [], []
    for word in words:
        if word == UNTARGETED:
            kinds += [UNTARGETED] * (count - 1)
            columns += list(ranked[:, 1:].sort(1).values.unbind(1))
        elif word == RANDOM:
            kinds.append(word)
            columns.append(_random(ranked, index, seed))
        else:
            kinds.append(word)
            columns.append(ranked[:, _RANK[word]] if word in TARGETS else torch.full_like(original, int(word)))
    return original, tuple(kinds), torch.stack(columns, 1)


def _random(ranked: Tensor, index: tuple[int, ...], seed: int) -> Tensor:
    count = ranked.shape[1]
    low, high = (2, count - 1) if count > 3 else (1, count)
    home = torch.device("cpu")
    places = torch.cat([torch.randint(low, high, (1,), generator=generator_of(home, seed, name, _CHOICE)) for name in index])
    return ranked.gather(1, places.to(ranked.device)[:, None])[:, 0]


def with_targets(model: Scores, transform: Transformed | None, center: Tensor, words: tuple[str, ...], index: tuple[int, ...],
                 settings: ScoreSettings) -> Images:
    """Choose the targets of each image and evaluate there, in float64. center: (n, *shape) float64 on the device.

    One image at a time: products of matrices round by their size, and a margin must not depend on what is scored beside it.
    """
    parts = [_with_targets(model, transform, center[k:k + 1], words, index[k:k + 1], settings) for k in range(len(index))]
    center, *rest = (torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS)
    return Images(index, center, parts[0].kinds, *rest)


def _with_targets(model: Scores, transform: Transformed | None, center: Tensor, words: tuple[str, ...], index: tuple[int, ...],
                  settings: ScoreSettings) -> Images:
    at = center if transform is None else transform(center)
    with torch.no_grad():
        scores = model(at).flatten(1)
    original, kinds, target = targets_of(scores, words, index, settings.seed)
    margin, gradients = margin_gradients(model, at, original, target)
    best = scores.topk(2, dim=1).values
    gap = best[:, 0] - best[:, 1] - _CLOSE * scores.abs().amax(1)
    return Images(index, center, kinds, original, target, margin, dual_norms(gradients, settings.norm).T, gap)
