"""A record's tuple of fixed length is read back only as long as it is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from absint.contract.record import record_of, row_of


@dataclass(frozen=True)
class Ends:
    index: int
    ends: tuple[float, str]
    many: tuple[float, ...] = ()
    few: list[int] | None = None


@pytest.mark.parametrize("record", [Ends(0, (1.5, "a")), Ends(1, (0.0, ""), (1.0, 2.0, 3.0), [1])])
def test_tuples_are_read_back(record: Ends) -> None:
    assert record_of(Ends, row_of(record)) == record


@pytest.mark.parametrize("ends", [[], [1.5], [1.5, "a", "b"]])
def test_another_length_is_refused(ends: list[object]) -> None:
    with pytest.raises(ValueError, match="2 entries expected"):
        record_of(Ends, {"index": 0, "ends": ends, "many": [], "few": None})
