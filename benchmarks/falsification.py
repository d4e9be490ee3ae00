"""Whether counterexamples hang on a seed: VNN-COMP instances that have one, searched with several seeds, without any proof.

    python benchmarks/falsification.py --root FOLDER [--seeds 5] [--timeout 10] [--efforts 0.25 4] [--only acasxu_2023]
                                       [--domain auto] [--easy 20] [--out results.csv]
    python benchmarks/falsification.py --binarised 20 [--efforts 0.25 4]

FOLDER of --root is as in vnncomp.py. Each search runs as `verify` runs it, in this process, from a short one to a long one: the
witness that counts is proved and replayed. With --domain it is the whole verifier instead, attacks and proofs in turn.
CPU seconds are of the search alone; files are read before. --binarised: that many random networks with signs for activations of each
of a few sizes, weights +-1 but in the first layer, and a random input each: in how many balls another class is found.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import median

import torch
from vnncomp import chosen

import absint
from absint.analyses.query.answering import QueryAnswer, verify_query
from absint.analyses.verify.settings import ProofSettings
from absint.attacks import ATTACKS, Search, falsify
from absint.attacks.pgd import Pgd
from absint.engine.domain import DOMAINS
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.step import Sign
from absint.numeric.decimal import parse_eps
from absint.problem.query import Query, read_query
from absint.problem.regions.region import LinfBall
from absint.problem.spec import Spec
from absint.search.strategy import Falsification, Stage, Strategy


@dataclass(frozen=True)
class Searches(Strategy):
    """One search for counterexamples and no proof."""

    effort: float = 1.0

    def stages(self) -> tuple[Stage, ...]:
        """Never run."""
        return (Stage(DOMAINS.get("box")()),)

    def plan(self) -> tuple[Stage | Falsification, ...]:
        """The search."""
        return (Falsification(self.effort),)


@dataclass(frozen=True)
class Outcome:
    """One instance, one seed. by: the effort that found a witness, or what decided; empty where nothing did."""

    name: str
    seed: int
    by: str
    cpu_s: float


def main() -> int:
    """Search, and print what each seed missed."""
    options = arguments()
    torch.set_num_threads(1)
    if options.binarised:
        binarised(options.binarised, options.efforts)
        return 0
    rows = [row for row in chosen(options.root, 0, options.only) if row["verdict"] == "sat"]
    if options.easy:
        rows = [row for row in rows if row["difficulty"] == "easy"][: options.easy]
    outcomes: list[Outcome] = []
    for row in rows:
        for outcome in searched(options, row):
            outcomes.append(outcome)
            print(f"{outcome.name} seed {outcome.seed}: {outcome.by or 'NOT FOUND'}, {outcome.cpu_s:.2f} CPU s", flush=True)
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("instance", "seed", "by", "cpu_s"))
            writer.writerows((one.name, one.seed, one.by, f"{one.cpu_s:.3f}") for one in outcomes)
    report(outcomes, options.seeds)
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="needed but for --binarised")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds of one search")
    parser.add_argument("--efforts", type=float, nargs="+", default=[0.25, 4.0])
    parser.add_argument("--domain", help="the whole verifier by this strategy")
    parser.add_argument("--only", nargs="+", default=[""], help="how CATEGORY/onnx/NETWORK begins")
    parser.add_argument("--easy", type=int, default=0, help="so many of the instances that are called easy")
    parser.add_argument("--binarised", type=int, default=0, help="so many random networks of each size instead")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.root and not options.binarised:
        parser.error("--root is needed")
    return options


def searched(options: argparse.Namespace, row: dict[str, str]) -> Iterator[Outcome]:
    """One instance with every seed."""
    folder = options.root / row["category"]
    graph, query = absint.load(folder / row["onnx"]), read_query(folder / row["vnnlib"])
    name = f"{row['category']} {Path(row['onnx']).stem} {Path(row['vnnlib']).stem}"
    for seed in range(options.seeds):
        begin = time.process_time()
        by = found_by(options, graph, query, seed)
        yield Outcome(name, seed, by, time.process_time() - begin)


def found_by(options: argparse.Namespace, graph: Graph, query: Query, seed: int) -> str:
    """The effort that found a witness, or the stage; empty for none."""
    attack = f"pgd, seed {seed}"
    if attack not in ATTACKS.names():
        ATTACKS.add(attack, partial(Pgd, seed=seed))
    end = time.monotonic() + options.timeout
    for domain in [options.domain] if options.domain else [Searches(effort) for effort in options.efforts]:
        left = end - time.monotonic()
        if left <= 0:
            break
        result = verify_query(graph, query, ProofSettings(domain, attack=attack, total_timeout=left, timeout=inf))
        if result.answer is QueryAnswer.UNSAT:
            raise SystemExit(f"{query.path}: unsat, but a witness is known")
        if result.answer is QueryAnswer.SAT:
            return str(result.stage) if options.domain else f"effort {domain.effort:g}"
    return ""


def report(outcomes: list[Outcome], seeds: int) -> None:
    """Shares and times."""
    found = [one for one in outcomes if one.by]
    print(f"\nfound {len(found)} of {len(outcomes)} ({100 * len(found) / max(1, len(outcomes)):.1f} %), "
          f"median {median(one.cpu_s for one in outcomes):.3f} CPU s, all {sum(one.cpu_s for one in outcomes):.1f} CPU s")
    for seed in range(seeds):
        mine = [one for one in outcomes if one.seed == seed]
        print(f"seed {seed}: {sum(bool(one.by) for one in mine)} of {len(mine)}")
    ways: dict[str, int] = defaultdict(int)
    for one in outcomes:
        ways[one.by or "not found"] += 1
    print("\n| by | searches |\n|---|---|")
    for by, count in sorted(ways.items(), key=lambda item: -item[1]):
        print(f"| {by} | {count} |")
    missed: dict[str, list[int]] = defaultdict(list)
    for one in outcomes:
        if not one.by:
            missed[one.name].append(one.seed)
    for name, which in missed.items():
        print(f"- {name}: not found with seeds {', '.join(map(str, which))}")


# Layers, and the radius around inputs in [0, 1].
BINARISED = (((400, 64, 10), "0.02"), ((400, 64, 10), "0.03"), ((400, 64, 64, 10), "0.02"), ((400, 64, 64, 64, 10), "0.03"),
             ((8, 32, 5), "0.02"), ((8, 32, 32, 32, 5), "0.05"))


def binarised(count: int, efforts: list[float]) -> None:
    """A row for each size and radius: witnesses found, and CPU seconds, by each effort alone."""
    print(f"| layers | radius | {' | '.join(f'effort {effort:g}: found of {count}, CPU s' for effort in efforts)} |")
    print("|---|---|" + "---|" * len(efforts))
    for sizes, eps in BINARISED:
        cells = []
        for effort in efforts:
            begin, found = time.process_time(), 0
            for seed in range(count):
                graph, draw = binary_network(seed, sizes), torch.Generator().manual_seed(1000 + seed)
                center = torch.rand(1, sizes[0], generator=draw, dtype=torch.float64)
                spec = Spec.robust(graph(center).argmax(1), sizes[-1])
                search = Search(torch.device("cpu"), effort=effort)
                found += len(falsify(graph, LinfBall(center, parse_eps(eps), None), spec, Pgd(), search).witnesses)
            cells.append(f"{found}, {time.process_time() - begin:.1f}")
        print(f"| {'-'.join(map(str, sizes))} | {eps} | {' | '.join(cells)} |", flush=True)


def binary_network(seed: int, sizes: tuple[int, ...]) -> Graph:
    """Dense layers with signs between them."""
    draw = torch.Generator().manual_seed(seed)
    build, last = GraphBuilder("x", (sizes[0],)), "x"
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = torch.randn(outputs, inputs, generator=draw, dtype=torch.float64)
        bias = torch.randint(-2, 3, (outputs,), generator=draw).double() + 0.5
        last = build.add(Gemm(weight.sign() if number else weight / inputs**0.5, bias if number else 0.1 * bias), (last,))
        if number < len(sizes) - 2:
            last = build.add(Sign(), (last,))
    return build.graph(last)


if __name__ == "__main__":
    sys.exit(main())
