"""The page of `taboo.py`: Table 1 beside the paper's, and what the other stages found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from clever_runner import Found, relation, table

# Shumailov et al. 2020, table 1: MNIST, LeNet-5, lite. Accuracy, detection and l2; the first row's detection is its false-alarm rate.
PAPER = (("none", 99.1, 1.9, None), ("FGSM .1", 70.9, 1.4, 2.08), ("FGSM .2", 21.9, 1.0, 4.14), ("BIM .1", 44.2, 1.0, 1.13),
         ("BIM .15", 4.2, 0.8, 1.48), ("PGD .1", 51.0, 1.2, 1.50), ("PGD .2", 0.0, 1.1, 2.73), ("C&W c=.1", 99.6, 25.0, 0.05),
         ("C&W c=1", 99.6, 1.1, 0.05))
FIRST = 6       # of the attacks, FGSM to PGD
FEW, FPR = 0.05, 0.002
CERTIFY, TIMES, CERTIFIED = 3.0, 10.0, 20.0     # minutes; minutes of one radius; minutes
EPS = "0.003"
CERTIFICATES = ("certify-train-0.003", "certify-train-0.01", "certify-test-0.003", "certify-train-radius")


def page(found: Mapping[str, Found]) -> str:
    """All that is known, as markdown."""
    lines = ["# Taboo traps", "", "How to read these tables: [RESULTS.md](../RESULTS.md). What an alarm proves: "
             "[docs/taboo.md](../../docs/taboo.md). `benchmarks/papers/taboo.py` measures and writes this page.", ""]
    for name, (units, part) in PARTS.items():
        lines += [f"## {name}", "", *part(found)]
        lines += ["", *(f"- not run: {unit}" for unit in units if unit not in found), ""]
    by = sorted({f"Run on: {one['machine']}." for one in found.values() if "machine" in one})
    return "\n".join(squeezed([*lines, *by])) + "\n"


def squeezed(lines: Sequence[str]) -> Iterator[str]:
    """Without blank lines that follow each other."""
    before = ""
    for line in lines:
        if line or before:
            yield line
        before = line


def cost(one: Found) -> str:
    """In words."""
    before = f", of what {one['before']} lines of an earlier journal had left" if one.get("before") else ""
    return f"{one['minutes']:.2f} minutes, {one['cpu_minutes']:.2f} of CPU, {one['passes']:.1f} passes an input{before}"


# ---- the network, and lite -------------------------------------------------------------------------------------------------


def network(found: Mapping[str, Found]) -> Iterator[str]:
    """What is watched."""
    if "network" in found:
        one = found["network"]
        right = ", ".join(f"{100 * share:.2f} % of the {part} images" for part, share in one["accuracy"].items())
        yield f"`{one['command']}`, then `last.onnx`:"
        yield "20 and 50 channels of 5 x 5, maxima of 2 x 2, 500 hidden neurons: 15,220 rectified ones, 15 of them watched."
        yield f"{right} are right (the paper: 99.1 %)."
        yield f"A forward pass by absint's graph in float32 takes {one['forward_us']:.0f} us of one thread an image;"
        yield "\"passes\" below are CPU seconds for each input in units of it."
    if "lite" not in found:
        return
    one = found["lite"]
    yield from ("", f"`{one['command']}`: {cost(one)}.", f"{one['never']} of the {one['neurons']} neurons are 0 on all training images.",
                "")
    rows = [(run["part"], "on" if run["optimised"] else "off", run["n"], run["alarms"], f"{100 * run['alarms'] / run['n']:.3f} %",
             run["classes_differ"], run["scores_differ"]) for run in one["runs"]]
    yield from table(("images", "onnxruntime's optimisations", "n", "alarms", "share", "other classes", "other bits in scores"), rows)
    train, test = ([run for run in one["runs"] if run["part"] == part] for part in ("train", "test"))
    yield relation("no training image alarms in onnxruntime, optimisations on and off", not any(run["alarms"] for run in train))
    yield relation("classes and scores are those of the network without the alarm, bit by bit",
                   not any(run["classes_differ"] or run["scores_differ"] for run in one["runs"]))
    yield relation("at most 0.2 % of the test images alarm", max(run["alarms"] / run["n"] for run in test) <= FPR)
    if "latency" in found:
        yield from latency(found["latency"])


def latency(one: Found) -> Iterator[str]:
    """What the alarm costs, and whether executions agree on it."""
    yield from ("", f"`{one['command']}`, thresholds from half of these images:", "")
    rows = [(row["batch"], row["plain_us"], row["alarm_us"], f"{row['ratio']:.3f}", f"{row['ratio_of_itself']:.3f}")
            for row in one["costs"]]
    yield from table(("batch", "network, us", "with the alarm, us", "ratio", "network over itself"), rows)
    differ = sum(run["differ"] for run in one["executions"])
    within = f"{one['inputs']} images but for {one['undecided']} within the rounding bound of a threshold ({differ} differ)"
    yield relation(f"{len(one['executions'])} executions (optimisations, threads, torch) raise the same alarms on {within}",
                   not sum(run["outside"] for run in one["executions"]))


# ---- table 1 ---------------------------------------------------------------------------------------------------------------


def table_1(found: Mapping[str, Found]) -> Iterator[str]:
    """Ours, over all pixels and over the digit's, beside the paper's."""
    if "table" not in found:
        return
    one = found["table"]
    rows, lines = by_attack(one["rates"]), []
    for (name, *paper), own in zip_longest(PAPER, rows, fillvalue={}):      # what a limit left out is not there
        cells = [share for region in ("all", "support") for share in ours(own.get(region))]
        lines.append((name, *("-" if value is None else f"{value:g}" for value in paper), *cells))
    spent = f"{one['minutes']:.0f} minutes" if not one.get("before") else "the last of several visits, most rows were in its journal"
    yield f"`{one['command']}`: {spent}."
    yield "Det counts every perturbed image, also one that is still classified right. Support: only pixels above 0 may change."
    yield ""
    yield from table(("attack", "paper Acc", "Det", "l2", "ours Acc", "Det (95 %)", "l2", "support Acc", "Det (95 %)", "l2"), lines)
    shares = [own["all"]["detection"]["rate"] for own in rows[1:] if "all" in own]
    between = f"found {100 * min(shares):.1f} to {100 * max(shares):.1f} % over all attacks"
    yield relation(f"lite detects at most 5 % of FGSM, BIM and PGD, as in the paper ({between})", max(shares[:FIRST]) <= FEW)


def by_attack(rates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By region, one a perturbation, in order; the clean row under `all`."""
    found: dict[str, dict[str, Any]] = {}
    for row in rates:
        found.setdefault(row["perturbation"], {})[row["region"] or "all"] = row
    return list(found.values())


