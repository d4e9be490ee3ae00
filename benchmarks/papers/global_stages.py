"""The stages of `global_robustness.py`: what was trained, how often it is right, how often it is robust."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from clever_data import AbsentError, Data
from clever_runner import CUT, DONE, Found, Stage, Unit, kept, relation, table
from global_calls import AS_IS, RESCALED, Asking, Pair, correct, right_on, robust

LEVEL = "0.99"
RADII = ("0", "0.001", "0.003", "0.01", "0.03")
PLAIN, AUGMENTED, BY_IBP, FASHION = "C-small", "C-small-augmented", "C-ibp", "judge-fashion_mnist"
# Table of the paper, digit 8: simple GAN, augmented GAN, test set; of what is not trained here, too.
PAPER = {
    PLAIN: (98.89, 92.82, 99.79), "standard medium": (99.15, 93.16, 99.76), "standard large": (99.38, 93.80, 99.80),
    AUGMENTED: (97.84, 95.20, 99.90), "augmented medium": (99.11, 96.53, 99.86), "augmented large": (99.25, 97.66, 99.84),
    "Madry": (98.87, 93.17, 99.6), "Papernot's distillation": (99.64, 94.78, 99.17),
}
GENERATORS = {"G8": 8, "G8-augmented": 8, "G8-first-half": 8, "G8-second-half": 8, "G3": 3, "F9": 9}
CLASSIFIERS = {PLAIN: "mnist", AUGMENTED: "mnist", BY_IBP: "mnist", FASHION: "fashion_mnist"}     # and the images that each is for
PAIRS = tuple((generator, classifier) for classifier, data in CLASSIFIERS.items() for generator in GENERATORS
              if (data == "fashion_mnist") == (generator == "F9"))
ROBUST = tuple((generator, classifier) for generator in ("G8", "G3") for classifier in (PLAIN, AUGMENTED, BY_IBP))


@dataclass(frozen=True)
class Size:
    """draws: for correctness.  latents: for robustness."""

    draws: int
    latents: int


@dataclass
class Visit:
    """nets: a folder of what training/train_generators.py and absint train wrote.  data: test images.  out: what units found.

    timeout: seconds of wall time that a draw may take at each radius.
    """

    out: Path
    nets: Path
    data: Data
    size: Size
    seed: int = 1
    timeout: float = 1.0
    device: str = "cpu"

    def file(self, name: str) -> Path:
        """Raises AbsentError for what is not trained yet."""
        path = self.nets / f"{name}.onnx"
        if not path.exists():
            raise AbsentError(f"--nets has no {path.name}")
        return path

    def pair(self, generator: str, classifier: str, fit: str) -> Pair:
        """Both as files."""
        return Pair(self.file(generator), GENERATORS[generator], self.file(classifier), fit, self.seed)


# ---- networks -----------------------------------------------------------------------------------------------------------


def network_units(visit: Visit) -> list[Unit]:
    """What their training said, and each classifier on the test images."""
    def said(visit: Visit, seconds: float) -> Found:
        path = visit.nets / "provenance.json"
        if not path.exists():
            raise AbsentError("--nets has no provenance.json; training/train_generators.py writes it")
        return {"networks": json.loads(path.read_text(encoding="utf-8"))["networks"]}

    def tested(classifier: str, data: str) -> Unit:
        def test(visit: Visit, seconds: float) -> Found:
            return {"right": right_on(visit.file(classifier), *visit.data[data].test)}

        return Unit(f"test-{classifier}", 1, test)

    return [Unit("networks", 1, said), *(tested(classifier, data) for classifier, data in CLASSIFIERS.items())]


def networks_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """Generators by the gate, classifiers by the test set."""
    said = {name.removesuffix(".onnx"): one for name, one in found.get("networks", {}).get("networks", {}).items()}
    yield ("Generators by the gate of `training/`: an independent classifier recognises 90 % of 1,000 images at least, and their pixels "
           "vary half as much as the real ones at least.")
    yield ""
    yield from table(("generator", "class", "of images", "epochs", "CPU s of training", "recognised %", "variance / real"), [
        (name, one["class"], one["part"], one["epochs"], one["training_cpu_s"], percent(one["recognised"]), one["variance"])
        for name, one in said.items() if "recognised" in one])
    yield "Classifiers on all test images, in onnxruntime."
    yield ""
    yield from table(("classifier", "of", "augmented", "epochs", "test set %", *(f"class {label} %" for label in (8, 3, 9))), [
        (name, data, *(said.get(name, {}).get(key) for key in ("augmented", "epochs")), percent(share_of(one["right"])),
         *(percent(share_of({label: one["right"][label]})) for label in "839"))
        for name, data in CLASSIFIERS.items() if (one := found.get(f"test-{name}")) is not None])


def share_of(right: Mapping[str, list[int]]) -> float:
    """right: by class, right ones and all."""
    ones, whole = (sum(column) for column in zip(*right.values(), strict=True))
    return ones / whole


def percent(share: float) -> str:
    """Two digits after the point."""
    return f"{100 * share:.2f}"


# ---- correctness --------------------------------------------------------------------------------------------------------


def correctness_units(visit: Visit) -> list[Unit]:
    """Each generator with each classifier, both ways to join them."""
    def counted(generator: str, classifier: str, fit: str) -> Unit:
        def count(visit: Visit, seconds: float) -> Found:
            begin = time.process_time()
            pair, name = visit.pair(generator, classifier, fit), f"correct-{generator}-{classifier}-{fit}"
            share = correct(pair, visit.size.draws, LEVEL, visit.out / "grids" / name)
            return {"share": share.said(), "cpu_s": time.process_time() - begin}

        return Unit(f"correct-{generator}-{classifier}-{fit}", 1, count)

    return [counted(generator, classifier, fit) for fit in (AS_IS, RESCALED) for generator, classifier in PAIRS]


def correctness_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """The paper's table beside ours, all of ours, and the relations of the paper."""
    def share(generator: str, classifier: str, fit: str) -> float | None:
        one = found.get(f"correct-{generator}-{classifier}-{fit}")
        return None if one is None else 100 * one["share"]["k"] / one["share"]["n"]

    test = test_set(visit)
    rows = [(name, *paper, *(share(generator, name, fit) for generator in ("G8", "G8-augmented") for fit in (AS_IS, RESCALED)),
             test.get(name)) for name, paper in PAPER.items()]
    yield ("Digit 8, per cent correct. The paper fed images of [-1, 1] to classifiers trained on [0, 1] (as-is); ours are fed both so and "
           "rescaled.")
    yield ""
    yield from table(("classifier", "paper: GAN", "paper: augmented GAN", "paper: test set", "ours: GAN, as-is", "GAN, rescaled",
                      "augmented GAN, as-is", "augmented GAN, rescaled", "test set"), [tuple(map(shown, row)) for row in rows])
    yield "All pairs, 99 % intervals (Clopper-Pearson), each for itself."
    yield ""
    yield from table(("generator", "classifier", "join", "n", "correct %", "interval %", "CPU s"), [
        (*pair_of(name), one["share"]["n"], percent(one["share"]["k"] / one["share"]["n"]), interval(one["share"]), one["cpu_s"])
        for name, one in found.items()])
    for fit in (AS_IS, RESCALED):
        yield from relations(fit, share, test)


