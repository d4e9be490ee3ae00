"""Products with a constant matrix: Gemm, and MatMul with the constant on either side."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.constants import kept
from absint.model.families.linear import Linear
from absint.model.op import OnnxNode, Op, Shape, mixes, no_offset, one_power_a_row, register_import, unerring, unsupported, widened
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Plan, steps
from absint.model.ops.matmul_constant import matrices_from_onnx
from absint.model.ops.product import MatMul, same_axes
from absint.model.ops.shape import Identity, Reshape, Transpose
from absint.model.shapes import held


@dataclass(frozen=True, eq=False)
class Gemm(Linear):
    """y = x W^T + b along the last axis. weight: (out, in); bias: (out,) or None.

    scale_inside: see `Linear.execution_scale`.  weight_terms: roundings that went into a coefficient when a pass computed it, in float64.
    weight_magnitude, terms_met: of a product of matrices that a pass computed, the product of their magnitudes, (out, in) or None for |W|,
    and the terms of an execution, or 0 for its own; see `Linear.apply_magnitude` and `Linear.execution_terms`.
    """

    weight: Tensor
    bias: Tensor | None = None
    weight_terms: int = 0
    bias_error: Tensor | None = None
    bias_magnitude: Tensor | None = None
    scale_inside: float = 1.0
    weight_magnitude: Tensor | None = None
    terms_met: int = 0

    @property
    def execution_scale(self) -> float:
        """Set where the original network scales after the product."""
        return self.scale_inside

    @property
    def faithful(self) -> bool:
        """Unless a pass or a factor rounded."""
        return self.weight_terms == 0 and unerring(self.bias_error)

    @property
    def forward_terms(self) -> int:
        """One product per input, one for casting W."""
        return int(self.weight.shape[1]) + 1 + self.weight_terms

    @property
    def execution_terms(self) -> int:
        """Those of the product, or of what it was merged from."""
        return max(self.forward_terms, self.terms_met)

    @property
    def adjoint_terms(self) -> int:
        """One product per output, one for casting W."""
        return int(self.weight.shape[0]) + 1 + self.weight_terms

    @property
    @kept
    def nonnegative(self) -> bool:
        """As the matrix and the bias are, where a pass rounded neither: rounded sums may have another sign."""
        stored = self.weight_terms == 0 and unerring(self.bias_error)
        return stored and bool((self.weight >= 0).all()) and (self.bias is None or bool((self.bias >= 0).all()))

    @property
    @kept
    def single(self) -> bool:
        """A selection of signed and scaled entries, written as a matrix."""
        return self.weight_terms == 0 and no_offset(self.bias, self.bias_error) and one_power_a_row(self.weight)

    @property
    def offset(self) -> Tensor | None:
        """The bias."""
        return self.bias

    @property
    def offset_error(self) -> Tensor | None:
        """Error of the bias made by a pass."""
        return self.bias_error

    @property
    def offset_magnitude(self) -> Tensor | None:
        """|b| unless a pass says otherwise."""
        return super().offset_magnitude if self.bias_magnitude is None else self.bias_magnitude

    def output_shape(self, *shapes: Shape) -> Shape:
        """(..., in) -> (..., out)."""
        if not shapes[0] or shapes[0][-1] != self.weight.shape[1]:
            raise ValueError(f"a matrix of shape {tuple(self.weight.shape)} cannot act on {shapes[0]}")
        return (*shapes[0][:-1], int(self.weight.shape[0]))

    def apply(self, *xs: Tensor) -> Tensor:
        """x W^T."""
        return torch.nn.functional.linear(xs[0], self.constant("weight", xs[0]))

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """r |W|^T."""
        return torch.nn.functional.linear(rs[0], self.constant("weight", rs[0], absolute=True))

    def apply_magnitude(self, *rs: Tensor) -> Tensor:
        """r |W|^T, or what was met before entries cancelled."""
        if self.weight_magnitude is None:
            return self.apply_abs(*rs)
        return torch.nn.functional.linear(rs[0], self.constant("weight_magnitude", rs[0]))

    def forward(self, *xs: Tensor) -> Tensor:
        """x W^T + b in one kernel."""
        return torch.nn.functional.linear(xs[0], self.constant("weight", xs[0]), self.offset_as(xs[0]))

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """y W."""
        return (y @ self.constant("weight", y),)

    def gathered(self, shape: Shape) -> bool:
        """Of vectors."""
        return len(shape) == 1

    def columns(self, index: Tensor, shape: Shape, like: Tensor) -> Tensor:
        """Columns of W: a gather instead of a product."""
        if len(shape) > 1:
            return super().columns(index, shape, like)
        return self.constant("weight", like).index_select(1, index).T

    def unit_rows(self, index: Tensor, shape: Shape, shapes: tuple[Shape, ...], like: Tensor) -> tuple[Tensor, ...]:
        """Rows of W."""
        if len(shape) > 1:
            return super().unit_rows(index, shape, shapes, like)
        return (self.constant("weight", like)[index],)


@dataclass(frozen=True, eq=False)
class LeftMatMul(Linear):
    """y = W x along the last but one axis (the last for a vector). weight: (out, in)."""

    weight: Tensor

    @property
    def faithful(self) -> bool:
        """The matrix is the network's own."""
        return True

    @property
    def forward_terms(self) -> int:
        """One product per input, one for casting W."""
        return int(self.weight.shape[1]) + 1

    @property
    def adjoint_terms(self) -> int:
        """One product per output, one for casting W."""
        return int(self.weight.shape[0]) + 1

    @property
    @kept
    def single(self) -> bool:
        """As for `Gemm`."""
        return one_power_a_row(self.weight)

    def output_shape(self, *shapes: Shape) -> Shape:
        """(..., in, n) -> (..., out, n)."""
        (shape,) = shapes
        if len(shape) < 2 or shape[-2] != self.weight.shape[1]:
            raise ValueError(f"a matrix of shape {tuple(self.weight.shape)} cannot act from the left on {shape}")
        return (*shape[:-2], int(self.weight.shape[0]), shape[-1])

    def apply(self, *xs: Tensor) -> Tensor:
        """W x."""
        return self.constant("weight", xs[0]) @ xs[0]

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """|W| r."""
        return self.constant("weight", rs[0], absolute=True) @ rs[0]

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """W^T y."""
        return (self.constant("weight", y).T @ y,)


