"""What a page has room for besides the counts: intervals, classes, margins, times, and what the verdicts mean and rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor, isfinite

from absint.analyses.verify.counts import assumptions
from absint.analyses.verify.options import VerifyOptions
from absint.analyses.verify.shown_witnesses import counterexamples
from absint.contract.document import Facts, Figure, Panel, Section, Series, Table
from absint.contract.run import Run
from absint.numeric.percent import percent_text
from absint.numeric.statistics import clopper_pearson
from absint.verdict import Assurance, InstanceResult, Verdict

_MEANING: Mapping[Verdict, str] = {
    Verdict.VERIFIED: "proved: every real input of the region has the property",
    Verdict.FALSIFIED: "refuted: a counterexample in the region was replayed and proved to violate the property",
    Verdict.UNKNOWN: "neither proved nor refuted; the reason says why, and nothing is said of the network",
    Verdict.MISCLASSIFIED: "the unperturbed input has another class already: counted neither for nor against",
    Verdict.LIKELY: "bounds computed without rounding: a value to compare with, and no proof",
}
_WORD = "verified with assurance 'solver'"
_SAMPLE = "with 95 % intervals (Clopper-Pearson) were the inputs a random sample"
_PART = "among those that are decided; what is decided first is no random sample"
_TONES = {Verdict.VERIFIED: "good", Verdict.FALSIFIED: "bad", Verdict.UNKNOWN: "open", Verdict.LIKELY: "open"}
_COLOURS = {Verdict.VERIFIED: 2, Verdict.FALSIFIED: 1, Verdict.UNKNOWN: 4, Verdict.MISCLASSIFIED: 3, Verdict.LIKELY: 5}     # as tones are
_ENDS = ("lower", "upper")
_DIGITS = 10_000        # two digits behind the point of a percentage
_BINS = 24
_MOST_CLASSES = 1000
_MOST_POINTS = 400      # of a line


def details(records: Sequence[InstanceResult], run: Run[VerifyOptions]) -> tuple[Section, ...]:
    """Sections of detail; none where nothing is decided."""
    if not records:
        return ()
    classes = run.options.output_range is None
    whole = len(records) == len(run.asked)
    return (_shares(records, classes=classes, whole=whole), *_by_class(records, whole=whole), *_spread(records),
            *counterexamples(records, run), _meanings(records, run.options))


def _interval(hits: int, count: int, *, whole: bool) -> tuple[float | None, ...]:
    """Share and the ends of its exact interval, in percent: rounded, but to 0 and 100 only where it is, and the ends outward.

    whole: whether all that was asked for is decided; what is decided first is no random sample, and has no interval.
    """
    if not count:
        return None, None, None
    share = float(percent_text(Fraction(hits, count), 2))
    if not whole:
        return share, None, None
    low, high = clopper_pearson(hits, count)
    return share, floor(low * _DIGITS) / 100, ceil(high * _DIGITS) / 100


def _title(what: str, *, whole: bool) -> str:
    return f"{what}, {_SAMPLE if whole else _PART}"


def _shares(records: Sequence[InstanceResult], *, classes: bool, whole: bool) -> Section:
    """Each verdict among the decided instances; what is verified also among those that are classified correctly."""
    counts = Counter(record.verdict for record in records)
    found = [(f"{verdict.value}", counts[verdict], len(records), *_interval(counts[verdict], len(records), whole=whole))
             for verdict in Verdict if counts[verdict]]
    tones = [_TONES.get(verdict, "") for verdict in Verdict if counts[verdict]]
    right = len(records) - counts[Verdict.MISCLASSIFIED]
    if classes and counts[Verdict.MISCLASSIFIED]:
        found.append(("verified, of those classified correctly", counts[Verdict.VERIFIED], right,
                      *_interval(counts[Verdict.VERIFIED], right, whole=whole)))
        tones.append(_TONES[Verdict.VERIFIED])
    columns = ("verdict", "instances", "of", "percent", *_ENDS)
    return Section(_title("Verdicts", whole=whole), (Table(columns, tuple(found), "verdicts", tuple(tones)),), detail=True)


def _by_class(records: Sequence[InstanceResult], *, whole: bool) -> Iterator[Section]:
    """By the label; where there is none, by what the network says."""
    labelled = all(record.label is not None for record in records)
    groups: dict[int, list[InstanceResult]] = {}
    for record in records:
        name = record.label if labelled else record.predicted
        if name is None:
            return
        groups.setdefault(name, []).append(record)
    if not 1 < len(groups) <= _MOST_CLASSES:
        return
    rows = []
    for name, of in sorted(groups.items()):
        counts = Counter(record.verdict for record in of)
        right = len(of) - counts[Verdict.MISCLASSIFIED]
        rows.append((name, len(of), *(counts[verdict] for verdict in Verdict if verdict is not Verdict.LIKELY or counts[verdict]),
                     *_interval(counts[Verdict.VERIFIED], right, whole=whole)))
    shown = [verdict.value for verdict in Verdict if verdict is not Verdict.LIKELY]
    if any(record.verdict is Verdict.LIKELY for record in records):     # all of a run are, or none
        return
    columns = ("class", "instances", *shown, "percent verified of the correct", *_ENDS)
    title = _title(f"By {'label' if labelled else 'predicted class'}", whole=whole)
    yield Section(title, (Table(columns, tuple(rows), "by_class"),), detail=True)


def _spread(records: Sequence[InstanceResult]) -> Iterator[Section]:
    """Certified margins, and the time by which so many are decided."""
    margins = {verdict: found for verdict in Verdict if (found := [
        record.margin for record in records if record.verdict is verdict and record.margin is not None and isfinite(record.margin)])}
    times = {verdict: found for verdict in Verdict if (found := sorted(
        record.time_s for record in records if record.verdict is verdict and record.time_s > 0))}
    figures = []
    if sum(map(len, margins.values())) > 1:
        figures.append(Figure("margins", "Certified margins", (_histogram(margins),), (7.0, 3.2)))
    if sum(map(len, times.values())) > 1:
        lines = tuple(_line(verdict, found) for verdict, found in times.items())
        figures.append(Figure("times", "Seconds an instance, the fastest first", (
            Panel(lines, x_label="instances", y_label="seconds", logarithmic=True, legend=True),), (7.0, 3.2)))
    if figures:
        yield Section("Margins and times", tuple(figures), detail=True)


def _histogram(margins: Mapping[Verdict, Sequence[float]]) -> Panel:
    import numpy as np

    edges = np.histogram_bin_edges([margin for found in margins.values() for margin in found], _BINS)
    bars = tuple(Series(verdict.value, y=tuple(map(float, np.histogram(found, edges)[0])), edges=tuple(edges.tolist()),
                        colour=_COLOURS[verdict]) for verdict, found in margins.items())
    return Panel(bars, x_label="certified lower bound of the smallest margin", y_label="instances", legend=True)


def _line(verdict: Verdict, times: Sequence[float]) -> Series:
    """The k-th fastest over k, thinned."""
    step = max(1, len(times) // _MOST_POINTS)
    places = [*range(0, len(times) - 1, step), len(times) - 1]
    return Series(verdict.value, tuple(float(place + 1) for place in places), tuple(times[place] for place in places),
                  marked=len(places) <= 40, colour=_COLOURS[verdict])


def _meanings(records: Sequence[InstanceResult], options: VerifyOptions) -> Section:
    """Of the verdicts that there are, and what all of them rest on."""
    there = {record.verdict for record in records}
    items = [(verdict.value, text) for verdict, text in _MEANING.items() if verdict in there]
    if any(record.verdict is Verdict.VERIFIED and record.assurance is not Assurance.SOUND for record in records):
        items.append((_WORD, "rests on a solver's number that was not proved again; accepted by --accept-solver"))
    rest = [("rests on" if not place else "", text) for place, text in enumerate(assumptions(options))]
    return Section("What the verdicts mean, and what they rest on", (Facts((*items, *rest)),), detail=True)
