"""Reads labelled inputs from CSV files: one line an input, the label first where no name says otherwise; ERAN's files among them.

    7,0,0,12,...            a label, then values
    label,p0,p1,...         a header; a column that it calls label, class, target or y holds the labels, wherever it stands
    ,p0,p1,...,target       as pandas writes it: the index, a column without a name, is left out
    file,label              pictures, by their paths beside the table
    7 0.25 1                numpy.savetxt: cells apart by spaces, its header behind "# "
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from absint.errors import UsageError
from absint.frontends.csv_text import Line, cells_of, classes_hint, empty_end, is_name, number_hint, number_in
from absint.frontends.data_source import AnyArray, Content, DataSource, register_reader
from absint.frontends.images import SUFFIXES, read_listed
from absint.problem.dataset import FloatArray

_LABELS = (("label", "labels", "class", "classes", "class_label", "class_id"), ("target", "targets", "category"), ("y",))    # by rank
_UNNAMED = ("", "unnamed: 0")
_NONE = "none"

@dataclass(frozen=True)
class _Table:
    """lines: of data.  names: of the columns, where a header has them.  notes: what was left out.  places: where each stood in the file.

    mark: what stands between cells.
    """

    lines: list[Line]
    names: tuple[str, ...] | None
    notes: tuple[str, ...]
    places: tuple[int, ...]
    mark: str = ","

    @property
    def width(self) -> int:
        return len(self.lines[0][1])

    def without(self, column: int) -> _Table:
        names = None if self.names is None else self.names[:column] + self.names[column + 1 :]
        return _Table([(number, cells[:column] + cells[column + 1 :]) for number, cells in self.lines], names, self.notes,
                      self.places[:column] + self.places[column + 1 :], self.mark)

    def column(self, place: int) -> _Table:
        names = None if self.names is None else self.names[place : place + 1]
        return _Table([(number, cells[place : place + 1]) for number, cells in self.lines], names, (), self.places[place : place + 1],
                      self.mark)


@register_reader(".csv", ".txt")
def read_csv(source: DataSource) -> Content:
    """One row an input: label, then values; whole values in 0..255 are divided by 255, others kept.

    A first line without numbers is a header. The label stands in the column that is asked for, else in the one whose name says so, else
    in the first of a table without names, or beside a numbered series; nowhere where there are as many columns as an input has numbers.
    A table of paths of pictures holds these.
    """
    table = _table_of(source)
    place = _pictures(table)
    label, notes = _label_place(table, source, pictures=place)
    if place is not None:
        found = _listed(table, place, label, source)
        return Content(found.images, found.labels, (*table.notes, *notes, *found.notes), found.sha256, found.layout,
                       followed=("label_column",))
    cells = table if label is None else table.without(label)
    if not cells.width:
        raise source.fail("E-DATA-FORMAT", "a row is a label, then at least one value", "separate cells by commas; rows without a label: "
                          "--label-column none")
    values, scaling = _scaled_cells(_numbers_of(cells, source), keep=source.reading.scale is not None)
    labels = None if label is None or not source.reading.labelled else _numbers_of(table.column(label), source, label=True)[:, 0]
    return Content(values, labels, (*table.notes, *notes, *scaling), followed=("label_column",))


def label_cells(source: DataSource) -> AnyArray:
    """The numbers of a file of labels, (N,) or (N, columns): of the column whose name says so, where there is one."""
    table = _table_of(source)
    named = _named_label(table.names or (), source)
    return _numbers_of(table if named is None else table.column(named), source)


def csv_table(source: DataSource) -> tuple[FloatArray, tuple[str, ...] | None]:
    """All cells as float64 (rows, columns), and the names of the columns where a header has them."""
    table = _table_of(source)
    return _numbers_of(table, source), table.names


# --- which column is what -------------------------------------------------------------------------------------------


def _label_place(table: _Table, source: DataSource, *, pictures: int | None) -> tuple[int | None, tuple[str, ...]]:
    """The column of labels, and what is to be said of it. Raises UsageError E-DATA-COLUMN."""
    stated = source.reading.label_column
    if stated is not None:
        place = _stated_place(stated.strip(), table, source)
        return place, () if place is None else (f"labels read from column {_called(table, place)}",)
    if pictures is None and table.width == source.reading.entries:
        return None, (f"as many columns as the network has inputs, {table.width}: none holds labels",)
    named = _named_label(table.names or (), source)
    if named is not None:
        return named, (f"labels read from column {_called(table, named)}",)
    if pictures is None and (table.names is None or _series(table.names[1:])):
        return 0, ()
    if pictures is None and _series((table.names or ())[:-1]):
        return table.width - 1, (f"labels read from column {_called(table, table.width - 1)}",)
    if pictures is None or table.width > 2:
        those = f" ({', '.join(name.strip() for name in table.names[:8])}{', ...' if table.width > 8 else ''})" if table.names else ""
        raise UsageError("E-DATA-COLUMN", f"{table.width} columns{those}, and none is called label", where=str(source.path),
                         hint="say which holds the labels: --label-column NAME, or a place from 0; or none")
    return (1 - pictures if table.width == 2 else None), ()


def _stated_place(stated: str, table: _Table, source: DataSource) -> int | None:
    names = [name.strip() for name in table.names or ()]
    if stated in names:
        if names.count(stated) > 1:
            raise UsageError("E-DATA-COLUMN", f"{names.count(stated)} columns are called '{stated}'", where="--label-column",
                             hint=f"give its place, 0 to {table.width - 1}")
        return names.index(stated)
    if stated.lower() == _NONE:
        return None
    try:
        place = int(stated)
    except ValueError:
        place = table.width
    if not -table.width <= place < table.width:
        known = f"columns: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "the table has no header of names"
        raise UsageError("E-DATA-COLUMN", f"there is no column '{stated}' in {source.path.name}", where="--label-column",
                         hint=f"{known}; a place from 0 to {table.width - 1}, -1 for the last, or none")
    return place % table.width


def _named_label(names: Sequence[str], source: DataSource) -> int | None:
    """The column that a header calls a label; the plainer word wins."""
    plain = [name.strip().lower() for name in names]
    for words in _LABELS:
        found = [place for place, name in enumerate(plain) if name in words]
        if len(found) > 1:
            raise UsageError("E-DATA-COLUMN", f"columns {' and '.join(names[place].strip() for place in found)} may both hold labels",
                             where=str(source.path), hint="say which: --label-column NAME")
        if found:
            return found[0]
    return None


def _series(names: Sequence[str]) -> bool:
    """Whether columns are numbered in turn, as p0, p1, p2 are: what stands beside them is something else."""
    parts = [re.fullmatch(r"(.*?)[ _.]*(\d+)", name.strip()) for name in names]
    found = [(part[1], int(part[2])) for part in parts if part is not None]
    return len(found) == len(names) > 1 and all(a == c and d == b + 1 for (a, b), (c, d) in pairwise(found))


def _called(table: _Table, place: int) -> str:
    return f"{place}" if table.names is None else f"'{table.names[place].strip()}'"


def _pictures(table: _Table) -> int | None:
    """The column of paths of pictures."""
    first = table.lines[0][1]
    return next((k for k, cell in enumerate(first) if cell.strip().lower().endswith(SUFFIXES)), None)


def _listed(table: _Table, place: int, label: int | None, source: DataSource) -> Content:
    if label == place:
        raise UsageError("E-DATA-COLUMN", "the column of labels holds the pictures", where="--label-column", hint="name another one")
    wanted = label if source.reading.labelled else None
    return read_listed(source, [(number, cells[place].strip(), None if wanted is None else cells[wanted].strip())
                                for number, cells in table.lines])


# --- cells ----------------------------------------------------------------------------------------------------------


def _scaled_cells(values: FloatArray, *, keep: bool) -> tuple[FloatArray, tuple[str, ...]]:
    """values: (N, entries). All 0 and 1 counts as scaled already. keep: a scale of the user's own stands in place of this."""
    if keep:
        return values, ()
    least, most = values.min(), values.max()
    if least >= 0 and 1 < most <= 255 and np.array_equal(values, np.trunc(values)):
        return values / 255.0, ("whole values in 0..255 divided by 255 (--scale 1 keeps them)",)
    if least >= 0 and most <= 1:
        return values, ("values in [0, 1] kept as they are",)
    return values, (f"values in [{least:g}, {most:g}] kept as they are",)


