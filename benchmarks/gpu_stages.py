"""The stages of `gpu.py`. Each fills `visit.found` as it goes and asks for its deadline between two measurements."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from gpu import Stage, Visit
from gpu_nets import Net, nets
from gpu_speed import branching, throughput
from gpu_training import training

import absint
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import analyse, kept_bounds, row_bounds
from absint.errors import AbsintError
from absint.numeric import backend, kernels
from absint.numeric.backend import GIB, numeric_mode
from absint.numeric.flags import coarse_environment
from absint.numeric.rounding import Numerics
from absint.search.search import run_out
from absint.search.strategy import Stage as ProofStage
from absint.search.strategy import Strategy
from absint.testing.networks import NETS, SCALES, case, network
from absint.testing.truth import format_label, formats, outside

_FOUR = ("box", "zonotope", "deeppoly", "alpha")


def finish(visit: Visit) -> None:
    """Wait for the device."""
    if visit.on_card:
        torch.cuda.synchronize()


# ---- facts -------------------------------------------------------------------------------------------------------------


def facts(visit: Visit) -> None:
    """What the figures need to be repeated, and how fast the card is without us."""
    found: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version(), "cuda": torch.version.cuda,
                             "environment": coarse_environment("cuda"), "threads": torch.get_num_threads()}
    visit.found.update(facts=found, head=("fact", "value"), rows=[], said="")
    device = backend.device(visit.device)
    found["device"], found["memory"] = str(device), backend.default_memory(device) / GIB
    if visit.on_card:
        found["card"], found["capability"] = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        found["nvidia-smi"] = said("nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used", "--format=csv,noheader")
    size = 8192 if visit.on_card else 256
    for dtype in (torch.float32, torch.float64):
        with numeric_mode(), torch.no_grad():
            a = torch.ones(size, size, dtype=dtype, device=device)
            seconds = fastest(visit, lambda a=a: a @ a)
            found[f"{dtype} TFLOP/s".removeprefix("torch.")] = float(f"{2 * size**3 / seconds / 1e12:.3g}")
            copied = fastest(visit, lambda a=a: a.clone())
            found[f"{dtype} copy GB/s".removeprefix("torch.")] = float(f"{2 * a.numel() * a.element_size() / copied / 1e9:.3g}")
    if visit.on_card:
        found["cublas"] = library("cublas")
    visit.found["rows"] = list(found.items())
    visit.found["said"] = found.get("card", found["device"])


def said(*command: str) -> str:
    """What a program prints; what is wrong with it where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"


def library(name: str) -> str:
    """The file of a loaded library whose name holds the word."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        files = sorted({line.split()[-1].rpartition("/")[2] for line in maps if name in line and "/" in line})
    return ", ".join(files) or "not loaded"


def fastest(visit: Visit, work: Callable[[], object], repeats: int = 3) -> float:
    """Least seconds of some repetitions, after one to warm up."""
    work()
    finish(visit)
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        finish(visit)
        best = min(best, time.perf_counter() - begin)
    return best


# ---- kernels -----------------------------------------------------------------------------------------------------------


_EMULATED = """
import json, sys
from absint.errors import AbsintError
from absint.numeric import backend, kernels
try:
    backend.device(sys.argv[1])
    refused = "accepted"
except AbsintError as error:
    refused = error.code
