"""Constants that the network computes with rounding, as operands: what they err by is charged to the operator that reads them.

In linear operators they are coefficients or summands, and the import rule itself says where they go: asked for the operator of the
errors, it gives what the operator of the constants errs by. For all other operators they become tensors like any computed one, with
an error of their own, so that no rule can take them for exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.op import OPS, OnnxNode, Op, Shape
from absint.model.ops.assemble import Plan
from absint.model.ops.computed import ComputedCoefficients, Fixed
from absint.numeric.enclosed import Enclosed, FloatArray, NotEnclosedError, divide

_U = 2.0**-53
_UP = 1 + 2.0**-40
_MOST_TERMS = 256       # roundings in a coefficient beyond which it is not worth being one
_MOST_EXECUTED = 1 << 16
_FACTOR, _SUMMAND = "factor", "summand"
# What an operand is to the result, which is linear in each of them: by position, the last one for all that follow.
_ROLES: Mapping[str, tuple[str | None, ...]] = {
    "Mul": (_FACTOR,), "MatMul": (_FACTOR,), "Add": (_SUMMAND,), "Sub": (_SUMMAND,), "Concat": (_SUMMAND,),
    "Gemm": (None, _FACTOR, _SUMMAND), "Conv": (None, _FACTOR, _SUMMAND), "ConvTranspose": (None, _FACTOR, _SUMMAND),
    "Where": (None, _SUMMAND),
}
# Their operands broadcast, so that one may be made a tensor with a batch axis.
_BROADCAST = frozenset((
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
))


def charged(node: OnnxNode, known: Mapping[int, Enclosed]) -> Op | None:
    """The operator of a node with these constants, its errors charged; None where the constants are no coefficients of a linear one."""
    if node.op_type == "Div" and set(known) == {1}:
        try:
            with np.errstate(all="ignore"):
                inverse = divide(Enclosed.exactly(np.array(1, dtype=np.float32)), known[1])
        except NotEnclosedError:
            return None
        node, known = replace(node, op_type="Mul"), {1: inverse}
    role = {k: _role(node.op_type, k) for k, c in enumerate(node.constants) if c is not None and c.is_floating_point()}
    if any(role.get(k) is None for k in known):
        return None
    factors = {k: one for k, one in known.items() if role[k] == _FACTOR}
    terms = max((_terms(one) for one in factors.values()), default=0.0)
    if terms > _MOST_TERMS:
        return None
    more, reaches = 0.0, {}
    for k, one in factors.items():
        needed, reaches[k] = _reach(one)
        more = max(more, needed)
    executed = {k: _per_unit(one) for k, one in known.items() if role[k] == _SUMMAND}
    more = inf if any(not np.isfinite(e).all() for e in executed.values()) else more
    values = {k: one.high for k, one in known.items()}
    silent = {k: np.zeros(node.shapes[k]) for k, kind in role.items() if kind == _SUMMAND}
    base = _made(node, values)
    error = _made(node, values | silent | {k: known[k].rounded_error for k in executed})
    execution = _made(node, values | silent | {k: np.nan_to_num(e, posinf=0.0) for k, e in executed.items()})
    reach = _made(node, values | silent | reaches)
    return _combined((base, error, execution, reach), int(terms), more)


def _role(op_type: str, position: int) -> str | None:
    roles = _ROLES.get(op_type, (None,))
    return roles[min(position, len(roles) - 1)]


def _made(node: OnnxNode, values: Mapping[int, FloatArray]) -> Op:
    constants = tuple(torch.from_numpy(np.array(values[k])) if k in values else c for k, c in enumerate(node.constants))
    return OPS.get(node.op_type)(replace(node, constants=constants))


def _terms(one: Enclosed) -> float:
    """Roundings of float64 that a coefficient errs by; infinite where one may be 0 and is not known to be."""
    error, size = one.rounded_error, np.abs(one.high)
    with np.errstate(all="ignore"):
        share = np.where(error == 0, 0.0, error / (size * _U) * _UP)
    return float(np.ceil(np.nan_to_num(share, nan=inf, posinf=inf)).max(initial=0.0))


def _per_unit(one: Enclosed) -> FloatArray:
    found: FloatArray = one.execution / one.unit
    return found


def _reach(one: Enclosed) -> tuple[float, FloatArray]:
    """k and M with |c' - c| <= k u |c| + (M - |c|) k u for every execution c': then gamma_{n + k + 2} M covers a product of n terms.

    k is what most coefficients need; single ones that cancelled need a larger M. Infinite where nothing is known of an execution.
    """
    size = np.abs(one.high)
    if not np.isfinite(one.execution).all():
        return inf, size
    if not one.execution.any():
        return 0.0, size
    with np.errstate(all="ignore"):
        share = np.where(one.execution == 0, 0.0, one.execution / (one.unit * size))
    usual = float(np.quantile(np.where(np.isfinite(share), share, 1.0), 0.9))
    most = float(share.max(initial=0.0))
    k = float(np.ceil(min(_MOST_EXECUTED, max(1.0, most if most <= 4 * usual else usual))))
    excess = np.maximum(one.execution * _UP - k * one.unit * size, 0.0)
    return k, (size + excess / (k * one.unit)) * _UP


def _combined(ops: tuple[Op, ...], terms: int, more: float) -> Op | None:
    """Part by part, where all are linear."""
    base = ops[0]
    plans = [op for op in ops if isinstance(op, Plan)]
    if len(plans) != len(ops):
        return None if plans else _computed(ops, terms, more)
    if len({(tuple(map(len, plan.before)), len(plan.after)) for plan in plans}) > 1:
        return None     # a rule that looked at values took another way for the errors
    before, after = [], []
    for k, chain in enumerate(plans[0].before):
        found = [_computed(tuple(plan.before[k][j] for plan in plans), terms, more) for j in range(len(chain))]
        before.append(found)
    after = [_computed(tuple(plan.after[j] for plan in plans), terms, more) for j in range(len(plans[0].after))]
    if any(op is None for ops_ in (*before, after) for op in ops_):
        return None
    return replace(plans[0], before=tuple(tuple(op for op in b if op) for b in before), after=tuple(op for op in after if op)) \
        if isinstance(base, Plan) else None


def _computed(ops: tuple[Op, ...], terms: int, more: float) -> Op | None:
    base, error, execution, reach = ops
    if not (isinstance(base, Linear) and isinstance(error, Linear) and isinstance(execution, Linear) and isinstance(reach, Linear)):
        return None
    # Rules drop a constant of zeros: it may be zeros whose errors are none.
    if not any(op.constants() for op in ops):
        return base
    shift = None if error.offset is None else error.offset.abs() * _UP
    met, size = execution.offset, base.offset_magnitude
    magnitude = None
    if met is not None and bool(met.any()):
        # gamma_{t + 2} (|b| + e / ((t + 1) u)) is at least gamma_t |b| and e (1 + gamma_t), for t terms.
        unit = met.abs() * (_UP / (base.execution_terms + (0 if more == inf else int(more)) + 1))
        magnitude = unit if size is None else (size + unit) * _UP
    same = len(reach.constants()) == len(base.constants()) and _covers(base, reach)
    shifted = shift if shift is not None and bool(shift.any()) else None
    return ComputedCoefficients(base, terms, shifted, more, None if same else reach, magnitude)


def _covers(base: Linear, reach: Linear) -> bool:
    """Whether the larger coefficients are the same up to a rounding."""
    pairs = [(b.abs(), r.abs()) for b, r in zip(base.constants(), reach.constants(), strict=True) if b.shape == r.shape]
    return len(pairs) == len(base.constants()) and all(bool((r <= b * (1 + 2.0**-30)).all()) for b, r in pairs)


def fixed(one: Enclosed, node: OnnxNode, position: int) -> tuple[Op, Shape] | None:
    """The constant as a tensor of its own beside computed operands, and its full shape; None where it cannot have their batch axis."""
    computed = [k for k, c in enumerate(node.constants) if c is None and node.shapes[k]]
    batched = any(node.batched[k] for k in computed)
    rank = max(len(node.shapes[k]) for k in computed)
    shape = one.high.shape
    if node.op_type in _BROADCAST:
        shape = (*(1,) * (max(rank, 1) - len(shape)), *shape)
    elif node.op_type != "MatMul" or len(shape) != rank or rank < 2 + batched:
        return None
    if batched and (len(shape) != rank or shape[0] != 1):
        return None
    inner = shape[1:] if batched else shape
    if not inner:
        return None
    value, error = (torch.from_numpy(np.array(v)).reshape(inner) for v in (one.high, one.rounded_error))
    execution = torch.from_numpy(np.array(_per_unit(one))).reshape(inner)
    magnitude: Tensor = value.abs() + execution
    return Fixed(value, error if bool(error.any()) else None, magnitude if bool(execution.any()) else None), shape
