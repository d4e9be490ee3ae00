"""What `absint clever` and `absint.clever` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from absint.contract.common_options import DataOptions
from absint.contract.options import LIMITS, METHOD, MODEL, PROPERTY, option

SANDWICH = "Sandwich"
RADII = {"l1": 30.0, "l2": 5.0, "linf": 0.1}     # those of the authors' program


@dataclass(frozen=True)
class CleverOptions(DataOptions):
    """See `Clever`."""

    order: int = option(1, "1: by gradients, any network and norm. 2: by Hessians too, smooth networks, norm l2.", group=METHOD,
                        common=True)
    norm: Any = option("l2", "Norm of the distance: l1, l2 or linf.", group=PROPERTY, common=True, kind=str, accepts="str | float")
    radius: float | None = option(None, "Radius of the ball that is sampled, in raw input units; scores end there.", group=PROPERTY,
                                  common=True, shown="30, 5 or 0.1 for l1, l2, linf")
    targets: str = option("runner-up,random,least", "Which other classes: runner-up, random, least, untargeted (all of them), numbers of "
                          "classes.", group=PROPERTY, common=True)
    batches: int = option(100, "Batches; the maximum of each enters the fit. At least 10.", group=METHOD, common=True)
    samples: int = option(200, "Samples a batch.", group=METHOD, common=True)
    transform: str | None = option(None, "What stands before the network and has no derivative: bits3, jpeg75, png or a plug-in's. "
                                   "Gradients are taken behind it (BPDA).", group=METHOD, common=True)
    curvature: str = option("spectral", "Of order 2: spectral (the greatest |eigenvalue|) or neg (the most negative one).", group=METHOD)
    scores: str | None = option(None, "Tensor to take for the scores, such as the logits before a softmax.", group=MODEL, common=True,
                                metavar="TENSOR")
    level: float = option(0.95, "Confidence of the interval of the fitted endpoint.", group=METHOD)
    seed: int = option(0, "Of all samples.", group=METHOD, common=True)
    dtype: str | None = option(None, "float32 or float64, of samples and gradients.", group=METHOD, shown="float32, but for tiny radii")
    certify: Any = option(None, "Prove a radius of each target below the score, by this domain or strategy: zonotope, alpha, exact, ...",
                          group=SANDWICH, common=True, kind=str, accepts="str | Domain[Any] | Strategy | None")
    tolerance: Any = option(None, "Up to which the proved radius is searched.", group=SANDWICH, shown="a hundredth of the radius",
                            kind=str, accepts="float | str | Fraction | None")
    attack: str | None = option("", "Find counterexamples of each target above the score, with Foolbox: default, cw, deepfool, pgd, ..., "
                                "or none.",
                                group=SANDWICH, common=True, shown="default, what suits the norm, with --certify; else none")
    timeout: float | str | None = option(300.0, "Seconds an image, its share; what is sampled until then is used. Or none.", group=LIMITS,
                                         unit="s", common=True, kind=str, accepts="float | str | None", binds=False)
