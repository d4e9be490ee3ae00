"""What the records add up to: a table of error rates, each with its numbers and its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from absint.analyses.errors.asking import ErrorsTask, called
from absint.analyses.errors.options import ErrorsOptions
from absint.analyses.errors.record import ATTACK, ImageErrors
from absint.contract.analysis import facts
from absint.contract.document import Document, Json, Section, Table
from absint.contract.run import Run
from absint.numeric.percent import percents
from absint.numeric.statistics import clopper_pearson

_WHERE = " where every image is"
COLUMNS = ("error", "percent", "errors", "n", "low", "high", "seconds")
ANY = "verified: any of these"


@dataclass(frozen=True)
class Rate:
    """One line. name: what is counted.  errors: of n images for which it is decided.  seconds: None for what takes none of its own."""

    name: str
    errors: int
    n: int
    seconds: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """At 95 %, Clopper-Pearson; None of no images."""
        return clopper_pearson(self.errors, self.n) if self.n else None

    @property
    def share(self) -> float | None:
        """Of the n images."""
        return self.errors / self.n if self.n else None

    @property
    def cells(self) -> tuple[Json, ...]:
        """Rates in percent."""
        share, low, high = percents(self.errors, self.n)
        seconds = None if self.seconds is None else round(self.seconds, 3)
        return (self.name, share, self.errors, self.n, low, high, seconds)

    def told(self, asked: int) -> tuple[Json, ...]:
        """The same of so many images that were asked for: no interval where some are not decided, for the others are no random sample."""
        return self.cells if self.n == asked else (*self.cells[:4], None, None, *self.cells[6:])


def rates(records: Sequence[ImageErrors], task: ErrorsTask) -> tuple[Rate, ...]:
    """Clean, under attack, by each domain, by any of them. A proof that a limit cut counts as an error; what was not asked is none of n."""
    found = [_counted("clean", records, lambda record: record.correct)]
    if task.attack is not None:
        name = f"under attack: {task.attack.steps} steps, {task.attack.restarts} starts"
        found.append(_counted(name, records, lambda record: record.unbroken, sum(record.seconds.get(ATTACK, 0.0) for record in records)))
    names = tuple(task.domains)
    for place, name in enumerate(names):
        counted = names[: place + 1] if task.only_open else (name,)
        label = f"verified: {' or '.join(counted)}"
        found.append(_counted(label, records, lambda record, counted=counted: record.answer(counted),  # type: ignore[misc]
                              sum(record.seconds.get(name, 0.0) for record in records)))
    if len(names) > 1 and not task.only_open:
        found.append(_counted(ANY, records, lambda record: record.answer(names)))
    return tuple(found)


def _counted(name: str, records: Sequence[ImageErrors], good: Callable[[ImageErrors], bool | None], seconds: float | None = None) -> Rate:
    verdicts = [good(record) for record in records]
    return Rate(name, verdicts.count(False), len(verdicts) - verdicts.count(None), seconds)


def summed_up(records: Sequence[ImageErrors], run: Run[ErrorsOptions]) -> Document:
    """The table, and what it is about."""
    task: ErrorsTask = run.problem
    found, late = rates(records, task), Counter(reason for record in records for reason in record.reasons.values())
    missed = len(run.asked) - len(records)
    cut = sum(record.cut for record in records)
    untried = sum(record.unbroken is None for record in records) if task.attack is not None else 0
    complete = not (missed or cut or late["timeout"] or untried)
    whole = all(one.n == len(run.asked) for one in found)
    rows = tuple(one.told(len(run.asked)) for one in found)
    title = "errors, in percent" + ("" if whole else " of the images that are decided")
    return Document(
        {"inputs": len(run.asked), "decided": len(records), "cut": cut, "attack_unfinished": untried, "reasons": dict(late),
         "rates": [dict(zip(COLUMNS, row, strict=True)) for row in rows]},
        (Section(f"{title}, with 95 % intervals (Clopper-Pearson){_WHERE * (not whole)}", (Table(COLUMNS, rows, "rates"),)),
         facts(*_lines(run, len(records), late, missed, cut, untried))),
        exit_code=0 if complete else 1)


def _lines(run: Run[ErrorsOptions], count: int, late: Counter[str], missed: int, cut: int, untried: int) -> Iterator[tuple[str, str]]:
    task, clip = run.problem, run.options.clip
    yield "network", called(run)
    yield "inputs", f"{count} of {run.data_name}, linf eps {task.text}, " + (
        "no data range" if clip is None else f"data range [{clip[0]:g}, {clip[1]:g}]")
    if task.only_open:
        yield "domains", "each asked only about what those before it left open: an image counts as proved by them, too"
    if late["timeout"]:
        yield "limits", f"{late['timeout']} proofs ended by the limit of {run.timeout:g} s; they count as errors"
    if untried:
        yield "attack", f"not ended in time for {untried} images; they are none of its n"
    if missed or cut:
        yield "unfinished", f"{missed} images failed or were not reached, {cut} were cut by the limit of the run; --resume goes on"
