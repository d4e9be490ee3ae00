"""What carrying a zonotope through a network takes, of one instance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

import torch

from absint.domains.patches import patch_of, same_order
from absint.engine.domain import Cost, Node, Numerics
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.model.op import Shape
from absint.model.work import products_of


@dataclass(frozen=True)
class _Form:
    """How the symbols of one source are kept at a node.

    window: of each channel of `image`, (C, *spatial), outside of which they are zero; None for whole vectors. Of single entries until an
    operator mixes them: these take next to nothing.  products: that took the last step of one.
    """

    image: Shape
    window: Shape | None
    single: bool = False
    products: float = 0.0

    def entries(self, node: Node) -> int:
        """Of one."""
        return 0 if self.single else node.size if self.window is None else self.image[0] * prod(self.window)


def carried(graph: Graph, numerics: Numerics, counts: Mapping[str, float], limit: int) -> Cost:
    """Generators of the worst node, three times (in, out and a temporary), and the products that carry all of them on.

    counts: symbols that start at a node.  limit: of all, 0 for none.
    """
    worst, products, local = float(graph.input.size), 0.0, numerics.device.type == "cpu"
    forms: dict[str, dict[str, _Form]] = {}
    for node in graph.nodes:
        here = _arrived(node, [forms[name] for name in node.inputs], graph, local=local)
        total = sum(counts[name] for name in here)
        share = min(1.0, limit / total) if limit and total else 1.0
        worst = max(worst, share * sum(counts[name] * form.entries(node) for name, form in here.items()))
        products += share * sum(counts[name] * form.products for name, form in here.items())
        if counts.get(node.name):
            here[node.name] = _Form(node.shape, (1,) * (len(node.shape) - 1), single=True)
        forms[node.name] = here
    return Cost(worst * 3 * torch.finfo(numerics.dtype).bits // 8, products)


def _arrived(node: Node, inputs: Iterable[Mapping[str, _Form]], graph: Graph, *, local: bool) -> dict[str, _Form]:
    """Whole vectors where operands meet."""
    own = [dict(one) for one in inputs]
    if len(own) == 1:
        return {name: _moved(form, node, graph.shapes_of(node)[0], local=local) for name, form in own[0].items()}
    work = products_of(node) if isinstance(node.op, Linear) else float(node.size)
    return {name: _Form(node.shape, None, products=work) for one in own for name in one}


def _moved(form: _Form, node: Node, shape: Shape, *, local: bool) -> _Form:
    """Through an operator of one operand of that shape."""
    op = node.op
    if not isinstance(op, Linear):
        if node.shape == shape and (form.single or form.window is not None):
            return replace(form, products=float(form.entries(node)))
        return _Form(node.shape, None, products=float(node.size))
    if form.single and op.monomial(shape) is not None:
        return _Form(node.shape, (1,) * (len(node.shape) - 1), single=True)
    if form.window is not None and not form.single and same_order(op, shape):
        return replace(form, products=0.0)
    wider = None
    if local and form.window is not None and form.image == shape and len(shape) > 1:
        wider = patch_of(op, form.window, shape, node.shape)
    if wider is not None:
        return _Form(node.shape, wider, products=float(op.forward_terms * node.shape[0] * prod(wider)))
    if form.window is not None and not form.single and len(node.shape) == 1:
        return _Form(node.shape, None, products=float(node.size * form.entries(node)))
    return _Form(node.shape, None, products=products_of(node))
