"""Functions that exporters spell out become one operator again, so that bounds are those of the function.

x sigmoid(x), x tanh(softplus(x)), x (1 + erf(x / c)) / 2 and their like are a product of two tensors that know nothing of each other:
bounds of the product are those of a box. Every rule here is an identity over the reals; what its constants round is stated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

from absint.model.families.bilinear import Times
from absint.model.graph import Graph, Node, rebuild
from absint.model.op import Op
from absint.model.ops.affine import Affine
from absint.model.ops.compare import Select
from absint.model.ops.exponential import Softplus
from absint.model.ops.piecewise import Abs, Clip, HardSwish
from absint.model.ops.power import Power
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Identity
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.model.ops.smooth import Erf, Gelu, Mish, Softsign, Swish
from absint.model.ops.step import Compare, Sign
from absint.numeric.rounding import is_power

_MOST = 1e30    # sizes of scales beyond which nothing is rewritten
_LEAST = 1e-280  # below which a product may underflow


def recognise(graph: Graph) -> Graph:
    """Exact over the reals up to the stated roundings of scales; float32 executions compute it as it is spelt."""
    kept = {name for node in graph.nodes if node.closed is not None for name in node.closed.inputs}
    made: dict[str, tuple[Node, ...]] = {}
    for node in graph.nodes:
        if node.closed is None:
            found = next((f for kind, rules in _RULES if isinstance(node.op, kind) for rule in rules
                          if (f := rule(graph, node)) is not None), None)
            if found is not None:
                made[node.name] = _placed(graph, node, found)
    if not made:
        return graph
    nodes = rebuild(graph, [new for node in graph.nodes for new in made.get(node.name, (node,))])
    return replace(_pruned(nodes, kept), source=graph.source)


@dataclass(frozen=True, eq=False)
class _Found:
    """Operators in a row that take the place of a node, on another node's value."""

    source: str
    ops: tuple[Op, ...]


def _placed(graph: Graph, node: Node, found: _Found) -> tuple[Node, ...]:
    nodes, name = [], found.source
    for k, op in enumerate(found.ops[:-1]):
        inner = f"{node.name}/spelt-out{k}"
        while inner in graph.tensors:
            inner += "'"
        nodes.append(Node(inner, op, (name,), node.shape))
        name = inner
    return (*nodes, replace(node, op=found.ops[-1], inputs=(name,), made=None))


def _pruned(graph: Graph, kept: set[str]) -> Graph:
    """Without what nothing reads any more."""
    needed, stack = set[str](), [graph.output.name, *kept]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack += graph[name].inputs
    return rebuild(graph, [node for node in graph.nodes if node.name in needed or node is graph.input])


# ---- what a node is of another one --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """scale x + shift for one number each; roundings in the scale."""

    source: str
    scale: float = 1.0
    shift: float = 0.0
    terms: int = 0


def _line(graph: Graph, name: str, steps: int = 8) -> _Line:
    """A node as a line of an earlier one, at most so many steps back and as far as nothing rounds."""
    node = graph[name]
    op = node.op
    if not steps or not isinstance(op, Affine) or op.live or graph[node.inputs[0]].shape != node.shape or op.shift_error is not None:
        return _Line(name)
    scale, shift = _number(op.scale, 1.0), _number(op.shift, 0.0)
    if scale is None or shift is None or scale == 0 or abs(scale) > _MOST or abs(scale) < 1 / _MOST:
        return _Line(name)
    inner = _line(graph, node.inputs[0], steps - 1)
    exact = _power(scale) or inner == _Line(node.inputs[0])
    if (inner.shift and not (_power(scale) and shift == 0)) or not exact:
        return _Line(node.inputs[0], scale, shift, op.weight_terms)
    if inner.shift and not abs(inner.shift * scale) > _LEAST:
        return _Line(node.inputs[0], scale, shift, op.weight_terms)
    return _Line(inner.source, inner.scale * scale, inner.shift * scale + shift, inner.terms + op.weight_terms)


def _number(values: Tensor | None, default: float) -> float | None:
    """The one number that all of them are."""
    if values is None:
        return default
    first = float(values.reshape(-1)[0]) if values.numel() and not values.requires_grad else float("nan")
    return first if bool((values == first).all()) else None


def _power(value: float) -> bool:
    return bool(is_power(torch.tensor(value, dtype=torch.float64)))


def _scaled(value: float, terms: int) -> Affine:
    return Affine(torch.tensor(value, dtype=torch.float64), weight_terms=terms)


def _factors(node: Node) -> Sequence[tuple[str, str]]:
    one, two = node.inputs
    return (one, two), (two, one)


# ---- rules --------------------------------------------------------------------------------------------------------------


