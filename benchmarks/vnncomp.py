"""VNN-COMP instances beside their expected answers: one table by category, resumable.

    python benchmarks/vnncomp.py --root FOLDER --out FOLDER [--no-attack] [--subset 40] [--timeout 60] [--processes 2]
                                  [--domain exact] [--only acasxu_2023 mnist_fc_2022/onnx/mnist-net_256x2] [--expected unsat]

FOLDER of --root holds `expected.csv` (category, onnx, vnnlib, verdict, confidence, difficulty, timeout_s) and the
categories' folders. The instances run through `absint verify --instances`, each in a process of its own; a second call with
the same --out continues where the first one stopped. Exit code 1 where any answer is wrong.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

DECIDED = ("sat", "unsat")


def main() -> int:
    """Run what is missing, then print the tables."""
    options = arguments()
    expected = chosen(options.root, options.subset, options.only, options.expected)
    if not expected:
        print(f"no instance starts with {' or '.join(options.only)}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    listing, results, journal = (options.out / name for name in ("instances.csv", "results.csv", "journal.jsonl"))
    write_listing(listing, options.root, expected, options.timeout)
    command = [sys.executable, "-m", "absint", "verify", "--instances", str(listing), "--out", str(results), "--journal", str(journal),
               *(["--resume"] if journal.exists() else []), "--timeout", str(options.timeout), "--processes", str(options.processes),
               "--domain", options.domain]
    if options.no_attack:
        command += ["--attack", "none"]
    if not options.tables_only:
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    return report(options, expected, read_results(results))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--domain", default="auto")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--subset", type=int, default=0, help="a stratified part of so many instances; 0 for all")
    parser.add_argument("--only", nargs="+", default=[""], help="how CATEGORY/onnx/NETWORK begins")
    parser.add_argument("--expected", default="", help="sat or unsat: those alone that are expected to be so")
    parser.add_argument("--no-attack", action="store_true", help="falsification off: nothing expected sat may come out unsat")
    parser.add_argument("--tables-only", action="store_true")
    return parser.parse_args()


def chosen(root: Path, count: int, only: list[str], verdict: str = "") -> list[dict[str, str]]:
    """All instances that begin like one of `only` and are expected to be `verdict`, or about `count` of them: round robin over category,
    answer and difficulty, in the file's order."""
    with (root / "expected.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file)
                if f"{row['category']}/{row['onnx']}".startswith(tuple(only)) and verdict in ("", row["verdict"])]
    if not count:
        return rows
    strata: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        strata[row["category"], row["verdict"], row["difficulty"]].append(row)
    taken: list[dict[str, str]] = []
    depth = 0
    while len(taken) < min(count, len(rows)):
        taken += [rows[depth] for rows in strata.values() if depth < len(rows)]
        depth += 1
    return taken[:count]


def write_listing(path: Path, root: Path, expected: list[dict[str, str]], cap: float) -> None:
    """The list of instances that `absint verify --instances` reads."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for row in expected:
            folder = (root / row["category"]).resolve()
            writer.writerow([folder / row["onnx"], folder / row["vnnlib"], min(cap, float(row["timeout_s"]))])


def read_results(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Answers by network and query."""
    with path.open(newline="") as file:
        return {(row["onnx"], row["vnnlib"]): row for row in csv.DictReader(file)}


def report(options: argparse.Namespace, expected: list[dict[str, str]], found: dict[tuple[str, str], dict[str, str]]) -> int:
    """The table by category, the stages that decided, what is wrong, and what was missed although it is called easy."""
    groups: dict[str, list[tuple[dict[str, str], dict[str, str] | None]]] = defaultdict(list)
    for row in expected:
        folder = (options.root / row["category"]).resolve()
        groups[row["category"]].append((row, found.get((str(folder / row["onnx"]), str(folder / row["vnnlib"])))))
    print("| category | instances | sat of | unsat of | open | wrong | median s of solved | PAR-2 s | longest s |")
    print("|---|---|---|---|---|---|---|---|---|")
    everything = [pair for pairs in groups.values() for pair in pairs]
    for name, pairs in [*sorted(groups.items()), ("all", everything)]:
        print(line(name, pairs, options.timeout))
    print_stages(everything)
    wrong = [pair for pair in everything if is_wrong(*pair)]
    missed = [pair for pair in everything if not is_right(*pair) and not is_wrong(*pair) and
              (pair[0]["difficulty"] == "easy" or pair[0]["verdict"] == "sat")]
    for title, rows in (("WRONG", wrong), ("open, but expected sat or called easy", missed)):
        print(f"\n{title}: {len(rows)}\n")
        for row, got in rows:
            answer = "missing" if got is None else f"{got['verdict']} ({got['reason']}, {got['time_s']} s, margin {got['margin']})"
            print(f"- {row['category']} {row['onnx']} {row['vnnlib']}: expected {row['verdict']} ({row['confidence']}, "
                  f"{row['difficulty']}), got {answer}")
    return 1 if wrong else 0


def is_right(row: dict[str, str], got: dict[str, str] | None) -> bool:
    """Decided, and as expected or where nothing trusted is expected."""
    return got is not None and got["verdict"] in DECIDED and not is_wrong(row, got)


def is_wrong(row: dict[str, str], got: dict[str, str] | None) -> bool:
    """Contradicts an expected answer."""
    return got is not None and {got["verdict"], row["verdict"]} == set(DECIDED)


def line(name: str, pairs: list[tuple[dict[str, str], dict[str, str] | None]], cap: float) -> str:
    """One row of the table. PAR-2 counts an open instance as twice its time limit."""
    counts = {answer: (sum(1 for row, got in pairs if row["verdict"] == answer and is_right(row, got) and got is not None),
                       sum(1 for row, _ in pairs if row["verdict"] == answer)) for answer in DECIDED}
    solved = [float(got["time_s"]) for row, got in pairs if got is not None and is_right(row, got)]
    penalty = [float(got["time_s"]) if got is not None and is_right(row, got) else 2 * min(cap, float(row["timeout_s"]))
               for row, got in pairs]
    times = [float(got["time_s"]) for _, got in pairs if got is not None]
    return (f"| {name} | {len(pairs)} | {counts['sat'][0]} of {counts['sat'][1]} | {counts['unsat'][0]} of {counts['unsat'][1]} | "
            f"{sum(not is_right(*p) and not is_wrong(*p) for p in pairs)} | {sum(is_wrong(*p) for p in pairs)} | "
            f"{median(solved) if solved else float('nan'):.2f} | {sum(penalty) / max(1, len(pairs)):.1f} | {max(times, default=0.0):.1f} |")


def print_stages(pairs: list[tuple[dict[str, str], dict[str, str] | None]]) -> None:
    """Which stage decided how many."""
    count: dict[str, int] = defaultdict(int)
    for row, got in pairs:
        if got is not None and is_right(row, got):
            count[got["stage"]] += 1
    print("\n| stage | decided |\n|---|---|")
    for stage, number in sorted(count.items(), key=lambda item: -item[1]):
        print(f"| {stage} | {number} |")


if __name__ == "__main__":
    sys.exit(main())
