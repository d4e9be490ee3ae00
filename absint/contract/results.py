"""What a Python function returns: the records in order, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from absint.contract.record import cells_of, columns_of, row_of
from absint.errors import UnsupportedError

if TYPE_CHECKING:
    from absint.contract.document import Document
    from absint.contract.run import Run

R = TypeVar("R")
_MOST = 100     # rows that a notebook shows


def pandas_module() -> Any:
    """pandas, where it is installed: absint does not need it. Raises UnsupportedError E-PANDAS."""
    try:
        import pandas
    except ImportError as error:
        raise UnsupportedError("E-PANDAS", "pandas is not installed", hint="pip install pandas") from error
    return pandas


class Results(Sequence[R], Generic[R]):
    """The records of a run, in the order of its items. document: their summary.  run: what it was made with."""

    def __init__(self, records: tuple[R, ...], document: Document, run: Run[Any]) -> None:
        self.records, self.document, self.run = records, document, run

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[R]: ...
    def __getitem__(self, index: int | slice) -> R | Sequence[R]:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[R]:
        return iter(self.records)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: header, summary, values and records, as `--format json` writes them."""
        return {"header": dict(self.run.header), "summary": dict(self.document.summary), **self.document.values,
                "records": [row_of(record) for record in self.records]}

    def to_pandas(self) -> Any:
        """One row a record. Raises UnsupportedError E-PANDAS without pandas."""
        pandas = pandas_module()
        columns = [column.name for column in columns_of(type(self.records[0]))] if self.records else None
        return pandas.DataFrame([row_of(record) for record in self.records], columns=columns)

    def __repr__(self) -> str:
        summary = ", ".join(f"{name} {value}" for name, value in self.document.summary.items() if isinstance(value, (int, float, str)))
        return f"<{len(self)} records of {self.run.analysis}: {summary}>"

    def _repr_html_(self) -> str:
        if not self.records:
            return escape(repr(self))
        shown = [column.name for column in columns_of(type(self.records[0])) if column.width]
        head = "".join(f"<th>{escape(name)}</th>" for name in shown)
        rows = "".join("<tr>" + "".join(f"<td>{escape(cells_of(record)[name])}</td>" for name in shown) + "</tr>"
                       for record in self.records[:_MOST])
        more = f"<p>... {len(self) - _MOST} more</p>" if len(self) > _MOST else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"
