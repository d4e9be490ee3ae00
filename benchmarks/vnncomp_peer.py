"""Another verifier on the instances of vnncomp.py: the same list, the same table, resumable.

    python benchmarks/vnncomp_peer.py --root FOLDER --out FOLDER [--subset 40] [--timeout 60] [--no-attack] -- \\
        vibecheck --device cpu --net {onnx} --spec {vnnlib} --timeout {timeout} --results-file {answer}

What follows `--` is the command of one instance, which writes its answer (sat, unsat, or any other word) as the first word of {answer}.
Each instance is a process of its own, one after the other, ended `--grace` seconds after its limit; the time is its wall time, start-up
included. --no-attack only says what nothing expected sat may come out as: the command's own option goes into the command.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import vnncomp

COLUMNS = ("onnx", "vnnlib", "verdict", "time_s", "reason", "stage", "margin")


def main() -> int:
    """Run what is missing, then print the tables."""
    options = arguments()
    expected = vnncomp.chosen(options.root, options.subset, options.only, options.expected)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.csv"
    done = vnncomp.read_results(results) if results.exists() else {}
    with results.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for row in expected:
            folder = (options.root / row["category"]).resolve()
            onnx, query = str(folder / row["onnx"]), str(folder / row["vnnlib"])
            if (onnx, query) not in done:
                writer.writerow(answer(options, onnx, query, min(options.timeout, float(row["timeout_s"]))))
                file.flush()
    return vnncomp.report(options, expected, vnncomp.read_results(results))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--grace", type=float, default=10.0, help="seconds after the limit until the process is ended")
    parser.add_argument("--subset", type=int, default=0, help="a stratified part of so many instances; 0 for all")
    parser.add_argument("--only", nargs="+", default=[""], help="how CATEGORY/onnx/NETWORK begins")
    parser.add_argument("--expected", default="", help="sat or unsat: those alone that are expected to be so")
    parser.add_argument("--no-attack", action="store_true")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def answer(options: argparse.Namespace, onnx: str, query: str, limit: float) -> dict[str, str]:
    """One row of the results."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "answer"
        command = [part.format(onnx=onnx, vnnlib=query, timeout=f"{limit:g}", answer=said) for part in options.command]
        begin, reason = time.monotonic(), ""
        try:
            code = subprocess.run(command, timeout=limit + options.grace, capture_output=True, check=False, cwd=folder).returncode
            reason = f"exit code {code}" if code else ""
        except subprocess.TimeoutExpired:
            reason = "ended"
        took = time.monotonic() - begin
        words = said.read_text().split() if said.exists() else []
        verdict = words[0] if words and took <= limit + 1.0 else "unknown"
    return {"onnx": onnx, "vnnlib": query, "verdict": verdict, "time_s": f"{took:.2f}", "reason": reason or " ".join(words[:1]),
            "stage": "peer", "margin": ""}


if __name__ == "__main__":
    sys.exit(main())
