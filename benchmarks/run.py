"""Box, Zonotope, plain DeepPoly and the forward pass side by side, on a network and images of yours.

    python benchmarks/run.py [--net NET.onnx] [--data FILE] [--eps 0.01] [--count 50] [--mean ... --std ...]

Without arguments: the bundled networks and images. One process, one thread; ratios compare within this run only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import measure
import torch
from measure import Case
from tables import F32, F64, SPEED_HEAD, speed, table

import absint
from absint import samples
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.zonotope import Zonotope
from absint.problem.data_frontend import read_data


def load(net: Path, args: argparse.Namespace) -> Case:
    """A network with its images, in the network's shape."""
    mean, std = ([float(v) for v in text.split(",")] if text else None for text in (args.mean, args.std))
    graph = absint.load(net, mean=mean, std=std)
    data = read_data(args.data) if args.data else samples.for_shape(graph.input.shape)
    if data is None or data.labels is None:
        sys.exit("no labelled images fit this network: give --data")
    data = data.shaped_for(graph.input.shape)
    return Case(net.stem, graph, torch.from_numpy(data.inputs[: args.count]), torch.from_numpy(data.labels[: args.count]))


def verified(case: Case, eps: str) -> list[list[object]]:
    """Verified of correctly classified, soundness on."""
    ok = case.correct()
    methods = (("Box", Box(), F32), ("Zonotope", Zonotope(), F32), ("Zonotope", Zonotope(), F64), ("DeepPoly", DeepPoly(), F64))
    return [[case.name, name, str(numerics.dtype).removeprefix("torch."), eps,
             f"{int(((case.run(domain, eps, numerics, 10)[1] > 0) & ok).sum())} of {int(ok.sum())}"]
            for name, domain, numerics in methods]


def main() -> None:
    """Print two tables per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", type=Path, action="append", help="may be given several times")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--eps", default="0.01")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--mean")
    parser.add_argument("--std")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = [load(net, args) for net in args.net or [samples.network_path(name) for name in samples.names()]]
    print(f"{measure.machine()}\n")
    head = ("net", "domain", "format", "eps", "verified")
    print(table("Verified, soundness on", head, [r for c in cases for r in verified(c, args.eps)]))
    print(table("CPU time", SPEED_HEAD, [r for c in cases for r in speed(c, args.eps, (len(c.inputs), 5))]))
    print(f"Peak memory: {measure.peak_mib()} MiB")


if __name__ == "__main__":
    main()
