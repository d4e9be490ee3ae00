"""ERAN's RefineZono and RefinePoly beside `refine` and `exact`: the same networks, images and radii, resumable.

    python benchmarks/refinezono.py --nets FOLDER [FOLDER ...] --mnist FOLDER --out RESULTS.jsonl [--limit 60]
    python benchmarks/refinezono.py --out RESULTS.jsonl --tables

ERAN's verdicts and CPU seconds are stored (benchmarks/peers/eran_verdicts.csv, one thread, another day: the ratio of seconds is an
order of magnitude). Images that ERAN failed on with an error are measured, but enter neither its counts nor the ratios of time.
Everything else is as in benchmarks/exact.py. Exit code 1 where ERAN verifies what absint falsifies, or two methods contradict.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import measure
import torch
from eran import PEERS, found_nets
from exact import DECIDED, EXACT, Bench, Journal, Outcome, Setting, arguments, contradictions, measure_all, remarkable, setting_of, troubles
from tables import table

PART = "eran"
OURS = {"refinezono": "refine:base=zonotope", "refinepoly": "refine:base=deeppoly"}
# A proof of theirs against a witness of ours, or the other way round; late answers count here, too.
OPPOSITE = (("verified", "falsified"), ("unsafe", "verified"))
HEAD = ("net", "ERAN", "eps", "images", "its errors", "ERAN verified", "refine", "exact: verified / falsified / open", "only ERAN",
        "contradictions", "ERAN s", "refine s", "times less", "exact s", "times less")


@dataclass(frozen=True)
class Theirs:
    """One analysis of ERAN. variant: its options.  verdict: as stored, "error:..." where it broke off."""

    net: str
    domain: str
    variant: str
    eps: str
    image: int
    verdict: str
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether it came to an answer."""
        return not self.verdict.startswith("error")


def stored() -> list[Theirs]:
    """The refining domains, one thread."""
    with (PEERS / "eran_verdicts.csv").open(newline="") as file:
        return [Theirs(row["net"], row["domain"], row["variant"], row["eps"], int(row["img"]), row["verdict"], float(row["cpu_seconds"]))
                for row in csv.DictReader(file) if row["domain"] in OURS and row["threads"] == "1"]


def run(args: argparse.Namespace, journal: Journal, setting: Setting) -> None:
    """Measure what is missing, network by network."""
    label = measure.machine()
    for net, path in found_nets(args.nets, []):
        rows = [row for row in stored() if row.net == net.name]
        if not rows or net.mean is not None:
            continue
        bench = Bench.load(path, args.mnist, 1 + max(row.image for row in rows), dict.fromkeys(row.eps for row in rows))
        right = set(bench.correct())
        tasks = [bench.task(PART, row.eps, row.image, domain, setting)
                 for row in rows if row.image in right for domain in (OURS[row.domain], EXACT)]
        measure_all(bench, journal, list(dict.fromkeys(tasks)), label)


def beside(rows: list[Theirs], mine: dict[tuple[str, str, int, str], Outcome]) -> tuple[list[object], list[str]]:
    """One line of the table, and a line for each image on which the two disagree."""
    first = rows[0]
    triples = [(row, mine.get((row.net, row.eps, row.image, OURS[row.domain])), mine.get((row.net, row.eps, row.image, EXACT)))
               for row in rows]
    known = [(row, refine, exact) for row, refine, exact in triples if refine is not None and exact is not None]
    done = [(row, refine, exact) for row, refine, exact in known if row.finished]
    proved = {row.image for row, _, _ in done if row.verdict == "verified"}
    refined = {row.image for row, refine, _ in known if refine.answer == "verified"}
    wrong = {row.image for row, *ours in done if any((row.verdict, o.verdict) in OPPOSITE for o in ours)}
    lines = [f"- {row.net} {row.domain} {row.variant} eps {row.eps} image {row.image}: ERAN {row.verdict}, refine {refine.verdict}, "
             f"exact {exact.verdict}{'  <-- CONTRADICTION' if row.image in wrong else ''}"
             for row, refine, exact in done if row.image in wrong or (row.image in proved and row.image not in refined)]
    answers = [exact.answer for _, _, exact in known]
    counts = " / ".join(str(answers.count(answer)) for answer in DECIDED) + f" / {sum(a not in DECIDED for a in answers)}"
    cells = [first.net, f"{first.domain} ({first.variant})", first.eps, len(known), len(known) - len(done), len(proved), len(refined),
             counts, len(proved - refined), len(wrong)]
    if not done:
        return [*cells, *["-"] * 5], lines
    theirs, refine_s, exact_s = (sum(values) for values in zip(*((row.seconds, r.cpu, e.cpu) for row, r, e in done), strict=True))
    ours = [cell for s in (refine_s, exact_s) for cell in (f"{s:.3g}", f"{theirs / s:.1f}")]
    return [*cells, f"{theirs:.3g}", *ours], lines


def report(journal: Journal) -> int:
    """Print the table, the summary and the disagreements; 1 where something contradicts."""
    outcomes = journal.of(PART)
    mine = {(o.task.net, o.task.eps, o.task.image, o.task.domain): o for o in outcomes}
    groups: dict[tuple[str, ...], list[Theirs]] = {}
    for row in stored():
        groups.setdefault((row.net, row.domain, row.variant, row.eps), []).append(row)
    found = [beside(rows, mine) for _, rows in sorted(groups.items()) if any((r.net, r.eps, r.image, EXACT) in mine for r in rows)]
    cells = [cells for cells, _ in found]
    for code in dict.fromkeys(o.code for o in outcomes):
        print(f"{code}\n")
    print(table("ERAN's refining domains (stored) beside absint; CPU s of all images that it finished", HEAD, cells))
    for domain, method in OURS.items():
        part = [row for row in cells if str(row[1]).startswith(domain)]
        images, errors, theirs, ours, only, wrong = (sum(int(str(row[k])) for row in part) for k in (3, 4, 5, 6, 8, 9))
        print(f"{domain}: {images} runs ({errors} with an error), verified {theirs} by ERAN, {ours} by `{method}`; only ERAN {only}; "
              f"contradictions {wrong}.")
    print(f"\n{troubles(outcomes)}{remarkable(outcomes)}")
    lines = [line for _, lines in found for line in lines] + contradictions(outcomes)
    print("Disagreements:", *lines or ["none"], sep="\n")
    return 1 if any("CONTRADICTION" in line for line in lines) else 0


def main() -> int:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=Path, nargs="+", default=[], help="folders searched for the known networks")
    args = arguments(parser)
    journal = Journal(args.out)
    if args.tables:
        return report(journal)
    if not args.nets or args.mnist is None:
        parser.error("give --nets and --mnist, or --tables")
    torch.set_num_threads(1)
    run(args, journal, setting_of(args))
    return report(journal)


if __name__ == "__main__":
    sys.exit(main())
