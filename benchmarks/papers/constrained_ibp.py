"""Constrained IBP beside IBP: the table and figures of Morawiecki et al. on trainings of ours, as a queue that can be left at any moment.

    python benchmarks/papers/constrained_ibp.py --data FOLDER --out FOLDER [--seconds 3600] [--jobs 2] [--nice 10]
                                                [--only 'mnist-*,fast-default-0-*'] [--list] [--report [--page FILE]]

--data: has folders mnist, cifar10, svhn; each as `absint train --data` reads it, or CIFAR-10 as lossless sheets.  --out: a folder a
training, and how far each is; a second run goes on where the first one was, whatever ended it.  --seconds: then trainings are
interrupted and keep what they have.  --only: names with * and ?; without it what needs a card, or hours, is left out.
--list: the queue and how far it is.  --report: the tables and plots of what there is, without training; --page: where to.
Relations are printed, held or not. Exit code 1: a training failed.
Source: Morawiecki et al., Fast and Stable Interval Bounds Propagation for Training Verifiably Robust Models, arXiv:1906.00628;
Gowal et al., On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models, arXiv:1810.12715.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from constrained_ibp_pages import gathered, page, plots, summary
from constrained_ibp_queue import Queue, work
from constrained_ibp_runs import RUNS, Run

from absint.contract.record import row_of
from absint.errors import AbsintError


def main(words: Sequence[str] | None = None) -> int:
    """Work through the queue, then report."""
    given = arguments(words)
    runs = chosen(given.only)
    if given.list:
        wanted = {run.name for run in runs} if given.only else {run.name for run in RUNS}
        print("\n".join(line for line in summary(gathered(given.out)) if line.split()[0] in wanted))
        return 0
    target = given.page or given.out / "training.md"
    if given.report:
        return report(given.out, target)
    queue = Queue(given.out, given.data, given.jobs, given.threads, given.nice, given.device)
    well = work(queue, runs, time.monotonic() + given.seconds, lambda: None)
    report(given.out, target)
    return int(not well)


def chosen(only: Sequence[str]) -> list[Run]:
    """In order. Leaves with a message where a pattern names none."""
    if not only:
        return [run for run in RUNS if not run.needs]
    unknown = [pattern for pattern in only if not any(fnmatchcase(run.name, pattern) for run in RUNS)]
    if unknown:
        print(f"--only: no trainings {', '.join(unknown)}; --list shows them", file=sys.stderr)
        raise SystemExit(2)
    return [run for run in RUNS if any(fnmatchcase(run.name, pattern) for pattern in only)]


def report(out: Path, target: Path) -> int:
    """The page, its plots beside it, and all records in one file for whoever computes on."""
    found = gathered(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        pictures = plots(found, target.parent)
    except AbsintError as error:
        print(error, file=sys.stderr)
        pictures = []
    text = page(found, pictures)
    write(target, text)
    known = {name: {"state": one.state, "records": [row_of(record) for record in one.records]}
             for name, one in found.items() if one.state is not None}
    out.mkdir(parents=True, exist_ok=True)
    write(out / "records.json", json.dumps(known, indent=1) + "\n")
    print(text)
    return 0


def write(path: Path, text: str) -> None:
    """In one step."""
    part = path.with_name(f".{path.name}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/constrained_ibp"))
    parser.add_argument("--seconds", type=float, default=inf)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--page", type=Path)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
