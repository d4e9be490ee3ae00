"""What `absint global correctness` and `absint global robustness` can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import CLIP_TYPES, MODEL_TYPES, DomainChoice, RunOptions
from absint.contract.options import LIMITS, METHOD, MODEL, OUTPUT, PROPERTY, option

_DRAWS = "Draws"
DRAWS, BLOCK = 10_000, 1_000
LATENTS = 100
EPS = "0.001,0.003,0.01,0.03"
TIMEOUT = 1.0


@dataclass(frozen=True)
class GlobalOptions(RunOptions):
    """Of both: classifiers, generators, and how latents are drawn and counted."""

    net: Any = option((), "Classifier; several are judged side by side on the same draws.", group=MODEL, argument=True, many=True,
                      metavar="[NET.onnx]...", common=True, kind=Path, keyword="classifier", binds=False,
                      accepts=f"Sequence[{MODEL_TYPES}] | {MODEL_TYPES}")
    generator: Any = option((), "What draws a class: 8=G.onnx; repeatable. A class's second one is of a second set of generators, judged "
                            "side by side with the first.", group=MODEL, many=True, common=True, kind=str, binds=False,
                            shown="bundled ones", accepts=f"Mapping[int, {MODEL_TYPES}] | Sequence[str] | str",
                            file=re.compile(r"[^=]*=(.+)", re.DOTALL), instead=("conditional",))
    conditional: Any = option(None, "One generator of all classes, whose input has a part that is 1 for the class and 0 for the others.",
                              group=MODEL, common=True, kind=Path, binds=False, accepts=f"{MODEL_TYPES} | None",
                              instead=("generator",))
    one_hot: str = option("last", "With --conditional: whether that part comes first or last.", group=MODEL)
    classes: str | None = option(None, "With --conditional: which classes, such as 3,8.", group=MODEL, shown="all")
    rescale: bool = option(False, "Map the range of the generators' images to --classifier-range.", group=MODEL, common=True,
                           instead=("as_is",))
    as_is: bool = option(False, "Leave the images as they are, whatever their range.", group=MODEL, common=True, instead=("rescale",))
    classifier_range: Any = option("0,1", "The range that the classifier expects, or none.", group=MODEL, kind=str, accepts=CLIP_TYPES)
    mean: str | None = option(None, "Normalisation the classifier expects before it: a or a,b,c by channel.", group=MODEL,
                              accepts="str | Sequence[float] | None")
    std: str | None = option(None, "See --mean.", group=MODEL, accepts="str | Sequence[float] | None")
    layout: str = option("auto", "Order of an image's axes: auto, chw or hwc.", group=MODEL)
    latent: str = option("normal", "Latents: normal, N(0, 1) each; or uniform, in [-1, 1].", group=_DRAWS, common=True)
    seed: int = option(0, "Of the draws: draw k of a class follows from it, the class and k alone.", group=_DRAWS, common=True)
    level: Any = option("0.99", "Probability that all intervals of a classifier's classes hold at once.", group=_DRAWS, common=True,
                        kind=str, accepts="float | str | Fraction", binds=False)
    simultaneous: bool = option(False, "All intervals of the run hold at once, of several classifiers, sets and radii, too.", group=_DRAWS,
                                binds=False)
    sequential: bool = option(False, "Intervals that hold whenever the run is looked at, stopped or continued: wider ones.", group=_DRAWS,
                              common=True, binds=False)
    stop_width: Any = option(None, "Draw no more of a class once its interval is this narrow; --sequential.", group=_DRAWS, common=True,
                             kind=str, accepts="float | str | Fraction | None", binds=False)
    batch: int | None = option(None, "Draws computed together.", group=LIMITS, shown="by memory", binds=False)
    grid: Path | None = option(None, "Folder for pictures of the worst draws.", group=OUTPUT, common=True, binds=False, writes="folder")
    plot: Path | None = option(None, "Draw the intervals into a .png, .svg or .pdf file.", group=OUTPUT, common=True, python=False,
                               binds=False, writes="result")


@dataclass(frozen=True)
class GlobalCorrectnessOptions(GlobalOptions):
    """See `GlobalCorrectness`."""

    draws: int = option(DRAWS, "Draws of each class; with --sequential at most.", group=_DRAWS, common=True, binds=False)
    block: int = option(BLOCK, "Draws that are decided, and kept by a journal, together.", group=LIMITS)


@dataclass(frozen=True)
class GlobalRobustnessOptions(GlobalOptions, DomainChoice):
    """See `GlobalRobustness`."""

    draws: int = option(LATENTS, "Draws of each class; with --sequential at most.", group=_DRAWS, common=True, binds=False)
    eps: Any = option(EPS, "Radii in linf around a latent, taken exactly, separated by commas.", group=PROPERTY, common=True, kind=str,
                      binds=False, accepts="float | str | Fraction | Sequence[float | str | Fraction]")
    timeout: float | str | None = option(TIMEOUT, "Seconds a draw and radius, its share of a batch; or none.", group=LIMITS, unit="s",
                                         common=True, kind=str, accepts="float | str | None", binds=False)
    attack: str | None = option("pgd", "Search for counterexamples: pgd or none.", group=METHOD, common=True)


