"""Lines and cells of a table as text: its encoding, what stands between its cells, and how its decimals are written."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from absint.frontends.data_source import DataSource

Line = tuple[int, list[str]]
"""Its number from 1, and its cells."""

_MARKS = (";", "\t", "|")      # before the comma, which stands inside of decimals and of names, too
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SEP = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)      # Excel's own first line
_DECIMAL = re.compile(r"\s*[+-]?\d+,\d+(?:[eE][+-]?\d+)?\s*")
_GROUPED = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+\s*")       # 1,234 could be a thousand and some
_GAPS = ("", "na", "n/a", "null", "none", "?", "-")
_POINT = re.compile(r"\s*[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class Cells:
    """lines: every one that is not blank.  mark: what stands between cells.  notes: what was made of the text."""

    lines: list[Line]
    mark: str
    notes: tuple[str, ...] = ()


def csv_lines(source: DataSource) -> list[Line]:
    """Every line that is not blank, numbers with a decimal point."""
    return cells_of(source).lines


def cells_of(source: DataSource) -> Cells:
    """The table. Raises InputError E-DATA-FORMAT for what is no text."""
    text = _without_comments(_text(source))
    spaced = _spaced(text)
    if spaced is not None:
        return Cells(spaced, " ")
    stated = _SEP.match(text)
    mark = _mark(text) if stated is None else stated[1]
    body = text if stated is None else text[stated.end() - 1 :]       # the end of that line stays, so that lines keep their numbers
    try:
        reader = csv.reader(io.StringIO(body, newline=""), strict=True, delimiter=mark)
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise source.fail("E-DATA-FORMAT", f"not a CSV file: {error}",
                          "write numbers without quotes, and separate cells by commas") from error
    return _pointed(lines, mark)


def _text(source: DataSource) -> str:
    """UTF-8, or UTF-16 that says so, as spreadsheets write 'Unicode text'."""
    try:
        return source.data.decode("utf-16" if source.data.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"not a text file: byte {error.start} is not UTF-8"
        if b"\0" in source.data:
            raise source.fail("E-DATA-FORMAT", what, "is the extension right?") from error
        raise source.fail("E-DATA-FORMAT", what, "write it as UTF-8: pandas.read_csv(path, encoding='latin-1').to_csv(new, index=False)"
                          ) from error


def _mark(text: str) -> str:
    """What stands between cells: a mark of the first line that the last one has, too, outside of quotes; else a comma."""
    lines = [re.sub(r'"[^"]*"', "", line) for line in text.splitlines() if line.strip()]
    return next((mark for mark in _MARKS if lines and mark in lines[0] and mark in lines[-1]), ",")


def _pointed(lines: list[Line], mark: str) -> Cells:
    """With points for decimal commas, where all commas are sure to be that: none of 1,234 alone, and none beside 0.5."""
    commas = [cell for _, cells in lines for cell in cells if "," in cell and _DECIMAL.fullmatch(cell)]
    pointed = any(_POINT.fullmatch(cell) for _, cells in lines for cell in cells)
    if pointed or all(_GROUPED.fullmatch(cell) for cell in commas):
        return Cells(lines, mark)
    changed = [(number, [cell.replace(",", ".") if _DECIMAL.fullmatch(cell) else cell for cell in cells]) for number, cells in lines]
    return Cells(changed, mark, ("decimal commas read as points",))


def _spaced(text: str) -> list[Line] | None:
    """The lines of a table of numbers with spaces between them, as numpy.savetxt writes it; None where it is none."""
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    first, last = (lines[0][1], lines[-1][1]) if lines else ([], [])
    marked = any(mark in text for mark in (",", *_MARKS))
    return None if marked or len(first) != len(last) or len(last) < 2 or any(number_in(cell) is None for cell in last) else lines


def _without_comments(text: str) -> str:
    """Without the lines in front that start with #, of which the last is a header where it has as many cells as the line behind it."""
    lines = text.split("\n")
    count = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    if count == 0:
        return text
    header, first = lines[count - 1].removeprefix("#").lstrip(), lines[count]
    named = any(len(one) == len(other) > 1 for one, other in zip(_cells(header), _cells(first), strict=True))
    return "\n" * (count - 1) + (header if named else "") + "\n" + "\n".join(lines[count:])


def _cells(line: str) -> list[list[str]]:
    """As commas, other marks or runs of spaces divide it."""
    return [line.strip().split(mark) for mark in (",", *_MARKS)] + [line.split()]


def number_in(cell: str) -> float | None:
    """The cell's value; None for anything but a number (float() alone would take "1_000")."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def is_name(cell: str) -> bool:
    """Whether a cell is a word, as the names of classes are."""
    return cell.strip()[:1].isalpha() and cell.strip().lower() not in _GAPS


def number_hint(cell: str, mark: str, column: str = "") -> str:
    """What to do about a cell that is no number. column: its name, where it has one."""
    text, sep = cell.strip(), repr(mark)
    if text.lower() in _GAPS:
        return "a network takes no gaps: fill them in or leave their rows out, such as by pandas.read_csv(path).dropna()"
    if re.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", text):
        return f"write numbers without commas: pandas.read_csv(path, sep={sep}, thousands=',').to_csv(new, index=False)"
    if re.fullmatch(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+", text):
        return f"write numbers plainly: pandas.read_csv(path, sep={sep}, thousands='.', decimal=',').to_csv(new, index=False)"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"write all decimals with a point: pandas.read_csv(path, sep={sep}, decimal=',').to_csv(new, index=False)"
    if column:
        return (f"leave that column out, or turn it into numbers as in training: pandas.read_csv(path, sep={sep})"
                f".drop(columns={column!r}).to_csv(new, index=False); where it holds the labels: --label-column {column!r}")
    return "cells are numbers separated by commas, classes are numbered from 0; labels in another column: --label-column NAME"


def classes_hint(column: str, mark: str) -> str:
    """What to do about the names of classes, whose order nobody states. column: its name; '' for none."""
    if not column:
        return "number the classes from 0, as the network's outputs are ordered"
    return ("number the classes from 0, as the network's outputs are ordered; by the alphabet: "
            f"table = pandas.read_csv(path, sep={mark!r}); "
            f"table[{column!r}] = pandas.factorize(table[{column!r}], sort=True)[0]; table.to_csv(new, index=False)")


def empty_end(header: Sequence[str] | None, rows: Sequence[Line]) -> bool:
    """Whether every line ends in a mark, behind which nothing stands: the last column has neither a name nor a value."""
    width = len(rows[0][1])
    unnamed = header is None or (len(header) == width and not header[-1].strip()) or len(header) == width - 1
    return width > 1 and unnamed and all(len(cells) == width and not cells[-1].strip() for _, cells in rows)
