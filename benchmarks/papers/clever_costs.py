"""The stages of `clever.py` on costs: beside ART's scores, a Hessian-vector product in gradients, a module of DenseNet-121's form.

ART (adversarial-robustness-toolbox) is no dependency: where it is not installed, its stage says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from math import inf
from statistics import mean
from typing import Any

import numpy as np
import torch
from clever_data import AbsentError
from clever_nets import RECIPES, densenet
from clever_runner import CUT, DONE, Found, Stage, Unit, Visit, keep, kept, peak_from_here, peak_mib, relation, table
from clever_stages import KINDS

import absint

PEER_NET, RADIUS = "mnist-mlp", 5.0
FEWER_A_GRADIENT, FEWER_A_SCORE, PRODUCT = 4.0, 20.0, 1.5     # what was aimed at


# ---- beside ART ---------------------------------------------------------------------------------------------------------


def peer_units(visit: Visit) -> list[Unit]:
    """Theirs first: ours needs their images only."""
    return [Unit("art-theirs", 12, _theirs), Unit("art-ours", 1, _ours)]


def _peer_images(visit: Visit) -> tuple[np.ndarray, list[int], torch.nn.Module]:
    """The first images that are classified as labelled."""
    module = visit.net(PEER_NET).module
    x, labels = visit.data[RECIPES[PEER_NET].data].test
    right = (module(x[:200]).argmax(1) == labels[:200]).nonzero().flatten()[:visit.size.peer]
    return x[right].numpy(), labels[right].tolist(), module


def _theirs(visit: Visit, seconds: float) -> Found:
    """clever_t for each target of ours and clever_u, image by image: a pool of as many samples as all our batches have."""
    if find_spec("art") is None:
        raise AbsentError("ART is not installed (adversarial-robustness-toolbox)")
    from art.estimators.classification import PyTorchClassifier
    from art.metrics import clever_t, clever_u

    begin, size = time.monotonic(), visit.size
    x, _, module = _peer_images(visit)
    classifier = PyTorchClassifier(deepcopy(module), torch.nn.CrossEntropyLoss(), x.shape[1:], 10, clip_values=(0.0, 1.0),
                                   device_type="gpu" if visit.device.startswith("cuda") else "cpu")
    rows = (kept(visit, "art-theirs") or {}).get("rows", [])
    given = {"nb_batches": size.batches, "batch_size": size.samples, "radius": RADIUS, "norm": 2, "pool_factor": size.batches}
    with torch.no_grad():
        ranked = module(torch.from_numpy(x)).argsort(1, descending=True)
    for k, image in enumerate(x):
        wanted = [("runner-up", int(ranked[k, 1])), ("least", int(ranked[k, -1])), ("untargeted", -1)]
        for kind, target in [pair for pair in wanted if (k, pair[0]) not in {(row["image"], row["kind"]) for row in rows}]:
            if time.monotonic() - begin > seconds:
                return {"state": CUT, "rows": rows}
            np.random.seed(k)
            started = time.perf_counter()
            with timed(classifier, "class_gradient") as spent:
                score = clever_u(classifier, image, **given, verbose=False) if target < 0 else clever_t(classifier, image, target, **given)
            scores = 9 if target < 0 else 1
            rows.append({"image": k, "kind": kind, "score": float(score), "time_s": time.perf_counter() - started, "gradient_s": spent[0],
                         "gradients": scores * size.batches * size.samples, "scores": scores})
            keep(visit, "art-theirs", {"state": CUT, "rows": rows, "machine": "", "seconds": 0.0})
    return {"state": DONE, "rows": rows}


@contextmanager
def timed(owner: Any, name: str) -> Iterator[list[float]]:
    """Seconds in one of an owner's functions while inside, in the only entry."""
    spent, real = [0.0], getattr(owner, name)

    def measured(*words: Any, **given: Any) -> Any:
        begin = time.perf_counter()
        found = real(*words, **given)
        if isinstance(found, tuple) and isinstance(found[-1], Iterator):     # what comes lazily is part of the work
            found = (*found[:-1], iter(list(found[-1])))
        spent[0] += time.perf_counter() - begin
        return found

    setattr(owner, name, measured)
    try:
        yield spent
    finally:
        setattr(owner, name, real)


