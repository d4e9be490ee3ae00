"""What float32 executions of a node may err by (`--semantics float32`)."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from absint.engine.context import Context
from absint.errors import UnsupportedError, UsageError
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.passes import PASSES
from absint.numeric.rounding import gamma, smallest_normal


def check_executions(graph: Graph) -> None:
    """Raise UnsupportedError or UsageError E-SEMANTICS where it is not known what float32 executions of the network err by."""
    if not graph.source.float32_executions:
        raise UnsupportedError(
            "E-SEMANTICS",
            "the model computes in float16 or bfloat16, has a softmax, normalisation or recurrent layer, or chains a float64 network",
            where=graph.source.path or None,
            hint="absint does not bound what executions of these err by; --semantics real, where it is offered, asks about the reals alone",
        )
    inexact = {p.name for p in PASSES if not p.exact} & set(graph.source.passes)
    if inexact:
        raise UsageError("E-SEMANTICS", f"the graph was rewritten by {', '.join(sorted(inexact))}",
                         where=graph.source.path or None, hint="load it with fold=False for float32 semantics")


def execution_noise(node: Node, ctx: Context) -> Tensor | None:
    """What one float32 execution of the node may err by, on inputs of the known magnitude; None for nothing."""
    op, num = node.op, ctx.numerics
    inputs = ctx.inputs(node.inputs)
    if isinstance(op, Nonlinear):
        image = op.range(inputs, num)
        error = op.execution_error(image, num)
        return _or_overflow(error, image.lower, *(i.magnitude for i in (*inputs, image)))
    assert isinstance(op, Linear)
    if op.exact:
        return None
    size = op.apply_magnitude(*(i.magnitude for i in inputs))
    if op.offset_magnitude is not None:
        size = size + op.constant("offset_magnitude", size)
    g = gamma(op.execution_terms + 2, torch.float32)
    noise: Tensor = size * (g * (1 + num.vector_gamma(op.execution_terms + 8)))
    # Intermediate values of an execution may be larger than its result, and underflow before they are scaled up.
    noise = noise + 2 * op.execution_terms * smallest_normal(torch.float32) * max(1.0, op.execution_scale)
    more = op.execution_error(size)
    if more is not None:
        noise = num.up(noise + more)
    return _or_overflow(noise, noise, *(v * op.execution_scale for v in (size, *(i.magnitude for i in inputs))))


def _or_overflow(noise: Tensor | None, like: Tensor, *sizes: Tensor) -> Tensor | None:
    """`noise`, or infinity for instances where some value is so large that float32 executions may overflow."""
    limit = torch.finfo(torch.float32).max / 2**24
    risky = torch.stack([~(size <= limit).flatten(1).all(1) for size in sizes]).any(0)
    if not bool(risky.any()):
        return noise
    base = torch.zeros_like(like) if noise is None else noise
    return torch.where(risky.reshape(-1, *(1,) * (like.dim() - 1)), torch.full_like(base, inf), base)
