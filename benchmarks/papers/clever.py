"""CLEVER's tables on networks of ours: both orders, BPDA, masked gradients, proofs and attacks around the scores, and what they cost.

    python benchmarks/papers/clever.py --data FOLDER --nets FOLDER --out FOLDER [--size small|card|paper] [--device cuda] [--seconds 280]
                                       [--only tables,art] [--threads 2] [--memory 4GiB] [--pages]

--data, --nets: see `clever_nets.py`, which trains what is absent.  --out: a file for each unit of work and a journal of its scores; a
second run continues, where a unit is not done.  --seconds: of all; units share what is left, so that each stage comes to something.
--only: stages, or units by the names that are printed.  --pages: only print what is there. The tables are kept in OUT/SIZE/clever.md.
small: 10 images, 50 batches of 50 samples, without CIFAR-10's network; a CPU takes minutes.  paper: 50 images, 100 of 200.  card: so,
but for 50 of 50 in the second order, which takes a card's minutes otherwise.
Relations of the papers are checked and printed, held or not. Exit code 1: a unit failed. Needs foolbox; ART where it is compared.
Source: Weng et al., Evaluating the Robustness of Neural Networks: An Extreme Value Theory Approach, ICLR 2018; Weng et al., On
Extensions of CLEVER, GlobalSIP 2018, tables 1 to 4.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path

import torch
from clever_costs import MODULE, PEER, PRODUCTS
from clever_data import Data
from clever_nets import Training
from clever_runner import Size, Visit, chosen, pages, run
from clever_stages import BPDA, MASKS, NETS, NORMS, SANDWICH, TABLES

SIZES = {
    "small": Size(images=10, batches=50, samples=50, second=(50, 50), peer=2, bpda=50, module=(10, 2), cifar=False),
    "card": Size(images=50, batches=100, samples=200, second=(50, 50), peer=2, bpda=200, module=(10, 200), cifar=True),
    "paper": Size(images=50, batches=100, samples=200, second=(100, 200), peer=2, bpda=200, module=(10, 200), cifar=True),
}
STAGES = (NETS, TABLES, BPDA, MODULE, PRODUCTS, MASKS, PEER, SANDWICH, NORMS)      # the most telling first, should time end


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for and not done, then print all that is known."""
    given = arguments(words)
    if given.threads:
        torch.set_num_threads(given.threads)
    out = given.out / given.size
    out.mkdir(parents=True, exist_ok=True)
    visit = Visit(out, given.nets, Data(given.data), SIZES[given.size], given.device, given.memory,
                  Training(epochs=given.epochs, images=given.train_images))
    stages, units = chosen(visit, STAGES, given.only)

    def write() -> None:
        (out / "clever.md").write_text(pages(visit, STAGES), encoding="utf-8")

    well = given.pages or run(visit, units, time.monotonic() + given.seconds, write)
    write()
    print(f"\n{pages(visit, stages)}")
    return int(not well)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--nets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=tuple(SIZES), default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=inf)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--memory")
    parser.add_argument("--epochs", type=int, help="of training, instead of the recipe's: a rehearsal")
    parser.add_argument("--train-images", type=int, help="likewise")
    parser.add_argument("--pages", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