def _ours(visit: Visit, seconds: float) -> Found:
    """The same images one by one, target by target, as ART has them; and all of them together, as users would."""
    from absint.analyses.clever import sampling

    x, labels, _ = _peer_images(visit)
    graph, size, rows = visit.net(PEER_NET).graph, visit.size, []
    given: dict[str, Any] = {"batches": size.batches, "samples": size.samples, "radius": RADIUS, "device": visit.device,
                             "memory": visit.memory, "timeout": None}
    absint.clever(graph, x[:1], **{**given, "batches": 10, "samples": 2})      # what is loaded once
    asks = [(kind, kind, range(k, k + 1)) for k in range(len(x)) for kind in ("runner-up", "least", "untargeted")]
    asks += [("3 targets, all images", ",".join(KINDS), range(len(x)))]
    for kind, targets, images in asks:
        begin = time.perf_counter()
        with timed(sampling, "margin_gradients") as spent:
            found = absint.clever(graph, x[images.start:images.stop], labels=labels[images.start:images.stop], targets=targets, **given)
        whole, scores = time.perf_counter() - begin, sum(len(one.targets) for one in found)
        rows.append({"image": images.start, "kind": kind, "score": mean(filter(None, (one.score for one in found))), "time_s": whole,
                     "gradient_s": spent[0], "sampling_s": sum(one.time_s for one in found),
                     "gradients": scores * size.batches * size.samples, "scores": scores})
    return {"state": DONE, "rows": rows}


def peer_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """A gradient: of a margin at a sample, the time in gradients alone; sampling: with drawing and norms. A score: with its fit, ours also
    with its interval.
    """
    rows, ratios = [], {}
    for who, name in (("ART", "art-theirs"), ("absint", "art-ours")):
        own = found.get(name, {}).get("rows", [])
        for kind in dict.fromkeys(row["kind"] for row in own):
            group = [row for row in own if row["kind"] == kind]
            gradients, scores = (sum(row[column] for row in group) for column in ("gradients", "scores"))
            each = 1e6 * sum(row["gradient_s"] for row in group) / gradients, sum(row["time_s"] for row in group) / scores
            ratios[who, kind] = each
            sampling = 1e6 * sum(row["sampling_s"] for row in group) / gradients if "sampling_s" in group[0] else None
            rows.append((who, kind, len(group), scores, each[0], sampling, each[1], mean(row["score"] for row in group)))
    yield from table(("program", "target", "calls", "scores", "us a gradient", "us a sample in all", "s a score", "mean score"), rows)
    for kind in ("runner-up", "least", "untargeted"):
        theirs, ours = ratios.get(("ART", kind)), ratios.get(("absint", kind))
        for place, what, aim in ((0, "a gradient", FEWER_A_GRADIENT), (1, "a whole score", FEWER_A_SCORE)):
            ratio = None if theirs is None or ours is None else theirs[place] / ours[place]
            yield relation(f"{kind}: ART takes at least {aim:g} times as long for {what} ({0 if ratio is None else ratio:.1f})",
                           None if ratio is None else ratio >= aim)


# ---- Hessian-vector products --------------------------------------------------------------------------------------------


def product_units(visit: Visit) -> list[Unit]:
    """On each smooth network."""
    def on(name: str) -> Callable[[Visit, float], Found]:
        return lambda visit, seconds: _products(visit, name, min(seconds, 6.0))

    return [Unit(f"hvp-{name}", 1, on(name)) for name in ("mnist-mlp", *(("cifar-cnn",) if visit.size.cifar else ()))]


def _products(visit: Visit, name: str, seconds: float, batch: int = 128) -> Found:
    """Seconds of a batch: a forward and a backward pass, and a product once the graph of the gradient is there."""
    from absint.analyses.clever.curvature import HessianProducts
    from absint.analyses.clever.gradients import margin_gradients
    from absint.numeric.backend import numeric_mode

    graph = visit.net(name).graph
    x, _ = visit.data[RECIPES[name].data].test
    x = x[torch.arange(batch) % len(x)].to(visit.device)
    original, target = torch.zeros(batch, dtype=torch.int64, device=visit.device), torch.ones(batch, dtype=torch.int64, device=visit.device)
    vectors = torch.randn(batch, x[0].numel(), generator=torch.Generator().manual_seed(0)).to(visit.device)
    with numeric_mode():
        products = HessianProducts(graph, x, original, target)
        gradient, product = _fastest(visit, seconds,
                                     (lambda: list(margin_gradients(graph, x, original, target[:, None])[1]), lambda: products(vectors)))
    return {"state": DONE, "net": name, "batch": batch, "gradient_s": gradient, "product_s": product}


