"""Compare absint with stored figures of ERAN and auto_LiRPA on the networks they were measured on, number by number.

    python benchmarks/reference.py --shared FOLDER [--nets 256x2,resnet_2b] [--out benchmarks/RESULTS.md]

FOLDER holds `vnncomp/` and `data/`. One process, one thread; the peers' figures come from benchmarks/peers/.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
import torch
from measure import Case
from tables import EXACT, F32, F64, SPEED_HEAD, speed, table

import absint
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.zonotope import Zonotope

PEERS = Path(__file__).parent / "peers"
CIFAR_RESNET = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
CIFAR_OVAL = ((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))


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


FC = ("0.01", "0.02", "0.03")
FIRST, SECOND = "mnist_fc_2022/onnx/mnist-net_{}.onnx", "eran_2021/onnx/mnist_relu_9_200.onnx"
NETS = {
    **{size: Net(FIRST.format(size), f"mnist{size}", f"mnist-net_{size}", FC, deepz=deepz)
       for size, deepz in (("256x2", (47, 27, 6)), ("256x4", (49, 31, 12)), ("256x6", (45, 27, 5)))},
    "9x200": Net(SECOND, "mnist_relu_9_200", "mnist_relu_9_200", ("0.005", "0.01", "0.02"), deepz=(44, 23, 1)),
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
            same = (row["net"], row["method"], row["dtype"]) == (net.lirpa, method, "float64")
            if same and abs(float(row["eps"]) - float(wanted)) < 1e-6:
                out[int(row["index"])] = [float(row[f"m{j}"]) for j in range(10) if row[f"m{j}"] and j != int(row["label"])]
    return out


def eran_seconds(net: Net, alloc: str) -> float | None:
    """Median CPU seconds of one deepzono analysis."""
    with (PEERS / "eran_verdicts.csv").open() as file:
        rows = [float(r["cpu_seconds"]) for r in csv.DictReader(file)
                if r["net"] == net.eran and r["domain"] == "deepzono" and r["alloc"] == alloc and r["threads"] == "1"]
    return float(np.median(rows)) if rows else None


def counts(problem: Case) -> list[list[object]]:
    """Verified of correct, soundness on, per domain and radius."""
    net, ok = NETS[problem.name], problem.correct()
    rows: list[list[object]] = []
    methods = [
        ("Box float32", Box(), F32), ("Zonotope float32", Zonotope(), F32), ("Zonotope float64", Zonotope(), F64),
        ("Zonotope float64, product off", Zonotope(product=False), F64),
        ("DeepPoly, boxes between, float32", DeepPoly(intermediate="box"), F32),
        ("DeepPoly, zonotopes between, float32", DeepPoly(intermediate="zonotope"), F32),
        ("CROWN (DeepPoly plain) float64", DeepPoly(plain=True), F64), ("DeepPoly float32", DeepPoly(), F32),
        ("DeepPoly float64", DeepPoly(), F64),
    ]
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
    for method, domain in (("IBP", Box()), ("CROWN", DeepPoly(plain=True))):
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
        head = ("net", "domain", "eps", "verified", "correct", "DeepZ stored")
        parts.append(table("Verified of correctly classified, soundness on", head, [row for c in cases for row in counts(c)]))
    if "agreement" in wanted:
        head = ("net", "ours / theirs", "margins", "largest difference / max(1, m), rounding off", "above theirs or ours, rounding on")
        parts.append(table("Agreement with auto_LiRPA's float64 margins", head, [row for c in cases for row in agreement(c)]))
    if "speed" in wanted:
        speeds = [row for c in cases for row in speed(c, NETS[c.name].eps[1], (50, 10, 5) if len(c.inputs) == 50 else (20, 4))]
        parts.append(table("CPU time, middle radius, soundness on", SPEED_HEAD, speeds))
        head = ("net", "absint, per image", "ERAN as shipped", "ERAN with tcmalloc")
        parts.append(table("Zonotope float32 beside ERAN's deepzono (stored)", head, eran_table(speeds)))
    parts.append(f"Peak memory of the whole run: {measure.peak_mib()} MiB.\n")
    text = "\n".join(parts)
    if args.out:
        with args.out.open("a") as file:
            file.write(text + "\n")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
