"""For people: a table of the instances and a summary; rich on a terminal, plain ASCII elsewhere."""

from __future__ import annotations

from typing import TextIO

from absint.errors import printable
from absint.reports.interface import Header, Report, Summary
from absint.reports.terminal import is_plain, print_table
from absint.verdict import InstanceResult, Verdict

COLUMNS = ("index", "label", "predicted", "verdict", "stage", "reason", "margin", "time_s")
_MOST_NOTES = 5
_STYLES = {
    Verdict.VERIFIED: "green", Verdict.FALSIFIED: "red", Verdict.UNKNOWN: "yellow", Verdict.MISCLASSIFIED: "dim",
    Verdict.LIKELY: "cyan",
}


class Text(Report):
    """Written at the end, instances in order of their index."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.header: Header | None = None
        self.rows: list[InstanceResult] = []

    def begin(self, header: Header) -> None:
        """Kept."""
        self.header = header

    def row(self, result: InstanceResult) -> None:
        """Kept."""
        self.rows.append(result)

    def end(self, summary: Summary) -> None:
        """The table, then the summary."""
        rows = sorted(self.rows, key=lambda row: row.index)
        styles = [_STYLES.get(row.verdict, "") for row in rows]
        print_table(self.stream, COLUMNS, [_cells(row) for row in rows], styles, plain=is_plain(self.stream))
        lines = [*_outcome(summary), *([] if self.header is None else _origin(self.header))]
        width = max(len(name) for name, _ in lines)
        for name, value in lines:
            self.stream.write(f"{name:<{width}}  {printable(value)}\n")
        self.stream.flush()


def _cells(row: InstanceResult) -> tuple[str, ...]:
    margin = "" if row.margin is None else f"{row.margin:.4g}"
    reason = row.reason.value if row.reason else ""
    return (str(row.index), _number(row.label), _number(row.predicted), row.verdict.value, row.stage or "", reason, margin,
            f"{row.time_s:.3f}")


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _outcome(summary: Summary) -> list[tuple[str, str]]:
    counts = summary.counts
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(summary.reasons.items()))
    parts = [f"{name} {count}" for name, count in counts.items() if count or name != Verdict.LIKELY.value]
    verified = counts[Verdict.VERIFIED.value]
    share = f" ({100 * verified / summary.correct:.1f} %)" if summary.correct else ""
    word = f", {summary.on_word} of them on a solver's word" if summary.on_word else ""
    lines = [
        ("result", f"{verified} of {summary.correct} correctly classified instances verified{share}{word}"),
        ("counts", ", ".join(parts) + f"; {summary.instances} in all"),
    ]
    if reasons:
        lines.append(("unknown", reasons))
    if summary.remaining:
        lines.append(("interrupted", f"{len(summary.remaining)} instances were not decided"))
    if summary.median_margin is not None:
        lines.append(("margin", f"median {summary.median_margin:.4g}"))
    return [*lines, ("seconds", f"{summary.seconds:.2f}"), *_notes(summary)]


def _notes(summary: Summary) -> list[tuple[str, str]]:
    lines = [("note", f"{note} ({len(indices)} instances)") for note, indices in summary.notes.items()]
    more = len(lines) - _MOST_NOTES
    return lines if more <= 0 else [*lines[:_MOST_NOTES], ("note", f"{more} others; --format json has them all")]


def _origin(header: Header) -> list[tuple[str, str]]:
    model, data, numerics = header.model, header.data, header.numerics
    claim = header.property
    clip = "no data range" if claim["clip"] is None else f"data range [{claim['clip'][0]:g}, {claim['clip'][1]:g}]"
    options = "".join(f", {name}={value}" for name, value in header.domain["options"].items())
    rounding = "outward rounding" if numerics["rounding"] else "NO ROUNDING: nothing here is a proof"
    bundled = "bundled sample " if data["bundled"] else ""
    return [
        ("property", f"{claim['text']}, {claim.get('region') or 'l_inf eps ' + str(claim['eps'])}, {clip}"),
        ("domain", f"{header.domain['name']}{options} ({header.domain['source'] or 'no source given'})"),
        ("numerics", f"dtype {numerics['dtype']}, device {numerics['device']}, semantics {numerics['semantics']}, {rounding}"),
        ("model", f"{model['path']} (sha256 {_short(model['sha256'])})"),
        ("data", f"{bundled}{data['name']} (sha256 {_short(data['sha256'])}){_accuracy(data['accuracy'])}"),
        ("command", header.command),
    ]


def _short(digest: str) -> str:
    return digest[:12] or "unknown"


def _accuracy(found: dict[str, int] | None) -> str:
    return "" if found is None else f", classified correctly: {found['correct']} of {found['of']}"