def pair_of(unit: str) -> tuple[str, str, str]:
    """Generator, classifier and join of a unit's name."""
    fit = next(fit for fit in (AS_IS, RESCALED) if unit.endswith(f"-{fit}"))
    rest = unit.split("-", 1)[1].removesuffix(f"-{fit}")
    classifier = next(name for name in sorted(CLASSIFIERS, key=len, reverse=True) if rest.endswith(f"-{name}"))
    return rest.removesuffix(f"-{classifier}"), classifier, fit


def shown(value: object) -> object:
    """Two digits after the point for numbers."""
    return f"{value:.2f}" if isinstance(value, float) else value


def interval(share: Mapping[str, Any]) -> str:
    """In per cent."""
    return f"{100 * share['low']:.2f} .. {100 * share['high']:.2f}"


def test_set(visit: Visit) -> dict[str, float]:
    """Per cent right on the test images of the digit 8, by classifier."""
    known = {name: kept(visit, f"test-{name}") for name in CLASSIFIERS}
    return {name: 100 * share_of({"8": one["right"]["8"]}) for name, one in known.items() if one is not None and "right" in one}


def relations(fit: str, share: Callable[[str, str, str], float | None], test: Mapping[str, float]) -> Iterator[str]:
    """Of the paper, held or not."""
    def at_most(less: float | None, more: float | None) -> bool | None:
        return None if less is None or more is None else less <= more

    def apart(one: float | None, two: float | None, most: float) -> bool | None:
        return None if one is None or two is None else abs(one - two) <= most

    def more_apart(ones: tuple[float | None, float | None], others: tuple[float | None, float | None]) -> bool | None:
        first, second = (None if None in pair else abs(pair[0] - pair[1]) for pair in (ones, others))
        return None if first is None or second is None else first > second

    simple, over_augmented = share("G8", PLAIN, fit), share("G8-augmented", PLAIN, fit)
    yield relation(f"{fit}: a classifier of plain training is right at least as often over the plain generator as over the augmented one",
                   at_most(over_augmented, simple))
    yield relation(f"{fit}: over the augmented generator training on augmented images is at least as good",
                   at_most(over_augmented, share("G8-augmented", AUGMENTED, fit)))
    yield relation(f"{fit}: generators from disjoint halves agree within 3 points",
                   apart(share("G8-first-half", PLAIN, fit), share("G8-second-half", PLAIN, fit), 3.0))
    over_images = test.get(PLAIN), test.get(AUGMENTED)
    yield relation(f"{fit}: the two classifiers differ more over the augmented generator than on the test set",
                   more_apart((over_augmented, share("G8-augmented", AUGMENTED, fit)), over_images))
    if fit == AS_IS:
        yield relation("on the test set the two classifiers differ by less than one point", apart(*over_images, 1.0))


