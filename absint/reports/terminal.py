"""Text for people, on a terminal or not: what comes out of files is shown, never obeyed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from absint.errors import printable

_RICH_ROWS = 500    # rich lays out about a thousand rows a second
_ONE_LINE = {ord("\n"): "\\n", ord("\t"): "\\t"}


def is_plain(stream: TextIO) -> bool:
    """Whether a stream wants ASCII without colours or cursor movements: no terminal, TERM=dumb, or the C locale."""
    locale = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "")
    return not stream.isatty() or os.environ.get("TERM") == "dumb" or locale in ("C", "POSIX")


def one_line(text: str) -> str:
    """Text out of a user's file on one line: control characters, line feeds, tabs and lone surrogates as escapes."""
    return printable(text).translate(_ONE_LINE).encode("utf-8", "backslashreplace").decode("utf-8")


def print_table(stream: TextIO, columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = (), *,
                plain: bool) -> None:
    """Rows of cells under their column names; styles: one a row, for terminals (NO_COLOR is respected)."""
    columns = [one_line(column) for column in columns]
    rows = [[one_line(cell) for cell in cells] for cells in rows]  # names come from files
    if plain or len(rows) > _RICH_ROWS:
        _plain(stream, columns, rows)
    else:
        _rich(stream, columns, rows, styles or [""] * len(rows))


def _plain(stream: TextIO, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    for cells in (columns, *rows):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        stream.write(line.rstrip() + "\n")
    stream.write("\n")


def _rich(stream: TextIO, columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for cells, style in zip(rows, styles, strict=True):
        table.add_row(*(Text(cell) for cell in cells), style=style)
    Console(file=stream, highlight=False).print(table)


def print_line(stream: TextIO, line: str, style: str = "", *, plain: bool) -> None:
    """One line, at once and never wrapped. style: for terminals (NO_COLOR is respected)."""
    if plain or not style:
        stream.write(f"{line}\n")
    else:
        from rich.console import Console
        from rich.text import Text

        Console(file=stream, highlight=False).print(Text(line, style), soft_wrap=True)
    stream.flush()
