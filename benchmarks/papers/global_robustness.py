"""Global correctness and robustness over generators: the paper's table beside ours, and the one that it could not have.

    python benchmarks/papers/global_robustness.py --nets FOLDER --out FOLDER [--data DATA] [--size small|paper] [--seconds 280]
                                                  [--only robustness] [--threads 2] [--pages]

--nets: what these wrote, of which the units take what is there:
    python training/train_generators.py --data DATA --work WORK --out NETS
    python training/train_generators.py --data DATA --work WORK --out NETS --only judge-fashion_mnist     # before F9's images
    absint train --method ibp --data DATA/mnist --eps 0.1 --epochs 10 --save IBP      # IBP/best.onnx, as NETS/C-ibp.onnx
--data: holds mnist/ and fashion_mnist/, whose test images the classifiers are measured on.
--out: a file for each unit of work, a journal of its latents, pictures; a second run continues, where a unit is not done.
--seconds: of all.  --timeout: of a latent and radius, wall time (more of it beside other jobs).  --pages: only print what is there.
--only: stages, or units by the names that are printed. The tables are kept in OUT/SIZE/global.md, pictures in OUT/SIZE/grids.
small: 10,000 draws and 100 latents.  paper: 10,000 draws and 1,000 latents.
Relations of the paper are checked and printed, held or not. Exit code 1: a unit failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path

import torch
from clever_data import Data
from clever_runner import chosen, pages, run
from global_attacks import ATTACKS
from global_stages import CORRECTNESS, NETWORKS, ROBUSTNESS, Size, Visit

SIZES = {"small": Size(draws=10_000, latents=100), "paper": Size(draws=10_000, latents=1_000)}
STAGES = (NETWORKS, CORRECTNESS, ROBUSTNESS, ATTACKS)


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for and not done, then print all that is known."""
    given = arguments(words)
    if given.threads:
        torch.set_num_threads(given.threads)
    out = given.out / given.size
    out.mkdir(parents=True, exist_ok=True)
    visit = Visit(out, given.nets, Data(given.data), SIZES[given.size], given.seed, given.timeout)
    stages, units = chosen(visit, STAGES, given.only)

    def write() -> None:
        (out / "global.md").write_text(pages(visit, STAGES), encoding="utf-8")

    well = given.pages or run(visit, units, time.monotonic() + given.seconds, write)
    write()
    print(f"\n{pages(visit, stages)}")
    return int(not well)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="small")
    parser.add_argument("--seconds", type=float, default=inf)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--timeout", type=float, default=1.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
