"""Exact answers beside relaxations, and beside MILP: verdicts and CPU seconds image by image, resumable.

    python benchmarks/exact.py --net NET.onnx [NET.onnx ...] --mnist FOLDER --out RESULTS.jsonl [--eps 0.02 0.03] [--images 50]
    python benchmarks/exact.py ... --parts solvers --images 20      the undecided images, interleaved with MILP of two solvers
    python benchmarks/exact.py --out RESULTS.jsonl --tables         print what is stored

FOLDER holds MNIST's IDX files. Correctly classified images only, each in a batch of its own, the methods in turn on one image
before the next. Every answer is one line of JSON, written at once; a second call measures what is missing. Run with one thread:

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/exact.py ...

An answer after more than --limit CPU seconds (children included) counts as open. The engine's own limit is wall time: it is
--slack times as long, so that a busy machine does not cut an answer short. Exit code 1 where two methods contradict each other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from math import ceil, isfinite
from pathlib import Path
from statistics import median
from typing import Any

import measure
import torch
from measure import Case
from tables import F64, table

import absint
from absint.domains.deeppoly import DeepPoly
from absint.engine.context import Context
from absint.engine.forward import margins
from absint.errors import AbsintError
from absint.model.families.nonlinear import Nonlinear
from absint.numeric.backend import Budget, numeric_mode
from absint.numeric.decimal import parse_eps
from absint.problem.regions.region import LinfBall
from absint.problem.spec import Spec
from absint.verdict import Reason

CHEAP = ("zonotope", "deeppoly", "alpha")
REFINE, EXACT = "refine", "exact"
MILP = ("milp:solver=gurobi", "milp:solver=highs")
DECIDED = ("verified", "falsified")
EXPECTED = ("imprecise", "timeout")
SLOW = 10.0  # CPU seconds above which an answer of `exact` is listed
ORIGINS = {
    "mnist-net_256x2": "VNN-COMP 2022, mnist_fc",
    "3x30-relu": "trained by `python benchmarks/papers/input_validation.py --mnist FOLDER --out FOLDER --only 3x30-relu`",
}


# --- what is stored -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """How everything is asked. limit: CPU seconds of an answer.  slack: wall seconds allowed for one of them."""

    attack: str = "none"
    dtype: str = "float64"
    limit: float = 60.0
    slack: float = 2.0


@dataclass(frozen=True)
class Task:
    """One question. sha: of the network's file.  image: position in the test set.  part: what it was measured beside."""

    part: str
    net: str
    sha: str
    eps: str
    image: int
    domain: str
    setting: Setting = field(default_factory=Setting)


@dataclass(frozen=True)
class Outcome:
    """One answer. cpu, wall: seconds.  undecided: entries of nonlinear nodes that DeepPoly leaves undecided.

    verdict: of absint, or "error" with its code and message in `detail`.  code: commit and machine.
    """

    task: Task
    verdict: str
    cpu: float
    wall: float
    undecided: int
    reason: str | None = None
    assurance: str | None = None
    margin: float | None = None
    stage: str | None = None
    detail: str | None = None
    code: str = ""

    @property
    def trouble(self) -> str | None:
        """Why the answer is not that of the method asked for: its error, or what stopped the solver named, so that another took over."""
        if self.verdict == "error":
            return self.detail
        noted = re.search(r"E-SOLVER-(?:LICENCE|MISSING|CRASH|HANG)[^;]*", self.detail or "") if "solver=" in self.task.domain else None
        return noted[0] if noted else None

    @property
    def answer(self) -> str:
        """"verified", "falsified" or "error"; "open" also where the answer came too late."""
        if self.trouble is not None:
            return "error"
        return self.verdict if self.verdict in DECIDED and self.cpu <= self.task.setting.limit else "open"


class Journal:
    """Outcomes in a file, a line each."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, {o.task: o for o in _stored(path)}

    def add(self, outcome: Outcome) -> None:
        """Write it, at once and for good."""
        self.found[outcome.task] = outcome
        torn = self.path.exists() and self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(asdict(outcome), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def missing(self, tasks: Iterable[Task]) -> list[Task]:
        """Those that were not answered yet."""
        return [task for task in tasks if task not in self.found]

    def of(self, part: str) -> list[Outcome]:
        """Everything measured for one part, in the order of the tables."""
        return sorted((o for o in self.found.values() if o.task.part == part),
                      key=lambda o: (o.task.net, o.task.sha, float(o.task.eps), o.task.image))


def _stored(path: Path) -> Iterator[Outcome]:
    """What the file holds. A line that a killed process left unfinished is measured again."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        task = row.pop("task")
        yield Outcome(Task(**{**task, "setting": Setting(**task["setting"])}), **row)


