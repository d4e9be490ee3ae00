"""Any operator on constants that are known up to an error: by its own mathematics, one box a node of what it expands into.

A second box beside it holds what executions in the tensors' format may have: a linear node errs by gamma_{n+2}(|L||x| + |b|), any other
by what it states of its kernels, infinitely where it states nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import GraphBuilder, Node
from absint.model.op import Input, Op, Shape
from absint.numeric.enclosed import Enclosed, NotEnclosedError
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, gamma, smallest_normal, unit_roundoff

_NUM = Numerics()
_WIDE = torch.float64


def enclosed_image(op: Op, given: Sequence[Enclosed]) -> Enclosed:
    """op(c1, ..., ck) for constants without a batch axis; k >= 1. Raises NotEnclosedError where nothing bounds the result."""
    shapes: list[Shape] = [tuple(one.high.shape) for one in given]
    builder = GraphBuilder("0", shapes[0])
    names = tuple(map(str, range(len(given))))
    builder.nodes.update((name, Node(name, Input(shape), (), shape)) for name, shape in zip(names, shapes, strict=True))
    last = builder.add(op, names, "result")
    unit, tiny, most = max(g.unit for g in given), max(g.tiny for g in given), min(g.most for g in given)
    exact = {name: _interval(*one.bounds) for name, one in zip(names, given, strict=True)}
    executed = {name: _widened(exact[name], torch.from_numpy(np.array(one.execution))) for name, one in zip(names, given, strict=True)}
    for node in list(builder.nodes.values())[len(given):]:
        inputs = [exact[i] for i in node.inputs]
        exact[node.name] = _image(node.op, inputs, 0.0, tiny)
        executed[node.name] = _image(node.op, [executed[i] for i in node.inputs], unit, tiny)
    true, run = exact[last], executed[last]
    if not bool(true.lower.isfinite().all() and true.upper.isfinite().all()):
        raise NotEnclosedError("is not defined at its constants, or overflows there")
    middle = torch.where(true.lower == true.upper, true.lower, true.lower / 2 + true.upper / 2)
    radius = _NUM.up(torch.maximum(true.upper - middle, middle - true.lower))
    radius = torch.where(true.lower == true.upper, 0.0, radius)
    off = _NUM.up(torch.maximum(run.upper - true.lower, true.upper - run.lower))
    off = torch.where((run.lower == run.upper) & (true.lower == true.upper) & (run.lower == true.lower), 0.0, off)
    high = middle[0].numpy()
    off = torch.where(off.isnan(), inf, off)
    return Enclosed(high, np.zeros_like(high), radius[0].numpy(), off[0].numpy(), unit, tiny, most).stored(rounding=False)


def _interval(lower: np.ndarray, upper: np.ndarray) -> Interval:
    return Interval(torch.from_numpy(np.array(lower))[None], torch.from_numpy(np.array(upper))[None])


def _widened(interval: Interval, error: Tensor) -> Interval:
    """All numbers so near to it."""
    nothing = error == 0
    return Interval(torch.where(nothing, interval.lower, _NUM.down(interval.lower - error)),
                    torch.where(nothing, interval.upper, _NUM.up(interval.upper + error)))


def _image(op: Op, inputs: Sequence[Interval], unit: float, tiny: float) -> Interval:
    """unit: of executions, 0 for the function itself."""
    if isinstance(op, Linear):
        return _linear(op, inputs, unit, tiny)
    if not isinstance(op, Nonlinear):
        raise NotEnclosedError(f"is a {type(op).__name__}, of which no range is stated")
    image = op.range(tuple(inputs), _NUM)
    error = op.execution_error(image, _NUM) if unit else None
    if error is None:
        return image
    # Kernels of wider formats are taken for no better than those of float32.
    return _widened(image, error * max(1.0, unit / unit_roundoff(torch.float32)) * (1 + 2.0**-40) + tiny)


def _linear(op: Linear, inputs: Sequence[Interval], unit: float, tiny: float) -> Interval:
    """Section "Box" of docs/soundness.md."""
    if op.exact:
        return Interval(op.forward(*(i.lower for i in inputs)), op.forward(*(i.upper for i in inputs)))
    terms = op.forward_terms
    g = gamma(2 * (terms + 4), _WIDE)
    centres = [torch.where(i.lower == i.upper, i.lower, i.lower / 2 + i.upper / 2) for i in inputs]
    reaches = [torch.maximum(i.upper - c, c - i.lower) for i, c in zip(inputs, centres, strict=True)]
    floor = smallest_normal(_WIDE)
    radius = op.apply_abs(*((r + g * c.abs()) * (1 + g) + floor for r, c in zip(reaches, centres, strict=True)))
    image = op.forward(*centres)
    if op.offset is not None:
        radius = radius + g * op.constant("offset", image).abs()
    if op.offset_error is not None:
        radius = radius + op.constant("offset_error", image)
    radius = radius * (1 + g) + 2 * terms * floor
    if unit:
        size = op.apply_magnitude(*(i.magnitude for i in inputs))
        size = size if op.offset_magnitude is None else size + op.constant("offset_magnitude", size)
        more = op.execution_error(size)
        product = (op.execution_terms + 2) * unit
        noise = size * (product / (1 - product) if product < 0.5 else inf) + 2 * op.execution_terms * tiny * max(1.0, op.execution_scale)
        radius = (radius + noise + (0.0 if more is None else more)) * (1 + 2.0**-40)
    return Interval(_NUM.down(image - radius), _NUM.up(image + radius))
