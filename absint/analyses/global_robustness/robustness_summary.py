"""What draws add up to: at each radius a table of classes, the worst ones first, and the worst of each classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from absint.analyses.global_robustness.asking import kind_of
from absint.analyses.global_robustness.counting import Count
from absint.analyses.global_robustness.deciding import Radii, correct_of, count_of, of_pair
from absint.analyses.global_robustness.latents import DISTRIBUTIONS
from absint.analyses.global_robustness.options import GlobalRobustnessOptions
from absint.analyses.global_robustness.pairs import JudgedPair, JudgedSet
from absint.analyses.global_robustness.robustness_record import UNKNOWN, LatentRobustness
from absint.analyses.global_robustness.shown import interval_figure, level_text, partial_text, reach_lines, so_far, table, worst_rows
from absint.analyses.global_robustness.task import GlobalTask
from absint.contract.analysis import facts
from absint.contract.document import Document, Section
from absint.contract.run import Run


@dataclass(frozen=True)
class RadiusCount:
    """One row. interval: of the probability that all within eps of a draw is classified as its class.  correct: draws that are, themselves.
    """

    eps: str
    group: JudgedSet
    pair: JudgedPair
    count: Count
    correct: int
    interval: tuple[float, float]

    @property
    def row(self) -> dict[str, Any]:
        """JSON-ready."""
        count = self.count
        return {"eps": self.eps, "classifier": self.pair.classifier, "set": self.group.number, "class": self.pair.label,
                "generator": self.pair.generator, "draws": count.asked, "counted": count.counted, "correct": self.correct,
                "verified": count.yes, "falsified": count.no, "unknown": count.unknown, "low": self.interval[0], "high": self.interval[1]}


def radius_counts(records: Sequence[LatentRobustness], radii: Radii) -> list[RadiusCount]:
    """Of each radius, of each generator before each classifier, in their order."""
    found = {record.index: record for record in records}
    rows = []
    for eps in radii.exact:
        for group, pair in radii.task.named():
            counted = of_pair(found, pair, radii)
            count = count_of(counted, radii.task, eps)
            interval = count.interval(radii.task.rest(group), sequential=radii.task.sequential)
            rows.append(RadiusCount(eps, group, pair, count, correct_of(counted, radii.task).yes, interval))
    return rows


def summed_up(records: Sequence[LatentRobustness], run: Run[GlobalRobustnessOptions]) -> Document:
    """Tables, what they claim, and curves over the radii."""
    radii: Radii = run.problem
    task, rows = radii.task, radius_counts(records, radii)
    intervals = {(row.pair.place, row.eps): row.interval for row in rows}
    worst = worst_rows(task, intervals, tuple(radii.exact))
    needless = sum(not record.verdicts for record in records)
    missing = len(run.asked) - len(records) + sum(record.cut and bool(record.verdicts) for record in records)
    order = list(radii.exact)
    classes = [row.row for row in sorted(rows, key=lambda row: (order.index(row.eps), row.interval))]
    title = f"probability that all within eps of a draw is classified as its class, {level_text(task)} intervals"
    reasons = Counter(reason for record in records if not record.cut for reason in record.reasons.values())
    return Document(
        {"draws": {str(pair.place): rows[pair.place].count.counted for pair in task.pairs}, "complete": not missing,
         "stopped_early": bool(needless), "worst": worst, "unknown_reasons": dict(reasons)},
        (Section("worst class of each classifier", (table(worst),)), Section(title, (table(classes),)),
         facts(*_lines(rows, run, missing, reasons))),
        values={"classes": classes}, figures=(interval_figure("robustness", title, task, intervals, order),), exit_code=1 if missing else 0)


def _lines(rows: Sequence[RadiusCount], run: Run[GlobalRobustnessOptions], missing: int,
           reasons: Counter[str]) -> Iterator[tuple[str, str]]:
    radii: Radii = run.problem
    task = radii.task
    yield "draws", f"{DISTRIBUTIONS[task.kind]}; seed {task.seed}"
    yield "intervals", kind_of(task)
    yield from reach_lines(task, run.options)
    yield "verified", "the class's output is proved to be the strict maximum for every real latent within eps (linf)"
    yield "falsified", f"a latent within eps is proved to be classified otherwise{_seen(task)}"
    if reasons:
        yield UNKNOWN, ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    if missing:
        yield "unfinished", f"{missing} of {len(run.asked)} draws are missing: {partial_text(task)}"
        yield from so_far(task, [(f"class {row.pair.label}, {row.pair.classifier}, eps {row.eps}", row.group, row.count) for row in rows])


def _seen(task: GlobalTask) -> str:
    """What was seen of witnesses beyond their proof: a graph without models has nothing to run."""
    alone = sorted({f"class {pair.label}, {pair.classifier}" for pair in task.pairs if not pair.graph.source.runs})
    if len(alone) == len({(pair.label, pair.classifier) for pair in task.pairs}):
        return "; there are no models to run"
    return ", and is by both models one after the other" + (f" (but for {'; '.join(alone)}: no models to run)" if alone else "")
