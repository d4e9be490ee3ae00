"""Where the engine meets the reader of data files, which is a plug-in like any other front end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from absint.errors import UsageError, shown
from absint.numeric.decimal import rational
from absint.problem.dataset import Dataset
from absint.problem.several_inputs import Named
from absint.registry import Registry

_MOST = Fraction(10) ** 30


@dataclass(frozen=True)
class Reading:
    """How a file is to be read, where it leaves that open.

    key: the array to take, of a file that holds several by name: 'NAME', or 'NAME,LABELS'.
    label_column: of a table, its name, its place from 0 (-1 is the last), or 'none'.
    scale: what stored values are multiplied with, in place of what is usual for their type; None for the usual.
    labelled: whether labels are asked for; where they are not, what would be none is left out.
    entries: how many numbers an input has, where that is known.
    inputs: of a network with several; an npz file that holds arrays of these names gives rows of all of them, joined.
    """

    key: str | None = None
    label_column: str | None = None
    scale: Fraction | None = None
    labelled: bool = True
    entries: int | None = None
    inputs: Named | None = None


AS_USUAL = Reading()


class DataReader(Protocol):
    """Turns a file of labelled inputs into a Dataset."""

    def read(self, path: str | Path, labels_path: str | Path | None = None, reading: Reading = AS_USUAL) -> Dataset:
        """The inputs of `path`, labelled by `labels_path` or by the file itself. Raises InputError E-DATA-..."""
        ...


DATA: Registry[Callable[[], DataReader]] = Registry("data front end", "absint.data")


def read_data(path: str | Path, labels_path: str | Path | None = None, reading: Reading = AS_USUAL) -> Dataset:
    """The labelled inputs of a file, read by the front end registered as `files`."""
    more: dict[str, Any] = {} if reading == AS_USUAL else {"reading": reading}
    return DATA.get("files")().read(path, labels_path, **more)


def parse_scale(value: object) -> Fraction | None:
    """'1/255', '0.5', a number (its printed decimals are meant) or None, exactly. Raises UsageError E-SCALE unless it is above 0."""
    if value is None:
        return None
    try:
        exact = value if isinstance(value, Fraction) else rational(value.strip() if isinstance(value, str) else repr(value))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        exact = Fraction(0)
    if not 1 / _MOST <= exact <= _MOST:
        raise UsageError("E-SCALE", f"not what values can be multiplied with: {shown(value)}", where="--scale",
                         hint="a number above 0, such as 1/255, or 1 to keep eight-bit values as they are")
    return exact
