"""What `absint bounds` and `absint.bounds` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import BOX, BOX_TYPES, EPS_TYPES, OF_BOX, DataOptions
from absint.contract.options import DATA, LIMITS, METHOD, OUTPUT, PROPERTY, option

EPS = "0.01"
FIRST = "0"
EVERY = "all"


@dataclass(frozen=True)
class BoundsOptions(DataOptions):
    """See `Bounds`."""

    tensor: Any = option(None, "A tensor by its name in the file; repeatable. Default: the output.", group=OUTPUT, common=True, many=True,
                         kind=str, keyword="tensors", accepts="str | Sequence[str] | None", instead=("every",))
    every: bool = option(False, "Every tensor that is analysed.", group=OUTPUT, word="--all", common=True, python=False,
                         instead=("tensor",))
    stats: bool = option(False, "Widths, by default of every layer, instead of single bounds.", group=OUTPUT, common=True, python=False)
    plane: str | None = option(None, "Two inputs i,j: with --plot, draw what the network says in their plane.", group=OUTPUT,
                               python=False, binds=False)
    plot: Path | None = option(None, "Draw the width by layer, or --plane, into a .png, .jpg, .svg or .pdf file.", group=OUTPUT,
                               common=True, python=False, binds=False, writes="result")
    domain: Any = option("zonotope", "Abstract domains separated by commas: box,zonotope,deeppoly.", group=METHOD, common=True, kind=str,
                         accepts="str | Domain[Any] | Strategy | Sequence[str | Domain[Any] | Strategy]")
    eps: Any = option(None, "Radius in raw input units: 0.01 or 2/255, taken exactly; or a,b,c by channel.", group=PROPERTY, shown=EPS,
                      common=True, kind=str, accepts=EPS_TYPES, instead=("box", "brightness", "contrast"))
    norm: Any = option("linf", "Norm of the radius: linf, l2 or l1.", group=PROPERTY, common=True, kind=str, accepts="str | float",
                       instead=("box", "brightness", "contrast"))
    brightness: str | None = option(None, "Instead: x + b for every b within 0.1, or -0.1:0.2.", group=PROPERTY,
                                    instead=("box", "eps", "norm", "contrast"))
    contrast: str | None = option(None, "Instead: a x for every a within 0.1 of 1, or 0.9:1.2.", group=PROPERTY,
                                  instead=("box", "eps", "norm", "brightness"))
    box: Any = option(None, BOX, group=PROPERTY, kind=Path, accepts=BOX_TYPES, binds=False, instead=OF_BOX)
    index: str | None = option(None, "Which inputs: 0:100 (half open) or 3,5,8.", group=DATA, shown="the first, of a file", common=True,
                               binds=False)
    dtype: str = option("float64", "float32 or float64.", group=METHOD)
    rounding: bool = option(True, "Ignore rounding errors; proves nothing.", group=METHOD, word="--no-rounding")
    timeout: float | str | None = option(60.0, "Seconds an input, its share of a batch; or none.", group=LIMITS, unit="s", common=True,
                                         kind=str, accepts="float | str | None", binds=False)
    differentiable: bool = option(False, "Bounds as tensors with gradients with respect to inputs, radii and parameters.", group=METHOD,
                                  command=False, binds=False)
    affine: bool = option(False, "Affine bounds in terms of the input as well, as `affine` of each tensor's bounds.", group=METHOD,
                          command=False, binds=False)
