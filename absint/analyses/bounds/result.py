"""What `absint.bounds` returns: bounds by tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from absint.contract.results import pandas_module

if TYPE_CHECKING:
    from absint.analyses.bounds.tensors import AffineBounds
    from absint.contract.document import Document
    from absint.contract.run import Run


@dataclass(frozen=True, eq=False)
class Bounds:
    """lower, upper: (batch, *shape) float64 numpy arrays, rounded outward, infinite where nothing is known; or torch tensors that
    carry gradients, in the number format of the domain.

    affine: coefficients in terms of the input, where they were asked for.
    """

    lower: Any
    upper: Any
    affine: AffineBounds | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: nested lists, '-inf' and 'inf' where nothing is known."""
        forms = {} if self.affine is None else {
            "affine": {name: _plain(getattr(self.affine, name).tolist())
                       for name in ("lower_weight", "lower_bias", "upper_weight", "upper_bias")}}
        return {"lower": _plain(self.lower.tolist()), "upper": _plain(self.upper.tolist()), **forms}


class BoundsByTensor(dict[str, Bounds]):
    """Name of a tensor -> its bounds; where several domains were asked for, 'DOMAIN/NAME'.

    document: what the run adds up to.  run: what it was made with.
    """

    def __init__(self, found: dict[str, Bounds], document: Document, run: Run[Any]) -> None:
        super().__init__(found)
        self.document, self.run = document, run

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: header, summary, and bounds as `Bounds.to_dict` writes them."""
        return {"header": dict(self.run.header), "summary": dict(self.document.summary),
                "bounds": {name: one.to_dict() for name, one in self.items()}}

    def to_pandas(self) -> Any:
        """One row per tensor, input and entry. Raises UnsupportedError E-PANDAS without pandas."""
        pandas = pandas_module()
        import numpy as np

        parts = []
        for name, one in self.items():
            lower, upper = (np.array(side.tolist(), np.float64).reshape(side.shape) for side in (one.lower, one.upper))
            count, size = len(lower), int(np.prod(lower.shape[1:], dtype=np.int64))
            parts.append(pandas.DataFrame({
                "tensor": name, "input": np.repeat(np.arange(count), size), "entry": np.tile(np.arange(size), count),
                "lower": lower.reshape(-1), "upper": upper.reshape(-1)}))
        return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value - value == 0 else str(value)
