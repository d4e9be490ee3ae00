"""What an analysis has to say, as data: every format renders documents, and no format knows an analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from absint.errors import AbsintError

Json = Any  # None, bool, int, float, str, and lists and mappings of these


@dataclass(frozen=True)
class Table:
    """Rows of cells under their column names. name: the key in machine formats.  tones: one a row, as of `Analysis.tone`."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Json, ...], ...]
    name: str = ""
    tones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Names and values for people, in order."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Series:
    """One line, or the bars of one histogram. x, y: of the same length; NaN in y is a gap.  edges: of a histogram's bins, y its counts.

    to: of the same length, where each place has a stroke from y to it instead of a line through them.  joined: whether marks have a
    line through them.
    """

    label: str
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    dashed: bool = False
    marked: bool = False
    colour: int = 0
    to: tuple[float, ...] = ()
    joined: bool = True


@dataclass(frozen=True)
class Field:
    """Values over a grid. x, y: its places, ascending.  values: a row for each y, of a value for each x; NaN is a gap.

    names: what the whole numbers 0, 1, ... stand for, where values are such; none where they are quantities.  label: of a quantity.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    names: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes. marks: vertical lines.  names: of the places 0, 1, ... on the x axis.  height: relative to other panels.
    field: colours below the lines.

    x_limits, y_limits: an infinite one is where the data end.  whole: the x axis has ticks at whole numbers only.
    """

    series: tuple[Series, ...]
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    logarithmic: bool = False
    marks: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    legend: bool = False
    height: float = 1.0
    whole: bool = False
    field: Field | None = None


@dataclass(frozen=True)
class Figure:
    """Panels below each other, on one x axis. name: of its file where a folder is asked for.  size: inches."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    size: tuple[float, float] = (7.0, 5.0)


@dataclass(frozen=True)
class Picture:
    """Pixels. title: what they show.  size: width and height.  pixels: row by row, one byte each (grey) or three (red, green, blue).

    Raises ValueError for another number of bytes.
    """

    title: str
    size: tuple[int, int]
    pixels: bytes

    def __post_init__(self) -> None:
        """The number of bytes."""
        count = self.size[0] * self.size[1]
        if min(self.size) < 1 or len(self.pixels) not in (count, 3 * count):
            raise ValueError(f"{len(self.pixels)} bytes for {self.size[0]}x{self.size[1]} pixels of one or three bytes")


@dataclass(frozen=True)
class Strip:
    """Pictures side by side, with what is said of them all."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Section:
    """A titled part. Records have a section of their own in every format; these come after it.

    detail: for formats with room: the lines of a text leave it out; named tables in it are data like all others.
    """

    title: str
    parts: tuple[Table | Facts | Figure | Strip, ...]
    detail: bool = False


@dataclass(frozen=True, eq=False)
class Document:
    """A whole result.

    lead: the first lines of a text, where a standard prescribes them; empty otherwise.
    values: JSON-ready numbers and tables of the analysis, at the top of a machine-readable document.
    summary: JSON-ready counts.  sections: for people.  figures: what a picture format draws.
    arrays: what an array format keeps; where it is empty, the columns of the records.
    exit_code: of the command that made it.  error: what the command ends with after the result, its message and exit code.
    notes: said beside the result, each once.
    warnings, remarks: for stderr, after the result; remarks are left out where no progress is wanted.
    """

    summary: Mapping[str, Json] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    figures: tuple[Figure, ...] = ()
    values: Mapping[str, Json] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    lead: str = ""
    exit_code: int = 0
    error: AbsintError | None = None


@dataclass(frozen=True, eq=False)
class Heading:
    """What is fixed before the first record.

    header: JSON-ready, all that the run is: command, model, data, domain, versions, ...  records: the key of the records in a
    machine-readable document.  columns, shown: of the records; those a table for people has, with their widths.
    total: items asked for.  lead: whether the document starts with lines that a standard prescribes.
    running: columns whose lists run along each other; where cells are plain, each entry has a line of its own.
    """

    analysis: str
    header: Mapping[str, Json]
    records: str
    columns: tuple[str, ...]
    shown: Mapping[str, int]
    total: int = 0
    lead: bool = False
    running: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a record on its way to a format. values: by column, JSON-ready.  tone: good, bad, open or ''.

    cells: as people read it, by column.  more: further lines of it.  word: what counts call it, as `Analysis.word`.
    cut: whether the limit of the whole run ended it: an open one was not decided at all.
    """

    values: Mapping[str, Json]
    cells: Mapping[str, str]
    tone: str = ""
    more: tuple[Mapping[str, str], ...] = ()
    word: str = ""
    cut: bool = False


def table_of(name: str, rows: Sequence[Mapping[str, Json]]) -> Table:
    """A table of mappings with the same keys."""
    columns = tuple(rows[0]) if rows else ()
    return Table(columns, tuple(tuple(row[key] for key in columns) for row in rows), name)
