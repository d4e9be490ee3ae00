"""Stages of `taboo.py`: what runs, and what is kept of it. Pages are in `taboo_pages.py`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from clever_runner import Found, Unit
from taboo_hand import LeNet, box_radius, mask
from taboo_runs import KEYS, TEST, TRAIN, Visit, asked, costs, environment, labels, outputs, session

from absint.analyses.taboo.traps import read_traps

LATENCY = Path(__file__).resolve().parents[1] / "taboo_latency.py"
RADII = ("0.003", "0.01")
EPS = "0.003"
PROOFS = ("--attack", "none")
TRAINING = ("--model", "lenet5-pool", "--method", "nominal", "--mean", "0.5", "--std", "0.5", "--epochs", "8", "--eps", EPS,
            "--attacked", "100", "--attack-steps", "1", "--restarts", "1", "--seed", "0")


# ---- the network, and the lite trap ----------------------------------------------------------------------------------------


def network_unit(visit: Visit, seconds: float) -> Found:
    """Trained where it is not there; its accuracy in onnxruntime."""
    if not visit.net.exists():
        folder = visit.out / "training"
        subprocess.run([sys.executable, "-m", "absint", "train", "--data", str(visit.mnist), *TRAINING, "--save", str(folder)], check=True,
                       env=environment())
        visit.net.parent.mkdir(parents=True, exist_ok=True)
        visit.net.write_bytes((folder / "last.onnx").read_bytes())
    made = session(visit.net, optimised=True)
    right = {}
    for part, x, path in (("train", visit.train[:visit.size.train], TRAIN), ("test", visit.test[:visit.size.test], TEST)):
        scores = outputs(made, x)["logits"]
        right[part] = float((scores.argmax(1) == labels(visit.mnist / path)[:len(x)]).mean())
    return {"command": f"absint train --data MNIST {' '.join(TRAINING)}", "sha256": hashlib.sha256(visit.net.read_bytes()).hexdigest(),
            "accuracy": right, "forward_us": 1e6 * visit.forward}


def calibrated(visit: Visit, name: str, words: Sequence[object], **more: object) -> Found:
    """Thresholds from training images, into OUT/NAME.json."""
    given = ["taboo", "calibrate", visit.net, "--data", visit.mnist, "--index", f"0:{visit.size.train}", *words,
             "--detector", visit.out / f"{name}.detector.json"]
    return asked(visit, name, given, **more)


def lite_unit(visit: Visit, seconds: float) -> Found:
    """Thresholds, and the exported detector in onnxruntime with optimisations on and off, beside the network as it was."""
    run = calibrated(visit, "lite", ["--keys", visit.keys(1), "--rule", "lite", "--onnx", visit.out / "lite.onnx"])
    traps = read_traps(visit.out / "lite.detector.json")
    runs = []
    for optimised in (True, False):
        plain, with_alarm = session(visit.net, optimised=optimised), session(visit.out / "lite.onnx", optimised=optimised)
        for part, x in (("train", visit.train[:visit.size.train]), ("test", visit.test[:visit.size.test])):
            before, after = outputs(plain, x)["logits"], outputs(with_alarm, x)
            runs.append({"part": part, "optimised": optimised, "n": len(x), "alarms": int(after["alarm"].astype(bool).any(1).sum()),
                         "classes_differ": int((before.argmax(1) != after["logits"].argmax(1)).sum()),
                         "scores_differ": int((before.view(np.uint32) != after["logits"].view(np.uint32)).any(1).sum())})
    never = sum(threshold <= 1e-37 for threshold in traps.union.thresholds)
    return {**costs(visit, run, visit.size.train), "neurons": len(traps.union), "never": never, "runs": runs}


def latency_unit(visit: Visit, seconds: float) -> Found:
    """`benchmarks/taboo_latency.py` on this network."""
    out = visit.out / "latency.result.json"
    words = ["--net", visit.net, "--data", visit.mnist, "--images", visit.size.test, "--out", out]
    subprocess.run([sys.executable, str(LATENCY), *map(str, words)], check=True, env=environment(), stdout=subprocess.DEVNULL)
    command = f"benchmarks/taboo_latency.py --net lenet5.onnx --data MNIST --images {visit.size.test}"
    return {**json.loads(out.read_text()), "command": command}


# ---- table 1 -------------------------------------------------------------------------------------------------------------


def table_unit(visit: Visit, seconds: float) -> Found:
    """The paper's attacks on its own settings, over all pixels and over the digit's."""
    words = ["taboo", "evaluate", visit.net, "--data", visit.mnist / TEST, "--index", f"0:{visit.size.attacked}",
             "--detector", visit.out / "lite.detector.json", "--attack", "table1", "--region", "both", "--timeout", "none"]
    run = asked(visit, "table", words)
    return {**costs(visit, run, visit.size.attacked), "rates": run["document"]["rates"]}


# ---- certificates --------------------------------------------------------------------------------------------------------


def certify_unit(part: str, how: str) -> Unit:
    """One radius for all inputs, or the largest one of each. how: the radius, or `radius`. Alarms are looked for around test images."""
    name = f"certify-{part}-{how}"

    def run(visit: Visit, seconds: float) -> Found:
        path, count = {"train": TRAIN, "test": TEST}[part], visit.size.radii if how == "radius" else visit.size.certified
        words = ["taboo", "certify", visit.net, "--data", visit.mnist / path, "--index", f"0:{count}", "--detector",
                 visit.out / "lite.detector.json", *(["--radius"] if how == "radius" else ["--eps", how]),
                 *(PROOFS if part == "train" else ())]
        found = asked(visit, name, words)
        return {**costs(visit, found, count), "summary": found["document"]["summary"]}

    return Unit(name, 1, run)


def points_unit(visit: Visit, seconds: float) -> Found:
    """Random points, and corners, of proved balls around training images, in the exported detector: none may alarm."""
    count, each = visit.size.pointed, visit.size.points
    words = ["taboo", "certify", visit.net, "--data", visit.mnist / TRAIN, "--index", f"0:{count}", "--detector",
             visit.out / "lite.detector.json", "--radius", *PROOFS]
    run = asked(visit, "points", words)
    made = session(visit.out / "lite.onnx", optimised=True)
    rng, radii, alarms, asked_of = np.random.default_rng(0), [], 0, 0
    for row in run["document"]["certificates"]:
        radius, image = float(row["certified"]), visit.train[row["index"]].astype(np.float64)
        radii.append(radius)
        for moves in (rng.uniform(-1, 1, (each, *image.shape)), rng.choice([-1.0, 1.0], (each, *image.shape))):
            x = np.clip(image + (1 - 1e-6) * radius * moves, 0, 1).astype(np.float32)      # rounding leaves no ball
            assert (np.abs(x - image) <= radius).all() or not radius, "a point has left its ball"
            alarms += int(outputs(made, x)["alarm"].astype(bool).any(1).sum())
            asked_of += len(x)
    return {**costs(visit, run, count), "radii": quantiles(radii), "zero": sum(not one for one in radii), "points": asked_of,
            "alarms": alarms}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Least, quartiles, greatest, and the mean."""
    found = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    return {**dict(zip(("min", "q1", "median", "q3", "max"), map(float, found), strict=True)), "mean": float(np.mean(values))}


