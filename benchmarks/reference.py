"""Compare absint with stored figures of ERAN and auto_LiRPA on the networks they were measured on, number by number.

    python benchmarks/reference.py --shared FOLDER [--nets 256x2,resnet_2b] [--out benchmarks/RESULTS.md]

FOLDER holds `vnncomp/` and `data/`. One process, one thread; the peers' figures come from benchmarks/peers/.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
import torch
from measure import Case

import absint
from absint.backend import numeric_mode
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.zonotope import Zonotope
from absint.rounding import Numerics

PEERS = Path(__file__).parent / "peers"
CIFAR_RESNET = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
CIFAR_OVAL = ((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))
F32, F64 = Numerics(torch.float32), Numerics(torch.float64)
EXACT = Numerics(torch.float64, rounding=False)


@dataclass(frozen=True)
class Net:
    """One network of the stored figures: its file, the peers' names for it, radii (l_inf on [0, 1] inputs)."""

    path: str
    lirpa: str
    eran: str
    eps: tuple[str, ...]
    count: int = 50
    mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    deepz: tuple[int, ...] = ()  # verified counts of an independent DeepZ in float64, stored with the peers' figures


NETS = {
    "256x2": Net("mnist_fc_2022/onnx/mnist-net_256x2.onnx", "mnist256x2", "mnist-net_256x2", ("0.01", "0.02", "0.03"), deepz=(47, 27, 6)),
    "256x4": Net("mnist_fc_2022/onnx/mnist-net_256x4.onnx", "mnist256x4", "mnist-net_256x4", ("0.01", "0.02", "0.03"), deepz=(49, 31, 12)),
    "256x6": Net("mnist_fc_2022/onnx/mnist-net_256x6.onnx", "mnist256x6", "mnist-net_256x6", ("0.01", "0.02", "0.03"), deepz=(45, 27, 5)),
    "9x200": Net("eran_2021/onnx/mnist_relu_9_200.onnx", "mnist_relu_9_200", "mnist_relu_9_200", ("0.005", "0.01", "0.02"), deepz=(44, 23, 1)),
    "oval_base": Net("oval21_2022/onnx/cifar_base_kw.onnx", "oval21_cifar_base", "cifar_base_kw", ("1/255", "2/255"), 20, CIFAR_OVAL),
    "resnet_2b": Net("cifar10_resnet_2021/onnx/resnet_2b.onnx", "resnet_2b", "resnet_2b", ("1/255", "2/255"), 20, CIFAR_RESNET),
}


def case(shared: Path, name: str) -> Case:
    """Load network and images."""
    net = NETS[name]
    mean, std = net.mean_std or (None, None)
    graph = absint.load(shared / "vnncomp" / net.path, mean=mean, std=std)
    if net.count == 50:
        x, y = measure.mnist(shared / "data/mnist", 50)
    else:
        raw = np.load(shared / "data/cifar10/test_first1000.npz")
        images = next(raw[k] for k in raw.files if raw[k].ndim == 4)[: net.count]
        labels = next(raw[k] for k in raw.files if raw[k].ndim == 1)[: net.count]
        x, y = torch.from_numpy(images.transpose(0, 3, 1, 2) / 255.0), torch.from_numpy(labels.astype(np.int64))
    return Case(name, graph, x.reshape(len(x), *graph.input.shape), y)


