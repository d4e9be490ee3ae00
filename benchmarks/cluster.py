"""Verdicts through a Ray cluster beside those of one process, its bookkeeping, and what kills at random moments lose.

    python benchmarks/cluster.py --count 200 --out FOLDER              verdicts and bookkeeping
    python benchmarks/cluster.py --count 60 --kills worker,node,control,head,lost --times 10 --out FOLDER

A cluster of two nodes on this machine (`ray.cluster_utils.Cluster`), one worker each. Every run has a journal; a run that a kill ends is
resumed until it is whole, on a new cluster where the head is gone. What dies: a worker; a node; of the head what knows the cluster
(control); all of the head; the head and every worker, so that nobody can decide what is left (lost) and the run has to see it and end.
No cluster comes back before the run has ended. Bookkeeping is the CPU time of the process that hands out, between
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
from typing import Any

from absint import samples

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "OMP_NUM_THREADS": "1",
               "RAY_health_check_failure_threshold": "3", "RAY_health_check_period_ms": "1000"}
NET = samples.network_path("mnist_relu_3x50")
NODES = 2
OF_THE_HEAD = ("control", "head", "lost")


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
        self.nodes: list[Any] = []
        self.address = self.cluster.address
        self.mend()

    @staticmethod
    def started() -> Nodes:
        """On a machine that is too busy for Ray, which waits for 30 s, at the next try."""
        for _ in range(4):
            try:
                return Nodes()
            except Exception as error:
                print(f"no cluster: {error}", file=sys.stderr, flush=True)
        return Nodes()

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
            if what == "lost":
                for pid in self.workers():
                    os.kill(pid, signal.SIGKILL)

    def mend(self) -> None:
        """As many nodes as at the beginning."""
        while len(self.nodes) < NODES:
            try:
                self.nodes.append(self.cluster.add_node(num_cpus=1))
            except Exception:
                self.close()
                raise

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
    nodes, journal = Nodes.started(), folder / "ray.jsonl"
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


class Kills:
    """Runs that meet a kill, one after the other, on one cluster as long as its head lives."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder, self.journal = options, folder, folder / "killed.jsonl"
        self.nodes: Nodes | None = None

    def close(self) -> None:
        if self.nodes is not None:
            self.nodes.close()
        self.nodes = None

    def started(self, *more: str) -> subprocess.Popen[bytes]:
        try:
            if self.nodes is not None:
                self.nodes.mend()
        except Exception:       # this machine is too busy for another node
            self.nodes = None
        self.nodes = self.nodes or Nodes.started()
        with (self.folder / "stderr.txt").open("a") as log:
            log.write(f"---- {' '.join(more)}\n")
            log.flush()
            return subprocess.Popen([*words(self.options, self.journal, "--executor", "ray", "--address", self.nodes.address), *more],
                                    stdout=subprocess.DEVNULL, stderr=log)

    def ended(self, run: subprocess.Popen[bytes]) -> int | str:
        """Its exit code; 'hung' for one that had to be killed."""
        try:
            return run.wait(self.options.patience)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            return "hung"

    def row(self, what: str, draw: random.Random) -> dict[str, object]:
        """A run that a kill meets at a random moment, resumed until it is whole."""
        self.journal.unlink(missing_ok=True)
        moment = draw.randrange(1, max(2, self.options.count * 3 // 4))
        run, kept, at = self.started(), -1, 0.0
        assert self.nodes is not None
        while kept < 0 and run.poll() is None:
            if self.journal.exists() and self.journal.read_bytes().count(b"\n") > moment:
                time.sleep(draw.uniform(0, 0.5))
                kept, at = len(verdicts(self.journal)), time.monotonic()
                self.nodes.kill(what, draw)
            time.sleep(0.05)
        codes = [self.ended(run)]
        seconds, found = round(time.monotonic() - at, 1), [len(verdicts(self.journal))]
        if what in OF_THE_HEAD:
            self.close()
        while found[-1] < self.options.count and len(codes) < 4:
            codes.append(self.ended(self.started("--resume")))
            found.append(len(verdicts(self.journal)))
        return {"kind": what, "count": self.options.count, "kept_at_the_kill": kept, "seconds_to_its_end": seconds, "codes": codes,
                "found": found, "runs": len(codes), "equal": verdicts(self.journal) == whole(self.options, self.folder)[0]}


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
    plan = [(what, number) for number in range(options.times) for what in options.kills.split(",") if what] or [("bookkeeping", 0)]
    kills = Kills(options, options.out)
    try:
        for what, number in plan:
            if any(row["kind"] == what and row["number"] == number for row in known):
                continue
            draw = random.Random(f"{options.seed} {what} {number}")
            row = measured(options, options.out) if what == "bookkeeping" else kills.row(what, draw)
            line = json.dumps({**row, "number": number})
            print(line, flush=True)
            with results.open("a") as file:
                file.write(line + "\n")
    finally:
        kills.close()


if __name__ == "__main__":
    main()
