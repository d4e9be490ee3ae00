"""Tables that more than one benchmark prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

import measure
import torch
from measure import Case

from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.zonotope import Zonotope
from absint.engine.domain import Domain
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics

F32, F64 = Numerics(torch.float32), Numerics(torch.float64)
EXACT = Numerics(torch.float64, rounding=False)
SPEED_HEAD = ("net", "method", "format", "ms per image", "x forward", "x bare products", "cost of soundness")


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A markdown table."""
    head = list(head)
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(v) for v in row) + " |" for row in rows]
    return "\n".join([*lines, ""])


def speed(problem: Case, eps: str, sizes: tuple[int, ...]) -> list[list[object]]:
    """CPU milliseconds per image and ratios, in one run. sizes: batch sizes of the zonotope."""
    batch = len(problem.inputs)
    rows: list[list[object]] = []

    def add(method: str, domain: Domain, numerics: Numerics, size: int, base: float, bare: float | None = None) -> None:
        rows.append([problem.name, method, _format(numerics), *_ratios(problem, domain, eps, numerics, size, base, bare)])
        print(*rows[-1], file=sys.stderr, flush=True)

    for numerics in (F32, F64):
        x = problem.inputs.to(numerics.dtype)

        def forward(x: torch.Tensor = x) -> object:
            with numeric_mode(), torch.no_grad():
                return problem.graph(x)

        base = measure.cpu_seconds(forward)
        rows.append([problem.name, "forward pass", _format(numerics), f"{base / batch * 1e3:.4f}", "1.0", "", ""])
        add("Box", Box(), numerics, batch, base)
        for size in sizes:
            with measure.recorded_products() as products:
                problem.run(Zonotope(), eps, numerics, size)
            add(f"Zonotope, batches of {size}", Zonotope(), numerics, size, base, measure.bare_products(products))
        add("DeepPoly plain", DeepPoly(every_layer=False), numerics, batch, base)
    return rows


def _format(numerics: Numerics) -> str:
    return str(numerics.dtype).removeprefix("torch.")


def _ratios(problem: Case, domain: Domain, eps: str, numerics: Numerics, size: int, base: float, bare: float | None) -> list[str]:
    repeats = 5 if base * 2000 < 20 else 2
    region = problem.regions(eps, size)
    sound = measure.cpu_seconds(lambda: problem.run_on(region, domain, numerics), repeats)
    loose = measure.cpu_seconds(lambda: problem.run_on(region, domain, replace(numerics, rounding=False)), repeats)
    per_image = sound / len(problem.inputs)
    return [f"{per_image * 1e3:.3f}", f"{sound / base:.1f}", f"{sound / bare:.2f}" if bare else "", f"{100 * (sound / loose - 1):.0f} %"]
