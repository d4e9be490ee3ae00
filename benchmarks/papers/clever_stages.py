"""The stages of `clever.py` on scores: networks, tables 1 to 4, what their weakness looks like, and the proofs and attacks around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from statistics import mean
from typing import Any

from clever_nets import RECIPES
from clever_runner import CUT, DONE, Found, Stage, Unit, Visit, cell, relation, table

import absint
from absint.errors import UnsupportedError

KINDS = ("runner-up", "random", "least")
CW_PAPER = {"least": (0.310, 0.057, 0.051, 54, 46, 47, 44), "runner-up": (0.101, 0.024, 0.026, 18, 82, 77, 58),
            "random": (0.264, 0.049, 0.036, 76, 24, 55, 68)}     # tables 1 to 3: the tanh CNN of 72.6 % on CIFAR-10
BPDA_PAPER = {"bits3": (.72, .74, .78), "jpeg75": (.81, .78, .81)}        # table 4, over no transform: DenseNet-121 on ImageNet
README_PAPER = {"l2": (.701, 1.121, 1.137), "linf": (.0502, .0756, .0802), "l1": (1.67, 2.96, 2.75)}   # the program's: MNIST, 7-layer ReLU


@dataclass(frozen=True)
class Ask:
    """A call of `absint.clever`. net: of RECIPES.  images: the first so many.  options: its keywords."""

    net: str
    images: int
    options: Mapping[str, Any]

    def inputs(self, visit: Visit) -> tuple[Any, list[int]]:
        """(n, *shape) in [0, 1], and labels."""
        x, labels = visit.data[RECIPES[self.net].data].test
        return x[:self.images].double().numpy(), labels[:self.images].tolist()


def scored(visit: Visit, unit: str, ask: Ask, seconds: float) -> Found:
    """The scores of a call, continued where a run before was cut; a refusal is what was found, too."""
    begin, graph = time.monotonic(), visit.net(ask.net).graph
    x, labels = ask.inputs(visit)
    left = None if seconds == inf else max(1.0, seconds - (time.monotonic() - begin))
    try:
        records = absint.clever(graph, x, labels=labels, device=visit.device, memory=visit.memory, timeout=None, total_timeout=left,
                                journal=visit.out / f"{unit}.journal", resume=True, **ask.options)
    except UnsupportedError as error:
        return {"state": DONE, "rows": [], "refused": error.code, "said": str(error)}
    document = records.document
    rows = [{"index": one.index, "flag": target.flag, **asdict(target)} for one in records if not one.cut for target in one.targets]
    failures = [failure["code"] for failure in document.values.get("failures", ())]
    whole = len(records) + len(failures) == len(x) and not any(one.cut for one in records)
    return {"state": DONE if whole else CUT, "rows": rows, "skipped": [one.index for one in records if one.skipped and not one.cut],
            "images": len({row["index"] for row in rows}), "failures": failures, "summary": document.summary,
            "sampling_s": sum(one.time_s for one in records)}


def unit(name: str, ask: Ask, share: float) -> Unit:
    """The call as a unit."""
    return Unit(name, share, lambda visit, seconds: scored(visit, name, ask, seconds))


# ---- what rows add up to ------------------------------------------------------------------------------------------------


def by_pair(found: Found | None) -> dict[tuple[int, str], dict[str, Any]]:
    """Rows by image and kind of target."""
    return {} if found is None else {(row["index"], row["kind"]): row for row in found["rows"]}


def average(rows: Sequence[Mapping[str, Any]], column: str = "score") -> float | None:
    """Of those that have a finite one."""
    values = [row[column] for row in rows if row[column] is not None and isfinite(row[column])]
    return mean(values) if values else None


def of_kind(found: Found | None, kind: str) -> list[dict[str, Any]]:
    """Rows of one kind of target."""
    return [] if found is None else [row for row in found["rows"] if row["kind"] == kind]


def compared(one: Found | None, two: Found | None, kind: str) -> tuple[float, float, float | None, float | None] | None:
    """Percentages where each is larger, and the mean gain in per cent over the images where it is, as in tables 1 to 3."""
    first, second = by_pair(one), by_pair(two)
    pairs = [(first[key]["score"], second[key]["score"]) for key in first if key[1] == kind and key in second]
    if not pairs:
        return None
    wins = [[100 * (a / b - 1) for a, b in pairs if a > b > 0], [100 * (b / a - 1) for a, b in pairs if b > a > 0]]
    shares = [100 * sum(a > b for a, b in pairs) / len(pairs), 100 * sum(b > a for a, b in pairs) / len(pairs)]
    return shares[0], shares[1], *(mean(gains) if gains else None for gains in wins)


def smaller(one: float | None, two: float | None) -> bool | None:
    """Whether one <= two, where both are known."""
    return None if one is None or two is None else one <= two


# ---- networks -----------------------------------------------------------------------------------------------------------


def names(visit: Visit) -> list[str]:
    """The networks that take part."""
    return [name for name, recipe in RECIPES.items() if visit.size.cifar or (recipe.data == "mnist" and name != "mnist-cnn7")]


def net_units(visit: Visit) -> list[Unit]:
    """The training of each that is absent."""
    def made(name: str) -> Callable[[Visit, float], Found]:
        return lambda visit, seconds: dict(visit.net(name, seconds).made)

    return [Unit(f"net-{name}", 8 if name == "cifar-cnn" else 1, made(name)) for name in names(visit)]


def net_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """How good they are."""
    yield from table(("network", "accuracy %", "of test images", "trained on", "epochs", "made of"), [
        (one["name"], round(100 * one["accuracy"], 2), one["tested"], one.get("images"), one.get("epochs"), one.get("base"))
        for one in found.values()])


# ---- tables 1 to 3 ------------------------------------------------------------------------------------------------------


def compared_nets(visit: Visit) -> dict[str, tuple[int, ...]]:
    """Networks of tables 1 to 3, and the orders that they have."""
    return {**({"cifar-cnn": (1, 2)} if visit.size.cifar else {}), "mnist-mlp": (1, 2), "mnist-cnn": (1,)}


def order_units(visit: Visit) -> list[Unit]:
    """Each order, and C&W, apart: each ends in what time it has."""
    size, units = visit.size, []
    for name, orders in compared_nets(visit).items():
        big = 6 if name == "cifar-cnn" else 1
        for order, (batches, samples) in zip(orders, ((size.batches, size.samples), size.second), strict=False):
            given = {"order": order, "batches": batches, "samples": samples}
            units.append(unit(f"order{order}-{name}", Ask(name, size.images, given), big * (4 if order == 2 else 1)))
        units.append(unit(f"cw-{name}", Ask(name, size.images, {"batches": 10, "samples": 20, "attack": "cw"}), 2 * big))
    return units


def order_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """The table of each network, and its relations."""
    head = ("network", "target", "images", "CW-l2", "none within R", "1st", "2nd", "% 1st larger", "% 2nd larger", "gain 1st %",
            "gain 2nd %", "at R")
    rows: list[tuple[object, ...]] = [
        ("paper: tanh CNN, CIFAR-10", kind, 50, cw, None, one, two, *(float(value) for value in rest), None)
        for kind, (cw, one, two, *rest) in CW_PAPER.items()]
    said: list[str] = []
    for name, orders in compared_nets(visit).items():
        one, two, attack = (found.get(f"{what}-{name}") for what in ("order1", "order2", "cw"))
        means = {kind: [average(of_kind(attack, kind), "attacked"), average(of_kind(one, kind)), average(of_kind(two, kind))]
                 for kind in KINDS}
        for kind in KINDS:
            first = of_kind(one, kind)
            missed = sum(row["attacked"] == inf for row in of_kind(attack, kind)) if attack else None
            rows.append((name, kind, len(first), means[kind][0], missed, *means[kind][1:], *(compared(one, two, kind) or (None,) * 4),
                         sum(row["saturated"] for row in first)))
        said += list(_order_relations(name, orders, means))
    yield from table(head, rows)
    yield from said


def _order_relations(name: str, orders: Sequence[int], means: Mapping[str, Sequence[float | None]]) -> Iterator[str]:
    for order in orders:
        yield from (relation(f"{name}, {kind}: mean score of order {order} ({cell(means[kind][order])}) at most C&W's mean distance "
                             f"({cell(means[kind][0])})", smaller(means[kind][order], means[kind][0])) for kind in KINDS)
        others = [smaller(means["runner-up"][order], means[kind][order]) for kind in KINDS[1:]]
        yield relation(f"{name}: the runner-up's mean of order {order} is the least", None if None in others else all(others))
    if 2 in orders:
        for kind in KINDS:
            _, one, two = means[kind]
            ratio = None if not one or not two else two / one
            yield relation(f"{name}, {kind}: the two orders' means are within a factor 2 ({cell(ratio)})",
                           None if ratio is None else 0.5 <= ratio <= 2)


# ---- norms --------------------------------------------------------------------------------------------------------------


def norm_net(visit: Visit) -> str:
    """The program's own, where there is time for it."""
    return "mnist-cnn7" if visit.size.cifar else "mnist-cnn"