# --- measuring ------------------------------------------------------------------------------------------------------


def spent() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


@dataclass(frozen=True)
class Bench:
    """A network with its images. sha: of its file.  undecided: radius -> neurons by image."""

    case: Case
    sha: str
    undecided: dict[str, list[int]]

    @staticmethod
    def load(net: Path, mnist: Path, count: int, radii: Iterable[str]) -> Bench:
        """From files; the first `count` test images."""
        graph = absint.load(net)
        x, y = measure.mnist(mnist, count)
        case = Case(net.stem, graph, x.reshape(len(x), *graph.input.shape), y)
        sha = hashlib.sha256(net.read_bytes()).hexdigest()[:12]
        return Bench(case, sha, {eps: undecided(case, eps) for eps in radii})

    def correct(self) -> list[int]:
        """Images that are classified as labelled."""
        return [int(i) for i in self.case.correct().nonzero().flatten()]

    def task(self, part: str, eps: str, image: int, domain: str, setting: Setting) -> Task:
        """A question about one image."""
        return Task(part, self.case.name, self.sha, eps, image, domain, setting)

    def ask(self, task: Task, seconds: float) -> Outcome:
        """The answer, measured. seconds: wall time allowed."""
        cpu, wall = spent(), time.perf_counter()
        found = self._answer(task, seconds)
        cpu, wall = spent() - cpu, time.perf_counter() - wall
        return Outcome(task, cpu=round(cpu, 4), wall=round(wall, 4), undecided=self.undecided[task.eps][task.image], **found)

    def _answer(self, task: Task, seconds: float) -> dict[str, Any]:
        here = slice(task.image, task.image + 1)
        options: dict[str, Any] = {"accept_solver": True} if task.domain.startswith("milp") else {}
        attack = None if task.setting.attack == "none" else task.setting.attack
        try:
            (row,) = absint.verify(self.case.graph, self.case.inputs[here], self.case.labels[here], task.eps, domain=task.domain,
                                   attack=attack, dtype=task.setting.dtype, timeout=seconds, **options)
        except AbsintError as error:
            return {"verdict": "error", "detail": f"{error.code}: {error}"}
        if row.reason is Reason.INTERRUPTED:
            raise KeyboardInterrupt
        margin = row.margin if row.margin is not None and isfinite(row.margin) else None
        return {"verdict": row.verdict.value, "reason": row.reason.value if row.reason else None, "margin": margin,
                "assurance": row.assurance.value, "stage": row.stage, "detail": row.detail}


def undecided(case: Case, eps: str) -> list[int]:
    """Entries of nonlinear nodes that DeepPoly leaves undecided, by image."""
    spec = Spec.robust(case.labels, case.graph.output.size)
    ctx = Context(case.graph, LinfBall(case.inputs, parse_eps(eps)), F64, Budget(8 << 30))
    with numeric_mode(), torch.no_grad():
        _, ctx = margins(DeepPoly(), ctx, spec)
        masks = [mask.flatten(1).sum(1) for node in case.graph.nodes if isinstance(node.op, Nonlinear)
                 for mask in node.op.undecided(ctx.inputs(node.inputs))]
    return [int(n) for n in sum(masks, torch.zeros(len(case.inputs)))]


def measure_all(bench: Bench, journal: Journal, tasks: list[Task], label: str) -> None:
    """Answer what is missing, after one short unmeasured call of each method (imports, constants of the graph)."""
    wanted = journal.missing(tasks)
    for domain in dict.fromkeys(task.domain for task in wanted):
        bench.ask(next(task for task in wanted if task.domain == domain), 1.0)
    for number, task in enumerate(wanted, 1):
        outcome = bench.ask(task, task.setting.limit * task.setting.slack)
        journal.add(replace(outcome, code=label))
        print(f"[{number}/{len(wanted)}] {task.net} eps {task.eps} image {task.image} {task.domain}: {outcome.verdict} "
              f"({outcome.reason or outcome.assurance}), {outcome.cpu:.2f} CPU s, {outcome.undecided} undecided",
              *([outcome.detail] if outcome.verdict == "error" else []), file=sys.stderr, flush=True)


