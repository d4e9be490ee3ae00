"""Robustness radii: nine halvings of 100 images, and beside ERAN's binary search on the images it was measured on.

    python benchmarks/radius.py [--shared FOLDER] [--domains zonotope,deeppoly,auto] [--out benchmarks/RESULTS.md]

FOLDER holds `vnncomp/` and `data/`; without it only the bundled network runs. ERAN's figures come from benchmarks/peers/. Its CPU
seconds were measured on another machine: the ratio is of CPU seconds per image, both with one thread.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import mean

import measure
import torch
from reference import PEERS
from tables import table

import absint
from absint import samples
from absint.analyses.radius.bisection import BisectionSettings, RadiusResult, radius
from absint.analyses.verify.settings import ProofSettings
from absint.api import domain_from
from absint.model.graph import Graph

UPPER, TOLERANCE = Fraction("0.256"), Fraction("0.001")
OWN_HEAD = ("net", "domain", "known carried", "fan", "images", "CPU s", "wall s", "mean radius", "halvings an image")
PEER_HEAD = ("domain", "images", "CPU s an image", "ERAN's", "times less", "with tcmalloc", "times less", "mean radius", "ERAN's",
             "below ERAN by more than the tolerance", "smallest difference")


@dataclass(frozen=True)
class Run:
    """Results of one search, the least CPU and wall seconds of its repetitions."""

    results: list[RadiusResult]
    cpu: float
    wall: float

    @property
    def mean(self) -> float:
        """The mean certified radius."""
        return float(mean(r.certified for r in self.results))


def search(domain: str, *, carry: bool = True, fan: int = 1, batch: int | None = None) -> BisectionSettings:
    """The search of the paper, without witnesses."""
    return BisectionSettings(UPPER, TOLERANCE, ProofSettings(domain_from(domain), attack=None, batch=batch), fan=fan, carry=carry)


def timed(graph: Graph, inputs: torch.Tensor, options: list[BisectionSettings], repeats: int) -> list[Run]:
    """The searches in turn, `repeats` times over, so that a busy machine slows all of them alike."""
    best: list[Run | None] = [None] * len(options)
    for _ in range(repeats):
        for k, option in enumerate(options):
            cpu, wall = time.process_time(), time.perf_counter()
            results = radius(graph, inputs, option)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            old = best[k]
            best[k] = Run(results, cpu if old is None else min(cpu, old.cpu), wall if old is None else min(wall, old.wall))
    return [run for run in best if run is not None]


def bundled(domains: list[str], threads: int, repeats: int) -> str:
    """The bundled 3x50 network."""
    torch.set_num_threads(threads)
    graph = absint.load(samples.network_path("mnist_relu_3x50"))
    inputs = torch.tensor(samples.data("mnist").shaped_for(graph.input.shape).inputs)
    rows = []
    for domain in domains:
        count = 100 if domain == "zonotope" else 20
        choices = [(False, 1), (True, 1), (True, 3)]
        for (carry, fan), run in zip(choices, timed(graph, inputs[:count], [search(domain, carry=c, fan=f) for c, f in choices], repeats),
                                     strict=True):
            rows.append(["3x50", domain, carry, fan, count, f"{run.cpu:.2f}", f"{run.wall:.2f}", f"{run.mean:.5f}",
                         mean(r.calls for r in run.results)])
            print(*rows[-1], file=sys.stderr, flush=True)
    return table(f"Radii of the first images, {threads} thread(s), on a shared machine", OWN_HEAD, rows)


def beside_eran(shared: Path, domains: list[str], repeats: int) -> str:
    """mnist-net_256x2, image by image."""
    torch.set_num_threads(1)
    with (PEERS / "eran_radius.csv").open() as file:
        theirs = list(csv.DictReader(file))
    graph = absint.load(shared / "vnncomp/mnist_fc_2022/onnx/mnist-net_256x2.onnx")
    x, _ = measure.mnist(shared / "data/mnist", 50)
    inputs = x.reshape(len(x), *graph.input.shape)[[int(row["img"]) for row in theirs]]
    spent = {alloc: mean(float(r["cpu_seconds"]) for r in theirs if r["alloc"] == alloc) for alloc in ("glibc", "tcmalloc")}
    rows = []
    for domain in domains:
        (run,) = timed(graph, inputs, [search(domain)], repeats)
        ours = run.cpu / len(inputs)
        gaps = [r.certified - Fraction(row["radius"]) for r, row in zip(run.results, theirs, strict=True)]
        beside = [cell for seconds in spent.values() for cell in (f"{seconds:.1f}", f"{seconds / ours:.0f}")]
        rows.append([domain, len(inputs), f"{ours:.4f}", *beside, f"{run.mean:.5f}", f"{mean(float(r['radius']) for r in theirs):.5f}",
                     sum(gap < -TOLERANCE for gap in gaps), f"{float(min(gaps)):.4f}"])
        print(*rows[-1], file=sys.stderr, flush=True)
    return table("Radii on mnist-net_256x2 beside ERAN's binary search with deepzono", PEER_HEAD, rows)


def main() -> None:
    """Print the tables, or append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--domains", default="zonotope,deeppoly,auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    domains = given.domains.split(",")
    text = bundled(domains, given.threads, given.repeats)
    if given.shared is not None:
        text += "\n" + beside_eran(given.shared, domains, given.repeats)
    if given.out is None:
        print(text)
    else:
        with given.out.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


if __name__ == "__main__":
    main()
