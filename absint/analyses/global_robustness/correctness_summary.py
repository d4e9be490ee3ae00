"""What blocks add up to: a table of classes, the worst ones first, and the worst of each classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from absint.analyses.global_robustness.asking import kind_of
from absint.analyses.global_robustness.correctness_record import CorrectnessBlock
from absint.analyses.global_robustness.counting import Count
from absint.analyses.global_robustness.judging import of_pair
from absint.analyses.global_robustness.latents import DISTRIBUTIONS
from absint.analyses.global_robustness.options import GlobalCorrectnessOptions
from absint.analyses.global_robustness.pairs import JudgedPair, JudgedSet
from absint.analyses.global_robustness.shown import interval_figure, level_text, partial_text, reach_lines, so_far, table, worst_rows
from absint.analyses.global_robustness.task import GlobalTask
from absint.contract.analysis import facts
from absint.contract.document import Document, Section
from absint.contract.run import Run


@dataclass(frozen=True)
class ClassCount:
    """One row. interval: of the probability that a draw is classified as its class.  mistaken: classes of the wrong ones, by number."""

    group: JudgedSet
    pair: JudgedPair
    count: Count
    interval: tuple[float, float]
    mistaken: Counter[int]

    @property
    def row(self) -> dict[str, Any]:
        """JSON-ready."""
        count = self.count
        return {"classifier": self.pair.classifier, "set": self.group.number, "class": self.pair.label, "generator": self.pair.generator,
                "draws": count.asked, "counted": count.counted, "right": count.yes, "wrong": count.no, "unknown": count.unknown,
                "share": count.share, "low": self.interval[0], "high": self.interval[1],
                "mistaken for": ", ".join(f"{label} ({times})" for label, times in self.mistaken.most_common(3))}


def class_counts(records: Sequence[CorrectnessBlock], run: Run[GlobalCorrectnessOptions]) -> list[ClassCount]:
    """Of each generator before each classifier, in their order."""
    task: GlobalTask = run.problem
    found = {record.index: record for record in records}
    rows = []
    for group, pair in task.named():
        blocks, count = of_pair(found, pair, run)
        mistaken = Counter(label for block in blocks for label in block.mistaken.values())
        rows.append(ClassCount(group, pair, count, count.interval(task.rest(group), sequential=task.sequential), mistaken))
    return rows


def summed_up(records: Sequence[CorrectnessBlock], run: Run[GlobalCorrectnessOptions]) -> Document:
    """Tables, what they claim, and a figure."""
    task: GlobalTask = run.problem
    rows = class_counts(records, run)
    intervals = {(row.pair.place, ""): row.interval for row in rows}
    worst = worst_rows(task, intervals, ("",))
    skipped = {record.index for record in records if record.skipped}
    missing = len(run.asked) - len(records)
    classes = [row.row for row in sorted(rows, key=lambda row: row.interval)]
    title = f"probability that a draw is classified as its class, {level_text(task)} intervals"
    return Document(
        {"draws": sum(row.count.counted for row in rows), "complete": not missing, "stopped_early": bool(skipped), "worst": worst},
        (Section("worst class of each classifier", (table(worst),)), Section(title, (table(classes),)), facts(*_lines(rows, run, missing))),
        values={"classes": classes}, figures=(interval_figure("correctness", title, task, intervals, ("",)),),
        exit_code=1 if missing else 0)


def _lines(rows: Sequence[ClassCount], run: Run[GlobalCorrectnessOptions], missing: int) -> Iterator[tuple[str, str]]:
    task: GlobalTask = run.problem
    yield "draws", f"{DISTRIBUTIONS[task.kind]}; seed {task.seed}"
    yield "intervals", kind_of(task)
    yield from reach_lines(task, run.options)
    yield "counted", ("right: the class's output is proved to be the strict maximum, in exact arithmetic; wrong: another one is proved to "
                      "be above it; unknown: a tie within rounding")
    if missing:
        yield "unfinished", f"{missing} of {len(run.asked)} blocks are missing: {partial_text(task)}"
        yield from so_far(task, [(f"class {row.pair.label}, {row.pair.classifier}", row.group, row.count) for row in rows])
