"""A page for people: one file of HTML that needs nothing from elsewhere, for a browser and for paper. jinja2 is an extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, ClassVar

from absint.contract.document import Document, Facts, Figure, Heading, Row, Section, Strip, Table
from absint.contract.record import cell
from absint.errors import UnsupportedError
from absint.numeric.percent import percent_text
from absint.reports.html_parts import can_draw, data_uri, svg_of, trimmed
from absint.reports.interface import Format
from absint.reports.rows import UNASKED, caveats, command_of, left_of, unasked
from absint.reports.seen_rows import TONES, ColumnTotals, SeenRows
from absint.reports.terminal import one_line

_MARKS = {"good": "✓", "bad": "✗", "open": "?", "": "–"}    # beside every colour
_NAMES = {"good": "good", "bad": "bad", "open": "open", "": "other"}
_MOST_FAILURES = 10     # that are shown before all else; the numbers below have them all
_NO_FIGURES = "this figure needs matplotlib: pip install 'absint[reports]', or pip install matplotlib"


class Html(Format):
    """Written at the end. Rows are counted as they come and the worst thousand kept, so that memory does not grow with their number.

    All that comes out of files is escaped, and a policy in the page forbids a browser to load anything. Figures are drawn by matplotlib;
    without it the page says how to get them. Sections of detail are shown.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm")
    thorough: ClassVar[bool] = True

    @classmethod
    def check(cls) -> None:
        """Raise UnsupportedError E-REPORT-MISSING without jinja2."""
        if find_spec("jinja2") is None:
            raise UnsupportedError("E-REPORT-MISSING", "pages need jinja2, which is not installed",
                                   hint="pip install 'absint[reports]', or pip install jinja2")

    def begin(self, heading: Heading) -> None:
        """Kept; counting starts."""
        self.heading, self.seen = heading, SeenRows(heading)

    def row(self, row: Row) -> None:
        """Counted, and kept if it is among the worst."""
        self.seen.add(row)

    def end(self, document: Document) -> None:
        """The page."""
        for piece in _template().generate(**page_of(self.heading, self.seen, document)):
            self.stream.write(piece)
        self.stream.flush()


