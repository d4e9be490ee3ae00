"""Points drawn uniformly from l1, l2 and linf balls, and the seeds that make every draw repeatable.

A batch of samples has a generator of its own, seeded by the run's seed, the image and the batch: what is drawn for one image depends
neither on the others nor on chunks, order, resumption or executor. Devices draw different streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

_INSIDE = 1 - 2.0**-20       # of the radius: rounding leaves every point in the ball


def generator_of(device: torch.device, *key: int) -> torch.Generator:
    """A generator of its own for each key of whole numbers >= 0."""
    state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
    return torch.Generator(device).manual_seed(state)


def ball_offsets(norm: str, radius: float, out: Tensor, generator: torch.Generator) -> Tensor:
    """Fill `out` (count, size) with offsets, uniform in the ball of that radius around 0. norm: l1, l2 or linf."""
    return _SAMPLERS[norm](out, generator).mul_(radius * _INSIDE)


def _cube(out: Tensor, generator: torch.Generator) -> Tensor:
    return out.uniform_(-1, 1, generator=generator)


def _round(out: Tensor, generator: torch.Generator) -> Tensor:
    """A direction by normal numbers, a length with density r^(size - 1)."""
    count, size = out.shape
    out.normal_(generator=generator)
    length = torch.rand(count, generator=generator, dtype=torch.float64, device=out.device).pow_(1 / size)
    # Nothing but zeros has no direction; it stays at the centre.
    norms = torch.linalg.vector_norm(out, dim=1).double().clamp_min_(torch.finfo(out.dtype).tiny)
    return out.mul_((length / norms).to(out.dtype)[:, None])


def _cross(out: Tensor, generator: torch.Generator) -> Tensor:
    """Gaps of `size` sorted uniform numbers with random signs; the gaps are exponential numbers over the sum of one more of them.

    Source: Devroye, Non-Uniform Random Variate Generation (1986), theorem V.2.2.
    """
    out.exponential_(generator=generator)
    last = torch.empty(len(out), dtype=torch.float64, device=out.device).exponential_(generator=generator)
    whole = out.sum(1, dtype=torch.float64) + last
    signs = torch.randint(0, 2, out.shape, generator=generator, dtype=torch.int8, device=out.device)
    return out.mul_((1 / whole).to(out.dtype)[:, None]).mul_(1 - 2 * signs)


_SAMPLERS: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = {"l1": _cross, "l2": _round, "linf": _cube}
