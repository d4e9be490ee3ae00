"""Forward linear bounds beside DeepPoly and Zonotope on a generator before a classifier: margins and CPU, in one run.

    python benchmarks/forward_linear.py [--generator G.onnx --classifier C.onnx] [--eps 0.001,0.003,0.01] [--latents 8] [--slow 2]
                                        [--domains NAME ...] [--out FILE] [--page FILE]

G maps latents to images in [-1, 1], which are taken to [0, 1] in between; without files a pair of random weights is made:
10-256-512-1024-784 with LeakyReLU .2 and tanh, then conv 32-32-64-64 (3x3), 200, 200, 10. Latents are normal, each in an l_inf ball of
radius eps; the property is that its class stays. One process, one thread, CPU seconds of a latent in a batch; --slow: latents of the
domains that walk back from every neuron or have symbols, the first ones. Ratios are of DeepPoly's CPU in this run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

import absint
from absint.engine.context import Context
from absint.engine.forward import margins
from absint.model.graph import Graph, GraphBuilder, chain
from absint.model.ops.affine import Affine
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.names import walker_of

BASE = "deeppoly"
DOMAINS = ("box", "linear:anchor=0", "linear", "deeppoly:intermediate=linear", "deeppoly:intermediate=coarse", "deeppoly:first=linear",
           "zonotope", BASE)
SLOW = ("zonotope", BASE)


@dataclass(frozen=True)
class Row:
    """One domain at one radius. cpu: seconds a latent.  margin: mean of the least margins.  ratio: DeepPoly's CPU over this one."""

    eps: float
    domain: str
    dtype: str
    latents: int
    verified: int
    margin: float
    cpu: float
    ratio: float | None = None


def random_pair(seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """A generator and a classifier whose layers keep the size of what passes."""
    torch.manual_seed(seed)
    sizes = (10, 256, 512, 1024, 784)
    generator: list[nn.Module] = []
    for n, m in pairwise(sizes):
        generator += [nn.Linear(n, m), nn.LeakyReLU(0.2) if m != sizes[-1] else nn.Tanh()]
    classifier: list[nn.Module] = [nn.Unflatten(1, (1, 28, 28))]
    for n, m in ((1, 32), (32, 32), (32, 64), (64, 64)):
        classifier += [nn.Conv2d(n, m, 3), nn.ReLU()]
    classifier += [nn.Flatten(), nn.Linear(64 * 20 * 20, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)]
    for layer in (*generator, *classifier):
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.normal_(layer.bias, std=0.05)
    return nn.Sequential(*generator).eval(), nn.Sequential(*classifier).eval()


def composed(generator: str | None, classifier: str | None) -> Graph:
    """The pair as one graph, images rescaled in between."""
    if generator is not None and classifier is not None:
        first, second = absint.load(generator), absint.load(classifier)
    else:
        modules = random_pair()
        first = absint.load(modules[0], example_input=torch.zeros(1, 10))
        second = absint.load(modules[1], example_input=torch.zeros(1, 784))
    build, half = GraphBuilder("image", first.output.shape), torch.tensor(0.5, dtype=torch.float64)
    return chain(chain(first, build.graph(build.add(Affine(half, half), ("image",)))), second)


def property_of(graph: Graph, latents: Tensor) -> Spec:
    """The class of each latent's image against every other one."""
    with torch.no_grad():
        labels = graph(latents).argmax(1)
    return Spec.robust(labels, graph.output.size)


def measured(graph: Graph, latents: Tensor, eps: float, name: str, numerics: Numerics) -> Row:
    """One domain on all latents at once."""
    domain, spec = walker_of(name), property_of(graph, latents)
    ctx = Context(graph, BoxRegion(latents - eps, latents + eps), numerics, target=spec)
    begin = time.process_time()
    found, _ = margins(domain, ctx, spec)
    spent = time.process_time() - begin
    least = found.lower.amin(1)
    dtype = str(numerics.dtype).removeprefix("torch.")
    return Row(eps, name, dtype, len(latents), int((least > 0).sum()), float(least.mean()), spent / len(latents))


def bare(graph: Graph, latents: Tensor) -> float:
    """CPU seconds of a plain evaluation of a latent in float32, in the batch given."""
    x = latents.float()
    graph(x)
    begin = time.process_time()
    for _ in range(5):
        graph(x)
    return (time.process_time() - begin) / 5 / len(x)


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Each beside DeepPoly in the same format at the same radius."""
    base = {(row.eps, row.dtype): row.cpu for row in rows if row.domain == BASE}
    return [replace(row, ratio=base[row.eps, row.dtype] / row.cpu) if (row.eps, row.dtype) in base else row for row in rows]


def table(rows: Sequence[Row]) -> str:
    """As Markdown."""
    heads = ("eps", "domain", "matrices", "verified", "mean margin", "CPU s a latent", "DeepPoly's CPU over this")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        ratio = "" if row.ratio is None or row.domain == BASE else f"{row.ratio:.1f}"
        counted, numbers = f"{row.verified} of {row.latents}", (f"{row.margin:.4g}", f"{row.cpu:.3f}", ratio)
        lines.append("| " + " | ".join((f"{row.eps:g}", row.domain, row.dtype, counted, *numbers)) + " |")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--generator")
    parser.add_argument("--classifier")
    parser.add_argument("--eps", default="0.001,0.003,0.01")
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--slow", type=int, default=2)
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS))
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"), default=["float32"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    return parser.parse_args()


def main() -> None:
    """One run."""
    asked = options()
    torch.set_num_threads(1)
    rows: list[Row] = []
    with numeric_mode(), torch.no_grad():
        graph = composed(asked.generator, asked.classifier)
        latents = torch.randn(asked.latents, graph.input.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        plain = bare(graph, latents)
        print(f"a plain evaluation: {1e3 * plain:.2f} ms a latent")
        measured(graph, latents[:1], 1e-6, "linear", Numerics(torch.float32))    # constants are converted once
        for dtype in asked.dtypes:
            for eps in map(float, asked.eps.split(",")):
                for name in asked.domains:
                    some = latents[: asked.slow] if name in SLOW else latents
                    rows.append(measured(graph, some, eps, name, Numerics(getattr(torch, dtype))))
                    print(rows[-1], flush=True)
    rows = with_ratios(rows)
    text = f"A plain evaluation in float32 takes {1e3 * plain:.2f} ms a latent.\n\n{table(rows)}\n"
    print(text)
    if asked.page is not None:
        asked.page.write_text(text)
    if asked.out is not None:
        asked.out.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
