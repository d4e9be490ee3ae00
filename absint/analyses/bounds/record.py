"""What is known of one input in one domain: bounds of every tensor that is asked for. Rows for formats: bounds, or widths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, ClassVar

from absint.numeric.decimal import outward_text
from absint.verdict import Reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    BoolArray = npt.NDArray[np.bool_]

_SHOWN = 20     # entries of one tensor that a table for people shows


@dataclass(frozen=True, eq=False)
class TensorBounds:
    """Bounds of one node. lower, upper: (instances, *shape) or, of one instance, (*shape); float64, rounded outward, infinite where
    nothing is known.

    undecided: of the same shape, entries over which some operator that reads them is not affine; None where no nonlinear
    operator reads the node.
    """

    lower: FloatArray
    upper: FloatArray
    undecided: BoolArray | None

    def at(self, instance: int) -> TensorBounds:
        """Of one instance."""
        return TensorBounds(self.lower[instance], self.upper[instance], None if self.undecided is None else self.undecided[instance])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers in row-major order. undecided: a hexadecimal digit for four entries."""
        import numpy as np

        mask = None if self.undecided is None else np.packbits(self.undecided).tobytes().hex()
        return {"shape": list(self.lower.shape), "lower": listed(self.lower), "upper": listed(self.upper), "undecided": mask}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> TensorBounds:
        """What `as_dict` wrote. Raises KeyError, TypeError or ValueError on anything else."""
        import numpy as np

        shape = tuple(map(int, row["shape"]))
        lower, upper = (np.array([float(value) for value in row[name]], np.float64).reshape(shape) for name in ("lower", "upper"))
        if row["undecided"] is None:
            return cls(lower, upper, None)
        bits = np.frombuffer(bytes.fromhex(row["undecided"]), np.uint8)
        return cls(lower, upper, np.unpackbits(bits, count=lower.size).reshape(shape).astype(np.bool_))


def listed(values: Any) -> list[float | str]:
    """Flat, row-major; '-inf' and 'inf' where nothing is known, for which JSON has no number."""
    return [value if isfinite(value) else str(value) for value in values.reshape(-1).tolist()]


@dataclass(frozen=True, eq=False)
class BoundsRecord:
    """index: of the item.  domain: as stated.  input: its place in the data.  tensors: name -> bounds of this input.

    reason: timeout, where the input's limit passed before its bounds were known; there are no tensors then, and formats show
    infinite bounds.  time_s: its share of the wall time.
    """

    index: int
    domain: str
    input: int
    tensors: Mapping[str, TensorBounds]
    reason: Reason | None = None
    time_s: float = 0.0

    COLUMNS: ClassVar = ("index", "domain", "input", "tensors", "reason", "time_s")
    SHOWN: ClassVar = {"domain": 10, "input": 5, "reason": 8}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"index": self.index, "domain": self.domain, "input": self.input,
                "tensors": {name: found.as_dict() for name, found in self.tensors.items()},
                "reason": None if self.reason is None else self.reason.value, "time_s": round(self.time_s, 6)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> BoundsRecord:
        """What `as_dict` wrote. Raises KeyError, TypeError or ValueError on anything else."""
        reason = row["reason"]
        return cls(int(row["index"]), str(row["domain"]), int(row["input"]),
                   {str(name): TensorBounds.from_dict(found) for name, found in row["tensors"].items()},
                   None if reason is None else Reason(reason), float(row["time_s"]))


@dataclass(frozen=True, eq=False)
class BoundsRow:
    """Bounds of one tensor for one input in one domain."""

    index: int
    domain: str
    input: int
    tensor: str
    found: TensorBounds
    reason: str | None

    COLUMNS: ClassVar = ("index", "domain", "input", "tensor", "shape", "lower", "upper", "reason")
    RUNNING: ClassVar = ("lower", "upper")
    SHOWN: ClassVar = {"domain": 10, "input": 5, "tensor": 12, "entry": 8, "lower": 13, "upper": 13, "width": 10}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"index": self.index, "domain": self.domain, "input": self.input, "tensor": self.tensor,
                "shape": list(self.found.lower.shape), "lower": listed(self.found.lower), "upper": listed(self.found.upper),
                "reason": self.reason}

    def lines(self) -> Iterator[Mapping[str, str]]:
        """One an entry, the first twenty; digits are cut outward."""
        import numpy as np

        start = {"domain": self.domain, "input": str(self.input), "tensor": self.tensor}
        if self.reason is not None:
            yield {**start, "entry": "every", "lower": str(-inf), "upper": str(inf), "width": self.reason}
            return
        lower, upper = self.found.lower, self.found.upper
        for count, place in enumerate(np.ndindex(lower.shape)):
            if count == _SHOWN:
                yield {**start, "entry": f"... {lower.size - _SHOWN} more"}
                return
            low, high = float(lower[place]), float(upper[place])
            yield {**start, "entry": ",".join(map(str, place)), "lower": outward_text(low, -1), "upper": outward_text(high, 1),
                   "width": f"{high - low:.4g}"}


@dataclass(frozen=True)
class WidthsRow:
    """Widths of one tensor for one input in one domain. A table for people has those of all inputs together instead."""

    index: int
    domain: str
    input: int
    widths: Mapping[str, Any]
    reason: str | None

    COLUMNS: ClassVar[Sequence[str]] = ("index", "domain", "input", "tensor", "op", "shape", "entries", "mean_width", "median_width",
                                        "max_width", "unbounded", "undecided", "reason")
    SHOWN: ClassVar[Mapping[str, int]] = {}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"index": self.index, "domain": self.domain, "input": self.input, **self.widths, "reason": self.reason}
