"""What `absint validate calibrate`, `run` and `evaluate` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import CLIP_TYPES, DomainOptions
from absint.contract.options import DATA, LIMITS, METHOD, OUTPUT, PROPERTY, option

_RULE = "Validation"
_NUMBER = "float | str | Fraction"
ATTACKS = ("fgsm:eps=0.1", "fgsm:eps=0.05", "cw", "hopskipjump:steps=20,max_gradient_eval_steps=1000")


@dataclass(frozen=True)
class ValidationOptions(DomainOptions):
    """Of all three."""

    timeout: float | str | None = option(60.0, "Seconds an input, its share of a batch; an input whose time is over is rejected; or none.",
                                         group=LIMITS, unit="s", common=True, kind=str, accepts="float | str | None", binds=False)


@dataclass(frozen=True)
class FittedOptions(ValidationOptions):
    """Of those that find a threshold. What a rule makes of radii is no part of the radii: a journal serves every rate and window."""

    domain: Any = option("zonotope", "Abstract domain, with options after a colon: zonotope:max_generators=500.", group=METHOD, common=True,
                         kind=str, accepts="str | Domain[Any] | Strategy", binds=False)
    upper: Any = option("0.256", "Largest radius looked for, in raw input units, exact.", group=PROPERTY, common=True, kind=str,
                        accepts=_NUMBER)
    tolerance: Any = option("0.001", "Radii are found to less than this.", group=PROPERTY, common=True, kind=str, accepts=_NUMBER)
    norm: Any = option("linf", "Norm of the radius: linf, l2 or l1.", group=PROPERTY, common=True, kind=str, accepts="str | float")
    rate: Any = option("0.03", "False-alarm rate tolerated on valid inputs.", group=_RULE, common=True, kind=str, accepts=_NUMBER,
                       binds=False)
    window: int = option(50, "Radii in the window of mode distribution.", group=_RULE, binds=False)
    sigma0: Any = option(None, "A radius accepted at once in mode distribution.", group=_RULE, shown="what 87 % of the inputs reach",
                         kind=str, accepts=f"{_NUMBER} | None", binds=False)
    sigma1: float = option(0.001, "Fall of the window's p-value that mode distribution tolerates.", group=_RULE, binds=False)


@dataclass(frozen=True)
class CalibrateOptions(FittedOptions):
    """See `ValidateCalibrate`."""

    calibration: Path = option(Path("calibration.json"), "The calibration file to write, replaced in one step at the end.", group=OUTPUT,
                               shown="calibration.json", common=True, binds=False, writes="file")


@dataclass(frozen=True)
class ValidateRunOptions(ValidationOptions):
    """See `ValidateRun`. What the calibration fixes cannot be told."""

    domain: Any = option("", "From the calibration.", group=METHOD, command=False, python=False, binds=False)
    dtype: str = option("", "From the calibration.", group=METHOD, command=False, python=False)
    clip: Any = option(None, "From the calibration.", group=PROPERTY, command=False, python=False, accepts=CLIP_TYPES)
    labels: Any = option(None, "Not needed.", group=DATA, command=False, python=False, binds=False)
    calibration: Path | None = option(None, "File of `absint validate calibrate`; it brings domain and region.", group=_RULE, common=True,
                                      binds=False)
    mode: str = option("threshold", "threshold: one robustness call an input; distribution: its radius, and a sliding window.", group=_RULE,
                       common=True)
    state: Path | None = option(None, "Write the calibration with the window as it is after the last input.", group=OUTPUT, common=True,
                                binds=False, writes="file", replaces="calibration")


@dataclass(frozen=True)
class EvaluateOptions(FittedOptions):
    """See `ValidateEvaluate`."""

    rate: Any = option("0.03", "False-alarm rate tolerated on valid inputs.", group=_RULE, common=True, kind=str, accepts=_NUMBER)
    count: int = option(100, "Inputs of each category.", group=_RULE, common=True)
    calibrate: int = option(100, "Other valid inputs, for the threshold.", group=_RULE, common=True)
    attack: tuple[str, ...] = option((), "An attack, with parameters after a colon: fgsm:eps=0.1. fgsm, bim, pgd, cw, deepfool, ddn, "
                                     "ead, fmn, hopskipjump, boundary; repeatable.", group=_RULE, shown=" ".join(ATTACKS), common=True)
    thresholds: Any = option(None, "Radii for the rejection table: 0.002,0.004.", group=_RULE, common=True, kind=str,
                             accepts="str | Sequence[float] | None", binds=False)
    seed: int = option(0, "Of attacks and shuffles.", group=_RULE)
    adversarial: Path | None = option(None, "Folder for the adversarial inputs, npz with provenance.", group=OUTPUT, common=True,
                                      binds=False, writes="folder")
    plots: Path | None = option(None, "Folder for histograms and ROC curves.", group=OUTPUT, common=True, python=False, binds=False,
                                writes="folder")
    plot_format: str = option("png", "png, svg or pdf.", group=OUTPUT, python=False, binds=False)
