"""Gradients of margins f_c - f_t at many points: only of the classes asked, one forward pass for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf

import torch
from torch import Tensor

Scores = Callable[[Tensor], Tensor]
DUAL: Mapping[str, float] = {"l1": inf, "l2": 2.0, "linf": 1.0}      # 1/p + 1/q = 1: of the norm that measures distances, the gradients'
ORDER: Mapping[str, float] = {"l1": 1.0, "l2": 2.0, "linf": inf}


def margins(scores: Tensor, original: Tensor, target: Tensor) -> Tensor:
    """(batch, targets) f_c - f_t. scores: (batch, classes).  original: (batch,).  target: (batch, targets)."""
    return scores.gather(1, original[:, None]) - scores.gather(1, target)


def margin_gradients(model: Scores, points: Tensor, original: Tensor, target: Tensor) -> tuple[Tensor, Iterator[Tensor]]:
    """(batch, targets) margins, and for one target after the other (batch, size) their gradients: not all are held at a time.

    model: (batch, *shape) -> (batch, classes), differentiable.
    """
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        values = margins(model(points).flatten(1), original, target)
        sums = values.sum(0)
    count = values.shape[1]
    if not sums.requires_grad:      # comparisons alone lead to the output: nothing has a derivative
        return values, (torch.zeros_like(points).flatten(1) for _ in range(count))
    slopes = (torch.autograd.grad(sums[k], points, retain_graph=k < count - 1, materialize_grads=True)[0].flatten(1) for k in range(count))
    return values.detach(), slopes


def dual_norms(gradients: Iterable[Tensor], norm: str) -> Tensor:
    """(targets, batch) the norms that bound the change of a function by Hoelder's inequality. norm: the distances'."""
    return torch.stack([torch.linalg.vector_norm(one, ord=DUAL[norm], dim=1) for one in gradients])
