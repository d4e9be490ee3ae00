"""Reads labelled inputs from CSV files: one line an input, the label first where there is one; ERAN's files among them."""

from __future__ import annotations

import csv
import io

import numpy as np

from absint.frontends.data_source import Content, DataSource, register_reader
from absint.problem.dataset import FloatArray


@register_reader(".csv", ".txt")
def read_csv(source: DataSource) -> Content:
    """One row an input: label, then values; whole values in 0..255 are divided by 255, others kept.

    The layout of ERAN's test files. A first line without numbers is skipped.
    """
    table, notes = csv_table(source)
    if table.shape[1] < 2:
        raise source.fail("E-DATA-FORMAT", "a row is a label, then at least one value", "separate cells by commas")
    values, scaling = _scaled_cells(table[:, 1:])
    return Content(values, table[:, 0], (*notes, scaling))


def _scaled_cells(values: FloatArray) -> tuple[FloatArray, str]:
    """values: (N, entries). All 0 and 1 counts as scaled already."""
    least, most = values.min(), values.max()
    if least >= 0 and 1 < most <= 255 and np.array_equal(values, np.trunc(values)):
        return values / 255.0, "whole values in 0..255 divided by 255"
    if least >= 0 and most <= 1:
        return values, "values in [0, 1] kept as they are"
    return values, f"values in [{least:g}, {most:g}] kept as they are"


def csv_table(source: DataSource) -> tuple[FloatArray, tuple[str, ...]]:
    """All cells as float64 (rows, columns), and whether a header was skipped."""
    lines = _csv_lines(source)
    header = bool(lines) and _is_header(lines[0][1])
    rows = lines[1:] if header else lines
    if not rows:
        raise source.fail("E-DATA-EMPTY", "the file holds no rows", "one row an input: its label, then its values")
    width = len(rows[0][1])
    for number, cells in rows:
        if len(cells) != width:
            what = f"line {number} has {len(cells)} cells, line {rows[0][0]} has {width}"
            raise source.fail("E-DATA-RAGGED", what, "every row needs a label and the same number of values")
    table = np.array([_numbers(cells, number, source) for number, cells in rows], dtype=np.float64)
    return table, ("header line skipped",) if header else ()


def _csv_lines(source: DataSource) -> list[tuple[int, list[str]]]:
    """(line number from 1, cells) of every line that is not blank."""
    try:
        text = source.data.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except UnicodeDecodeError as error:
        what = f"not a text file: byte {error.start} is not UTF-8"
        raise source.fail("E-DATA-FORMAT", what, "is the extension right?") from error
    except csv.Error as error:
        raise source.fail("E-DATA-FORMAT", f"not a CSV file: {error}", "separate cells by commas") from error


def _is_header(cells: list[str]) -> bool:
    """No cell is a number, or only column numbers follow the first ("label,0,1,2")."""
    numeric = [_number(cell) is not None for cell in cells]
    names = [cell.strip() for cell in cells[1:]]
    counting = [[str(start + i) for i in range(len(names))] for start in (0, 1)]
    return not any(numeric) or (not numeric[0] and names in counting)


def _numbers(cells: list[str], number: int, source: DataSource) -> list[float]:
    """The cells of one line; E-DATA-CELL for the first that is not a number."""
    values: list[float] = []
    for column, cell in enumerate(cells, start=1):
        value = _number(cell)
        if value is None:
            what = f"line {number}, column {column}: '{cell[:30]}' is not a number"
            raise source.fail("E-DATA-CELL", what, "cells are numbers separated by commas")
        values.append(value)
    return values


def _number(cell: str) -> float | None:
    """The cell's value; None for anything but a number (float() alone would take "1_000")."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