def _swish(graph: Graph, node: Node) -> _Found | None:
    """x sigmoid(b x) = swish(b x) / b."""
    for x, gate in _factors(node):
        if isinstance(graph[gate].op, Sigmoid):
            (inner,) = graph[gate].inputs
            if inner == x:
                return _Found(x, (Swish(),))
            line = _line(graph, inner)
            if line.source == x and line.shift == 0 and graph[x].shape == node.shape:
                exact = _power(line.scale) and line.terms == 0
                return _Found(inner, (Swish(), _scaled(1 / line.scale, 0 if exact else line.terms + 1)))
    return None


def _mish(graph: Graph, node: Node) -> _Found | None:
    """x tanh(softplus(x))."""
    for x, gate in _factors(node):
        if isinstance(graph[gate].op, Tanh):
            inner = graph[graph[gate].inputs[0]]
            if isinstance(inner.op, Softplus) and inner.inputs == (x,):
                return _Found(x, (Mish(),))
    return None


def _gelu(graph: Graph, node: Node) -> _Found | None:
    """s x m (1 + erf(g x)) = (2 s m / d) gelu(d x) with d = sqrt(2) g."""
    for left, right in _factors(node):
        one, two = _line(graph, left), _line(graph, right)
        if one.shift != 0 or two.scale != two.shift or not isinstance(graph[two.source].op, Erf):
            continue
        inner = _line(graph, graph[two.source].inputs[0])
        for source, scale in ((left, 1.0), (one.source, one.scale)):
            if inner.source == source and inner.shift == 0 and graph[source].shape == node.shape:
                stretch, terms = sqrt(2.0) * inner.scale, inner.terms + 3
                back = 2 * scale * two.scale / stretch
                return _Found(source, (_scaled(stretch, terms), Gelu(), _scaled(back, terms + one.terms + two.terms + 3)))
    return None


def _softsign(graph: Graph, node: Node) -> _Found | None:
    """x (1 + |x|) ** -1."""
    for x, gate in _factors(node):
        op = graph[gate].op
        if isinstance(op, Power) and op.exponent == -1:
            line = _line(graph, graph[gate].inputs[0])
            if line == _Line(line.source, 1.0, 1.0) and isinstance(graph[line.source].op, Abs) and graph[line.source].inputs == (x,):
                return _Found(x, (Softsign(),))
    return None


def _hard_swish(graph: Graph, node: Node) -> _Found | None:
    """x min(max(x + 3, 0), 6) = 6 hardswish(x)."""
    for x, gate in _factors(node):
        op = graph[gate].op
        if isinstance(op, Clip) and (op.low, op.high) == (0.0, 6.0) and _line(graph, graph[gate].inputs[0]) == _Line(x, 1.0, 3.0):
            return _Found(x, (HardSwish(), _scaled(6.0, 0)))
    return None


def _magnitude_signed(graph: Graph, node: Node) -> _Found | None:
    """sign(x) |x| = x, also where the magnitude goes through a ReLU, as torch's pooling by powers has it."""
    for sign, size in _factors(node):
        inner = graph[graph[size].inputs[0]] if isinstance(graph[size].op, Relu) else graph[size]
        if isinstance(graph[sign].op, Sign) and isinstance(inner.op, Abs) and inner.inputs == graph[sign].inputs:
            return _Found(inner.inputs[0], (Identity(),))
    return None


def _leaky(graph: Graph, node: Node) -> _Found | None:
    """x where x > 0, else a x: continuous at 0, so that it does not matter what is taken there."""
    assert isinstance(node.op, Select)
    truth, *rest = node.inputs
    compare = graph[truth].op
    if not isinstance(compare, Compare) or _number(compare.at, 0.0) != 0 or compare.below == compare.above:
        return None
    (x,) = graph[truth].inputs
    left = iter(rest)
    yes, no = (_branch(graph, next(left), x) if c is None else _zero(c) for c in (node.op.yes, node.op.no))
    above, below = (yes, no) if compare.above > compare.below else (no, yes)
    if above != 1 or below is None or graph[x].shape != node.shape:
        return None
    return _Found(x, (Relu() if below == 0 else LeakyRelu(below),))


def _branch(graph: Graph, name: str, x: str) -> float | None:
    """The slope of a branch that is a multiple of x, known exactly."""
    line = _line(graph, name) if name != x else _Line(x)
    return line.scale if line.source == x and line.shift == 0 and line.terms == 0 else None


def _zero(constant: Tensor) -> float | None:
    return 0.0 if _number(constant, 1.0) == 0 else None


_Rule = Callable[[Graph, Node], _Found | None]
# By the class of the operator that ends what is spelt out: most nodes are neither.
_RULES: tuple[tuple[type[Op], tuple[_Rule, ...]], ...] = (
    (Times, (_swish, _mish, _gelu, _softsign, _hard_swish, _magnitude_signed)), (Select, (_leaky,)))
