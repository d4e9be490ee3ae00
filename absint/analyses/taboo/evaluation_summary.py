"""What the rows of an evaluation add up to: rates with exact intervals, curves, what keys have in common, what calibration promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from absint.analyses.taboo.evaluation_record import ALL, SUPPORT, PerturbedRow, row_name
from absint.analyses.taboo.exchangeable import RARE, HeldOut, held_out
from absint.analyses.taboo.traps import Traps
from absint.contract.curves import roc_figure
from absint.contract.document import Facts, Figure, Json, Section, Table
from absint.numeric.percent import percent_text
from absint.numeric.statistics import Roc, clopper_pearson, roc

_WIDEST = 8         # keys whose matrix people still read
_LONGEST = 26       # characters of a perturbation that they read
_REGIONS = {ALL: "all entries", SUPPORT: "the object's support"}


@dataclass(frozen=True)
class Share:
    """hits of n, and the exact interval of the proportion at 95 %."""

    hits: int
    n: int

    @property
    def rate(self) -> float | None:
        """None of no inputs."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Clopper and Pearson's."""
        return clopper_pearson(self.hits, self.n) if self.n else None

    def as_dict(self) -> dict[str, Json]:
        """JSON-ready."""
        return {"hits": self.hits, "n": self.n, "rate": self.rate, "interval": None if self.interval is None else list(self.interval)}

    def __str__(self) -> str:
        if self.rate is None or self.interval is None:
            return "-"
        low, high = self.interval
        return f"{percent_text(self.rate)} ({percent_text(low, side=-1)} to {percent_text(high, side=1)})"


@dataclass(frozen=True)
class RowRates:
    """One row against the clean one. accuracy, detection: over all n.  of_fooled: alarms among the inputs that fooled the network.

    false_alarms: of the clean row.  by_key: detection of each.
    """

    row: PerturbedRow
    accuracy: Share
    detection: Share
    false_alarms: Share
    of_fooled: Share
    by_key: tuple[Share, ...]
    curve: Roc | None

    @property
    def gain(self) -> float:
        """Detection less the rate of false alarms: a detector that always alarms detects nothing."""
        return self.detection.hits / self.detection.n - self.false_alarms.hits / self.false_alarms.n

    def as_dict(self) -> dict[str, Json]:
        """JSON-ready, with the curve's points."""
        row, curve = self.row, self.curve
        return {
            "perturbation": row.perturbation, "region": row.region, "n": row.n, "accuracy": self.accuracy.as_dict(),
            "detection": self.detection.as_dict(), "false_alarms": self.false_alarms.as_dict(), "gain": self.gain,
            "fooled": row.fooled, "detection_of_fooled": self.of_fooled.as_dict(), "gave_up": row.gave_up, "unsteady": row.unsteady,
            "nan": row.nan, "mean_l2": row.l2, "mean_linf": row.linf, "by_key": [one.as_dict() for one in self.by_key],
            "auc": None if curve is None else curve.auc,
        }


def rates_of(rows: Sequence[PerturbedRow]) -> tuple[RowRates, ...]:
    """rows: the clean one first."""
    clean = rows[0]
    alarms = Share(clean.alarms, clean.n)
    return tuple(RowRates(row, Share(row.correct, row.n), Share(row.alarms, row.n), alarms, Share(row.fooled_alarms, row.fooled),
                          tuple(Share(hits, row.n) for hits in row.by_key), None if row is clean else curve_of(clean, row)) for row in rows)


def curve_of(clean: PerturbedRow, row: PerturbedRow) -> Roc:
    """Over a common factor s of all thresholds: alarm where some z > s T. At s = 1 it is the detector.

    A factor, not a shift: thresholds of neurons that never fire are as small as float32 has numbers, and any shift down of these would
    have every input alarm; and neurons of different layers have no unit in common.
    """
    return roc([-one for one in clean.ratios], [-one for one in row.ratios])