# ---- certified thresholds --------------------------------------------------------------------------------------------------


def resumed_unit(visit: Visit, seconds: float) -> Found:
    """A few inputs in one go, and killed and resumed: the same file."""
    words = ["--keys", visit.keys(1), "--rule", "certified", "--eps", EPS, "--block", "50"]
    small = replace(visit, size=replace(visit.size, train=visit.size.resumed))
    whole = calibrated(small, "resumed-whole", words)
    split = calibrated(small, "resumed-split", words, kill=lambda lines: lines >= 3)
    one, two = (read_traps(visit.out / f"resumed-{kind}.detector.json") for kind in ("whole", "split"))
    return {**costs(visit, split, visit.size.resumed), "whole_minutes": whole["wall_s"] / 60, "same": one.traps == two.traps}


def certified_unit(visit: Visit, seconds: float) -> Found:
    """All training images, killed about half way and resumed."""
    half = visit.size.train // 500 // 2
    words = ["--keys", visit.keys(1), "--rule", "certified", "--eps", EPS, "--onnx", visit.out / "certified.onnx"]
    run = calibrated(visit, "certified", words, kill=lambda lines: lines > max(1, half))
    lite, certified = (np.array(read_traps(visit.out / f"{name}.detector.json").union.thresholds) for name in ("lite", "certified"))
    made = session(visit.out / "certified.onnx", optimised=True)
    test = outputs(made, visit.test[:visit.size.test])["alarm"].astype(bool).any(1)
    return {**costs(visit, run, visit.size.train), "summary": run["document"]["summary"], "lite": lite.tolist(),
            "certified": certified.tolist(), "test_alarms": int(test.sum()), "test": len(test)}


