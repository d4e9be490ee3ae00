"""The Certifiable Taboo Trap on the paper's MNIST network: Table 1's rows of lite beside the paper's, certificates, certified thresholds.

    python benchmarks/papers/taboo.py --mnist FOLDER --net lenet5.onnx --out FOLDER [--size paper|small] [--only lite,table]
                                      [--threads 2] [--seconds 3600] [--page FILE] [--list]

FOLDER of --mnist: the four IDX files.  --net: trained by `absint train` where it is not there (six minutes of one core).  --out: a file for
each unit, a journal for each long one; a second run continues, whatever ended the first.  --only: units, by the names of --list.
small: a rehearsal on 200 images at most.  --page: where the tables go, OUT/SIZE/taboo.md without it; --only none writes them alone.
Relations are printed, held or not. Exit code 1: a unit failed. Needs foolbox for Table 1 and the keys.
Source: Shumailov et al., Towards Certifiable Adversarial Sample Detection, arXiv:2002.08740, table 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path

import torch
from clever_runner import DONE, kept, run
from taboo_pages import page
from taboo_runs import Size, Visit
from taboo_stages import UNITS

SIZES = {
    "paper": Size(train=60_000, test=10_000, attacked=1000, certified=10_000, radii=1000, pointed=200, points=100, resumed=2000),
    "small": Size(train=200, test=200, attacked=20, certified=50, radii=10, pointed=5, points=20, resumed=200),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for and not done, then print all that is known."""
    given = arguments(words)
    out = given.out / given.size
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    visit = Visit(out.resolve(), given.net.resolve(), given.mnist.resolve(), SIZES[given.size], given.threads)
    names = [unit.name for unit in UNITS]
    if given.list:
        print("\n".join(f"{name}: {(kept(visit, name) or {'state': 'not run'})['state']}" for name in names))
        return 0
    unknown = sorted(set(given.only) - {*names, "none"})
    if unknown:
        print(f"--only: no units {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    target = given.page or out / "taboo.md"

    def write() -> None:
        found = {name: one for name in names if (one := kept(visit, name)) is not None and one["state"] == DONE}
        target.write_text(page(found), encoding="utf-8")

    well = run(visit, [unit for unit in UNITS if not given.only or unit.name in given.only], time.monotonic() + given.seconds, write)
    write()
    print(f"\n{target.read_text(encoding='utf-8')}")
    return int(not well)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--net", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/taboo"))
    parser.add_argument("--size", choices=tuple(SIZES), default="paper")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=inf)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--list", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
