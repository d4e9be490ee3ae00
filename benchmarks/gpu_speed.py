"""How fast `gpu.py` finds the device: certificates a minute, and branch and bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from gpu import Visit
from gpu_nets import Net, nets

import absint
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain
from absint.engine.forward import margins
from absint.numeric import backend
from absint.numeric.backend import GIB, Budget, numeric_mode
from absint.numeric.decimal import parse_eps
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import LinfBall
from absint.problem.spec import Spec

_ROW = 4.0                # seconds after which a row's batches grow no further
_BATCHES = (1, 8, 64, 512, 4096)
_COUNTED = 8              # the batch of which a card's launches are counted: the profiler itself takes seconds


def throughput(visit: Visit) -> None:
    """Certificates a minute: whole runs with an attack first, then bounds of the property's rows alone, batch by batch."""
    found, chosen = visit.found, list(nets(visit.nets))
    found.update(head=("net", "domain", "batch", "certificates a minute", "spread", "proved", "GiB", "launches", "syncs"), rows=[])
    try:
        for net in chosen:
            visit.check()
            found["rows"].append(attacked(visit, net))
        ended: set[tuple[str, str]] = set()
        for size in _BATCHES if visit.on_card else _BATCHES[:2]:
            for net, name in [(net, name) for name in ("deeppoly", "box", "zonotope", "alpha") for net in chosen]:
                visit.check()
                if (net.name, name) not in ended:
                    row, seconds = measured(visit, net, name, size)
                    found["rows"].append((net.name, name, size, *row))
                    if seconds > _ROW:
                        ended.add((net.name, name))
    finally:
        found["said"] = f"{len(found['rows'])} rows"


def attacked(visit: Visit, net: Net) -> tuple[object, ...]:
    """A whole run, from the inputs to the verdicts."""
    size = 256 if visit.on_card else 4
    inputs, labels = net.batch(size)
    begin = time.perf_counter()
    rows = absint.verify(net.graph, inputs, labels, net.eps, domain="deeppoly", device=visit.device, timeout=20,
                         total_timeout=max(1.0, visit.left / 4))
    seconds = time.perf_counter() - begin
    proved = sum(row.verdict.value == "verified" for row in rows)
    return net.name, "deeppoly, with attack", size, round(60 * size / seconds), "", f"{proved}/{size}", "", "", ""


def measured(visit: Visit, net: Net, name: str, size: int) -> tuple[tuple[object, ...], float]:
    """`certificates`, or that memory ran out."""
    try:
        return certificates(visit, net, DOMAINS.get(name)(), size)
    except Exception as error:
        if not backend.is_out_of_memory(error):
            raise
        return ("out of memory", "", "", "", "", ""), float("inf")


def certificates(visit: Visit, net: Net, domain: Domain[Any], size: int) -> tuple[tuple[object, ...], float]:
    """Two timed passes after one to warm up, or that one alone where it is slow already."""
    inputs, labels = net.batch(size)
    device = backend.device(visit.device)
    num = Numerics(torch.float32, device=device)
    num = num if domain.traits.mixed else num.single()
    budget = Budget(backend.default_memory(device), rate=backend.rate(device))

    def once() -> tuple[int, float]:
        begin = time.perf_counter()
        with numeric_mode(), torch.no_grad():
            spec = Spec.robust(labels, net.graph.output.size)
            bounds, _ = margins(domain, Context(net.graph, LinfBall(inputs, parse_eps(net.eps)), num, budget), spec.to(device))
            proved = int((bounds.lower > 0).all(1).sum())       # waits for the device
        return proved, time.perf_counter() - begin

    if visit.on_card:
        torch.cuda.reset_peak_memory_stats()
    launches, syncs, (proved, first) = counted(visit, once) if size == _COUNTED or visit.counted else ("", "", once())
    times = [once()[1] for _ in range(2)] if first < _ROW else [first]
    memory = f"{torch.cuda.max_memory_allocated() / GIB:.2f}" if visit.on_card else ""
    best = min(times)
    return (round(60 * size / best), f"{max(times) / best:.2f}", f"{proved}/{size}", memory, launches, syncs), best


def counted(visit: Visit, work: Callable[[], Any]) -> tuple[object, object, Any]:
    """Launches and synchronisations of one pass, where somebody counts them, and its result."""
    if visit.counted is not None:
        with visit.counted.stage(f"pass {time.monotonic()}") as count:
            done = work()
        return count.kernels, count.syncs, done
    if not visit.on_card:
        return "", "", work()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        done = work()
    names = [event.key for event in profile.key_averages() for _ in range(event.count)]
    launches = sum(name in ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx") for name in names)
    return launches, sum("Synchronize" in name for name in names), done


def branching(visit: Visit) -> None:
    """Branch and bound on images that one pass leaves open, a few seconds each."""
    found = visit.found
    found.update(head=("net", "domain", "eps", "images", "verified", "falsified", "unknown", "seconds"), rows=[])
    count, seconds = (10, 4.0) if visit.on_card else (2, 1.0)
    for net in nets(visit.nets):
        visit.check()
        inputs, labels = net.batch(count)
        eps = f"{float(parse_eps(net.eps)) * 2.5:.3g}"
        for domain in ("exact", "bab"):
            begin = time.perf_counter()
            rows = absint.verify(net.graph, inputs, labels, eps, domain=domain, device=visit.device, timeout=seconds,
                                 total_timeout=max(1.0, min(visit.left, count * seconds)))
            words = [row.verdict.value for row in rows]
            found["rows"].append((net.name, domain, eps, count, *(words.count(word) for word in ("verified", "falsified", "unknown")),
                                  f"{time.perf_counter() - begin:.1f}"))
    found["said"] = f"{len(found['rows'])} rows"