@register_import("Gemm")
def gemm_from_onnx(node: OnnxNode) -> Op:
    """Gemm: alpha A' B' + beta C with constant B and C; powers of two for alpha and beta scale without rounding."""
    weight = widened(node.required(1, "the matrix B"))
    weight = weight if node.attribute("transB", 0) else weight.T
    if node.attribute("transA", 0) and node.batched[0]:
        raise mixes(node, "transA moves the batch axis")
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    if len(node.shapes) > 2 and node.constant(2) is None and node.shapes[2]:
        raise unsupported(node, "the bias C must be a constant", "export with constant folding")
    bias = node.constant(2)
    terms = 0 if alpha == 1 else 1
    error, rows = None, None
    if bias is not None and bias.dim() == 2 and bias.shape[0] != 1 and not node.batched[0]:
        rows, bias = bias.double() * beta, None
    if bias is not None:
        bias = _scaled(_per_output(node, widened(bias), int(weight.shape[0])), beta)
        error = None if beta == 1 else bias.abs() * 2.0**-52
    inside = max([1.0, *(abs(f) for f in (alpha, beta)), *(1 / abs(f) for f in (alpha,) if f != 0)])
    product = Gemm(_scaled(weight, alpha), bias, terms, error, scale_inside=inside)
    before = Transpose((1, 0)) if node.attribute("transA", 0) else Identity()
    after = Identity() if rows is None else Affine(shift=rows, shift_error=None if beta == 1 else rows.abs() * 2.0**-52)
    return steps(before, product, after)


def _scaled(value: Tensor, factor: float) -> Tensor:
    """The product in float64: what it may be off by is stated in float64's roundings, of constants in training, too."""
    return (value if factor == 1 else value.double() * factor).contiguous()


def _per_output(node: OnnxNode, bias: Tensor, outputs: int) -> Tensor:
    """C as one number per output, without the axis of rows."""
    if bias.dim() == 2 and bias.shape[0] != 1:
        raise mixes(node, f"a bias of shape {tuple(bias.shape)} differs between rows")
    return bias.reshape(-1).expand(outputs)


def _product(node: OnnxNode) -> Op:
    """Of two computed tensors; a vector is a matrix of one row on the left, of one column on the right, whose axis goes again."""
    x, z = node.unbatched(0), node.unbatched(1)
    if len(x) > 1 and len(z) > 1:
        return MatMul()
    if node.batched[0]:
        raise mixes(node, f"operands of shapes {node.shapes[0]} and {node.shapes[1]} mix the batch axis with features")
    if not x or not z:
        raise unsupported(node, "multiplies a number without axes", "use Mul")
    left, right = x if len(x) > 1 else (1, *x), z if len(z) > 1 else (*z, 1)
    full = MatMul().output_shape(left, right)
    rows, columns = full[-2:-1] if len(x) > 1 else (), full[-1:] if len(z) > 1 else ()
    return Plan(((Reshape(left),), (Reshape(right),)), (MatMul(), Reshape(held((*full[:-2], *rows, *columns)))))


@register_import("MatMul")
def matmul_from_onnx(node: OnnxNode) -> Op:
    """MatMul with exactly one constant factor."""
    left, right = node.constant(0), node.constant(1)
    if right is not None:
        if right.dim() != 2 or len(node.unbatched(0)) == 0:
            return matrices_from_onnx(node, 1)
        return Gemm(widened(right).T.contiguous())
    if left is None:
        same_axes(node)
        return _product(node)
    if left.dim() != 2:
        return matrices_from_onnx(node, 0)
    shape = node.shapes[1]
    if node.batched[1] and len(shape) < 3:
        raise mixes(node, "the constant on the left contracts the batch axis")
    if prod(shape) and len(shape) == 1:
        return Gemm(widened(left))
    return LeftMatMul(widened(left))