def stages(bench: Bench, radii: list[str], domains: Iterable[str], setting: Setting) -> list[Task]:
    """Every domain on every correct image."""
    return [bench.task("stages", eps, image, domain, setting) for image in bench.correct() for eps in radii for domain in domains]


def hard(bench: Bench, journal: Journal, radii: list[str], setting: Setting, methods: list[str]) -> list[Task]:
    """The methods in turn on every correct image that no cheap domain proves, another one first each time."""
    left = [(image, eps) for image in bench.correct() for eps in radii
            if not any(journal.found[bench.task("stages", eps, image, d, setting)].answer == "verified" for d in CHEAP)]
    return [bench.task("solvers", eps, image, methods[(k + first) % len(methods)], setting)
            for first, (image, eps) in enumerate(left) for k in range(len(methods))]


# --- tables ---------------------------------------------------------------------------------------------------------

SECONDS = ("median CPU s an image", "p90", "most")
HEAD = ("net", "eps", "images", "domain", "verified", "falsified", "open", "error", *SECONDS)


def grouped(outcomes: list[Outcome], key: Callable[[Outcome], tuple[str, ...]]) -> dict[tuple[str, ...], list[Outcome]]:
    """By key, in the order of appearance."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return groups


def seconds(group: list[Outcome]) -> list[str]:
    """Median, 90 % point (nearest rank) and most CPU seconds."""
    cpu = sorted(o.cpu for o in group)
    return [f"{value:.3g}" for value in (median(cpu), cpu[ceil(0.9 * len(cpu)) - 1], cpu[-1])]


def line(group: list[Outcome]) -> list[object]:
    """One row: the counts and seconds of one domain at one radius."""
    task = group[0].task
    counts = [sum(o.answer == answer for o in group) for answer in ("verified", "falsified", "open", "error")]
    return [task.net, task.eps, len(group), task.domain, *counts, *seconds(group)]


def stages_table(outcomes: list[Outcome]) -> str:
    """What each domain decides, and what it costs."""
    groups = grouped(outcomes, lambda o: (o.task.net, o.task.sha, o.task.eps, o.task.domain))
    text = table(f"Verdicts by domain, {_asked(outcomes)}", HEAD, [line(group) for group in groups.values()])
    nets = dict.fromkeys((o.task.net, o.task.sha) for o in outcomes)
    origins = "".join(f"- {net} (sha256 {sha}...): {ORIGINS.get(net, 'a network of yours')}\n" for net, sha in nets)
    return f"{text}\n{troubles(outcomes)}{origins}"


def solvers_table(outcomes: list[Outcome]) -> str:
    """`exact` beside MILP; the ratio is of the CPU seconds in all, on images that both decide."""
    rows = []
    exact = {(o.task.sha, o.task.eps, o.task.image): o for o in outcomes if o.task.domain.startswith(EXACT)}
    for group in grouped(outcomes, lambda o: (o.task.net, o.task.sha, o.task.eps, o.task.domain)).values():
        pairs = [(o, exact.get((o.task.sha, o.task.eps, o.task.image))) for o in group]
        both = [(o.cpu, e.cpu) for o, e in pairs if e is not None and o.answer in DECIDED and e.answer in DECIDED]
        ratio = f"{sum(o for o, _ in both) / sum(e for _, e in both):.2f} on {len(both)}" if both else "-"
        rows.append([*line(group), f"{sum(o.cpu for o in group):.3g}", ratio])
    head = (*HEAD, "in all", "times `exact`, both deciding")
    text = table(f"Images that {', '.join(CHEAP)} leave unproved, {_asked(outcomes)}", head, rows)
    return f"{text}\nWhat MILP verifies rests on the solver's word, and is the least margin; `exact` proves its sign.\n{troubles(outcomes)}"


def _asked(outcomes: list[Outcome]) -> str:
    """The settings in words."""
    found = dict.fromkeys(o.task.setting for o in outcomes)
    return "; ".join(f"attack {s.attack}, {s.dtype}, {s.limit:g} CPU s an image" for s in found)


def troubles(outcomes: list[Outcome]) -> str:
    """Every kind of error, and every reason of an open answer that is neither looseness nor time, once."""
    odd = [o for o in outcomes if o.answer == "error" or (o.verdict not in DECIDED and o.reason not in EXPECTED)]
    kinds = grouped(odd, lambda o: (o.task.domain, o.trouble or f"{o.reason}: {o.detail}"))
    return "".join(f"- {domain}: {len(group)} x {text}\n" for (domain, text), group in kinds.items())


def remarkable(outcomes: list[Outcome]) -> str:
    """Every image that `exact` leaves open, or decides late."""
    exact = [o for o in outcomes if o.task.domain.startswith(EXACT)]
    rows = [[o.task.net, o.task.eps, o.task.image, o.undecided, o.answer, o.reason or ("late" if o.answer == "open" else ""),
             "-" if o.margin is None else f"{o.margin:.4g}", f"{o.cpu:.1f}", f"{o.wall:.1f}"]
            for o in exact if o.answer not in DECIDED or o.cpu > SLOW]
    if not rows:
        return f"`exact`: none open and none above {SLOW:g} CPU s, of {len(exact)}.\n"
    head = ("net", "eps", "image", "undecided", "answer", "reason", "margin", "CPU s", "wall s")
    return table(f"Open, or more than {SLOW:g} CPU s, by `exact`", head, rows)


def contradictions(outcomes: list[Outcome]) -> list[str]:
    """A line for every image that one method verifies and another falsifies, late answers included."""
    lines = []
    for (net, _, eps, image), group in grouped(outcomes, lambda o: (o.task.net, o.task.sha, o.task.eps, str(o.task.image))).items():
        said = {verdict: sorted({o.task.domain for o in group if o.verdict == verdict}) for verdict in DECIDED}
        if all(said.values()):
            lines.append(f"CONTRADICTION: {net} eps {eps} image {image}: "
                         + ", ".join(f"{verdict} by {', '.join(domains)}" for verdict, domains in said.items()))
    return lines


def report(journal: Journal) -> int:
    """Print every table; 1 where answers contradict each other."""
    everything = list(journal.found.values())
    for code in dict.fromkeys(o.code for o in everything):
        print(f"{code}\n")
    for part, make in (("stages", stages_table), ("solvers", solvers_table)):
        if outcomes := journal.of(part):
            print(f"{make(outcomes)}\n{remarkable(outcomes)}")
    wrong = contradictions(everything)
    print(*wrong or ["Contradictions: none."], sep="\n")
    return 1 if wrong else 0


# --- command line ---------------------------------------------------------------------------------------------------


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Options that the comparison with ERAN has, too."""
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument("--out", type=Path, required=True, help="the stored answers; continued where it exists")
    parser.add_argument("--attack", default="none", help="a falsifier before the proofs: pgd; none, so that exact finds its own witness")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds of an answer")
    parser.add_argument("--slack", type=float, default=2.0, help="wall seconds allowed for a CPU second")
    parser.add_argument("--tables", action="store_true", help="measure nothing, print the tables")
    return parser.parse_args()


