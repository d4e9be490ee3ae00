"""Kernels and syncs of a few stages, in a process with the fake device: `python -m device.counting` prints JSON, a stage a line.

{"why_not": reason or null, "counts": {stage: {"kernels": n, "syncs": n}}, "places": {stage: where it waits most}}. Everything is run
once before, so that what is copied to the device once is not counted. With a folder's name it writes `limits.json` there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_device

REASON = fake_device.why_not()     # before anything else of torch is used


def stages() -> dict[str, Callable[[], object]]:
    """What is counted: domains on a residual network of convolutions at batch 4, an attack that fails, boxes that are halved."""
    import torch
    from box_search import Splitting, branched, walked
    from regional import rand, randn

    from absint.attacks import ATTACKS, Search, falsify
    from absint.engine.context import Context
    from absint.engine.domain import DOMAINS
    from absint.engine.forward import margins
    from absint.model.graph import GraphBuilder
    from absint.model.ops.conv import Conv
    from absint.model.ops.gemm import Gemm
    from absint.model.ops.relu import Relu
    from absint.model.ops.shape import Reshape
    from absint.model.ops.sum import Sum
    from absint.numeric.rounding import Numerics
    from absint.problem.regions.region import BoxRegion
    from absint.problem.spec import Spec
    from absint.testing.networks import network
    from device.searches import barely, conjunction, of_three_inputs

    there = torch.device(fake_device.NAME, 0)
    build = GraphBuilder("x", (2, 6, 6))

    def convolution(seed: int, source: str, inputs: int, name: str) -> str:
        return build.add(Conv(randn(4, inputs, 3, 3, seed=seed) / 4, randn(4, seed=seed + 1) / 9, (1, 1), ((1, 1), (1, 1)), (1, 1)),
                         (source,), name)

    first = build.add(Relu(), (convolution(1, "x", 2, "first"),))
    again = convolution(5, build.add(Relu(), (convolution(3, first, 4, "second"),)), 4, "third")
    flat = build.add(Reshape((144,)), (build.add(Relu(), (build.add(Sum(), (again, first)),)),))
    hidden = build.add(Relu(), (build.add(Gemm(randn(20, 144, seed=7) / 9, randn(20, seed=8)), (flat,)),))
    graph = build.graph(build.add(Gemm(randn(10, 20, seed=9) / 4, randn(10, seed=10)), (hidden,)))
    x = rand(4, 2, 6, 6, seed=11)
    region, home = BoxRegion(x - 0.05, x + 0.05), Spec.robust(graph(x).argmax(1), 10)
    spec = home.to(there)

    def bounded(name: str, dtype: torch.dtype, **options: Any) -> Callable[[], object]:
        domain = DOMAINS.get(name)(**options)
        num = Numerics(dtype, device=there)
        return lambda: margins(domain, Context(graph, region, num if domain.traits.mixed else num.single()), spec)

    narrow = network("relu", 1.0)
    sets = of_three_inputs()
    short = barely(narrow, sets, conjunction(randn(1, 3, 3, seed=12)), 0.03)
    deeppoly = DOMAINS.get("deeppoly")()

    def halved() -> object:
        ctx, refuted = walked(narrow, sets, short.to(there), deeppoly, Numerics(device=there))
        return branched(ctx, short, refuted, Splitting(deeppoly, 32, 60), nodes=4, batch=4)

    return {
        "box": bounded("box", torch.float32), "zonotope": bounded("zonotope", torch.float32),
        "deeppoly": bounded("deeppoly", torch.float32),
        "alpha, a step": bounded("alpha", torch.float32, steps=1, inner=1),
        "an attack that fails": lambda: falsify(graph, region, home, ATTACKS.get("pgd")(), Search(there)),
        "boxes halved": halved,
    }


def counted() -> dict[str, Any]:
    """See above."""
    import torch

    from absint.numeric.backend import numeric_mode

    counts, places = {}, {}
    with fake_device.FakeDevice() as device, numeric_mode(), torch.no_grad():
        for name, run in stages().items():
            run()
            with device.stage(name) as count:
                run()
            counts[name] = {"kernels": count.kernels, "syncs": count.syncs}
            places[name] = count.places.most_common(3)
    return {"counts": counts, "places": places}


def main(words: list[str]) -> None:
    """All stages."""
    told: dict[str, Any] = {"why_not": REASON, **({} if REASON else counted())}
    if words and REASON is None:
        lines = [f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in told["counts"].items()]
        (Path(words[0]) / "limits.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