def ours(row: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Accuracy, detection, l2."""
    if row is None:
        return "-", "-", "-"
    low, high = row["detection"]["interval"]
    return (f"{100 * row['accuracy']['rate']:.1f}", f"{100 * row['detection']['rate']:.1f} ({100 * low:.1f} to {100 * high:.1f})",
            f"{row['mean_l2']:.2f}" if row["mean_l2"] else "-")


# ---- certificates ----------------------------------------------------------------------------------------------------------


def certificates(found: Mapping[str, Found]) -> Iterator[str]:
    """Balls of one size, the largest ones, points in them."""
    rows = []
    for name in CERTIFICATES:
        if name in found:
            one, summary = found[name], found[name]["summary"]
            rows.append((name.removeprefix("certify-"), one["inputs"], *(summary[word] for word in ("quiet", "reachable", "open")),
                         f"{100 * summary['quiet'] / one['inputs']:.2f} %", one["minutes"], one["cpu_minutes"], one["passes"]))
    if rows:
        yield from table(("images, eps", "n", "quiet", "reachable", "open", "proved quiet", "minutes", "CPU minutes", "passes"), rows)
    spent = [found[name]["minutes"] for name in CERTIFICATES[:2] if name in found]
    if spent:
        shown = ", ".join(f"{one:.2f}" for one in spent)
        many = max(found[name]["inputs"] for name in CERTIFICATES[:2] if name in found)
        yield relation(f"{many:,} images at one radius proved quiet, or not, in at most 3 minutes ({shown})", max(spent) <= CERTIFY)
    first, last = (found.get(name) for name in (CERTIFICATES[0], CERTIFICATES[-1]))
    if first is not None and last is not None:
        ratio = (last["cpu_minutes"] / last["inputs"]) / (first["cpu_minutes"] / first["inputs"])
        yield relation(f"radii cost at most 10 times that ({ratio:.1f} times the CPU time at {EPS})", ratio <= TIMES)
        summary = last["summary"]
        yield f"- certified radii of training images: mean {summary['mean']:.4f}, median {summary['median']:.4f}, {summary['zero']} are 0"
    if "points" in found:
        one = found["points"]
        between = one["radii"]
        spread = f"radii {between['min']:g} to {between['max']:g}, median {between['median']:g}"
        yield (f"- the first {one['inputs']} training images: {spread}, {one['zero']} are 0; "
               f"{one['points']} random points and corners of these balls in onnxruntime: {one['alarms']} alarms")
        yield relation("no point of a proved ball alarms", one["alarms"] == 0)


# ---- certified thresholds, keys ----------------------------------------------------------------------------------------------


def thresholds(found: Mapping[str, Found]) -> Iterator[str]:
    """Rule certified over all training images."""
    if "resumed" in found:
        one = found["resumed"]
        killed = f"killed after {one['killed_at']} lines of the journal and resumed"
        yield relation(f"{one['inputs']} images, {killed}: the thresholds of a run in one go", one["same"])
    if "certified" in found:
        one = found["certified"]
        grown = sorted(b / a for a, b in zip(one["lite"], one["certified"], strict=True))
        yield f"- `{one['command']}`: {cost(one)}; killed after {one['killed_at']} lines of the journal and resumed"
        yield (f"- thresholds are {grown[0]:.3f} to {grown[-1]:.3g} times those of lite, {grown[len(grown) // 2]:.3f} in the middle; "
               f"{one['test_alarms']} of {one['test']} test images alarm")
        yield relation(f"{one['inputs']:,} images in at most 20 minutes ({one['minutes']:.1f})", one["minutes"] <= CERTIFIED)


def keys(found: Mapping[str, Found]) -> Iterator[str]:
    """Two masks, two alarm sets."""
    if "keys" not in found:
        return
    one, rows = found["keys"], []
    yield f"Two keys, {one['neurons'][0]} and {one['neurons'][1]} neurons, {one['common']} in common. `{one['evaluated']}`:"
    yield ""
    for row in one["transfer"]:
        (first, both), (_, second) = row["together"]
        given = row["given"][0][1], row["given"][1][0]
        name = row["perturbation"] + (f", {row['region']}" if row["region"] else "")
        rows.append((name, row["n"], first, second, both, *("-" if share is None else f"{100 * share:.0f} %" for share in given)))
    yield from table(("images", "n", "alarms of key 1", "of key 2", "of both", "2 given 1", "1 given 2"), rows)


# ---- by hand -----------------------------------------------------------------------------------------------------------------


def hand(found: Mapping[str, Found]) -> Iterator[str]:
    """From mask to certificate."""
    if "hand" not in found:
        return
    one = found["hand"]
    yield f"Test image {one['index']}, on which most watched neurons are above 0 (of the first 100), in numpy and float64."
    yield (f"Mask: the {len(one['places'])} of 15,220 places with the least 8-byte numbers of SHAKE-256 over \"absint taboo mask 1\", a "
           f"newline and the key: {', '.join(map(str, one['places']))}.")
    yield (f"Then of each neuron its value z on the image, the interval bounds of z for eps {EPS}, its greatest value over {one['n']:,} "
           "training images, and absint's threshold T. T less that maximum is the rounding bound of float32 executions.")
    yield ""
    columns = (one[word] for word in ("values", "low", "high", "greatest", "thresholds"))
    rows = [(f"{tensor}[{entry}]", *(f"{value:.6f}" for value in row), f"{row[4] - row[3]:.1e}", "yes" if row[2] <= row[4] else "no")
            for (tensor, entry), row in zip(one["neurons"], zip(*columns, strict=True), strict=True)]
    yield from table(("neuron", "z", "low", "high", "greatest", "T", "T - greatest", "high <= T"), rows)
    own, deep = one["absint_box"], one["absint"]
    yield relation("every threshold is above the greatest value by hand, by less than 0.001",
                   all(0 < top - most < 1e-3 for top, most in zip(one["thresholds"], one["greatest"], strict=True)))
    yield relation(f"the largest quiet radius by interval arithmetic, on a grid of 0.0005: {one['radius']:g} by hand, {own['certified']:g} "
                   "by `--domain box`", abs(one["radius"] - own["certified"]) <= 1e-9)
    refuted = "no input that alarms is known" if deep["refuted"] is None else f"an input that alarms is known at {deep['refuted']:g}"
    yield f"- by the default domain: {deep['certified']:g}; {refuted}"


PARTS = {"The network, and lite": (("network", "lite", "latency"), network), "Table 1, lite": (("table",), table_1),
         "Certificates": ((*CERTIFICATES, "points"), certificates),
         "Thresholds of rule certified": (("resumed", "certified"), thresholds), "Two keys": (("keys",), keys),
         "One image by hand": (("hand",), hand)}