# ---- robustness ---------------------------------------------------------------------------------------------------------


def robustness_units(visit: Visit) -> list[Unit]:
    """Each classifier over each generator, all radii of one run; continued where it was cut."""
    def verified(generator: str, classifier: str) -> Unit:
        name = f"robust-{generator}-{classifier}"

        def verify(visit: Visit, seconds: float) -> Found:
            begin, pair = time.process_time(), visit.pair(generator, classifier, RESCALED)
            one = robust(pair, Asking(visit.size.latents, LEVEL, RADII, visit.timeout, seconds, visit.out / f"{name}.journal",
                                      visit.out / "grids" / name))
            spent = (kept(visit, name) or {}).get("cpu_s", 0.0) + time.process_time() - begin
            return {"state": DONE if one.whole else CUT, "shares": [share.said() for share in one.shares], "nearest": one.nearest,
                    "cpu_s": spent, "timeout": visit.timeout}

        return Unit(name, 4, verify)

    return [verified(generator, classifier) for generator, classifier in ROBUST]


def robustness_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """The table that the paper could not have."""
    yield ("Latents are N(0, 1), the radius is linf in the latent, images are rescaled to [0, 1]. 99 % intervals, each for itself: "
           "Clopper-Pearson's lower end of the verified draws, the upper end of those that are not refuted.")
    yield ""
    rows = []
    for name, one in found.items():
        _, generator, classifier = name.split("-", 2)
        for share in one["shares"]:
            unknown = share["n"] - share["k"] - share["refuted"]
            counts = share["correct"], share["k"], share["refuted"], unknown
            rows.append((generator, classifier, share["eps"], share["n"], *(percent(count / share["n"]) for count in counts),
                         interval(share), one["cpu_s"], one["timeout"]))
    yield from table(("generator", "classifier", "eps", "n", "correct %", "verified %", "refuted %", "unknown %", "robust, interval %",
                      "CPU s, all eps", "limit s"), rows)
    for name, one in found.items():
        shares = sorted(one["shares"], key=lambda share: float(share["eps"]))
        falling = all(wide["k"] <= near["k"] for near, wide in pairwise(shares))
        yield relation(f"{name}: no more is verified at a larger radius", falling)
        yield relation(f"{name}: no more is verified than is correct", all(share["k"] <= share["correct"] for share in shares))
        yield relation(f"{name}: at radius 0 verified is correct", all(share["k"] == share["correct"] for share in shares[:1]))


NETWORKS = Stage("networks", network_units, networks_page)
CORRECTNESS = Stage("correctness", correctness_units, correctness_page)
ROBUSTNESS = Stage("robustness", robustness_units, robustness_page)