def _fastest(visit: Visit, seconds: float, works: tuple[Callable[[], object], ...]) -> list[float]:
    """Least seconds of each, in turns, after one to warm up: three times at least, 15 at most."""
    best, end = [inf] * len(works), time.monotonic() + seconds
    for again in range(16):
        if again > 3 and time.monotonic() > end:
            break
        for k, work in enumerate(works):
            begin = time.perf_counter()
            work()
            if visit.device.startswith("cuda"):
                torch.cuda.synchronize()
            if again:
                best[k] = min(best[k], time.perf_counter() - begin)
    return best


def product_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """In gradients."""
    yield from table(("network", "batch", "ms a gradient", "ms a product", "ratio"), [
        (one["net"], one["batch"], 1e3 * one["gradient_s"], 1e3 * one["product_s"], one["product_s"] / one["gradient_s"])
        for one in found.values()])
    for one in found.values():
        ratio = one["product_s"] / one["gradient_s"]
        yield relation(f"{one['net']}: a product costs at most {PRODUCT} gradients ({ratio:.2f})", ratio <= PRODUCT)


# ---- a large module -----------------------------------------------------------------------------------------------------


def module_units(visit: Visit) -> list[Unit]:
    """In a process of its own, whose memory is the score's alone."""
    return [Unit("densenet", 25, _apart)]


def _apart(visit: Visit, seconds: float) -> Found:
    command = [sys.executable, __file__, json.dumps({"device": visit.device, "memory": visit.memory, "size": visit.size.module,
                                                     "side": visit.size.side, "blocks": visit.size.blocks,
                                                     "threads": torch.get_num_threads()})]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=None if seconds == inf else seconds)
    except subprocess.TimeoutExpired:
        return {"state": CUT}
    if done.returncode:
        raise RuntimeError(done.stderr[-400:])
    return {"state": DONE, **json.loads(done.stdout.splitlines()[-1])}


def alone(given: Mapping[str, Any]) -> Found:
    """One image, one target."""
    torch.set_num_threads(given["threads"])
    side, (batches, samples), device = given["side"], given["size"], given["device"]
    module = densenet(given["blocks"], side=max(1, side // 32))
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    begin = time.perf_counter()
    graph = absint.load(module, example_input=torch.zeros(1, 3, side, side))
    loaded, reading = time.perf_counter() - begin, peak_mib()
    before = peak_from_here()
    begin = time.perf_counter()
    found = absint.clever(graph, x, targets="runner-up", batches=batches, samples=samples, radius=1.0, device=device,
                          memory=given["memory"], timeout=None)
    spent = time.perf_counter() - begin
    card = torch.cuda.max_memory_allocated() >> 20 if device.startswith("cuda") else None
    return {"side": side, "samples": batches * samples, "load_s": loaded, "score_s": spent, "reading_mib": reading,
            "before_mib": before, "peak_mib": peak_mib(), "card_mib": card, "memory": given["memory"], "score": found[0].score}


_OF_A_MODULE = ("samples", "load_s", "score_s", "reading_mib", "before_mib", "peak_mib", "card_mib", "memory", "score")


def module_page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """Time and memory."""
    one = next(iter(found.values()))
    if one["state"] == DONE:
        head = ("image", "samples", "s to read", "s to score", "MiB to read", "MiB held then", "MiB to score", "MiB of the card",
                "--memory", "score")
        yield from table(head, [(f"3 x {one['side']} x {one['side']}", *(one[name] for name in _OF_A_MODULE))])


PRODUCTS, PEER = Stage("hvp", product_units, product_page), Stage("art", peer_units, peer_page)
MODULE = Stage("densenet", module_units, module_page)

if __name__ == "__main__":
    print(json.dumps(alone(json.loads(sys.argv[1]))))
