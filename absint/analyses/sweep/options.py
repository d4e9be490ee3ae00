"""What `absint sweep` and `absint.sweep` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import MODEL_TYPES, NO_RANGE, RANGE_TYPES, DataOptions
from absint.contract.options import DATA, LIMITS, METHOD, MODEL, PROPERTY, option

DEFAULT_EPS = ("0.005", "0.01", "0.02", "0.04")
DEFAULT_DOMAINS = ("box", "zonotope", "deeppoly")
_DOMAIN_TYPES = "str | Domain[Any] | Strategy | Sequence[str | Domain[Any] | Strategy]"
_RADIUS_TYPES = "float | str | Fraction | Sequence[float | str | Fraction]"


@dataclass(frozen=True)
class SweepOptions(DataOptions):
    """See `Sweep`."""

    net: Any = option((), "Networks of the same data and classes; or one file NAME.toml that states all of this.", group=MODEL,
                      argument=True, metavar="NET.onnx...|SWEEP.toml", common=True, many=True, kind=Path, keyword="graphs",
                      accepts=f"{MODEL_TYPES} | Sequence[{MODEL_TYPES}]", binds=False)
    eps: Any = option((), "Radius in raw input units: 0.01 or 2/255, or a,b,c by channel; or LOW:HIGH:COUNT, evenly spaced; repeatable.",
                      group=PROPERTY, shown=", ".join(DEFAULT_EPS), common=True, many=True, kind=str, accepts=_RADIUS_TYPES)
    norm: Any = option(("linf",), "Norm of the radii: linf, l2 or l1; repeatable.", group=PROPERTY, shown="linf", common=True, many=True,
                       kind=str, keyword="norms", accepts="str | float | Sequence[str | float]")
    domain: Any = option((), "Domain or strategy, with options after a colon; several with commas, or repeated.", group=METHOD,
                         shown=", ".join(DEFAULT_DOMAINS), common=True, many=True, kind=str, keyword="domains", accepts=_DOMAIN_TYPES,
                         binds=False)
    output_range: Any = option(None, "Instead of keeping the class: every output stays within LOW,HIGH; or a file with a line an output.",
                               group=PROPERTY, kind=str, accepts=RANGE_TYPES, file=NO_RANGE, instead=("label", "target"))
    label: int | None = option(None, "The true class of every input, instead of the data's labels.", group=PROPERTY, python=False,
                               instead=("labels", "output_range"))
    target: int | None = option(None, "Prove only that this class is not reached.", group=PROPERTY, instead=("output_range",))
    seed: Any = option((0,), "Of --sample; repeatable: a sample each.", group=DATA, shown="0", many=True, kind=int, keyword="seeds",
                       accepts="int | Sequence[int]", binds=False)
    dtype: str = option("auto", "float32, float64, or auto: float64 for what float32 leaves open.", group=METHOD)
    semantics: str = option("real", "real, or float32: every float32 execution as well.", group=METHOD)
    attack: str | None = option("pgd", "Search for counterexamples: pgd or none.", group=METHOD, common=True)
    accept_solver: bool = option(False, "Count what rests on a solver's word alone as verified.", group=METHOD)
    timeout: float | str | None = option(60.0, "Seconds a verdict, its share of a batch; or none.", group=LIMITS, unit="s",
                                         common=True, kind=str, accepts="float | str | None", binds=False)
