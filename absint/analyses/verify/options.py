"""What `absint verify` and `absint.verify` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import BOX, BOX_TYPES, EPS_TYPES, MODEL_TYPES, NO_RANGE, OF_BOX, RANGE_TYPES, ProofOptions
from absint.contract.options import METHOD, MODEL, OUTPUT, PROPERTY, option

DEFAULT_EPS = "0.01"


@dataclass(frozen=True)
class VerifyOptions(ProofOptions):
    """See `Verify`."""

    net: Any = option(None, "The network, or a VNN-LIB query about --network.", group=MODEL, argument=True,
                      metavar="[NET.onnx|QUERY.vnnlib]", common=True, kind=Path, keyword="graph", accepts=MODEL_TYPES, binds=False)
    eps: Any = option(None, "Radius in raw input units: 0.01 or 2/255, taken exactly; or a,b,c by channel.", group=PROPERTY,
                      shown=DEFAULT_EPS, common=True, kind=str, accepts=EPS_TYPES, instead=("box", "patch", "brightness", "contrast"))
    norm: Any = option("linf", "Norm of the radius: linf, l2 or l1.", group=PROPERTY, common=True, kind=str, accepts="str | float",
                       instead=("box", "patch", "brightness", "contrast"))
    patch: str | None = option(None, "Instead of a radius: a 3x3 patch of any values, anywhere.", group=PROPERTY,
                               instead=("box", "eps", "norm", "brightness", "contrast", "output_range"))
    brightness: str | None = option(None, "Instead: x + b for every b within 0.1, or -0.1:0.2.", group=PROPERTY,
                                    instead=("box", "eps", "norm", "patch", "contrast"))
    contrast: str | None = option(None, "Instead: a x for every a within 0.1 of 1, or 0.9:1.2.", group=PROPERTY,
                                  instead=("box", "eps", "norm", "patch", "brightness"))
    box: Any = option(None, BOX, group=PROPERTY, kind=Path, accepts=BOX_TYPES, binds=False, instead=OF_BOX)
    output_range: Any = option(None, "Instead of keeping the class: every output stays within LOW,HIGH; or a file with a line an output.",
                               group=PROPERTY, kind=str, accepts=RANGE_TYPES, binds=False, file=NO_RANGE,
                               instead=("label", "target", "patch"))
    label: int | None = option(None, "The true class of every input, instead of the data's labels.", group=PROPERTY, python=False,
                               instead=("labels", "output_range"))
    target: Any = option(None, "Prove only that this class is not reached.", group=PROPERTY, kind=int, keyword="targets",
                         accepts="ArrayLike | int | None", instead=("output_range",))
    rounding: bool = option(True, "Ignore rounding errors; proves nothing.", group=METHOD, word="--no-rounding")
    accept_solver: bool = option(False, "Count what rests on a solver's word alone as verified.", group=METHOD)
    evidence: bool = option(False, "Keep what each verdict rests on: slopes, multipliers, divisions, witnesses, as its `evidence`.",
                            group=METHOD, command=False, binds=False)
    plane: str | None = option(None, "Two inputs i,j: draw what the network says in their plane, with the verdict.", group=OUTPUT,
                               python=False, binds=False)
    plot: Path | None = option(None, "The picture of --plane: a .png, .jpg, .svg or .pdf file.", group=OUTPUT, python=False, binds=False,
                               writes="result")
    witness: Path | None = option(None, "Folder for the counterexamples found.", group=OUTPUT, common=True, binds=False,
                                 writes="result")
