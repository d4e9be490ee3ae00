"""Of which kind the values of a column are, found value by value; as a type of Arrow, and the values in it."""

from __future__ import annotations

from typing import Any

from absint.reports.rows import dumps

_EXACT = 2**53                                      # whole numbers up to this are exact as float64
_WORDS = frozenset(("inf", "-inf", "nan"))          # what JSON-ready values say for numbers that JSON has no word for


class ColumnKind:
    """Mutable: the kinds of the values so far, in constant memory. None is of every kind."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.item: ColumnKind | None = None   # of lists: their entries

    def add(self, value: Any) -> None:
        """One value, as JSON has it."""
        if value is None:
            return
        if isinstance(value, bool):
            self.kinds.add("bool")
        elif isinstance(value, int):
            self.kinds.add("small" if abs(value) <= _EXACT else "int" if -(2**63) <= value < 2**63 else "vast")
        elif isinstance(value, float):
            self.kinds.add("float")
        elif isinstance(value, str):
            self.kinds.add("word" if value in _WORDS else "str")
        elif isinstance(value, list):
            self.kinds.add("list")
            self.item = self.item or ColumnKind()
            for one in value:
                self.item.add(one)
        else:
            self.kinds.add("json")

    @property
    def kind(self) -> str:
        """'bool', 'int', 'float', 'str', 'list', or 'json' for what no other kind holds without loss; 'str' of nothing but None."""
        kinds = self.kinds
        if not kinds or (kinds <= {"str", "word"} and "str" in kinds):
            return "str"
        if kinds <= {"small", "int"}:
            return "int"
        if kinds <= {"small", "float", "word"}:
            return "float"
        return next(iter(kinds)) if kinds in ({"bool"}, {"list"}) else "json"

    def arrow(self, arrow: Any) -> Any:
        """The type. arrow: the module pyarrow."""
        if self.kind == "list":
            assert self.item is not None
            return arrow.list_(self.item.arrow(arrow))
        return {"bool": arrow.bool_(), "int": arrow.int64(), "float": arrow.float64()}.get(self.kind, arrow.string())

    def converted(self, value: Any) -> Any:
        """A value in that type."""
        kind = self.kind
        if value is None or kind in ("bool", "int", "str"):
            return value
        if kind == "float":
            return float(value)
        if kind == "list":
            assert self.item is not None
            return [self.item.converted(one) for one in value]
        return dumps(value)

    @property
    def texts(self) -> bool:
        """Whether the column is JSON text."""
        return self.kind == "json"
