"""DeepPoly in float32, soundness on, beside auto_LiRPA's stored CROWN: CPU and memory of one batch, cost of soundness.

    python benchmarks/deeppoly.py --shared FOLDER [--nets 256x2,resnet_2b] [--repeats 5]

FOLDER holds `vnncomp/` and `data/`. One process, one thread. Theirs was measured elsewhere (benchmarks/peers/), so the columns
"x forward" compare better than the milliseconds: both are multiples of a float32 forward pass of the same batch.
"""

from __future__ import annotations

import argparse
import csv
import threading
import time
from dataclasses import replace
from pathlib import Path

import measure
import torch
from reference import NETS, PEERS, case
from tables import F32, table

from absint.domains.deeppoly import DeepPoly
from absint.numeric.backend import numeric_mode

HEAD = ("net", "eps", "verified of correct", "ms per image", "theirs", "x forward", "theirs", "cost of soundness", "memory grew by MiB",
        "theirs in all")


class Growth:
    """Resident memory of this process while a block runs: `mib` above what it was before."""

    def __enter__(self) -> Growth:
        self.base, self.most, self.over = resident(), 0.0, False
        self.watch = threading.Thread(target=self._run)
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.watch.join()

    def _run(self) -> None:
        while not self.over:
            self.most = max(self.most, resident())
            time.sleep(0.005)

    @property
    def mib(self) -> float:
        return max(0.0, self.most - self.base)


def resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def theirs(name: str, eps: str) -> tuple[float, float, float] | None:
    """Milliseconds an image, multiples of a forward pass, and peak MiB of auto_LiRPA's CROWN in float32."""
    with (PEERS / "auto_lirpa_summary.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["net"], row["dtype"], row["method"]) == (NETS[name].lirpa, "float32", "CROWN") \
                    and abs(float(row["eps"]) - float(measure.parse_eps(eps))) < 1e-6:
                return 1e3 * float(row["cpu_per_img_batch"]), float(row["x_fwd_batch_cpu"]), float(row["peak_MiB_batch"])
    return None


def rows(shared: Path, name: str, repeats: int) -> list[list[object]]:
    """One line per radius."""
    problem = case(shared, name)
    inputs = problem.inputs.float()

    def forward() -> None:
        with numeric_mode(), torch.no_grad():
            problem.graph(inputs)

    out: list[list[object]] = []
    for eps in NETS[name].eps:
        regions = problem.regions(eps, len(problem.inputs))
        with Growth() as growth:
            lower = problem.run_on(regions, DeepPoly(), F32)
        base, best = measure.cpu_seconds(forward, 3), {True: float("inf"), False: float("inf")}
        for _ in range(repeats):
            for rounding in (True, False):  # taken in turn, so that a busy moment hits both
                begin = time.process_time()
                problem.run_on(regions, DeepPoly(), replace(F32, rounding=rounding))
                best[rounding] = min(best[rounding], time.process_time() - begin)
        stored, ok = theirs(name, eps), problem.correct()
        ms, share = 1e3 * best[True] / len(inputs), best[True] / base
        out.append([name, eps, f"{int(((lower.amin(1) > 0) & ok).sum())} of {int(ok.sum())}", f"{ms:.2f}",
                    "-" if stored is None else f"{stored[0]:.1f}", f"{share:.0f}", "-" if stored is None else f"{stored[1]:.0f}",
                    f"{100 * (best[True] / best[False] - 1):.0f} %", f"{growth.mib:.0f}", "-" if stored is None else f"{stored[2]:.0f}"])
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{measure.machine()}\n")
    lines = [line for name in args.nets.split(",") for line in rows(args.shared, name, args.repeats)]
    print(table("DeepPoly in float32 with soundness, one batch", HEAD, lines))


if __name__ == "__main__":
    main()
