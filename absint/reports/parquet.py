"""Parquet: the columns of the records with their types, for pandas, DuckDB, Spark, polars. pyarrow is an extra."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any, ClassVar

from absint.contract.document import Document, Heading, Row
from absint.errors import UnsupportedError
from absint.reports.interface import Format
from absint.reports.parquet_types import ColumnKind
from absint.reports.rows import alone, dumps

_IN_MEMORY = 2**24      # bytes of rows, then they wait on the disk
_COMPRESSIONS = ("snappy", "zstd", "gzip", "lz4", "brotli", "none")


@dataclass(frozen=True)
class ParquetOptions:
    """compression: snappy, zstd, gzip, lz4, brotli or none.  rows: of a row group, which is what a reader holds at a time."""

    compression: str = "snappy"
    rows: int = 10_000

    def __post_init__(self) -> None:
        if self.compression not in _COMPRESSIONS:
            raise ValueError(f"compression is one of {', '.join(_COMPRESSIONS)}")
        if self.rows < 1:
            raise ValueError("a row group has a row at least")


class Parquet(Format):
    """Written at the end, a row group after the other, rows in the order of decision; a run that fails leaves the file empty.

    A column is bool, int64, float64, string, or lists of these, by the values that it has in the whole run; what is of no one kind is
    JSON text, and the field's metadata say so ("json": "true"). An absent value is null. The file's metadata hold "absint.schema", and
    as JSON "absint.header", "absint.summary" and "absint.notes".
    Rows wait in a temporary file, so that memory does not grow with the run.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    binary: ClassVar[bool] = True
    Options: ClassVar[type[Any]] = ParquetOptions

    @classmethod
    def check(cls) -> None:
        """Raise UnsupportedError E-PARQUET-MISSING without pyarrow."""
        if find_spec("pyarrow") is None:
            raise UnsupportedError("E-PARQUET-MISSING", "Parquet files need pyarrow, which is not installed",
                                   hint="pip install 'absint[parquet]', or pip install pyarrow")

    def begin(self, heading: Heading) -> None:
        """The columns."""
        self.heading, self.more = heading, alone(heading)
        self.columns = {name: ColumnKind() for name in (*heading.columns, *self.more)}
        self.kept: Any = SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", newline="\n")  # noqa: SIM115  # closed by `end`

    def row(self, row: Row) -> None:
        """Kept; the kinds of its values are known from then on."""
        given = {**row.values, **self.more}
        values = json.loads(dumps([given.get(name) for name in self.columns]))
        for seen, value in zip(self.columns.values(), values, strict=True):
            seen.add(value)
        self.kept.write(json.dumps(values) + "\n")

    def end(self, document: Document) -> None:
        """The file."""
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        schema = self._schema(pyarrow, document)
        compression = self.options.compression
        with self.kept, ParquetWriter(self.stream, schema, compression=compression.upper() if compression != "none" else "NONE") as writer:
            self.kept.seek(0)
            while lines := list(islice(self.kept, self.options.rows)):
                writer.write_table(pyarrow.table(list(self._arrays(pyarrow, lines)), schema=schema))
        self.stream.flush()

    def _schema(self, arrow: Any, document: Document) -> Any:
        fields = [arrow.field(_utf8(name), seen.arrow(arrow), metadata={"json": "true"} if seen.texts else None)
                  for name, seen in self.columns.items()]
        said = {"header": dict(self.heading.header), "summary": dict(document.summary), "notes": list(dict.fromkeys(document.notes))}
        known = {"absint.schema": f"absint-{self.heading.analysis}/2", **{f"absint.{name}": dumps(value) for name, value in said.items()}}
        return arrow.schema(fields, metadata=known)

    def _arrays(self, arrow: Any, lines: list[str]) -> Iterator[Any]:
        rows = [json.loads(line) for line in lines]
        for place, seen in enumerate(self.columns.values()):
            kind = seen.arrow(arrow)
            yield arrow.array([_utf8(seen.converted(row[place])) for row in rows], type=kind)


def _utf8(value: Any) -> Any:
    """Text that has a form in UTF-8: lone surrogates as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return [_utf8(one) for one in value] if isinstance(value, list) else value
