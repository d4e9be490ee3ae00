"""Small classifiers of text-like data, and VNN-LIB queries that plain bounds leave open: ten networks of one hidden layer, three of two.

    python benchmarks/small_nets.py FOLDER [--many 2000]

Writes networks, queries, `instances.csv` (what `absint verify --instances` reads) and `queries.csv` (share of the way from the box that
DeepPoly proves to the one that an attack breaks: below 1 the answer is mostly unsat, from 1 on it is sat). Everything follows
from fixed seeds. --many: rows, disjuncts and boxes of the queries of one small network with very many of them (folder `many`).

The data: 30 numbers a sentence, as sentence encoders followed by a projection give: two classes, each a mixture of topics in a few
directions with heavy tails. A query's box is the hull of paraphrases of one sentence (its width differs by direction); the unsafe set is
the other class.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import absint
from absint.domains.deeppoly import DeepPoly
from absint.engine.context import Context
from absint.engine.forward import margins
from absint.model.graph import Graph
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

INPUTS, TOPICS, SENTENCES = 30, 12, 2000
SHAPES = [(128,)] * 10 + [(64, 64)] * 3
SHARES = (0.3, 0.6, 0.85, 1.0)


@dataclass(frozen=True)
class Trained:
    """net: Linear and ReLU in turn.  points: the data, (n, 30).  labels: (n,)."""

    name: str
    net: nn.Sequential
    points: Tensor
    labels: Tensor


def main() -> int:
    """Make everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--many", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for seed, hidden in enumerate(SHAPES) for row in instances(options.folder, trained(seed, hidden), seed)]
    with (options.folder / "queries.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("network", "query", "share", "sentence"), *rows])
    with (options.folder / "instances.csv").open("w", newline="") as file:
        csv.writer(file).writerows((net, query, 60) for net, query, *_ in rows)
    if options.many:
        very_many(options.folder / "many", options.many)
    return 0


def sentences(seed: int) -> tuple[Tensor, Tensor]:
    """Points and labels."""
    random = torch.Generator().manual_seed(seed)
    topic = torch.randn(TOPICS, INPUTS, generator=random) * 0.8
    spread = torch.rand(TOPICS, INPUTS, generator=random) ** 2 + 0.05
    which = torch.randint(TOPICS, (SENTENCES,), generator=random)
    noise = torch.randn(SENTENCES, INPUTS, generator=random) / (torch.rand(SENTENCES, 1, generator=random) + 0.3).sqrt()
    return topic[which] + noise * spread[which], which % 2


def trained(seed: int, hidden: tuple[int, ...], steps: int = 400) -> Trained:
    """One network: cross entropy, Adam; every third of them on points moved to where the loss is greater."""
    points, labels = sentences(seed)
    torch.manual_seed(seed)
    widths = (INPUTS, *hidden, 2)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    adam, loss = torch.optim.Adam(net.parameters(), 3e-3), nn.CrossEntropyLoss()
    for _ in range(steps):
        pick = torch.randint(SENTENCES, (256,))
        x = points[pick]
        if seed % 3 == 2:
            x.requires_grad_()
            (slope,) = torch.autograd.grad(loss(net(x), labels[pick]), x)
            x = (x + 0.1 * slope.sign()).detach()
        adam.zero_grad()
        loss(net(x), labels[pick]).backward()
        adam.step()
    return Trained(f"text{seed}_{'x'.join(map(str, hidden))}", net, points, labels)


def instances(folder: Path, made: Trained, seed: int, count: int = 1) -> Iterator[tuple[str, str, float, int]]:
    """The network's file and its queries'."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{made.name}.onnx"
    save(made.net, file)
    graph = absint.load(file)
    random = torch.Generator().manual_seed(1000 + seed)
    with torch.no_grad():
        right = (made.net(made.points).argmax(1) == made.labels).nonzero().flatten()
    done = 0
    for k in right[torch.randperm(len(right), generator=random)].tolist():
        width = torch.rand(INPUTS, generator=random) ** 2 + 0.05
        x, label = made.points[k].double(), int(made.labels[k])
        proved, broken = reach_of_proof(graph, x, width.double(), label), reach_of_attack(made.net, x, width.double(), label)
        if not 0 < proved < 0.9 * broken:
            continue
        for share in SHARES:
            scale = proved + share * (broken - proved) * (1.002 if share == 1 else 1)
            name = f"{made.name}_{k}_{round(100 * share):03d}.vnnlib"
            (folder / name).write_text(query(x - scale * width, x + scale * width, label))
            yield file.name, name, share, k
        done += 1
        if done == count:
            return


def reach_of_proof(graph: Graph, x: Tensor, width: Tensor, label: int) -> float:
    """The greatest scale of the box that DeepPoly proves."""
    sign = 1.0 if label == 0 else -1.0
    weight, nothing = torch.tensor([[[sign, -sign]]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    spec = Spec(weight, nothing, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool))

    def holds(scale: float) -> bool:
        region = BoxRegion((x - scale * width)[None], (x + scale * width)[None])
        return bool((margins(DeepPoly(), Context(graph, region, Numerics()), spec)[0].lower > 0).all())

    return bisected(holds, 4.0)


def reach_of_attack(net: nn.Sequential, x: Tensor, width: Tensor, label: int, steps: int = 60, starts: int = 64) -> float:
    """The least scale at which gradient steps from many starts find the other class."""
    net = net.double()
    sign = 1.0 if label == 0 else -1.0

    def safe(scale: float) -> bool:
        random = torch.Generator().manual_seed(7)
        at = torch.rand(starts, INPUTS, generator=random, dtype=torch.float64) * 2 - 1
        for step in range(steps):
            at.requires_grad_()
            out = net(x + scale * width * at)
            lead = sign * (out[:, 0] - out[:, 1])
            if bool((lead < 0).any()):
                return False
            (slope,) = torch.autograd.grad(lead.sum(), at)
            at = (at - (0.5 if step < steps // 2 else 0.05) * slope.sign()).clamp(-1, 1).detach()
        return True

    found = bisected(safe, 8.0)
    net.float()
    return found


def bisected(holds: object, most: float, steps: int = 22) -> float:
    """The greatest scale up to `most` at which the test holds, for a test that fails from some scale on."""
    low, high = 0.0, most
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)  # type: ignore[operator]
    return low


def query(low: Tensor, high: Tensor, label: int) -> str:
    """The unsafe set: the other class leads."""
    lines = [*(f"(declare-const X_{k} Real)" for k in range(len(low))), "(declare-const Y_0 Real)", "(declare-const Y_1 Real)"]
    for k, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        lines += [f"(assert (>= X_{k} {a:.9f}))", f"(assert (<= X_{k} {b:.9f}))"]
    return "\n".join([*lines, f"(assert (<= Y_{label} Y_{1 - label}))", ""])


def save(net: nn.Sequential, file: Path) -> None:
    """As ONNX: Gemm and Relu."""
    nodes, weights, name = [], [], "x"
    layers = list(net)
    for k, layer in enumerate(layers):
        out = "y" if k == len(layers) - 1 else f"h{k}"
        if isinstance(layer, nn.Linear):
            nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"b{k}"], [out], transB=1))
            weights += [numpy_helper.from_array(t.detach().float().numpy(), f"{n}{k}") for n, t in (("w", layer.weight), ("b", layer.bias))]
        else:
            nodes.append(helper.make_node("Relu", [name], [out]))
        name = out
    sizes = (("x", layers[0].in_features), ("y", layers[-1].out_features))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size]) for n, size in sizes]
    model = helper.make_model(helper.make_graph(nodes, "net", ends[:1], ends[1:], weights), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, file)


# ---- very many rows -------------------------------------------------------------------------------------------------


def very_many(folder: Path, count: int) -> None:
    """One estimator of cardinalities (8 inputs, 64 hidden neurons, one output) and queries of many rows, disjuncts or boxes about it."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(99)
    torch.manual_seed(99)
    x = torch.rand(4000, 8, generator=random)
    y = (x[:, :4].prod(1, keepdim=True) * 4 + x[:, 4:].sum(1, keepdim=True)).log()
    net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(300):
        adam.zero_grad()
        ((net(x) - y) ** 2).mean().backward()
        adam.step()
    save(net, folder / "cardinality.onnx")
    head = "\n".join([*(f"(declare-const X_{k} Real)" for k in range(8)), "(declare-const Y_0 Real)", ""])
    low = torch.rand(count, 8, generator=random) * 0.8
    width = 0.02 + 0.08 * torch.rand(count, 8, generator=random)
    with torch.no_grad():
        middle = net(low + width / 2)[:, 0]
        every = net(torch.rand(20000, 8, generator=random) * 0.6 + 0.2)[:, 0]
    room = 0.25 + 0.1 * torch.rand(count, generator=random)
    boxes = ["(or"]
    for a, w, m, r in zip(low.tolist(), width.tolist(), middle.tolist(), room.tolist(), strict=True):
        box = " ".join(f"(>= X_{k} {v:.7f}) (<= X_{k} {v + d:.7f})" for k, (v, d) in enumerate(zip(a, w, strict=True)))
        boxes += [f"(and {box} (>= Y_0 {m + r:.7f}))", f"(and {box} (<= Y_0 {m - r:.7f}))"]
    (folder / "boxes.vnnlib").write_text(head + "(assert " + "\n".join(boxes) + "))\n")
    region = "\n".join(f"(assert (>= X_{k} 0.2))\n(assert (<= X_{k} 0.8))" for k in range(8))
    top, bottom = float(every.max()), float(every.min())
    rows = [f"(>= Y_0 {top + 0.6 + 0.0002 * k:.7f})" if k % 2 else f"(<= Y_0 {bottom - 1.5 - 0.0002 * k:.7f})" for k in range(count)]
    (folder / "disjuncts.vnnlib").write_text(f"{head}{region}\n(assert (or {' '.join(f'(and {row})' for row in rows)}))\n")
    conjunction = "\n".join(f"(assert (<= Y_0 {top - 1.0 + 0.0005 * k:.7f}))" for k in range(count))
    (folder / "rows.vnnlib").write_text(f"{head}{region}\n(assert (>= Y_0 {top + 0.15:.7f}))\n{conjunction}\n")
    ordered(folder, net, count, head, region, random)


def ordered(folder: Path, net: nn.Sequential, count: int, head: str, region: str, random: torch.Generator) -> None:
    """A network that estimates `count` ranges at once, and the query whether one of them leaves its corridor: a row a range."""
    wide = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, count))
    with torch.no_grad():
        wide[0].weight.copy_(net[0].weight)
        wide[0].bias.copy_(net[0].bias)
        wide[2].weight.copy_(net[2].weight + 0.02 * torch.randn(count, 64, generator=random))
        wide[2].bias.copy_(net[2].bias + 0.001 * torch.arange(count))
        at = torch.rand(20000, 8, generator=random) * 0.6 + 0.2
        most = wide(at).amax(0)
    save(wide, folder / "ranges.onnx")
    declared = "\n".join([*(f"(declare-const X_{k} Real)" for k in range(8)), *(f"(declare-const Y_{k} Real)" for k in range(count)), ""])
    rows = [f"(and (>= Y_{k} {m + 0.5:.7f}))" for k, m in enumerate(most.tolist())]
    (folder / "ranges.vnnlib").write_text(f"{declared}{region}\n(assert (or {' '.join(rows)}))\n")


if __name__ == "__main__":
    raise SystemExit(main())
