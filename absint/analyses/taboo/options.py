"""What `absint taboo calibrate`, `detect`, `certify` and `evaluate` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import INPUT_TYPES, OF_DATA, DataOptions, ProofOptions
from absint.contract.options import DATA, LIMITS, METHOD, OUTPUT, PROPERTY, option

_TRAP, _THRESHOLDS = "Taboo trap", "Thresholds"
_NUMBER = "float | str | Fraction"
DOMAIN, CERTIFY_DOMAIN = "deeppoly:intermediate=box", "lean"
DETECTOR = Path("taboo.json")


@dataclass(frozen=True)
class TabooCalibrateOptions(DataOptions):
    """See `TabooCalibrate`."""

    data: Any = option(None, "Training inputs: IDX, npz, npy or CSV, or a folder with a training and a test part.", group=DATA, common=True,
                       kind=Path, keyword="inputs", accepts=INPUT_TYPES, shown="bundled images, where they fit", instead=OF_DATA)
    held_out: Any = option(None, "Other inputs of the same kind, for false alarms and accuracy.", group=DATA, common=True, kind=Path,
                           accepts=INPUT_TYPES, shown="the test part of --data, if it has one", binds=False)
    held_labels: Any = option(None, "Their labels, where they lie in a file of their own.", group=DATA, kind=Path,
                              accepts="ArrayLike | str | Path | None", binds=False)
    hold_out: int | None = option(None, "So many inputs from the end of --data are held out: no threshold is made of them.", group=DATA,
                                  common=True)
    keys: Any = option(None, "File of secret keys, one a line: a trap each.", group=_TRAP, common=True, kind=Path,
                       accepts="Sequence[str] | str | Path | None", shown="a public key, for demonstration", binds=False,
                       secret=True)
    show_keys: bool = option(False, "Print the keys beside their numbers.", group=_TRAP, binds=False)
    share: Any = option("0.001", "Share of the neurons that a key makes taboo; one at least.", group=_TRAP, common=True, kind=str,
                        accepts=_NUMBER)
    policy: str = option("random", "random: all that a key chose; calibrated: without those that fire too often on held-out inputs.",
                         group=_TRAP, common=True, binds=False)
    budget: Any = option(None, "Share of held-out inputs that a neuron may fire on, for --policy calibrated.", group=_TRAP, kind=str,
                         accepts=f"{_NUMBER} | None", shown="0.002", binds=False)
    rule: str = option("lite", "lite: above every float32 execution on the inputs; certified: above their eps-balls, too; percentile; "
                       "literal: the paper's equation, for comparison.", group=_THRESHOLDS, common=True)
    percentile: Any = option(None, "Of the activations, for --rule percentile.", group=_THRESHOLDS, common=True, kind=str,
                             accepts=f"{_NUMBER} | None", shown="99")
    eps: Any = option(None, "Radius in linf, raw input units, for --rule certified: 0.01 or 2/255, taken exactly.", group=_THRESHOLDS,
                      common=True, kind=str, accepts=f"{_NUMBER} | None")
    exchangeable: bool = option(False, "The network was not trained on the inputs, and those to come are like them.", group=_THRESHOLDS,
                                common=True, binds=False)
    domain: Any = option(DOMAIN, "Domain that lowers bounds of balls where boxes do not do, for --rule certified.", group=METHOD,
                         common=True, kind=str, accepts="str | Domain[Any] | Strategy", binds=False)
    semantics: str = option("float32", "Thresholds hold for float32 executions.", group=METHOD, command=False, python=False)
    block: int = option(500, "Inputs that are decided, and kept by a journal, together.", group=LIMITS)
    timeout: float | str | None = option(None, "Seconds a block; bounds that the domain has no time for stay those of boxes; or none.",
                                         group=LIMITS, unit="s", kind=str, accepts="float | str | None", shown="none")
    detector: Path = option(DETECTOR, "The detector file to write, replaced in one step at the end.", group=OUTPUT, shown="taboo.json",
                            common=True, binds=False, writes="file")
    onnx: Path | None = option(None, "Write the network with an output `alarm`, too.", group=OUTPUT, common=True, binds=False,
                               writes="file")


@dataclass(frozen=True)
class DetectorChoice:
    """Of those that use traps. They speak of float32 executions: the network is read as its file says, nothing is folded."""

    detector: Any = option(None, "Detector file of `absint taboo calibrate`.", group=_TRAP, common=True, kind=Path,
                           accepts="Traps | str | Path | None", shown="taboo.json, or a quick one on bundled images", binds=False)
    semantics: str = option("float32", "Of detectors.", group=METHOD, command=False, python=False)


@dataclass(frozen=True)
class TabooDetectOptions(DetectorChoice, DataOptions):
    """See `TabooDetect`."""



@dataclass(frozen=True)
class TabooCertifyOptions(DetectorChoice, ProofOptions):
    """See `TabooCertify`."""

    domain: Any = option(CERTIFY_DOMAIN, "Abstract domain or strategy, with options after a colon.", group=METHOD, common=True, kind=str,
                         accepts="str | Domain[Any] | Strategy", binds=False)
    trap: Any = option(None, "One trap of the detector file alone: its number from 0, or its key id.", group=_TRAP, common=True,
                       shown="all of them together", kind=str, accepts="int | str | None")
    eps: Any = option("0.003", "Radius of the balls in linf, raw input units: 0.003 or 1/255, taken exactly.", group=PROPERTY, common=True,
                      kind=str, accepts=_NUMBER)
    radius: bool = option(False, "Instead of one radius: look for the largest one of each input.", group=PROPERTY, common=True)
    alarms: bool = option(False, "Of inputs that alarm themselves: whether all around them does.", group=PROPERTY, common=True)
    upper: Any = option("0.256", "With --radius: radii below this one are tried; exact.", group=PROPERTY, common=True, kind=str,
                        accepts=_NUMBER)
    tolerance: Any = option("0.001", "With --radius: halve until it is known up to less than this.", group=PROPERTY, common=True, kind=str,
                            accepts=_NUMBER)
    semantics: str = option("float32", "float32: every float32 execution; or real: exact arithmetic alone, which says nothing of alarms.",
                            group=METHOD)
    attack: str | None = option("", "Search for inputs that alarm, where nothing is proved: pgd or none.", group=METHOD, common=True,
                                shown="pgd; none with --radius")


ATTACKS = ("uniform:eps=0.1", "sign:eps=0.1", "fgsm:eps=0.1", "bim:eps=0.1", "pgd:eps=0.1,steps=10,rel_stepsize=0.1", "deepfool", "cw")
_CW = "steps=1000,stepsize=0.01,binary_search_steps=1,confidence=0.1"
# Of table 1: 10 iterations of eps / 10, and C&W with 1000 of .01, confidence .1 and one step of its binary search.
PRESETS = {"table1": (
    "fgsm:eps=0.1", "fgsm:eps=0.2", "bim:eps=0.1", "bim:eps=0.15", "pgd:eps=0.1,steps=10,rel_stepsize=0.1",
    "pgd:eps=0.2,steps=10,rel_stepsize=0.1", f"cw:initial_const=0.1,{_CW}",
    f"cw:initial_const=1,{_CW}")}
_ATTACK = "Perturbation"


@dataclass(frozen=True)
class TabooEvaluateOptions(DetectorChoice, DataOptions):
    """See `TabooEvaluate`."""

    attack: tuple[str, ...] = option((), "A perturbation, with parameters after a colon: fgsm:eps=0.1. uniform, sign (noise), fgsm, bim, "
                                     "pgd, cw, deepfool, ddn, ead, fmn, hopskipjump, boundary; or table1, as in the paper; repeatable.",
                                     group=_ATTACK, shown=" ".join(ATTACKS), common=True)
    region: str = option("both", "What may change: all entries, the object's support, or both, one after the other.", group=_ATTACK,
                         common=True)
    background: float = option(0.0, "Value of entries that are not of the object.", group=_ATTACK)
    seed: int = option(0, "Of noise and of attacks that start at random.", group=_ATTACK, common=True)
    timeout: float | str | None = option(60.0, "Seconds an input and perturbation, its share of all inputs; or none.", group=LIMITS,
                                         unit="s", common=True, kind=str, accepts="float | str | None", binds=False)
    adversarial: Path | None = option(None, "Folder for the perturbed inputs, npz with provenance.", group=OUTPUT, common=True,
                                      binds=False, writes="folder")
    plots: Path | None = option(None, "Folder for the ROC curves.", group=OUTPUT, common=True, python=False, binds=False, writes="folder")
    plot_format: str = option("png", "png, svg or pdf.", group=OUTPUT, python=False, binds=False)