def _template() -> Any:
    """Autoescaped, with control characters in text as escapes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=shown, undefined=StrictUndefined,
                       loader=PackageLoader("absint.reports"))
    return made.get_template("report.html")


@dataclass(frozen=True)
class _Card:
    """How many rows are of one tone and one word."""

    mark: str
    tone: str
    word: str
    count: int


def page_of(heading: Heading, seen: SeenRows, document: Document) -> dict[str, Any]:
    """All that the template is given: text as it is, pictures and figures made."""
    cards = [_Card(_MARKS[tone], tone or "other", word or _NAMES[tone], count)
             for (tone, word), count in sorted(seen.words.items(), key=lambda item: -TONES.index(item[0][0]))]
    model, data = (heading.header.get(name) for name in ("model", "data"))
    return {
        "analysis": command_of(heading.analysis), "command": str(heading.header.get("command") or ""),
        "header": trimmed({name: value for name, value in heading.header.items() if name != "command"}),
        "started": str(heading.header.get("started") or ""), "names": [str(one) for one in (_of(model, "path"), _of(data, "name")) if one],
        "versions": _of(heading.header.get("versions"), "absint") or "", "cards": cards if seen.tones[""] < seen.count else [],
        "alerts": list(_alerts(heading, document)), "lead": document.lead.rstrip().splitlines(),
        "sections": [_section(one) for one in document.sections], "claims": list(_claims(heading.header, document)),
        "figures": [_figure(one) for one in document.figures],
        "notes": list(dict.fromkeys(document.notes)), "remarks": [one.split("\n") for one in document.remarks],
        "summary": trimmed(document.summary), "values": trimmed(document.values),
        "rows": _rows(heading, seen), "columns": list(_spread(seen)),
    }


def _of(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else None


def _alerts(heading: Heading, document: Document) -> Iterator[list[str]]:
    """What must not be overlooked, each as lines."""
    if document.summary.get("complete") is False:
        left = left_of(document)
        yield [f"not complete: {f'{left} of {heading.total}' if left else 'some'} items are not decided"]
    if unasked(document):
        yield [UNASKED]
    failures = document.values.get("failures")
    for one in failures[:_MOST_FAILURES] if isinstance(failures, list) else ():
        yield [" ".join(str(_of(one, name) or "") for name in ("code", "name", "what"))]
    if document.error is not None:
        yield str(document.error).split("\n")
    if said := caveats(heading):
        yield [said]
    yield from (one.split("\n") for one in document.warnings)


def _claims(header: Mapping[str, Any], document: Document) -> Iterator[tuple[str, list[str]]]:
    """What the answer is about and rests on, as the header has it: a first look tells what was proved under which assumptions."""
    parts = [part for section in document.sections[:1] for part in section.parts if isinstance(part, Facts)]
    told = {name for part in parts for name, _ in part.items}      # right above
    for name in ("property", "region"):
        if name in told:
            continue
        said = header.get(name)
        if isinstance(text := _of(said, "text"), str) and text:
            yield name, [", ".join((text, *_limits(said, text)))]
    for name, said in (("assurance", header.get("assurance")), ("rests on", header.get("assumptions"))):
        lines = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        if lines := [str(line) for line in lines if line]:
            yield name, lines


def _limits(said: Any, text: str) -> Iterator[str]:
    """The ball and the data range of a property, where its text does not say them."""
    norm, eps, clip = (_of(said, name) for name in ("norm", "eps", "clip"))
    radii = ", ".join(map(str, eps)) if isinstance(eps, list) else str(eps or "")
    if norm and radii and "eps" not in text:
        yield f"{norm} eps {radii}"
    if isinstance(clip, list) and len(clip) == 2 and "range" not in text:
        yield f"data range [{clip[0]:g}, {clip[1]:g}]" if all(isinstance(end, (int, float)) for end in clip) else f"data range {clip}"


def _section(section: Section) -> dict[str, Any]:
    return {"title": section.title, "parts": [_part(part) for part in section.parts]}


def _part(part: Table | Facts | Figure | Strip) -> dict[str, Any]:
    if isinstance(part, Facts):
        return {"kind": "facts", "items": part.items}
    if isinstance(part, Table):
        tones = part.tones or ("",) * len(part.rows)
        rows = [[_cell(value) for value in row] for row in part.rows]
        said = [place for place in range(len(part.columns)) if not rows or any(row[place][0] for row in rows)]
        return {"kind": "table", "columns": [part.columns[place] for place in said], "toned": any(part.tones),
                "rows": [(_MARKS.get(tone, ""), tone, [row[place] for place in said]) for tone, row in zip(tones, rows, strict=True)]}
    if isinstance(part, Strip):
        return {"kind": "strip", "title": part.title, "pictures": [(one.title, data_uri(one)) for one in part.pictures]}
    return {"kind": "figure", **_figure(part)}


def _cell(value: Any) -> tuple[str, bool]:
    """Its text, and whether it is a number."""
    return cell(value), isinstance(value, (int, float)) and not isinstance(value, bool)


def _figure(figure: Figure) -> dict[str, Any]:
    from markupsafe import Markup

    # The one text that is not escaped here: matplotlib writes XML and escapes all names in it.
    return {"title": figure.title, "svg": Markup(svg_of(figure)) if can_draw() else "", "missing": _NO_FIGURES}


# ---- the table of rows -----------------------------------------------------------------------------------------------------


def _rows(heading: Heading, seen: SeenRows) -> dict[str, Any]:
    kept = seen.kept()
    columns = list(heading.shown) or list(heading.columns)
    shown = [name for name in columns if any(line.get(name) for row in kept for line in (row.cells, *row.more))] or columns
    same = {name: text for name in heading.columns if name not in heading.shown and (text := _same(seen.columns[name], seen.count))}
    more = [name for name in heading.columns if name not in columns and name not in same and any(row.cells.get(name) for row in kept)]
    return {
        "count": seen.count, "total": heading.total, "shown": shown, "more": more, "same": list(same.items()),
        "choices": [(name, sorted(words)) for name in (*shown, *more) if 1 < len(words := _choices(seen, name)) < seen.count],
        "empty": [name for name in columns if name not in shown],
        "kept": [{"tone": row.tone or "other", "mark": _MARKS[row.tone], "word": _NAMES[row.tone], "lines": (row.cells, *row.more)}
                 for row in kept],
        "toned": any(seen.tones[tone] for tone in TONES if tone), "place": {name: place for place, name in enumerate((*shown, *more))},
    }


def _same(column: ColumnTotals, count: int) -> str:
    """What a column says in every row, where it says one thing."""
    words = column.counts
    return next(iter(words)) if len(words) == 1 and count > 1 and sum(words.values()) == count else ""


def _choices(seen: SeenRows, name: str) -> list[str]:
    return list(seen.columns[name].counts) if name in seen.columns else []


def _spread(seen: SeenRows) -> Iterator[dict[str, Any]]:
    """What each column adds up to: words with their share of all rows, or least, mean and most."""
    if seen.count < 2:
        return
    for name, column in seen.columns.items():
        counts = sorted(column.counts.items(), key=lambda item: -item[1])
        if 1 < len(counts) <= seen.count / 2 and not column.count:
            yield {"name": name, "words": [(word, count, percent_text(Fraction(count, seen.count))) for word, count in counts]}
        elif column.count > 1 and name != "index" and column.least < column.most and not counts:
            yield {"name": name, "words": [], "count": column.count,
                   "ends": list(zip(("least", "mean", "most"), (column.shown[0], cell(column.total / column.count), column.shown[1]),
                                    strict=True))}