def peer_margins(net: Net, method: str, eps: str) -> dict[int, list[float]]:
    """image index -> stored float64 margins (true logit minus each other one) of auto_LiRPA."""
    wanted = measure.parse_eps(eps)
    out = {}
    with (PEERS / "auto_lirpa_margins.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["net"], row["method"], row["dtype"]) == (net.lirpa, method, "float64") and abs(float(row["eps"]) - float(wanted)) < 1e-6:
                out[int(row["index"])] = [float(row[f"m{j}"]) for j in range(10) if row[f"m{j}"] and j != int(row["label"])]
    return out


def eran_seconds(net: Net, alloc: str) -> float | None:
    """Median CPU seconds of one deepzono analysis."""
    with (PEERS / "eran_verdicts.csv").open() as file:
        rows = [float(r["cpu_seconds"]) for r in csv.DictReader(file)
                if r["net"] == net.eran and r["domain"] == "deepzono" and r["alloc"] == alloc and r["threads"] == "1"]
    return float(np.median(rows)) if rows else None


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A markdown table."""
    head = list(head)
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(v) for v in row) + " |" for row in rows]
    return "\n".join([*lines, ""])


def counts(problem: Case) -> list[list[object]]:
    """Verified of correct, soundness on, per domain and radius."""
    net, ok = NETS[problem.name], problem.correct()
    rows: list[list[object]] = []
    methods = [("Box float32", Box(), F32), ("Zonotope float32", Zonotope(), F32), ("Zonotope float64", Zonotope(), F64),
               ("Zonotope float64, product off", Zonotope(product=False), F64), ("DeepPoly plain float64", DeepPoly(every_layer=False), F64),
               ("DeepPoly every layer float64", DeepPoly(), F64)]
    for label, domain, numerics in methods:
        got = []
        for eps in net.eps:
            _, margin = problem.run(domain, eps, numerics, 10 if net.count == 50 else 4)
            got.append(int(((margin > 0) & ok).sum()))
        stored = "/".join(map(str, net.deepz)) if net.deepz and "Zonotope" in label else "-"
        rows.append([problem.name, label, ", ".join(net.eps), "/".join(map(str, got)), int(ok.sum()), stored])
        print(*rows[-1], file=sys.stderr, flush=True)
    return rows


def agreement(problem: Case) -> list[list[object]]:
    """Largest relative difference to auto_LiRPA's float64 margins without rounding, and the sign with rounding."""
    net = NETS[problem.name]
    rows: list[list[object]] = []
    for method, domain in (("IBP", Box()), ("CROWN", DeepPoly(every_layer=False))):
        worst, above, seen = 0.0, 0, 0
        for eps in net.eps:
            stored = peer_margins(net, method, eps)
            if not stored:
                continue
            exact, _ = problem.run(domain, eps, EXACT, 10)
            sound, _ = problem.run(domain, eps, F64, 10)
            for index, values in stored.items():
                theirs = torch.tensor(values, dtype=torch.float64)
                # Stored figures have nine digits: half a unit of the ninth is theirs, not ours.
                digits = theirs.abs() * 5e-9 + 1e-9
                worst = max(worst, float(((exact[index] - theirs).abs() / theirs.abs().clamp(min=1)).max()))
                above += int((sound[index] > theirs + digits).sum()) + int((sound[index] > exact[index]).sum())
                seen += len(values)
        rows.append([problem.name, f"{type(domain).__name__} / {method}", seen, f"{worst:.1e}" if seen else "-", above if seen else "-"])
    return rows


def speed(problem: Case) -> list[list[object]]:
    """CPU milliseconds per image and ratios, in one run."""
    net = NETS[problem.name]
    batch = net.count
    eps = net.eps[1]
    rows: list[list[object]] = []
    for numerics, label in ((F32, "float32"), (F64, "float64")):
        x = problem.inputs.to(numerics.dtype)

        def forward(x: torch.Tensor = x) -> object:
            with numeric_mode(), torch.no_grad():
                return problem.graph(x)

        base = measure.cpu_seconds(forward)
        rows.append([problem.name, "forward pass", label, f"{base / batch * 1e3:.4f}", "1.0", "", ""])
        rows.append([problem.name, "Box", label, *_ratios(problem, Box(), eps, numerics, batch, base, None)])
        for size in ((batch, 5) if net.count == 50 else (batch, 4)):
            with measure.recorded_products() as products:
                problem.run(Zonotope(), eps, numerics, size)
            bare = measure.bare_products(products)
            rows.append([problem.name, f"Zonotope, batches of {size}", label, *_ratios(problem, Zonotope(), eps, numerics, size, base, bare)])
        rows.append([problem.name, "DeepPoly plain", label, *_ratios(problem, DeepPoly(every_layer=False), eps, numerics, batch, base, None)])
    for row in rows:
        print(*row, file=sys.stderr, flush=True)
    return rows


def _ratios(problem: Case, domain: object, eps: str, numerics: Numerics, size: int, base: float, bare: float | None) -> list[str]:
    from dataclasses import replace

    repeats = 5 if base * 2000 < 20 else 2
    sound = measure.cpu_seconds(lambda: problem.run(domain, eps, numerics, size), repeats)
    loose = measure.cpu_seconds(lambda: problem.run(domain, eps, replace(numerics, rounding=False), size), repeats)
    per_image = sound / len(problem.inputs)
    return [f"{per_image * 1e3:.3f}", f"{sound / base:.1f}", f"{sound / bare:.2f}" if bare else "", f"{100 * (sound / loose - 1):.0f} %"]


def eran_table(speeds: list[list[object]]) -> list[list[object]]:
    """Zonotope's best float32 time beside ERAN's stored deepzono seconds."""
    rows: list[list[object]] = []
    for name, net in NETS.items():
        ours = [float(str(r[3])) for r in speeds if r[0] == name and str(r[1]).startswith("Zonotope") and r[2] == "float32"]
        shipped, tuned = eran_seconds(net, "glibc"), eran_seconds(net, "tcmalloc")
        if ours and (shipped or tuned):
            best = min(ours) / 1e3
            rows.append([name, f"{best * 1e3:.2f} ms", *(f"{s:.1f} s ({s / best:.0f}x)" if s else "-" for s in (shipped, tuned))])
    return rows


def main() -> None:
    """Run the tables asked for and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with vnncomp/ and data/")
    parser.add_argument("--nets", default=",".join(NETS), help=f"comma-separated, of {', '.join(NETS)}")
    parser.add_argument("--tables", default="counts,agreement,speed", help="which tables to run")
    parser.add_argument("--out", type=Path, help="markdown file to append to; stdout if not given")
    args = parser.parse_args()
    torch.set_num_threads(1)
    wanted = args.tables.split(",")
    names = args.nets.split(",")
    cases = [case(args.shared, name) for name in names]
    parts = [f"## benchmarks/reference.py --nets {args.nets} --tables {args.tables}", "", measure.machine(), ""]
    if "counts" in wanted:
        parts.append(table("Verified of correctly classified, soundness on", ("net", "domain", "eps", "verified", "correct", "DeepZ stored"),
                           [row for c in cases for row in counts(c)]))
    if "agreement" in wanted:
        parts.append(table("Agreement with auto_LiRPA's float64 margins", ("net", "ours / theirs", "margins", "largest |difference| / max(1, |m|), rounding off",
                           "margins above theirs or ours, rounding on"), [row for c in cases for row in agreement(c)]))
    if "speed" in wanted:
        speeds = [row for c in cases for row in speed(c)]
        parts.append(table("CPU time, middle radius, soundness on", ("net", "method", "format", "ms per image", "x forward", "x bare products", "cost of soundness"), speeds))
        parts.append(table("Zonotope float32 beside ERAN's deepzono (stored)", ("net", "absint, per image", "ERAN as shipped", "ERAN with tcmalloc"), eran_table(speeds)))
    parts.append(f"Peak memory of the whole run: {measure.peak_mib()} MiB.\n")
    text = "\n".join(parts)
    if args.out:
        with args.out.open("a") as file:
            file.write(text + "\n")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