@dataclass(frozen=True)
class Transfer:
    """What an alarm of one key says of another's. together: inputs on which key i (row) and key j alarm.  n: of all inputs.

    without: inputs on which some other key than i alarms.
    """

    perturbation: str
    region: str
    n: int
    together: tuple[tuple[int, ...], ...]
    without: tuple[int, ...]

    @property
    def shares(self) -> tuple[tuple[float | None, ...], ...]:
        """P(key j alarms | key i alarms); None where key i never does."""
        return tuple(tuple(both / row[i] if row[i] else None for both in row) for i, row in enumerate(self.together))

    def as_dict(self) -> dict[str, Json]:
        """JSON-ready."""
        return {"perturbation": self.perturbation, "region": self.region, "n": self.n, "together": [list(row) for row in self.together],
                "given": [list(row) for row in self.shares], "without": list(self.without)}

    def cells(self, short: Mapping[str, str], keys: Sequence[str]) -> Iterator[tuple[Json, ...]]:
        """A line a key: its alarms, what part of them other keys share, and what is detected without it."""
        for i, (key, shares) in enumerate(zip(keys, self.shares, strict=True)):
            found = ["-" if one is None else f"{percent_text(one)} %" for one in shares]
            named = ("", "") if i else (short[self.perturbation], self.region)
            yield (*named, key, f"{self.together[i][i]} of {self.n}", *found, f"{self.without[i]} of {self.n}")


def transfers(rows: Sequence[PerturbedRow]) -> tuple[Transfer, ...]:
    """One a row; none for a single key."""
    return tuple(Transfer(row.perturbation, row.region, row.n, row.together, row.without) for row in rows if len(row.by_key) > 1)


def key_names(traps: Traps) -> tuple[str, ...]:
    """Short ones, no key among them."""
    return tuple(f"key {place + 1}" for place in range(len(traps)))


@dataclass(frozen=True)
class Promise:
    """The observed rate of false alarms against what held-out calibration promises; None where thresholds come from elsewhere."""

    held: HeldOut | None
    observed: Share

    @property
    def broken(self) -> bool:
        """Whether the observed interval lies above all rates but the rarest: of inputs that are exchangeable with those of the calibration
        one in twenty does, at most. Many a calibration's own rate is above `HeldOut.bound`, which is their average.
        """
        return self.held is not None and self.observed.interval is not None and self.observed.interval[0] > self.held.most

    @property
    def text(self) -> str:
        """One sentence."""
        if self.held is None:
            return ("nothing is promised: the thresholds come from inputs that the network may have been trained on, which are not "
                    "exchangeable with new ones")
        held = self.held
        bound = (f"P(alarm) <= {held.masked} ({held.above} + 1) / ({held.inputs} + 1) = {percent_text(held.bound, 2, 1)} % by held-out "
                 "calibration")
        if self.broken:
            return (f"{bound}, on average over calibrations, of which {RARE:.1%} at most go above {percent_text(held.most, 2, 1)} %; "
                    f"{self.observed} % is observed: these inputs are unlike those of the calibration, unless this is one of few")
        return f"{bound}; {self.observed} % is observed"

    def as_dict(self) -> dict[str, Json]:
        """JSON-ready."""
        held = self.held
        return {"held_out": None if held is None else {"masked": held.masked, "inputs": held.inputs, "above": held.above,
                                                       "bound": float(held.bound), "fraction": str(held.bound), "most": held.most},
                "observed": self.observed.as_dict(), "broken": self.broken}


def promise_of(traps: Traps, clean: PerturbedRow) -> Promise:
    """What the traps promise of inputs such as the clean ones."""
    return Promise(held_out(traps), Share(clean.alarms, clean.n))


