"""What certificates add up to: counts, shares with their intervals, radii, and sentences that claim no more than was proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import mean, median

from absint.analyses.taboo.certificate import Outcome, TabooCertificate
from absint.analyses.taboo.certifying import Certifying
from absint.analyses.taboo.options import TabooCertifyOptions
from absint.contract.analysis import facts
from absint.contract.document import Document, Json, Section, Table
from absint.contract.run import Run
from absint.numeric.decimal import exact_text, float_below, outward_text
from absint.numeric.percent import percents
from absint.verdict import Reason

COLUMNS = ("outcome", "inputs", "n", "percent", "low", "high")
NOTHING = ("no alarm proves nothing; and no ball around an input that does not alarm can be proved to alarm everywhere, as the input lies "
           "in it: detection of whole balls and no false alarms exclude each other")


def summed_up(records: Sequence[TabooCertificate], run: Run[TabooCertifyOptions]) -> Document:
    """The table of outcomes, and what they prove."""
    counts = Counter(record.outcome for record in records)
    missed, cut = len(run.asked) - len(records), sum(record.cut for record in records)
    late = sum(record.reason is Reason.TIMEOUT for record in records)
    rows = tuple(_row(outcome, counts[outcome], len(records), whole=not missed) for outcome in Outcome)
    title = "outcomes, with 95 % intervals (Clopper-Pearson) were the inputs a random sample" if not missed else \
        "outcomes among the inputs that are decided; what is decided first is no random sample"
    complete = not (missed or late or (counts[Outcome.OPEN] and run.problem.eps is not None))
    certified = [record.certified for record in records if record.certified is not None]
    shown = {} if run.problem.eps is not None or not certified else {
        "mean": float_below(mean(certified)), "median": float_below(median(certified)), "zero": sum(not one for one in certified)}
    summary: dict[str, Json] = {
        "inputs": len(run.asked), **{outcome.value: counts[outcome] for outcome in Outcome},
        "alarms_themselves": sum(bool(record.alarm) for record in records), "cut": cut,
        "reasons": dict(Counter(record.reason.value for record in records if record.reason is not None)), **shown,
        "shares": [dict(zip(COLUMNS, row, strict=True)) for row in rows], "proved": claim(records, run), "not_claimed": NOTHING}
    return Document(summary, (Section(title, (Table(COLUMNS, rows, "outcomes"),)), facts(*_lines(records, run, missed, late))),
                    exit_code=0 if complete else 1)


def claim(records: Sequence[TabooCertificate], run: Run[TabooCertifyOptions]) -> str:
    """The sentence of what an alarm proves."""
    asked: Certifying = run.problem
    if asked.settings.semantics != "float32":
        return "nothing of executions: exact real arithmetic alone was asked for"
    quiet = sum(record.outcome is Outcome.QUIET for record in records)
    outside = "" if asked.clip is None else "outside the data range or "
    far = f"further than {exact_text(asked.eps)}" if asked.eps is not None else "further than its certified radius"
    others = len(run.asked) - quiet
    one = run.options.trap is not None and len(asked.traps) > 1
    alarm = f"an alarm of trap {run.options.trap}, and of no other one," if one else "an alarm"
    if not quiet:
        return f"no input was proved quiet: of these {others} inputs {alarm} says nothing"
    rest = f" (and says nothing of the other {others})" if others else ""
    return (f"{alarm} in a float32 execution proves that the input, as the float32 numbers that were fed, lies {outside}{far} from each of "
            f"the {quiet} inputs proved quiet{rest}")


def by_rule(asked: Certifying) -> str | None:
    """What the thresholds prove by how they were made; None for nothing."""
    traps = asked.traps
    if traps.rule != "certified" or traps.eps is None:
        return None
    return (f"by rule certified an alarm in a float32 execution also proves that the input, as the float32 numbers that were fed, lies "
            f"outside the data range of the calibration or further than {exact_text(traps.eps)} from each of the {traps.inputs} training "
            "inputs")


def _row(outcome: Outcome, count: int, of: int, *, whole: bool) -> tuple[Json, ...]:
    share, *ends = percents(count, of)
    return (outcome.value, count, of, share, *(ends if whole else (None, None)))


def _lines(records: Sequence[TabooCertificate], run: Run[TabooCertifyOptions], missed: int, late: int) -> Iterator[tuple[str, str]]:
    asked: Certifying = run.problem
    clip = asked.clip
    span = "no data range" if clip is None else f"data range [{clip[0]:g}, {clip[1]:g}]"
    yield "trap", f"{len(asked.trap)} neurons, rule {asked.traps.rule}, {asked.traps.inputs} training inputs"
    if asked.eps is not None:
        yield "balls", f"linf radius {exact_text(asked.eps)}, {span}"
    else:
        search = asked.search
        yield "search", f"linf, up to {exact_text(search.upper)}, {search.halvings} halvings to {exact_text(search.step)}, {span}"
        found = [record.certified for record in records if record.certified is not None]
        if found:
            zero = sum(not one for one in found)
            average, middle = (outward_text(value, -1) for value in (mean(found), median(found)))
            yield "radii", f"mean {average}, median {middle}, {zero} of {len(found)} are 0"
    yield "themselves", f"{sum(bool(record.alarm) for record in records)} of {len(records)} inputs alarm themselves"
    if missed or late:
        yield "unfinished", f"{missed} not reached, {late} ended by a limit"
    yield "proved", claim(records, run)
    rule = by_rule(asked)
    if rule is not None:
        yield "thresholds", rule
    yield "not claimed", NOTHING