def norm_units(visit: Visit) -> list[Unit]:
    """Order 1 in the three norms."""
    given = {"batches": visit.size.batches, "samples": visit.size.samples}
    return [unit(f"norm-{norm}", Ask(norm_net(visit), min(10, visit.size.images), {"norm": norm, **given}), 1) for norm in README_PAPER]


def norm_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """Beside the figures of the program's page."""
    rows, order = [], []
    for norm, paper in README_PAPER.items():
        rows.append(("paper: 7-layer ReLU", norm, *paper))
        means = [average(of_kind(found.get(f"norm-{norm}"), kind)) for kind in KINDS]
        rows.append((norm_net(visit), norm, *means))
        order += [smaller(means[0], one) for one in means[1:]]
    yield from table(("network", "norm", *KINDS), rows)
    yield relation("in each norm the runner-up's mean is the least", None if None in order else all(order))


# ---- table 4 ------------------------------------------------------------------------------------------------------------

TRANSFORMS = (None, "bits3", "jpeg75")


def bpda_nets(visit: Visit) -> tuple[str, ...]:
    """Networks behind transforms."""
    return ("cifar-cnn", "mnist-cnn") if visit.size.cifar else ("mnist-cnn",)


def bpda_units(visit: Visit) -> list[Unit]:
    """Each transform, and rounding that the gradients go through."""
    given = {"batches": visit.size.batches, "samples": visit.size.bpda}
    units = [unit(f"bpda-{name}-{transform or 'none'}", Ask(name, visit.size.images, {"transform": transform, **given}),
                  6 if name == "cifar-cnn" else 1)
             for name in bpda_nets(visit) for transform in TRANSFORMS]
    return [*units, unit("bpda-floor", Ask("floor-cnn", visit.size.images, given), 0.5)]


