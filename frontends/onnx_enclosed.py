"""Operators on constants that round: their values to about 106 bits with an error bound, and what executions make of them.

Sums, products, quotients, roots and norms are computed in double words (`absint.numeric.enclosed`); what only moves entries moves
values and bounds alike; any other operator is enclosed by its own mathematics (`absint.model.enclosing`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from absint.errors import AbsintError
from absint.frontends.onnx_file import AnyArray
from absint.frontends.onnx_fold import NotExactError, reduces, run_one
from absint.frontends.onnx_quantised import of_constants
from absint.frontends.onnx_values import tensor_of, value_of
from absint.model.enclosing import enclosed_image
from absint.model.op import OPS, OnnxNode, SeveralInstancesError
from absint.numeric.enclosed import Enclosed, NotEnclosedError, absolute, add, divide, matmul, multiply, negative, root, total

Constant = AnyArray | Enclosed
_MOVES = frozenset(re.findall(
    r"\w+",
    "Identity Gather GatherElements GatherND Concat Unsqueeze Squeeze Slice Reshape Flatten Transpose Expand Tile Split Where Pad "
    "ScatterND ScatterElements Trilu DepthToSpace SpaceToDepth",
))
_TRUTH = frozenset(re.findall(r"\w+", "Equal Greater GreaterOrEqual Less LessOrEqual"))
_QUANTISED = ("QuantizeLinear", "DequantizeLinear")
_FORMATS: Mapping[int, np.dtype[Any]] = {1: np.dtype(np.float32), 10: np.dtype(np.float16), 11: np.dtype(np.float64)}


def enclosable(op_type: str) -> bool:
    """Whether `enclose` may know how to evaluate the operator."""
    return op_type in _MOVES or op_type in _ALGEBRA or op_type in OPS


def enclose(node: onnx.NodeProto, inputs: Sequence[Constant | None], opset: int) -> list[Constant]:
    """The values of all outputs, stored ones where nothing rounds. inputs: None for an absent optional one.

    Raises NotExactError where no bound is known.
    """
    given = [value for value in inputs if value is not None]
    if not any(_floating(value) for value in given):
        raise NotExactError("works on no floating-point constants")
    if reduces(node):
        raise NotExactError("reduces what it scatters, which rounds")
    attributes = {a.name: value_of(a) for a in node.attribute}
    try:
        with np.errstate(all="ignore"):     # whatever overflows or is NaN is refused
            if node.op_type in _QUANTISED:
                quantised = of_constants(node, inputs, attributes)
                return [stored_as(quantised) if isinstance(quantised, Enclosed) and quantised.exact else quantised]
            if node.op_type in _MOVES:
                return list(_moved(node, inputs, opset))
            rule = _ALGEBRA.get(node.op_type)
            if rule is not None and all(map(_floating, given[:1])):
                found = rule(_Operands([None if v is None else _enclosed(v) for v in inputs], inputs, attributes))
                return [stored_as(found) if found.exact else found]
            return [_truth(node, _by_mathematics(node, inputs, attributes, opset))]
    except NotEnclosedError as error:
        raise NotExactError(str(error)) from error


def _truth(node: onnx.NodeProto, found: Enclosed) -> Constant:
    """Truth values are known or are not."""
    if node.op_type not in _TRUTH:
        return found
    if not found.exact:
        raise NotEnclosedError("compares constants that rounding may order either way")
    return np.asarray(found.high > 0)


def _floating(value: Constant) -> bool:
    return isinstance(value, Enclosed) or value.dtype.kind == "f"


def _enclosed(value: Constant) -> Enclosed | None:
    if isinstance(value, Enclosed):
        return value
    return Enclosed.exactly(value) if value.dtype.kind == "f" else None


def _moved(node: onnx.NodeProto, inputs: Sequence[Constant | None], opset: int) -> list[Enclosed]:
    """Each word and each bound goes the way of the entries."""
    words = ("high", "low", "error", "execution")
    wide = [_enclosed(v) if v is not None else None for v in inputs]
    parts = {}
    for word in words:
        operands = [v if e is None else np.asarray(getattr(e, word)) for v, e in zip(inputs, wide, strict=True)]
        parts[word] = run_one(node, [None if v is None or isinstance(v, Enclosed) else v for v in operands], opset)
    like = max((e for e in wide if e is not None), key=lambda e: e.unit)
    found = [{word: values[k] for word, values in parts.items()} for k in range(len(node.output))]
    return [replace(like, high=f["high"], low=f["low"], error=f["error"], execution=f["execution"]) for f in found]


class _Operands:
    """enclosed: the floating-point ones, by position.  given: all of them.  attributes: of the node."""

    def __init__(self, enclosed: list[Enclosed | None], given: Sequence[Constant | None], attributes: dict[str, Any]) -> None:
        self.enclosed, self.given, self.attributes = enclosed, given, attributes

    def __getitem__(self, position: int) -> Enclosed:
        found = self.enclosed[position]
        if found is None:
            raise NotEnclosedError(f"has no floating-point operand {position}")
        return found

    @property
    def all(self) -> list[Enclosed]:
        return [self[k] for k in range(len(self.enclosed))]

    def scalar(self, name: str, like: Enclosed) -> Enclosed:
        """An attribute, which is stored as float32."""
        return Enclosed.exactly(np.float32(self.attributes.get(name, 1.0)))

    @property
    def axes(self) -> tuple[int, ...]:
        """That a reduction goes over."""
        rank = self[0].high.ndim
        listed = self.given[1] if len(self.given) > 1 else None
        axes = self.attributes.get("axes") if listed is None or isinstance(listed, Enclosed) else listed.reshape(-1).tolist()
        if not axes:
            return () if self.attributes.get("noop_with_empty_axes", 0) else tuple(range(rank))
        return tuple(sorted({int(a) % rank for a in axes}))

    @property
    def keep(self) -> bool:
        return bool(self.attributes.get("keepdims", 1))

    def summed(self, one: Enclosed) -> Enclosed:
        return total(one, self.axes, keep=self.keep)


def _folded(step: Callable[[Enclosed, Enclosed], Enclosed]) -> Callable[[_Operands], Enclosed]:
    def run(node: _Operands) -> Enclosed:
        first, *rest = node.all
        for one in rest:
            first = step(first, one)
        return first

    return run


def _mean(node: _Operands) -> Enclosed:
    """The quotient, with a second rounding for executions that multiply by the reciprocal."""
    one = node[0]
    count = int(np.prod([one.high.shape[k] for k in node.axes]))
    return divide(node.summed(one), Enclosed.exactly(np.float64(count))).stored()


def _product(node: _Operands) -> Enclosed:
    one, axes = node[0], node.axes
    flat = one.moved(lambda v: np.moveaxis(v, axes, range(len(axes))).reshape(-1, *(s for k, s in enumerate(v.shape) if k not in axes)))
    found = flat.moved(lambda v: v[0])
    for k in range(1, len(flat.high)):
        found = multiply(found, flat.moved(lambda v, k=k: v[k]))    # type: ignore[misc]
    shape = tuple(1 if k in axes else s for k, s in enumerate(one.high.shape) if node.keep or k not in axes)
    return found.moved(lambda v: v.reshape(shape))


def _gemm(node: _Operands) -> Enclosed:
    a, b = (node[k].moved(lambda v: v.T) if node.attributes.get(name, 0) else node[k] for k, name in ((0, "transA"), (1, "transB")))
    found = multiply(matmul(a, b), node.scalar("alpha", a))
    if len(node.enclosed) > 2 and node.enclosed[2] is not None:
        found = add(found, multiply(node[2], node.scalar("beta", a)))
    return found


def _cast(node: _Operands) -> Enclosed:
    """The identity on the reals; executions round unless the format holds the number."""
    dtype = _FORMATS.get(int(node.attributes["to"]))
    if dtype is None:
        raise NotEnclosedError("casts a constant that was rounded to another type")
    held = node[0].executed_in(dtype)
    return held.stored(rounding=held.unit > node[0].unit)


def _range(node: _Operands) -> Enclosed:
    """start + k delta; executions count up, or multiply."""
    start, limit, delta = (node[k] for k in range(3))
    if not (start.exact and limit.exact and delta.exact) or not delta.high.all():
        raise NotEnclosedError("counts by constants that were rounded")
    count = max(0, int(np.ceil((float(limit.high) - float(start.high)) / float(delta.high))))
    steps = np.arange(count, dtype=np.float64)
    found = add(start, multiply(delta, Enclosed.exactly(steps)))
    size = np.abs(start.high) + steps * np.abs(delta.high)
    whole = float(start.high).is_integer() and float(delta.high).is_integer() and bool((size * found.unit <= 0.5).all())
    return replace(found, execution=np.zeros_like(steps) if whole else 2 * (steps + 2) * found.unit * size)


_ALGEBRA: dict[str, Callable[[_Operands], Enclosed]] = {
    "Add": _folded(add), "Sum": _folded(add), "Mul": _folded(multiply), "Div": _folded(divide), "MatMul": _folded(matmul),
    "Sub": lambda node: add(node[0], negative(node[1])),
    "Mean": lambda node: divide(_folded(add)(node), Enclosed.exactly(np.float64(len(node.enclosed)))).stored(),
    "Neg": lambda node: negative(node[0]),
    "Abs": lambda node: absolute(node[0]),
    "Sqrt": lambda node: root(node[0]),
    "Reciprocal": lambda node: divide(Enclosed.exactly(np.float32(1)), node[0]),
    "ReduceSum": lambda node: node.summed(node[0]),
    "ReduceMean": _mean,
    "ReduceProd": _product,
    "ReduceL1": lambda node: node.summed(absolute(node[0])),
    "ReduceL2": lambda node: root(node.summed(multiply(node[0], node[0]))),
    "ReduceSumSquare": lambda node: node.summed(multiply(node[0], node[0])),
    "Gemm": _gemm,
    "Cast": _cast,
    "Range": _range,
}


def _by_mathematics(node: onnx.NodeProto, inputs: Sequence[Constant | None], attributes: dict[str, Any], opset: int) -> Enclosed:
    """What the operator says of a box: operands that are known exactly go by as constants, as long as one does not."""
    if node.op_type not in OPS or sum(map(bool, node.output)) != 1:
        raise NotEnclosedError("rounds its constant inputs")
    values = list(inputs)
    while values[-1] is None:
        values.pop()
    if not any(isinstance(v, Enclosed) for v in values):
        sizes = [-1 if v is None or isinstance(v, Enclosed) or not _floating(v) else v.size for v in values]
        most = sizes.index(max(sizes))
        values[most] = _enclosed(values[most])    # type: ignore[arg-type]
    computed = [v for v in values if isinstance(v, Enclosed)]
    lone = [v for v in computed if v.high.ndim == 0]
    if lone and len(lone) < len(computed):
        raise NotEnclosedError("combines constants that were rounded with numbers without axes")
    grown = [v.moved(lambda a: a.reshape(1)) if v.high.ndim == 0 else v for v in computed]
    for batched in (False, True):   # some operators need a batch axis, others an axis less
        rest = iter(grown)
        inner = [() if v is None else next(rest).high.shape if isinstance(v, Enclosed) else v.shape for v in values]
        loose = tuple(batched and isinstance(v, Enclosed) for v in values)
        shapes = tuple((1, *shape) if free else shape for shape, free in zip(inner, loose, strict=True))
        constants = tuple(None if v is None or isinstance(v, Enclosed) else tensor_of(v) for v in values)
        written = OnnxNode(node.op_type, attributes, opset, constants, shapes, loose)
        try:
            found = enclosed_image(OPS.get(node.op_type)(written), grown)
        except NotEnclosedError:
            raise
        except SeveralInstancesError as error:     # with an axis more it would mean something else
            raise NotEnclosedError("is applied to several instances of a constant") from error
        except (AbsintError, ValueError, RuntimeError, IndexError, KeyError) as error:
            if batched:
                why = error.what if isinstance(error, AbsintError) else error
                raise NotEnclosedError(f"cannot be evaluated at constants: {why}") from error
        else:
            return found.moved(lambda a: a.reshape(())) if lone and found.high.size == 1 else found
    raise AssertionError


def stored_as(value: Enclosed) -> AnyArray:
    """The nearest numbers of the format that executions hold it in: for shapes, types and comparisons with a runtime, never for bounds."""
    kinds = (np.float16, np.float32, np.float64)
    kind = next((k for k in kinds if float(np.finfo(k).eps) / 2 <= value.unit), np.float64)
    return np.asarray(value.high.astype(kind))