def curves(found: Sequence[RowRates], title: str) -> Figure:
    """ROC curves, a panel for each region."""
    names, groups = short_names(one.row.perturbation for one in found), dict[str, dict[str, Roc]]()
    for one in found:
        if one.curve is not None:
            groups.setdefault(_REGIONS[one.row.region], {})[names[one.row.perturbation]] = one.curve
    return roc_figure(groups, title, "clean inputs with an alarm", "perturbed inputs with an alarm")


# ---- for people ----------------------------------------------------------------------------------------------------------------


def short_names(texts: Iterable[str]) -> dict[str, str]:
    """By text, as much of it as fits a table; all of it where the beginnings are the same."""
    short = {text: text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..." for text in texts}
    counts = Counter(short.values())
    return {text: name if counts[name] == 1 else text for text, name in short.items()}


def sections(found: Sequence[RowRates], traps: Traps) -> Iterator[Section]:
    """Rates, then the keys, then what goes with them."""
    columns = ("perturbation", "region", "acc", "det", "fpr", "det - fpr", "det of fooled", "l2", "linf", "auc")
    short = short_names(one.row.perturbation for one in found)
    rows = tuple(_cells(one, short[one.row.perturbation]) for one in found)
    yield Section("detection, in percent, with 95 % intervals (Clopper-Pearson)", (Table(columns, rows, "detection"),))
    if len(traps) > 1:
        names = key_names(traps)
        by_key = tuple((short[one.row.perturbation], one.row.region, *map(str, one.by_key)) for one in found)
        yield Section("detection by key, in percent", (Table(("perturbation", "region", *names), by_key, "by_key"),))
        shared = [one for one in transfers([one.row for one in found]) if any(one.without)]
        if shared and len(traps) <= _WIDEST:
            heads = ("perturbation", "region", "key", "alarms", *(f"also {key}" for key in names), "others alone")
            yield Section("alarms that keys share: of those of a key, and what is detected without it",
                          (Table(heads, tuple(line for one in shared for line in one.cells(short, names)), "transfer"),))
    yield Section("", (Facts(tuple(_lines(found, traps))),))


def _cells(one: RowRates, name: str) -> tuple[Json, ...]:
    row = one.row
    clean, false_alarms = one.curve is None, one.false_alarms.rate or 0.0
    return (name, row.region, str(one.accuracy), str(one.detection), percent_text(false_alarms), f"{100 * one.gain:+.1f}",
            "-" if clean else f"{row.fooled_alarms} of {row.fooled}: {one.of_fooled}", *(_number(value) for value in (row.l2, row.linf)),
            "-" if one.curve is None else f"{one.curve.auc:.3f}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _lines(found: Sequence[RowRates], traps: Traps) -> Iterator[tuple[str, str]]:
    clean = found[0].row
    neurons = f"{len(traps.union)} neurons of {len(traps)} keys" if len(traps) > 1 else f"{len(traps.union)} neurons"
    yield "detector", f"{neurons}, rule {traps.rule}, thresholds from {traps.inputs} inputs"
    yield "false alarms", f"{clean.alarms} of {clean.n} clean inputs; {promise_of(traps, clean).text}"
    unsteady = sum(one.row.unsteady for one in found)
    yield "rounding", f"on {unsteady} of {sum(one.row.n for one in found)} inputs float32 executions may disagree about the alarm"
    short = short_names(one.row.perturbation for one in found)
    gave_up = [one.row for one in found if one.row.gave_up]
    lost = [f"{row.gave_up} of {row.n} in {row_name(short[row.perturbation], row.region)}" for row in gave_up]
    if lost:
        yield "not found", f"{'; '.join(lost)}: nothing adversarial; the attack's last step was sent, and counts"


def values_of(found: Sequence[RowRates], traps: Traps) -> Mapping[str, Json]:
    """For machines."""
    return {
        "rates": [one.as_dict() for one in found], "transfer": [one.as_dict() for one in transfers([one.row for one in found])],
        "calibration": promise_of(traps, found[0].row).as_dict(),
        "roc": {one.row.name: asdict(one.curve) for one in found if one.curve is not None},
    }