def bpda_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """Means and their ratios to no transform, over the pairs that both have."""
    rows: list[tuple[object, ...]] = [("paper: DenseNet-121, ImageNet", name, 100, *(None,) * 3, *ratios, None)
                                      for name, ratios in BPDA_PAPER.items()]
    said = []
    for name in bpda_nets(visit):
        bare = found.get(f"bpda-{name}-none")
        for transform in TRANSFORMS:
            one = found.get(f"bpda-{name}-{transform or 'none'}")
            means = [average(of_kind(one, kind)) for kind in KINDS]
            ratios = [_ratio(bare, one, kind) for kind in KINDS] if transform else [None] * 3
            at_radius = None if one is None or not one["rows"] else sum(row["saturated"] for row in one["rows"])
            rows.append((name, transform or "none", len(of_kind(one, KINDS[0])), *means, *ratios, at_radius))
            if transform:
                inside = None if None in ratios else all(0.5 <= ratio <= 1.25 for ratio in ratios if ratio is not None)
                said.append(relation(f"{name}, {transform}: scores within 0.5 to 1.25 of those without", inside))
                said.append(relation(f"{name}, {transform}: none ends at the radius", None if at_radius is None else at_radius == 0))
    yield from table(("network", "transform", "images", *KINDS, *(f"ratio {kind}" for kind in KINDS), "at R"), rows)
    yield from said
    floor = found.get("bpda-floor")
    yield relation(f"gradients through the same rounding are refused ({(floor or {}).get('refused', 'scored')})",
                   None if floor is None else floor.get("refused") == "E-GRADIENT-MASKED")


