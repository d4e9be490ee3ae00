"""Limits, memory and the kernel's share of the CPU time on convolutional networks, each run in a process of its own.

    python benchmarks/large.py --nets FOLDER [--seconds 60] [--memory 4GiB] [--images 20] [--only residual]

`residual` is a network of the shape of ResNet-18 with random weights (11 million parameters, 557,056 neurons), one image at 1/2550;
the others are the ONNX files of FOLDER, `--images` random images at 1/200. One thread. "mapped" repeats a row with pages given back as
the C library does by itself (MALLOC_MMAP_MAX_ in the environment), which is what every run did before pages were kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import torch
from imports import residual
from tables import table

import absint

DOMAINS = ("box", "zonotope", "deeppoly", "alpha")
HEAD = ["network", "domain", "pages", "images", "seconds", "CPU s", "in the kernel", "peak MiB", "verdicts", "least margin", "notes"]


def child(path: str, domain: str, images: int, eps: str, seconds: float, memory: str) -> dict[str, object]:
    """One `verify`, measured: what the process used beside importing and loading."""
    torch.set_num_threads(1)
    graph = absint.load(path)
    x = torch.rand(images, *graph.input.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    attack = "pgd" if domain == "auto" else None
    found = list(absint.verify(graph, x, None, eps, domain=domain, timeout=seconds, memory=memory, attack=attack))
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, kernel = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    words = {f"{r.verdict.value} ({r.reason.value})" if r.reason else r.verdict.value for r in found}
    margins = [result.margin for result in found if result.margin is not None]
    return {
        "seconds": round(time.monotonic() - begin, 1), "cpu": round(user + kernel, 2), "share": round(kernel / max(1e-9, user + kernel), 3),
        "peak": measure.peak_mib(), "verdicts": sorted(words),
        "margin": min(margins) if margins else None, "notes": sorted({note for r in found for note in r.notes}),
    }


def measured(path: Path, domain: str, arguments: list[str], **environment: str) -> list[object]:
    """The row of a child's figures."""
    command = [sys.executable, __file__, "--child", str(path), domain, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment)
    name, pages = path.name.split(".")[0], "mapped" if environment else "kept"
    if done.returncode:
        return [name, domain, pages, arguments[0], "", "", "", "", f"failed: {done.stderr.strip().splitlines()[-1][:120]}", "", ""]
    got = json.loads(done.stdout.splitlines()[-1])
    margin = "" if got["margin"] is None else f"{got['margin']:.4g}"
    return [name, domain, pages, arguments[0], got["seconds"], got["cpu"], f"{100 * got['share']:.0f} %", got["peak"],
            ", ".join(got["verdicts"]), margin, "; ".join(got["notes"])]


def main() -> None:
    """Every network and domain."""
    if sys.argv[1:2] == ["--child"]:
        path, domain, images, eps, seconds, memory = sys.argv[2:]
        print(json.dumps(child(path, domain, int(images), eps, float(seconds), memory)))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nets", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--memory", default="4GiB")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--only", choices=["residual", "nets"])
    given = parser.parse_args()
    rows: list[list[object]] = []

    def add(path: Path, domain: str, images: int, eps: str, **environment: str) -> None:
        rows.append(measured(path, domain, [str(images), eps, str(given.seconds), given.memory], **environment))
        print(*rows[-1], file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        files = [] if given.nets is None or given.only == "residual" else sorted(given.nets.glob("*.onnx*"))
        for path in files:
            for domain in DOMAINS:
                add(path, domain, given.images, "1/200")
                add(path, domain, given.images, "1/200", MALLOC_MMAP_MAX_="65536")
        if given.only != "nets":
            large = residual(Path(folder) / "residual.onnx")
            for domain in (*DOMAINS, "deeppoly:intermediate=box", "auto"):
                add(large, domain, 1, "1/2550")
    print(f"{measure.machine()}\n")
    print(table(f"Limits of {given.seconds:g} s an image and {given.memory}", HEAD, rows))


if __name__ == "__main__":
    main()
