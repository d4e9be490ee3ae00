"""From records to figures: errors, their averages, hidden widths and the schedule, of one run or of several in the same axes.

As figures 3 to 7 of Morawiecki et al., Fast and Stable Interval Bounds Propagation for Training Verifiably Robust Models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf, isfinite

from absint.analyses.train.record import EpochRecord, Phase
from absint.contract.document import Figure, Panel, Series

_MARKED = 40            # points of a line that each have a mark; of more, only where a gap on both sides would hide one
_FOUR = 4               # kinds of lines that are told apart by their stroke
_ERRORS = (("verified", "verified_error", "verified_n", 0), ("PGD", "pgd_error", "pgd_n", 1), ("clean", "clean_error", "clean_n", 2))
_AVERAGED = (("verified", "mean_verified", 0), ("PGD", "mean_pgd", 1), ("clean", "mean_clean", 2))
_CLOSING = 6            # black, with marks unlike those of the errors
_SCHEDULE = (("eps", "eps", 3, False), ("kappa", "kappa", 4, False), ("learning rate", "rate", 6, True))
_WIDTH = "sum of hidden widths"


def figures(records: Sequence[EpochRecord], title: str) -> tuple[Figure, ...]:
    """Of one run, by name: errors (over the schedule), averaged, widths. Those of which nothing was measured are left out.

    A NaN is a gap; a value that was not measured is none: the line goes on. Vertical lines are where eps begins to rise, and is full.
    """
    epochs = [record for record in records if record.phase is not Phase.FINAL]
    closing = [record for record in records if record.phase is Phase.FINAL]
    marks, phases = _marks(epochs), _phases(epochs)
    schedule = _schedule({"": epochs})
    errors = [_curve(epochs, name, f"{label}{_of(epochs, n)}", colour, 100.0) for label, name, n, colour in _ERRORS]
    ends = [_closing(record) for record in closing]
    loss = Panel(_present(_curve(epochs, "loss", "loss", 6)), y_label="loss", height=1.2)
    training = replace(_curve(epochs, "train_error", "training batches", 5, 100.0), marked=False, dashed=True)
    averaged = [_curve(epochs, name, label, colour, 100.0) for label, name, colour in _AVERAGED]
    widths = Panel(_present(_curve(epochs, "width", "", 0)), phases, y_label=_WIDTH, logarithmic=True, height=2.5)
    return _figures(marks, (
        ("errors", f"{title}: errors", (_errors(_present(*errors, training, *ends), phases), *schedule)),
        ("averaged", f"{title}: errors averaged over the epochs so far", (_errors(_present(*averaged), phases),)),
        ("widths", f"{title}: widths and loss", (widths, loss, *schedule)),
    ))


def compared(runs: Mapping[str, Sequence[EpochRecord]], title: str = "") -> tuple[Figure, ...]:
    """Of several runs by label, in one colour and stroke each: verified (figure 3), averaged (4), errors (5), widths (6 and 7).

    The phases are marked where they are the same in all runs.
    """
    epochs = {label: [record for record in records if record.phase is not Phase.FINAL] for label, records in runs.items()}
    all_marks = {_marks(records) for records in epochs.values() if records}
    marks = all_marks.pop() if len(all_marks) == 1 else ()
    phases = _phases(next(iter(epochs.values()))) if marks else ""
    schedule = _schedule(epochs)
    start = f"{title}: " if title else ""
    kinds = [_errors(_lines(epochs, name, 100.0), f"{label}{_of([r for rs in epochs.values() for r in rs], n)}", label)
             for label, name, n, _ in _ERRORS]
    verified = _errors(_lines(epochs, "verified_error", 100.0), phases)
    averaged = _errors(_lines(epochs, "mean_verified", 100.0), phases)
    widths = Panel(_lines(epochs, "width"), phases, y_label=_WIDTH, logarithmic=True, legend=True, height=2.5)
    return _figures(marks, (
        ("verified", f"{start}verified error", (verified, *schedule)),
        ("averaged", f"{start}verified error averaged over the epochs so far", (averaged,)),
        ("errors", f"{start}verified, PGD and clean errors", tuple(replace(one, legend=not k, height=2.2) for k, one in enumerate(kinds))),
        ("widths", f"{start}sums of hidden widths", (widths, *schedule)),
    ))


def _figures(marks: tuple[float, ...], asked: Sequence[tuple[str, str, Sequence[Panel]]]) -> tuple[Figure, ...]:
    """Panels without lines fall out, and figures whose first panel does; the last panel names the axis."""
    found = []
    for name, title, panels in asked:
        kept = [replace(panel, marks=marks, whole=True) for panel in panels if panel.series]
        if panels[0].series:
            kept[-1] = replace(kept[-1], x_label="epoch")
            found.append(Figure(name, title, tuple(kept), (7.0, 1.0 + 1.25 * sum(panel.height for panel in kept))))
    return tuple(found)


def _errors(lines: tuple[Series, ...], title: str, label: str = "error") -> Panel:
    return Panel(lines, title, y_label=f"{label}, %", y_limits=(0.0, inf), legend=True, height=3.0)


def _schedule(runs: Mapping[str, Sequence[EpochRecord]]) -> tuple[Panel, ...]:
    """Small panels of what is set, not measured; runs that have it in common share a line."""
    found = []
    for label, name, colour, logarithmic in _SCHEDULE:
        lines = _lines(runs, name)
        if len({(one.x, one.y) for one in lines}) == 1:
            lines = (replace(lines[0], colour=colour),)
        lines = tuple(replace(one, marked=len(one.x) == 1, label="") for one in lines)
        found.append(Panel(lines, y_label=label, logarithmic=logarithmic, height=0.8, y_limits=None if logarithmic else (0.0, inf)))
    return tuple(found)


def _lines(runs: Mapping[str, Sequence[EpochRecord]], name: str, scale: float = 1.0) -> tuple[Series, ...]:
    """One column, a line a run; of many runs no line has marks, so that their strokes differ."""
    many = len(runs) > _FOUR
    drawn = [_curve(records, name, label, colour, scale) for colour, (label, records) in enumerate(runs.items())]
    return _present(*(replace(one, marked=False) if many and len(one.x) > 1 else one for one in drawn))


def _curve(records: Sequence[EpochRecord], name: str, label: str, colour: int, scale: float = 1.0) -> Series:
    """A column by epoch. What was not measured has no place; what is not finite is a gap."""
    points = [(float(record.epoch), scale * value) for record in records if (value := getattr(record, name)) is not None]
    x, y = tuple(x for x, _ in points), tuple(y for _, y in points)
    return Series(label, x, y, marked=len(points) <= _MARKED or _hidden(y), colour=colour)


def _closing(record: EpochRecord) -> Series:
    """The errors of a closing evaluation, at the epoch of the network measured."""
    values = [100.0 * value for _, name, _, _ in _ERRORS if (value := getattr(record, name)) is not None]
    label = f"closing evaluation, epoch {record.epoch}"
    return Series(label, (float(record.epoch),) * len(values), tuple(values), marked=True, colour=_CLOSING, joined=False)


def _hidden(y: Sequence[float]) -> bool:
    """Whether a point stands between two gaps, where no line goes through it."""
    shown = [False, *map(isfinite, y), False]
    return any(shown[k] and not shown[k - 1] and not shown[k + 1] for k in range(1, len(shown) - 1))


def _present(*lines: Series) -> tuple[Series, ...]:
    return tuple(one for one in lines if any(map(isfinite, one.y)))


def _marks(records: Sequence[EpochRecord]) -> tuple[float, ...]:
    """Between the last epoch of a phase and the first of the next."""
    return tuple((one.epoch + other.epoch) / 2 for one, other in pairwise(records) if one.phase is not other.phase)


def _phases(records: Sequence[EpochRecord]) -> str:
    """'warm-up to epoch 3, ramp to 20, then full eps'."""
    ends = [(one.phase, one.epoch) for one, other in pairwise(records) if one.phase is not other.phase]
    if not ends:
        return ""
    parts = [f"{phase.value} to epoch {epoch}" for phase, epoch in ends]
    last = records[-1].phase
    return ", ".join([*parts, f"then {'full eps' if last is Phase.FULL else last.value}"])


def _of(records: Sequence[EpochRecord], name: str) -> str:
    """' (n = 1,000)': the images that an error is of; from fewest to most where epochs differ."""
    counts = {n for record in records if (n := getattr(record, name)) > 0}
    if not counts:
        return ""
    few, many = f"{min(counts):,}", f"{max(counts):,}"
    return f" (n = {few})" if few == many else f" (n = {few} to {many})"
