"""Optimised slopes beside auto_LiRPA's alpha-CROWN: mean margins and CPU time, on the images and radii it was measured on.

    python benchmarks/slopes.py --shared FOLDER [--nets 256x2,oval_base] [--steps 20/10,8/4] [--out benchmarks/RESULTS.md]

FOLDER holds `vnncomp/` and `data/`. The peer's figures come from benchmarks/peers/. Machines differ, so times stand beside each
other in plain float32 forward passes of the same net, batch and machine; in ours nothing ends early (goal=inf) and rounding is on.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import mean

import measure
import torch
from reference import NETS, PEERS, case, peer_margins
from tables import table

from absint.domains.alpha import Alpha
from absint.domains.deeppoly import DeepPoly
from absint.engine.context import Context
from absint.engine.forward import margins
from absint.numeric.backend import numeric_mode
from absint.numeric.decimal import parse_eps
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import LinfBall
from absint.problem.spec import Spec

HEAD = ("net", "eps", "images", "CROWN theirs", "alpha-CROWN theirs", "ours plain", "steps", "ours", "gain ours/theirs",
        "verified ours/theirs", "x forward ours", "x forward theirs", "CPU ours/theirs", "x our plain")


@dataclass(frozen=True)
class Peer:
    """Stored figures of one run. margins: image -> its margins.  forward: CPU of one image in forward passes of the same batch."""

    plain: dict[int, list[float]]
    best: dict[int, list[float]]
    forward: float


def peer(name: str, eps: str) -> Peer | None:
    """auto_LiRPA's 20 steps and CROWN on the same images; None where nothing is stored."""
    net, wanted = NETS[name], float(parse_eps(eps))
    with (PEERS / "auto_lirpa_margins.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["net"] == net.lirpa and abs(float(r["eps"]) - wanted) < 1e-6 and r["correct"] == "1"]
    best = {int(r["index"]): _margins(r) for r in rows if r["method"] == "alpha-CROWN-20" and r["dtype"] == "float32"}
    plain = peer_margins(net, "CROWN", eps)
    with (PEERS / "auto_lirpa_summary.csv").open() as file:
        spent = [float(r["x_fwd_batch_cpu"]) for r in csv.DictReader(file) if r["net"] == net.lirpa and r["method"] == "alpha-CROWN-20"
                 and r["dtype"] == "float32" and abs(float(r["eps"]) - wanted) < 1e-6]
    return Peer({k: plain[k] for k in best if k in plain}, best, spent[0]) if best and spent else None


def _margins(row: dict[str, str]) -> list[float]:
    return [float(row[f"m{j}"]) for j in range(10) if row[f"m{j}"]]


def compare(shared: Path, name: str, eps: str, settings: list[tuple[int, int]], numerics: Numerics) -> list[list[object]]:
    """One row of the table a setting."""
    stored = peer(name, eps)
    if stored is None:
        return []
    problem = case(shared, name)
    index = torch.tensor(sorted(stored.best))
    inputs, labels = problem.inputs[index], problem.labels[index]
    region, spec = LinfBall(inputs, parse_eps(eps), (0.0, 1.0)), Spec.robust(labels, problem.graph.output.size)

    def run(domain: DeepPoly) -> tuple[torch.Tensor, float]:
        found: list[torch.Tensor] = []
        spent = measure.cpu_seconds(lambda: found.append(margins(domain, Context(problem.graph, region, numerics), spec)[0].lower), 2, 0.0)
        return found[-1], spent / len(index)

    with numeric_mode(), torch.no_grad():
        forward = measure.cpu_seconds(lambda: problem.graph(inputs.float())) / len(inputs)
        plain, base = run(DeepPoly())
        theirs, crown = (mean(v for m in values.values() for v in m) for values in (stored.best, stored.plain))
        verified = sum(min(m) > 0 for m in stored.best.values())
        rows: list[list[object]] = []
        for steps, inner in settings:
            lower, spent = run(Alpha(steps=steps, inner=inner, goal=inf))
            ours = float(lower.mean())
            rows.append([name, eps, len(index), f"{crown:.5f}", f"{theirs:.5f}", f"{float(plain.mean()):.5f}", f"{steps}/{inner}",
                         f"{ours:.5f}", f"{(ours - crown) / (theirs - crown):.3f}", f"{int((lower.amin(1) > 0).sum())}/{verified}",
                         f"{spent / forward:.0f}", f"{stored.forward:.0f}", f"{spent / forward / stored.forward:.3f}",
                         f"{spent / base:.1f}"])
            print(*rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Run the comparisons asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with vnncomp/ and data/")
    parser.add_argument("--nets", default="256x2,256x4,256x6,9x200,oval_base", help=f"comma-separated, of {', '.join(NETS)}")
    parser.add_argument("--steps", default="20/10,8/4", help="comma-separated settings, steps/inner")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="matrix format")
    parser.add_argument("--out", type=Path, help="markdown file to append to; stdout if not given")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = [(int(a), int(b)) for a, b in (text.split("/") for text in args.steps.split(","))]
    numerics = Numerics(getattr(torch, args.dtype))
    names: list[str] = args.nets.split(",")
    rows = [row for name in names for eps in NETS[name].eps for row in compare(args.shared, name, eps, settings, numerics)]
    title = f"Optimised slopes beside auto_LiRPA's 20 steps: mean margins over correct images, {args.dtype}"
    head = f"## benchmarks/slopes.py --nets {args.nets} --steps {args.steps} --dtype {args.dtype}"
    text = "\n".join([head, "", measure.machine(), "", table(title, HEAD, rows)])
    if args.out:
        with args.out.open("a") as file:
            file.write(text + "\n")
    else:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
