"""Verdicts through a Ray cluster beside those of one process, its bookkeeping, and what kills at random moments lose.

    python benchmarks/cluster.py --count 200 --out FOLDER              verdicts and bookkeeping
    python benchmarks/cluster.py --count 60 --kills worker,node,control,head --times 3 --out FOLDER

A cluster of two nodes on this machine (`ray.cluster_utils.Cluster`), one worker each. Every run has a journal; a run that a kill ends is
resumed until it is whole, on a new cluster where the head is gone. Bookkeeping is the CPU time of the process that hands out, between
joining the cluster and leaving it, over that of the workers. Lines of `cluster.jsonl` that are there already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from absint import samples

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "OMP_NUM_THREADS": "1",
               "RAY_health_check_failure_threshold": "3", "RAY_health_check_period_ms": "1000"}
NET = samples.network_path("mnist_relu_3x50")


def words(options: argparse.Namespace, journal: Path, *more: str) -> list[str]:
    start = "from absint.cli.main import run; run()"
    return [sys.executable, "-c", start, "verify", str(options.net), "--eps", str(options.eps), "--domain", options.domain,
            "--attack", "none", "--timeout", "none", "--format", "jsonl", "--journal", str(journal), *more, *options.more]


def verdicts(journal: Path) -> dict[int, str]:
    """By index; an index that is there twice is an error."""
    found: dict[int, str] = {}
    for line in journal.read_text().splitlines()[1:]:
        row = json.loads(line)
        if "index" not in row:      # what an end of the run said
            continue
        assert row["index"] not in found, f"{row['index']} was counted twice"
        found[row["index"]] = row["verdict"]
    return found


class Nodes:
    """Two nodes of one CPU each, the head with none."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, connect=False, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.address = self.cluster.address

    def workers(self) -> list[int]:
        """Processes of our actors."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and b"ray::RayWorker" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def kill(self, what: str, draw: random.Random) -> None:
        if what == "worker":
            for pid in draw.sample(self.workers(), min(1, len(self.workers()))):
                os.kill(pid, signal.SIGKILL)
        elif what == "node":
            node = draw.choice(self.nodes)
            self.nodes.remove(node)
            self.cluster.remove_node(node, allow_graceful=False)
        elif what == "control":     # of the head, what knows the cluster, and nothing else
            self.cluster.head_node.kill_gcs_server(check_alive=False)
        else:
            self.cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    def close(self) -> None:
        self.cluster.shutdown()


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def whole(options: argparse.Namespace, folder: Path) -> tuple[dict[int, str], float | None]:
    """The verdicts of one process, and the wall time that it took if it ran now."""
    journal, took = folder / f"local-{options.count}.jsonl", None
    if not journal.exists():
        start = time.monotonic()
        subprocess.run([*words(options, journal, "--executor", "local"), "--quiet"], check=False, stdout=subprocess.DEVNULL)
        took = round(time.monotonic() - start, 1)
    return verdicts(journal), took


def measured(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """A run through the cluster: verdicts, and what handing out cost."""
    expected, alone = whole(options, folder)
    nodes, journal = Nodes(), folder / "ray.jsonl"
    journal.unlink(missing_ok=True)
    try:
        start = time.monotonic()
        run = subprocess.Popen([*words(options, journal, "--executor", "ray", "--address", nodes.address), "--quiet"],
                               stdout=subprocess.DEVNULL)
        workers: dict[int, tuple[float, float]] = {}
        handing: list[float] = []
        while run.poll() is None:
            for pid in nodes.workers():
                try:
                    now = cpu_of(pid)
                except OSError:
                    continue
                workers[pid] = workers.get(pid, (now, now))[0], now
            if journal.exists() and journal.read_bytes().count(b"\n") > 1:
                handing.append(cpu_of(run.pid))
            time.sleep(0.2)
        took = time.monotonic() - start
    finally:
        nodes.close()
    at_work = sum(last - first for first, last in workers.values())
    spent = handing[-1] - handing[0] if handing else 0.0
    return {"kind": "bookkeeping", "count": options.count, "equal": verdicts(journal) == expected,
            "local_wall_s": alone, "ray_wall_s": round(took, 1), "workers_cpu_s": round(at_work, 1),
            "handing_out_cpu_s": round(spent, 2), "share": round(spent / at_work, 4) if at_work else None,
            "code": run.returncode}


def killed(options: argparse.Namespace, folder: Path, what: str, draw: random.Random) -> dict[str, object]:
    """A run that a kill meets at a random moment, resumed until it is whole."""
    nodes, journal = Nodes(), folder / "killed.jsonl"
    journal.unlink(missing_ok=True)
    codes: list[int | None] = []
    kept = -1
    moment = draw.randrange(1, max(2, options.count * 3 // 4))
    try:
        while len(codes) < 4 and (not codes or len(verdicts(journal)) < options.count):
            resume = ["--resume"] if codes else []
            with (folder / "stderr.txt").open("a") as log:
                run = subprocess.Popen([*words(options, journal, "--executor", "ray", "--address", nodes.address), *resume],
                                       stdout=subprocess.DEVNULL, stderr=log)
            while kept < 0 and run.poll() is None:
                if journal.exists() and journal.read_bytes().count(b"\n") > moment:
                    time.sleep(draw.uniform(0, 0.5))
                    kept = len(verdicts(journal)) if journal.exists() else 0
                    nodes.kill(what, draw)
                time.sleep(0.05)
            try:
                codes.append(run.wait(options.patience))
            except subprocess.TimeoutExpired:
                run.kill()
                codes.append(run.wait())
            if what in ("head", "control") and len(codes) == 1:
                nodes.close()
                nodes = Nodes()
    finally:
        nodes.close()
    return {"kind": what, "count": options.count, "kept_at_the_kill": kept, "codes": codes, "runs": len(codes),
            "equal": verdicts(journal) == whole(options, folder)[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--net", type=Path, default=NET)
    parser.add_argument("--eps", default="0.03")
    parser.add_argument("--domain", default="deeppoly")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--kills", default="")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=240.0)
    parser.add_argument("more", nargs="*", help="words for absint verify, behind --")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.more = [*options.more, "--index", f"0:{options.count}"]
    results = options.out / "cluster.jsonl"
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    plan = [(what, number) for what in options.kills.split(",") if what for number in range(options.times)] or [("bookkeeping", 0)]
    for what, number in plan:
        if any(row["kind"] == what and row["number"] == number for row in known):
            continue
        draw = random.Random(f"{options.seed} {what} {number}")
        row = measured(options, options.out) if what == "bookkeeping" else killed(options, options.out, what, draw)
        line = json.dumps({**row, "number": number})
        print(line, flush=True)
        with results.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