def setting_of(args: argparse.Namespace) -> Setting:
    """How everything is asked."""
    return Setting(args.attack, args.dtype, args.limit, args.slack)


def main() -> int:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", type=Path, nargs="+", default=[], help="networks that take MNIST images in [0, 1]")
    parser.add_argument("--eps", nargs="+", default=["0.02", "0.03"])
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=["stages"], help="stages, solvers")
    parser.add_argument("--domains", nargs="+", default=[*CHEAP, REFINE, EXACT], help="of the part 'stages'")
    parser.add_argument("--methods", nargs="+", default=[EXACT, *MILP], help="of the part 'solvers'")
    args = arguments(parser)
    journal, setting = Journal(args.out), setting_of(args)
    if args.tables:
        return report(journal)
    if not args.net or args.mnist is None or set(args.parts) - {"stages", "solvers"}:
        parser.error("give --net and --mnist, or --tables; --parts are stages and solvers")
    torch.set_num_threads(1)
    label = measure.machine()
    for net in args.net:
        bench = Bench.load(net, args.mnist, args.images, args.eps)
        domains = args.domains if "stages" in args.parts else CHEAP
        measure_all(bench, journal, stages(bench, args.eps, domains, setting), label)
        if "solvers" in args.parts:
            measure_all(bench, journal, stages(bench, args.eps, CHEAP, setting), label)
            measure_all(bench, journal, hard(bench, journal, args.eps, setting, args.methods), label)
    return report(journal)


if __name__ == "__main__":
    sys.exit(main())
