"""Whether a generator draws its class in its variety: what an independent classifier recognises, and how much pixels vary.

Bars: nine tenths recognised, half of the real images' variance (a generator that draws one good image has none).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from absint.errors import InputError

RECOGNISED, VARIANCE = 0.9, 0.5
SAMPLES = 1000


@dataclass(frozen=True)
class Quality:
    """recognised: the share of generated images that the judge gives the class.  variance: of generated pixels, by the real ones'."""

    recognised: float
    variance: float


def pixel_variance(images: Tensor) -> float:
    """The variance of each pixel over the images (n, ...), averaged over the pixels, in squared units of the images."""
    return float(images.double().var(dim=0, unbiased=False).mean())


@torch.no_grad()
def quality(generated: Tensor, real: Tensor, judge: nn.Module, label: int) -> Quality:
    """generated, real: (n, 1, 28, 28) in [0, 1].  judge: in evaluation mode, trained on real images apart from all that is measured."""
    answers = judge(generated).argmax(dim=1)
    return Quality(float((answers == label).double().mean()), pixel_variance(generated) / pixel_variance(real))


def check(found: Quality, label: int, name: str) -> None:
    """Raise InputError E-GENERATOR-COLLAPSED for too little variety, E-GENERATOR-UNRECOGNISED for images of no such class."""
    if not found.variance >= VARIANCE:
        raise InputError("E-GENERATOR-COLLAPSED", f"its pixels have {found.variance:.1%} of the real images' variance", where=name,
                         details=(f"at least {VARIANCE:.0%} is asked for over {SAMPLES} images",),
                         hint="train it anew with another --seed, or for other epochs")
    if not found.recognised >= RECOGNISED:
        raise InputError("E-GENERATOR-UNRECOGNISED",
                         f"an independent classifier takes {found.recognised:.1%} of its images for class {label}", where=name,
                         details=(f"at least {RECOGNISED:.0%} is asked for over {SAMPLES} images",),
                         hint="train it for more epochs, or with another --seed")