wrong = [r.name for r in kernels.check_cases([c for c in kernels.CASES if c.kernel == "matmul"], sys.argv[1]) if not r.ok]
print(json.dumps([refused, wrong]))
"""


def check_the_kernels(visit: Visit) -> None:
    """Every case on its own, then entries and functions; then two ways of computing that must be seen to fail."""
    found = visit.found
    found.update(head=("kernel", "tests", "worst of the bound", "wrong"), rows=[], violations=[])
    cases = [one for one in kernels.CASES if visit.on_card or not one.long]
    parts: list[tuple[str, Callable[[], list[kernels.KernelReport]]]] = [
        (one.name, lambda one=one: kernels.check_cases([one], visit.device)) for one in cases]
    parts += [("entries", lambda: kernels.check_entries(visit.device)), ("functions", lambda: kernels.check_functions(visit.device))]
    try:
        for name, part in parts:
            visit.check()
            try:
                reports = part()
            except (RuntimeError, AbsintError) as error:    # a size that the device does not take is a finding, too
                found["violations"].append(f"{name}: {type(error).__name__}: {error}")
                continue
            wrong = [report for report in reports if not report.ok]
            found["rows"].append((name, len(reports), f"{max(report.worst_ratio for report in reports):.3g}", len(wrong)))
            found["violations"] += [f"{report.name}, {report.dtype}: {report.worst_ratio:.3g} of the bound" for report in wrong]
        if visit.on_card:
            must_fail(visit)
    finally:
        found["said"] = f"{sum(row[1] for row in found['rows'])} tests, {len(found['violations'])} violations"


def must_fail(visit: Visit) -> None:
    """TF32 with cuDNN's own choice of algorithms, in this process; emulated doubles, in one of its own."""
    wrong = [report.name for report in kernels.check_cases([one for one in kernels.CASES if not one.long], visit.device, mode=loose)
             if not report.ok]
    visit.found["TF32 and cuDNN"] = wrong
    if not wrong:
        visit.found["violations"].append("TF32 products and cuDNN's algorithms were not noticed")
    variables = {"CUBLAS_EMULATE_DOUBLE_PRECISION": "1", "CUBLAS_EMULATION_STRATEGY": "eager"}
    done = subprocess.run([sys.executable, "-c", _EMULATED, visit.device], env={**os.environ, **variables}, capture_output=True, text=True,
                          check=False, timeout=max(5.0, visit.left))
    visit.found["emulated doubles"] = done.stdout.strip() or done.stderr[-500:]
    if "E-ENVIRONMENT" not in done.stdout:
        visit.found["violations"].append(f"emulated doubles were not refused: {visit.found['emulated doubles']}")