def _table_of(source: DataSource) -> _Table:
    """All cells, every row of one length, without the header and the index of pandas."""
    read = cells_of(source)
    lines = read.lines
    header = bool(lines) and _is_header(lines[0][1])
    rows = lines[1:] if header else lines
    if not rows:
        raise source.fail("E-DATA-EMPTY", "the file holds no rows", "one row an input: its label, then its values")
    notes = ("header line skipped",) if header else ()
    if empty_end(lines[0][1] if header else None, rows):
        width = len(rows[0][1]) - 1
        rows, lines = ([(number, cells[:width]) for number, cells in part] for part in (rows, lines))
        notes = (*notes, "the last column, which is empty, left out")
    width = len(rows[0][1])
    for number, cells in rows:
        if len(cells) != width:
            what = f"line {number} has {len(cells)} cells, line {rows[0][0]} has {width}"
            raise source.fail("E-DATA-RAGGED", what, "every row needs a label and the same number of values")
    names = tuple(lines[0][1]) if header and len(lines[0][1]) == width else None
    table = _Table(rows, names, (*notes, *read.notes), tuple(range(width)), read.mark)
    if names is None or width < 2 or names[0].strip().lower() not in _UNNAMED:
        return table
    bare = table.without(0)
    return replace(bare, notes=(*table.notes, "the first column, which has no name, left out as pandas' index"))


def _is_header(cells: list[str]) -> bool:
    """No cell is a number, or only column numbers stand beside a first name, an index without one, and a label's ("label,0,1,2")."""
    plain = [cell.strip() for cell in cells]
    numeric = [number_in(cell) is not None for cell in plain]
    if any(cell.lower().endswith(SUFFIXES) for cell in plain):
        return False
    if not any(numeric):
        return True
    first = 0 if numeric[0] else 1
    known = [k >= first and not any(cell.lower() in words for words in _LABELS) for k, cell in enumerate(plain)]
    names = [cell for cell, counts in zip(plain, known, strict=True) if counts]
    counting = [[str(start + i) for i in range(len(names))] for start in (0, 1)]
    return len(names) < len(plain) and names in counting


def _numbers_of(table: _Table, source: DataSource, *, label: bool = False) -> FloatArray:
    """(rows, columns). Raises E-DATA-CELL for the first cell that is not a number. label: whether these are the labels."""
    found: list[list[float]] = []
    for number, cells in table.lines:
        values: list[float] = []
        for place, cell in zip(table.places, cells, strict=True):
            value = number_in(cell)
            if value is None:
                raise source.fail("E-DATA-CELL", f"line {number}, column {place + 1}: '{cell[:30]}' is not a number",
                                  _cell_hint(cell, table, place, label=label))
            values.append(value)
        found.append(values)
    return np.array(found, dtype=np.float64)


def _cell_hint(cell: str, table: _Table, place: int, *, label: bool) -> str:
    """place: in the file."""
    name = dict(zip(table.places, table.names or (), strict=False)).get(place, "").strip()
    if label and is_name(cell):
        return classes_hint(name, table.mark)
    return number_hint(cell, table.mark, name)
