"""Calibrations, decisions and evaluations of input validation as text, JSON, JSON lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from absint.analyses.validate.calibration import Calibration
from absint.analyses.validate.evaluation import Evaluation, summary
from absint.analyses.validate.validator import Decision
from absint.analyses.validate.window import SlidingWindow
from absint.errors import printable
from absint.reports.notes import caveats, model_notes
from absint.reports.radius import exact
from absint.reports.terminal import is_plain, print_table

SCHEMA = "absint-validate/1"
_DECISION = ("index", "accepted", "predicted", "basis", "radius", "time_s", "notes")


@dataclass(frozen=True)
class DecisionDocument:
    """A run of `absint validate run`. Decisions in the order of the inputs."""

    header: Mapping[str, Any]
    decisions: tuple[Decision, ...]
    seconds: float

    def summary(self) -> dict[str, Any]:
        """JSON-ready."""
        accepted = sum(decision.accepted for decision in self.decisions)
        return {"inputs": len(self.decisions), "accepted": accepted, "rejected": len(self.decisions) - accepted,
                "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, eq=False)
class EvaluationDocument:
    """A run of `absint validate evaluate`."""

    header: Mapping[str, Any]
    evaluation: Evaluation
    seconds: float


# ---- calibration ----------------------------------------------------------------------------------------------------


def calibration_lines(calibration: Calibration) -> list[tuple[str, str]]:
    """Name and value, for people."""
    low, high = calibration.interval
    rule, p = calibration.rule, calibration.normality
    wrong = "no labels, all were used" if calibration.wrong is None else f"{calibration.wrong} misclassified ones left out"
    return [
        ("threshold", f"{exact(calibration.threshold)} ({rule.threshold} steps of {exact(rule.step)})"),
        ("alarms", f"{calibration.rejected} of {len(calibration.radii)} calibration inputs are rejected, {calibration.false_alarms:.1%}; "
                   f"at most {float(calibration.rate):.1%} asked for"),
        ("interval", f"{low:.2%} to {high:.2%} at 95 % (Clopper-Pearson)"),
        ("inputs", f"{len(calibration.radii)}; {wrong}"),
        ("normality", "not defined" if p is None else f"p = {p:.3g} (D'Agostino-Pearson), "
                      f"{'normal' if p > rule.guard else 'not normal'} at {rule.guard:g}"),
        ("window", "none: too few inputs" if calibration.window is None else
                   f"{len(calibration.window)} radii, p = {SlidingWindow(rule, calibration.window).p:.3g}, "
                   f"sigma0 {exact(rule.sigma0 * rule.step)}, sigma1 {rule.sigma1:g}"),
        ("domain", str(calibration.binding.get("domain"))),
    ]


def write_calibration_text(calibration: Calibration, stream: TextIO) -> None:
    """One line each."""
    for name, value in calibration_lines(calibration):
        stream.write(f"{name:<9}  {printable(value)}\n")


# ---- decisions ------------------------------------------------------------------------------------------------------


def decision_row(decision: Decision) -> dict[str, Any]:
    """JSON-ready; the radius as exact text."""
    return {
        "index": decision.index, "accepted": decision.accepted, "predicted": decision.predicted, "basis": decision.basis.value,
        "radius": None if decision.radius is None else exact(decision.radius), "time_s": round(decision.time_s, 6),
    }


def decisions_json(document: DecisionDocument, stream: TextIO) -> None:
    """One document."""
    _dump({"schema": SCHEMA, "header": dict(document.header), "summary": document.summary(),
           "decisions": [decision_row(decision) for decision in document.decisions]}, stream)


def decisions_jsonl(document: DecisionDocument, stream: TextIO) -> None:
    """One input a line."""
    for decision in document.decisions:
        stream.write(json.dumps({**decision_row(decision), "notes": caveats(document.header)}, allow_nan=False) + "\n")


def decisions_csv(document: DecisionDocument, stream: TextIO) -> None:
    """One input a line."""
    notes = caveats(document.header)
    _table(stream, _DECISION, [{**decision_row(decision), "notes": notes} for decision in document.decisions])


def decisions_text(document: DecisionDocument, stream: TextIO) -> None:
    """A table, then what it rests on."""
    rows = [decision_row(decision) for decision in document.decisions]
    cells = [(str(r["index"]), "accepted" if r["accepted"] else "REJECTED", _cell(r["predicted"]), r["basis"], _cell(r["radius"]))
             for r in rows]
    print_table(stream, ("index", "decision", "predicted", "basis", "radius"), cells, plain=is_plain(stream))
    summary_, header = document.summary(), document.header
    stream.write(f"decisions  {summary_['accepted']} accepted, {summary_['rejected']} rejected\n")
    stream.write(f"threshold  {header['threshold']} in {header['norm']}, mode {header['mode']}\n")
    _foot(header, document.seconds, stream)


# ---- evaluation -----------------------------------------------------------------------------------------------------


def evaluation_json(document: EvaluationDocument, stream: TextIO) -> None:
    """One document: the tables, every radius and the points of the ROC curves."""
    found = document.evaluation
    radii = [{"category": c.name, "index": list(c.index), "radii": [exact(k * found.step) for k in c.steps]} for c in found.categories]
    rocs = {name: {"false_alarms": list(one.false_alarms), "detected": list(one.detected), "auc": one.auc}
            for name, one in found.rocs.items()}
    _dump({"schema": SCHEMA, "header": dict(document.header), "seconds": round(document.seconds, 3), **summary(found), "roc": rocs,
           "radii": radii}, stream)


def evaluation_csv(document: EvaluationDocument, stream: TextIO) -> None:
    """The categories, one a line; their rejections follow as columns, one a threshold."""
    found = document.evaluation
    rows = summary(found)["categories"]
    names = [f"rejected_below_{exact(k * found.step)}" for k in found.thresholds]
    for row, category in zip(rows, found.categories, strict=True):
        row.update(zip(names, (category.rejected(k) for k in found.thresholds), strict=True), notes=caveats(document.header))
    _table(stream, tuple(rows[0]), rows)


def evaluation_text(document: EvaluationDocument, stream: TextIO) -> None:
    """Radii by category, the rejection table, and Algorithm 2's counts."""
    found, plain = document.evaluation, is_plain(stream)
    values = summary(found)
    rows = [(r["category"], str(r["inputs"]), str(r["tried"]), _cell(r["mean_radius"], ".4f"), _cell(r["mean_radius_first10"], ".4f"),
             _cell(r["normality_p"], ".3f"), _cell(r["auc"], ".3f"), _cell(r["mean_linf"], ".3f"), _cell(r["mean_l2"], ".3f"))
            for r in values["categories"]]
    print_table(stream, ("category", "inputs", "tried", "mean radius", "first 10", "p", "AUC", "linf", "l2"), rows, plain=plain)
    names = [c.name for c in found.categories]
    print_table(stream, ("rejected below", *names),
                [(f"{r['threshold']:g}", *(str(r[name]) for name in names)) for r in values["rejection"]], plain=plain)
    if found.windows:
        print_table(stream, ("rejected by Algorithm 2", *names, "by threshold"),
                    [(w.order, *(str(w.rejected[name]) for name in names), str(w.fallbacks)) for w in found.windows], plain=plain)
    rate, (low, high) = found.held_out()
    hits, count = found.calibration
    stream.write(f"threshold  {values['threshold']:g}, calibrated on {count} other valid inputs ({hits} rejected)\n")
    stream.write(f"alarms     {rate:.1%} of the valid category, {low:.1%} to {high:.1%} at 95 %\n")
    _foot(document.header, document.seconds, stream)


# ---- shared ---------------------------------------------------------------------------------------------------------


def _foot(header: Mapping[str, Any], seconds: float, stream: TextIO) -> None:
    for name, value in (("domain", header["domain"]), ("seconds", f"{seconds:.2f}"), *model_notes(header)):
        stream.write(f"{name:<9}  {value}\n")


def _dump(whole: Mapping[str, Any], stream: TextIO) -> None:
    stream.write(json.dumps(whole, indent=1, allow_nan=False) + "\n")


def _table(stream: TextIO, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row[name] is None else row[name] for name in columns])


def _cell(value: object, shape: str = "") -> str:
    return "" if value is None else format(value, shape)


DECISION_WRITERS: Mapping[str, Callable[[DecisionDocument, TextIO], None]] = {
    "text": decisions_text, "json": decisions_json, "jsonl": decisions_jsonl, "csv": decisions_csv,
}
EVALUATION_WRITERS: Mapping[str, Callable[[EvaluationDocument, TextIO], None]] = {
    "text": evaluation_text, "json": evaluation_json, "csv": evaluation_csv,
}