def _ratio(bare: Found | None, one: Found | None, kind: str) -> float | None:
    first, second = by_pair(bare), by_pair(one)
    keys = [key for key in first if key[1] == kind and key in second]
    below = mean(first[key]["score"] for key in keys) if keys else 0
    return mean(second[key]["score"] for key in keys) / below if below else None


# ---- masked gradients ---------------------------------------------------------------------------------------------------

NEAREST = "deepfool,ddn,cw,pgd"
MASKED = ("mnist-mlp", "distilled-t100", "stairs-flat", "stairs-shallow", "stairs-steep")


def masked_units(visit: Visit) -> list[Unit]:
    """Scores beside attacks, on networks whose gradients mislead, and on the one that they are made of."""
    given = {"batches": visit.size.batches, "samples": visit.size.samples, "attack": NEAREST}
    return [unit(f"masked-{name}", Ask(name, visit.size.images, given), 1) for name in MASKED]


def masked_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """How often an estimate lies above an attack."""
    rows: list[tuple[object, ...]] = []
    for name in MASKED:
        one = found.get(f"masked-{name}")
        if one is None:
            continue
        summary, whole = one.get("summary", {}), one["rows"]
        known = [row for row in whole if row["attacked"] is not None and isfinite(row["attacked"])]
        between = summary.get("above_attack_interval")
        rows.append((name, one.get("refused") or f"{one['images']} images", average(known), average(known, "attacked"),
                     f"{summary.get('above_attack', 0)} of {summary.get('attacked', 0)}",
                     None if not between else f"{between[0]:.0%} to {between[1]:.0%}", sum(row["saturated"] for row in whole)))
    yield from table(("network", "scored", "mean score", "mean attacked", "estimate above an attack", "at 95 %", "at R"), rows)
    flat, shallow, steep = (found.get(f"masked-{name}") for name in MASKED[2:])
    for one, text in ((flat, "no slope"), (shallow, "a slope of 0.01")):
        yield relation(f"stairs with {text} are refused", None if one is None else one.get("refused") == "E-GRADIENT-MASKED")
    flagged = None if steep is None or not steep["rows"] else steep["summary"]["above_attack"] > len(steep["rows"]) / 2
    yield relation("most scores of stairs with a slope of 0.3 are flagged as above an attack", flagged)


# ---- the sandwich -------------------------------------------------------------------------------------------------------

# On the convolutional network DeepPoly proves a third more, in five times the time.
PROVERS = {"mnist-mlp": "deeppoly", "mnist-cnn": "zonotope"}
CERTIFIED = tuple((name, norm, domain) for norm in ("linf", "l2") for name, domain in PROVERS.items())


def sandwich_units(visit: Visit) -> list[Unit]:
    """Proofs below, attacks above."""
    given = {"batches": visit.size.batches, "samples": visit.size.samples}
    return [unit(f"sandwich-{name}-{norm}", Ask(name, min(10, visit.size.images), {"norm": norm, "certify": domain, **given}), 2)
            for name, norm, domain in CERTIFIED]


def sandwich_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """Means by target; a proof above an attack is a fault of ours, not of a score."""
    rows, wrong, pairs = [], 0, 0
    for name, norm, domain in CERTIFIED:
        one = found.get(f"sandwich-{name}-{norm}")
        for kind in KINDS:
            own = of_kind(one, kind)
            flags = [row["flag"] for row in own]
            rows.append((name, norm, domain, kind, len(own), average(own, "certified"), average(own), average(own, "attacked"),
                         flags.count("above an attack"), flags.count("below the proof")))
            both = [row for row in own if row["certified"] is not None and row["attacked"] is not None]
            pairs += len(both)
            wrong += sum(row["certified"] > row["attacked"] for row in both)
    yield from table(("network", "norm", "proved by", "target", "images", "certified", "score", "attacked", "above an attack",
                      "below the proof"), rows)
    yield relation(f"no certified radius lies above an attack ({wrong} of {pairs})", None if not pairs else not wrong)


NETS, TABLES, BPDA = Stage("networks", net_units, net_page), Stage("tables", order_units, order_page), Stage("bpda", bpda_units, bpda_page)
NORMS, MASKS = Stage("norms", norm_units, norm_page), Stage("masked", masked_units, masked_page)
SANDWICH = Stage("sandwich", sandwich_units, sandwich_page)