# ---- keys ----------------------------------------------------------------------------------------------------------------


def keys_unit(visit: Visit, seconds: float) -> Found:
    """Two keys: neurons in common, alarms of each on perturbed inputs, and how far they are the same."""
    run = calibrated(visit, "keys", ["--keys", visit.keys(2), "--rule", "lite"])
    words = ["taboo", "evaluate", visit.net, "--data", visit.mnist / TEST, "--index", f"0:{visit.size.attacked}",
             "--detector", visit.out / "keys.detector.json", "--attack", "uniform:eps=0.1", "--attack", "sign:eps=0.1",
             "--attack", "fgsm:eps=0.2", "--region", "all"]
    found = asked(visit, "keys-evaluated", words)
    one, two = (set(trap.neurons) for trap in read_traps(visit.out / "keys.detector.json").traps)
    return {**costs(visit, run, visit.size.train), "neurons": [len(one), len(two)], "common": len(one & two),
            "transfer": found["document"]["transfer"], "evaluated": found["command"]}


# ---- one image by hand -----------------------------------------------------------------------------------------------------


def hand_unit(visit: Visit, seconds: float) -> Found:
    """A test image: mask, thresholds, activations, interval bounds and radius in numpy, beside what absint says."""
    net, places = LeNet.read(visit.net), mask(KEYS[0], [11520, 3200, 500])
    first = visit.test[:100].reshape(-1, 784).astype(np.float64)
    index = int((net.rectified(first)[:, places] > 0).sum(1).argmax())
    image = first[index:index + 1]
    traps = read_traps(visit.out / "lite.detector.json")
    thresholds = np.array(traps.union.thresholds)
    train = visit.train[:visit.size.train].reshape(-1, 784)
    greatest = net.greatest((train[k:k + 500].astype(np.float64) for k in range(0, len(train), 500)), places)
    eps = float(EPS)
    low, high = net.bounds(np.clip(image - eps, 0, 1), np.clip(image + eps, 0, 1))
    radius = box_radius(net, image, places, thresholds, [k / 2000 for k in range(1, 512)])
    words = ["taboo", "certify", visit.net, "--data", visit.mnist / TEST, "--index", index, "--detector", visit.out / "lite.detector.json",
             "--radius"]
    box, own = asked(visit, "hand-box", [*words, "--domain", "box", "--dtype", "float64"]), asked(visit, "hand-own", words)
    return {"places": places, "neurons": [list(one) for one in traps.union.neurons], "thresholds": thresholds.tolist(),
            "greatest": greatest.tolist(), "values": net.rectified(image)[0, places].tolist(), "low": low[0, places].tolist(),
            "high": high[0, places].tolist(), "radius": radius, "absint_box": box["document"]["certificates"][0],
            "absint": own["document"]["certificates"][0], "n": len(train), "index": index}


# The cheapest and most telling first, should time end.
UNITS: tuple[Unit, ...] = (
    Unit("network", 1, network_unit), Unit("lite", 1, lite_unit), Unit("latency", 1, latency_unit),
    *(certify_unit("train", eps) for eps in RADII), certify_unit("test", EPS), Unit("points", 1, points_unit),
    Unit("hand", 1, hand_unit), Unit("keys", 1, keys_unit), Unit("resumed", 1, resumed_unit),
    Unit("certified", 1, certified_unit), certify_unit("train", "radius"), Unit("table", 1, table_unit))
