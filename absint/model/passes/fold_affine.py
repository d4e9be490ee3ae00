"""Fold a per-output Affine (bias Add, BatchNormalization) into the Gemm or Conv before it.

Computed in float64. A pure shift onto a bias-free map is exact; otherwise |dW| <= u |W'| per rounding (weight_terms)
and |db| is bounded explicitly. Where a product could underflow the pair is left alone.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from absint.model.graph import Graph, Node, rebuild
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.numeric.rounding import gamma

_SAFE = 1e-280  # products of constants below this could lose relative accuracy


def fold_affine(graph: Graph) -> Graph:
    """Sound over the reals with the error terms set here; not exact for float32 executions."""
    if not any(isinstance(node.op, Affine) for node in graph.nodes):
        return graph
    nodes: dict[str, Node] = {}
    kept = {name for node in graph.nodes if node.closed is not None for name in node.closed.inputs}
    for node in graph.nodes:
        folded = None if kept.intersection(node.inputs) else _folded(graph, nodes, node)
        if folded is None:
            nodes[node.name] = node
        else:
            before = nodes.pop(node.inputs[0])
            # The inner value no longer exists: its tensor names go, as documented for names that a pass removed.
            nodes[node.name] = replace(node, op=folded, inputs=before.inputs)
    return rebuild(graph, nodes.values())


def _folded(graph: Graph, nodes: dict[str, Node], node: Node) -> Gemm | Conv | None:
    if not isinstance(node.op, Affine) or len(graph.consumers[node.inputs[0]]) != 1:
        return None
    before = nodes.get(node.inputs[0])
    if before is None or not isinstance(before.op, (Gemm, Conv)) or before.shape != node.shape:
        return None
    scale, shift = (_per_output(c, node, before.op) for c in (node.op.scale, node.op.shift))
    if (node.op.scale is not None and scale is None) or (node.op.shift is not None and shift is None):
        return None
    return _combine(before.op, node.op, scale, shift)


def _per_output(constant: Tensor | None, node: Node, op: Gemm | Conv) -> Tensor | None:
    """The constant as one number per output (channel), or None where it varies otherwise."""
    if constant is None:
        return None
    axis = 0 if isinstance(op, Conv) else len(node.shape) - 1
    full = constant.reshape(*(1,) * (len(node.shape) - constant.dim()), *constant.shape)
    if prod(full.shape) not in (1, full.shape[axis]):
        return None
    return full.reshape(-1).expand(node.shape[axis]).contiguous()


def _combine(op: Gemm | Conv, affine: Affine, scale: Tensor | None, shift: Tensor | None) -> Gemm | Conv | None:
    if scale is None and op.bias is None:
        return replace(op, bias=shift, bias_error=_per(affine.shift_error, shift), bias_magnitude=_per(affine.shift_magnitude, shift))
    exact = affine.single  # a change of sign or scale by powers of two, which rounds nothing that is above _SAFE
    factor = torch.ones(op.weight.shape[0], dtype=torch.float64) if scale is None else scale
    weight = op.weight * factor.reshape(-1, *(1,) * (op.weight.dim() - 1))
    zero = torch.zeros(op.weight.shape[0], dtype=torch.float64)
    inner, outer = (zero if op.bias is None else op.bias), (zero if shift is None else shift)
    product = inner * factor
    lost = ((weight.abs() < _SAFE) & (op.weight != 0)).any() | ((product.abs() < _SAFE) & (inner != 0) & (factor != 0)).any()
    if bool(lost):
        return None
    magnitude = product.abs() + outer.abs()
    error = (0.0 if exact else gamma(3 + affine.weight_terms, torch.float64)) * magnitude
    if op.bias_error is not None:
        error = error + op.bias_error * factor.abs()
    if affine.shift_error is not None:
        error = error + affine.shift_error.reshape(-1).expand_as(error)
    terms = op.weight_terms + (0 if scale is None or exact else 1 + affine.weight_terms)
    return replace(op, weight=weight, bias=product + outer, weight_terms=terms, bias_error=error * (1 + 1e-12), bias_magnitude=None)


def _per(values: Tensor | None, like: Tensor | None) -> Tensor | None:
    return None if values is None or like is None else values.reshape(-1).expand_as(like).contiguous()
