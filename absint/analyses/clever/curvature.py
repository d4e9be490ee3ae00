"""Extreme eigenvalues of many Hessians at once, by Lanczos' method on Hessian-vector products.

One pass gives both ends of the spectrum; power iteration, which the paper has, gives one, in many more products, and stops where
two steps differ little, which bounds no error. Here a pair (Ritz value, residual) encloses an eigenvalue: |theta - lambda| <= residual.
Source: Parlett, The Symmetric Eigenvalue Problem (1998), sections 4.5 and 13.2; Pearlmutter, Neural Computation 6 (1994).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.analyses.clever.gradients import Scores, margins

_FIRST, _GROWTH, _MOST = 4, 1.35, 96        # Lanczos steps before the first look, between looks, and at most
_ROOM = 12               # basis vectors that there is room for at first
TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class HessianEnds:
    """Of every point. low, high: (batch,) the least and the greatest eigenvalue.  steps: (batch,) Hessian-vector products.

    settled: (batch,) whether the extreme that was asked for is known up to `TOLERANCE` of itself.
    """

    low: Tensor
    high: Tensor
    steps: Tensor
    settled: Tensor

    def norm(self, kind: str) -> Tensor:
        """spectral: max |lambda|.  neg: max(-lambda_min, 0), all the curvature that can bring a margin down faster than its gradient."""
        return torch.maximum(self.low.abs(), self.high.abs()) if kind == "spectral" else (-self.low).clamp_min(0)


class HessianProducts:
    """v -> H v for a batch of points, each with its own margin; the graph of the gradient is built once and kept."""

    def __init__(self, model: Scores, points: Tensor, original: Tensor, target: Tensor) -> None:
        with torch.enable_grad():
            self.points = points.detach().requires_grad_()
            values = margins(model(self.points).flatten(1), original, target[:, None])
            (self.gradient,) = torch.autograd.grad(values.sum(), self.points, create_graph=True)

    def __call__(self, vectors: Tensor) -> Tensor:
        """(batch, size) each. One backward pass through the gradient."""
        if not self.gradient.requires_grad:     # a linear network: the gradient does not depend on the point
            return torch.zeros_like(vectors)
        (found,) = torch.autograd.grad(self.gradient, self.points, vectors.reshape(self.points.shape), retain_graph=True,
                                       materialize_grads=True)
        return found.flatten(1)


def curvature(model: Scores, points: Tensor, original: Tensor, target: Tensor, start: Tensor, *, kind: str = "spectral") -> HessianEnds:
    """The ends of the spectrum of the Hessian of f_c - f_t at each point.

    points: (batch, *shape).  original, target: (batch,).  start: (batch, size) random vectors.
    Points whose end is known leave; the others go on, at most 96 steps or as many as there are entries.
    """
    size = start.shape[1]
    low, high = points.new_zeros(len(points)), points.new_zeros(len(points))
    steps, settled = torch.zeros(len(points), dtype=torch.int64, device=points.device), torch.zeros_like(low, dtype=torch.bool)
    open_ = torch.arange(len(points), device=points.device)
    state = _Lanczos(HessianProducts(model, points, original, target), start)
    following, most = min(_FIRST, size), min(_MOST, size)
    while len(open_):
        state.step()
        if state.done < following:
            continue
        bottom, top, close = state.ends(kind)
        low[open_], high[open_], steps[open_], settled[open_] = bottom, top, state.done, close
        if state.done >= most:
            break
        following = min(most, max(state.done + 1, int(state.done * _GROWTH)))
        if bool(close.any()):
            left = (~close).nonzero().flatten()
            open_ = open_[left]
            if len(open_):
                state = state.only(left, HessianProducts(model, points[open_], original[open_], target[open_]))
    return HessianEnds(low, high, steps, settled)


class _Lanczos:
    """A batch of Krylov spaces, kept orthogonal in full. Mutable: one basis vector more a step.

    space: (batch, room, size), of which the first `done` + 1 vectors are there.
    """

    def __init__(self, products: HessianProducts, start: Tensor) -> None:
        self.products = products
        self.space = start.new_empty(len(start), _ROOM, start.shape[1])
        self.space[:, 0] = _unit(start)
        self.diagonal: list[Tensor] = []
        self.beside: list[Tensor] = []

    @property
    def done(self) -> int:
        """Products so far."""
        return len(self.diagonal)

    def step(self) -> None:
        """One product; the part of it that is new becomes the next basis vector, or zero where nothing is."""
        known = self.space[:, :self.done + 1]
        last = known[:, -1]
        image = self.products(last)
        self.diagonal.append((image * last).sum(1))
        whole = torch.linalg.vector_norm(image, dim=1)
        for _ in range(2):      # twice is enough (Parlett, section 6.9)
            image = image - torch.bmm(torch.bmm(known, image[:, :, None]).transpose(1, 2), known)[:, 0]
        rest = torch.linalg.vector_norm(image, dim=1)
        # What is left of a product that lies in the space already is rounding noise: no direction to go on with.
        rest = torch.where(rest > 8 * torch.finfo(rest.dtype).eps * whole, rest, 0.0)
        self.beside.append(rest)
        if self.done == self.space.shape[1]:
            more = self.space.new_empty(len(self.space), self.done // 2, self.space.shape[2])
            self.space = torch.cat([self.space, more], 1)
        self.space[:, self.done] = torch.where(rest[:, None] > 0, image / rest[:, None], 0.0)

    def ends(self, kind: str) -> tuple[Tensor, Tensor, Tensor]:
        """The least and the greatest Ritz value, and whether the end asked for is known."""
        # Small matrices by the thousand: on the host, since a card's batched solver refuses so many of them.
        main, side = (torch.stack(one, 1).cpu().double() for one in (self.diagonal, self.beside))
        # A space that is complete goes on with zeros: nothing of them may look like an eigenvalue.
        dead = torch.cat([torch.zeros_like(side[:, :1]), side[:, :-1].cumprod(1)], 1)[:, 1:] == 0
        main = torch.cat([main[:, :1], torch.where(dead, main[:, :1], main[:, 1:])], 1)
        matrix = torch.diag_embed(main) + torch.diag_embed(side[:, :-1], 1) + torch.diag_embed(side[:, :-1], -1)
        values, vectors = torch.linalg.eigh(torch.nan_to_num(matrix, 0.0, 0.0, 0.0))
        values = torch.where(matrix.isfinite().all(2).all(1)[:, None], values, torch.nan)
        residual = side[:, -1:] * vectors[:, -1].abs()
        low, high, below, above = values[:, 0], values[:, -1], residual[:, 0], residual[:, -1]
        size = torch.maximum(low.abs(), high.abs())
        if kind == "spectral":
            other = torch.where(low.abs() > high.abs(), high.abs() + above, low.abs() + below)
            own = torch.where(low.abs() > high.abs(), below, above)
            close = (own <= TOLERANCE * size) & (other <= size * (1 + TOLERANCE))
        else:
            close = below <= TOLERANCE * torch.where(low < 0, -low, size)
        return low.to(self.space), high.to(self.space), (close | ~size.isfinite()).to(self.space.device)

    def only(self, index: Tensor, products: HessianProducts) -> _Lanczos:
        """Those that go on."""
        fewer = _Lanczos(products, self.space[index, 0])
        fewer.space = self.space[index]
        fewer.diagonal, fewer.beside = [one[index] for one in self.diagonal], [one[index] for one in self.beside]
        return fewer


def _unit(vectors: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / length