@contextmanager
def loose() -> Iterator[None]:
    """As torch would be for someone who wants speed."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.enabled, cudnn.benchmark, matmul.fp32_precision, cudnn.conv.fp32_precision
    cudnn.enabled, cudnn.benchmark, matmul.fp32_precision, cudnn.conv.fp32_precision = True, True, "tf32", "tf32"
    try:
        yield
    finally:
        cudnn.enabled, cudnn.benchmark, matmul.fp32_precision, cudnn.conv.fp32_precision = before


# ---- contract ----------------------------------------------------------------------------------------------------------


def subjects() -> dict[str, ProofStage]:
    """What is held to the contract: domains, and the stage of a branching strategy with little to do."""
    found = {name: ProofStage(DOMAINS.get(name)()) for name in ("box", "zonotope", "deeppoly")}
    found["alpha"] = ProofStage(DOMAINS.get("alpha")(steps=3, inner=1))
    found["exact"] = strategy("exact", nodes=30).stages()[-1]
    found["bab"] = strategy("bab", nodes=60).stages()[-1]
    return found


def strategy(name: str, **options: object) -> Strategy:
    """A strategy with options."""
    from absint.search.strategy import STRATEGIES

    return STRATEGIES.get(name)(**options)


def contract(visit: Visit) -> None:
    """Bounds on the device enclose the exact values at vertices and samples, at every scale, in every format."""
    found, device = visit.found, backend.device(visit.device)
    found.update(head=("subject", "analyses", "violations"), rows=[], violations=[])
    counts = dict.fromkeys(subjects(), 0)
    scales = sorted(SCALES, key=lambda scale: scale != 1.0)
    pairs = [(name, scale) for scale in scales for name in NETS]
    total = len(pairs) * sum(len(formats(one.domain)) for one in subjects().values())
    try:
        for name, scale in pairs:
            for label, subject in subjects().items():
                for num in formats(subject.domain):
                    visit.check()
                    with numeric_mode(), torch.no_grad():
                        wrong = list(violations(subject, name, scale, replace(num, device=device)))
                    counts[label] += 1
                    found["violations"] += [f"{label} on {name} at {scale:g}, {format_label(num)}: {text}" for text in wrong]
    finally:
        found["rows"] = [(label, count, sum(text.startswith(f"{label} ") for text in found["violations"]))
                         for label, count in counts.items()]
        found["said"] = f"{sum(counts.values())} of {total} analyses, {len(found['violations'])} violations"


def violations(subject: ProofStage, name: str, scale: float, num: Numerics) -> Iterator[str]:
    """Rows of the property, what is said of whole disjuncts, and bounds of all nodes, against exact values."""
    c = case(name, scale)
    spec, domain = c.spec.to(num.device), subject.domain
    ctx = Context(network(name, scale), c.region, num, target=spec)
    result = analyse(domain, ctx, frozenset(node.name for node in ctx.graph.nodes))
    rows = row_bounds(domain, result.element, result.ctx, spec)
    refuted = run_out(subject.beyond, result.ctx, spec, spec.refutation(rows.lower))
    checks = [("margins", rows.lower, rows.upper, c.rows, c.rows)]
    if refuted is not None:
        checks.append(("refuted disjuncts", refuted.lower, torch.full_like(refuted.lower, torch.inf), c.rows, c.rows))
    kept = kept_bounds(domain, replace(result, ctx=replace(result.ctx, target=None)))
    checks += [(f"node {node}", bound.lower, bound.upper, c.low[node], c.high[node]) for node, bound in kept.items()]
    for what, lower, upper, low, high in checks:
        wrong = outside(lower.cpu(), upper.cpu(), low, high)
        if wrong is not None:
            yield f"{what}: {wrong}"


# ---- agreement ---------------------------------------------------------------------------------------------------------


def agreement(visit: Visit) -> None:
    """Verdicts and margins on the device and on the CPU, for the bundled networks."""
    found = visit.found
    found.update(head=("net", "domain", "images", "other verdicts", "greatest difference of margins", "greatest margin"), rows=[],
                 violations=[])
    count = 20 if visit.on_card else 3
    try:
        for net in bundled():
            inputs, labels = net.batch(count)
            for domain in (*_FOUR, "auto"):
                visit.check()
                there, here = (absint.verify(net.graph, inputs, labels, net.eps, domain=domain, device=device, attack="none", timeout=20)
                               for device in (visit.device, "cpu"))
                pairs = list(zip(there, here, strict=True))
                other = [k for k, (one, two) in enumerate(pairs) if one.verdict is not two.verdict]
                known = [(one.margin, two.margin) for one, two in pairs if one.margin is not None and two.margin is not None]
                gap, most = max((abs(one - two) for one, two in known), default=0.0), max((abs(two) for _, two in known), default=0.0)
                found["rows"].append((net.name, domain, count, len(other), f"{gap:.2g}", f"{most:.3g}"))
                found["violations"] += [f"{net.name}, {domain}, image {k}: {there[k].verdict.value} there, {here[k].verdict.value} here"
                                        for k in other]
    finally:
        found["said"] = f"{len(found['rows'])} comparisons, {len(found['violations'])} other verdicts"


def bundled() -> list[Net]:
    """The networks that come with images."""
    return [net for net in nets(None) if net.name.startswith("mnist")]


# ---- memory --------------------------------------------------------------------------------------------------------------


def memory(visit: Visit) -> None:
    """Memory that runs out is recognised, and a batch that does not fit is halved until it does."""
    found = visit.found
    found["violations"] = []
    device = backend.device(visit.device)
    try:
        torch.empty(1 << 48, dtype=torch.float32, device=device)
        found["violations"].append("a petabyte was allocated")
    except Exception as error:      # which one is the question
        found["kind"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if not backend.is_out_of_memory(error):
            found["violations"].append(f"not recognised as memory that ran out: {found['kind']}")
    net = bundled()[-1]
    size = 512 if visit.on_card else 4
    inputs, labels = net.batch(size)
    if visit.on_card:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, 2 * GIB / torch.cuda.mem_get_info(device)[1]), device)
    try:
        rows = absint.verify(net.graph, inputs, labels, net.eps, domain="zonotope", device=visit.device, batch=size, memory="900GiB",
                             timeout=30, attack="none")
    finally:
        if visit.on_card:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
    words = [row.verdict.value for row in rows]
    found["said"] = f"{found.get('kind', '')}; batch of {size} with 2 GiB: {words.count('verified')} verified of {len(words)}"
    if len(words) != size or any(row.reason is not None and row.reason.value == "memory" for row in rows):
        found["violations"].append("a batch that does not fit was not halved to its end")


STAGES = (
    Stage("facts", 15, facts),
    Stage("kernels", 50, check_the_kernels),
    Stage("contract", 70, contract),
    Stage("agreement", 45, agreement),
    Stage("throughput", 170, throughput),
    Stage("branching", 70, branching),
    Stage("training", 25, training),
    Stage("memory", 30, memory),
)
