"""Bounds of rows over a box, rounded outward: what every domain that keeps boxes, or hulls, answers rows with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from absint.engine.rows import Rows
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, no_lower, no_upper


def box_rows(box: Interval, rows: Rows, num: Numerics) -> Interval:
    """(R,) bounds of each of the R rows over all x in `box`, in the vector format.

    box: (batch, *shape), any format (converted outward); infinite ends and NaN come out as infinite bounds, and a void box as that of
    its swapped ends.  Sound whatever the order of summation, cancellation, overflow or underflow, for weights and biases that the
    format does not hold too; unit rows without bias cost no rounding at all.  Source: docs/soundness.md, "Box".
    """
    box = box.to(num.vector).filled
    if rows.index is not None and rows.bias is None:
        return Interval(box.lower.flatten(1)[rows.instance, rows.index], box.upper.flatten(1)[rows.instance, rows.index])
    lower, upper = RowForm.of(rows, box, num).over(box, num)
    return Interval(rows.unpadded(lower), rows.unpadded(upper))


@dataclass(frozen=True, eq=False)
class RowForm:
    """weight . x + bias with everything that rounding may have cost: (batch, k, n), (batch, k), (batch, k)."""

    weight: Tensor
    bias: Tensor
    error: Tensor

    @staticmethod
    def of(rows: Rows, box: Interval, num: Numerics) -> RowForm:
        """Rows in the vector format; what the conversion may cost is charged against the magnitudes of the (non-empty) box."""
        batch = len(box.lower)
        weight = rows.padded(batch, num.vector)
        bias = rows.padded_bias(batch, num.vector)
        size = box.magnitude.flatten(1)
        error = row_products(weight.abs(), size) * num.vector_gamma(weight.shape[2] + 4) + num.vector_gamma(1) * bias.abs()
        return RowForm(weight, bias, error + num.vector_floor * (size.sum(1, keepdim=True) + weight.shape[2] + 1))

    def over(self, box: Interval, num: Numerics) -> tuple[Tensor, Tensor]:
        """(batch, k) bounds over a box: centre and radius as in a linear step of n terms (docs/soundness.md, "Box")."""
        n = self.weight.shape[2]
        g, floor = num.vector_gamma(2 * (n + 9)), num.vector_floor
        lower, upper = box.lower.flatten(1), box.upper.flatten(1)
        total = lower + upper
        rho = ((upper - lower) * 0.5 + total.detach().abs() * (0.5 * g)) * (1 + g) + 2 * floor
        center = row_products(self.weight, total * 0.5) + self.bias
        reach = (row_products(self.weight.abs(), rho) + g * self.bias.detach().abs() + self.error) * (1 + g) + 4 * n * floor
        return no_lower(center - reach), no_upper(center + reach)


def row_products(weight: Tensor, vector: Tensor) -> Tensor:
    """(batch, k, n) times (batch, n), rounded. Several times faster here than a batched product with one column."""
    return (weight * vector[:, None]).sum(2)
