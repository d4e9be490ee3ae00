"""Graphs whose constants change in place, and the same graphs made afresh of the new numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from math import prod

import torch
from contract.operators import INSTANCES
from torch import Tensor

from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op, Shape
from absint.model.ops.compare import Select
from absint.model.ops.gemm import Gemm
from absint.model.ops.normalise import Divide, Normalise
from absint.model.ops.piecewise import PRelu
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Gather, Reshape


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def selection() -> Tensor:
    """A matrix whose rows scale one entry by a power of two: what is said of it is wrong once it changes."""
    return torch.tensor([[0, 2.0, 0], [-0.5, 0, 0]], dtype=torch.float64)


MORE: dict[str, Callable[[], tuple[Op, tuple[Shape, ...]]]] = {
    "gemm-selection": lambda: (Gemm(selection()), ((3,),)),
    "prelu-each": lambda: (PRelu(numbers(3)), ((3,),)),
    "select": lambda: (Select(numbers(3), numbers(3, seed=4)), ((3,),)),
    "layer-norm": lambda: (Normalise(1, 1e-5, numbers(3), numbers(3, seed=4)), ((3,),)),
    "divide": lambda: (Divide(torch.tensor(0.3, dtype=torch.float64)), ((3,),)),
}
EVERY = INSTANCES | MORE


def made(name: str) -> tuple[Op, tuple[Shape, ...] | None]:
    """An operator with tensors of its own, to be changed, and the shapes of its inputs."""
    op, shapes = EVERY[name]()
    return own(op), shapes


def own(op: Op) -> Op:
    """The operator with copies of its tensors."""
    return replace(op, **{f.name: value.detach().clone() for f in fields(op) if isinstance(value := getattr(op, f.name), Tensor)})


# Operators that hold coefficients, discovered: a new one of tests/contract/operators.py is held to it like these.
HOLDING = [name for name, make in EVERY.items() if make()[0].constants()]


def around(op: Op, shapes: tuple[Shape, ...] | None) -> Graph:
    """A network with the operator inside: its operands are entries of the input, a ReLU and a dense layer follow."""
    shapes = shapes or ((3,),)
    size = prod(shapes[0])
    build = GraphBuilder("x", (size,))
    operands = tuple(build.add(Gather.of(torch.arange(prod(s)).reshape(s) % size), ("x",)) for s in shapes)
    last = build.add(Relu(), (build.add(op, operands),))
    width = prod(build.shape(last))
    flat = build.add(Reshape((width,)), (last,))
    return build.graph(build.add(Gemm(numbers(2, width, seed=5), numbers(2, seed=6)), (flat,)))


def mixed() -> Graph:
    """Convolution, normalisation by channel, slopes by channel, its transpose, and products from both sides."""
    from absint.model.ops.affine import Affine
    from absint.model.ops.conv import Conv
    from absint.model.ops.conv_transpose import ConvTranspose
    from absint.model.ops.gemm import LeftMatMul

    build = GraphBuilder("x", (1, 4, 4))
    last = build.add(Conv(numbers(2, 1, 3, 3), numbers(2), (2, 2), ((1, 1), (1, 1)), (1, 1)), ("x",))
    last = build.add(Affine(numbers(2, 1, 1, seed=7), numbers(2, 1, 1, seed=8), 4, numbers(2, 1, 1).abs() * 1e-15), (last,))
    last = build.add(PRelu(numbers(2, 1, 1, seed=9).abs()), (last,))
    last = build.add(ConvTranspose(numbers(2, 2, 2, 2, seed=10), numbers(2), (1, 1), ((0, 0), (0, 0)), (1, 1)), (last,))
    last = build.add(LeftMatMul(numbers(2, 3, seed=11)), (last,))
    last = build.add(Relu(), (build.add(Reshape((12,)), (last,)),))
    return build.graph(build.add(Gemm(numbers(3, 12, seed=12), numbers(3, seed=13)), (last,)))


def constants(graph: Graph) -> list[Tensor]:
    """The coefficients, each once."""
    return list({id(c): c for node in graph.nodes for c in node.op.constants()}.values())


def afresh(graph: Graph) -> Graph:
    """The same network with tensors and operators of its own."""

    return Graph(tuple(replace(node, op=own(node.op)) for node in graph.nodes), graph.source)


def by_hand(graph: Graph) -> None:
    """Under no_grad, as a loader of weights does. Signs stay: averages are of positive weights, and know it."""
    with torch.no_grad():
        for constant in constants(graph):
            constant.mul_(1.75).add_(constant.sign() * 0.3 + (constant == 0) * 0.2)


def by_alias(graph: Graph) -> None:
    """Through `detach()` and a view."""
    for constant in constants(graph):
        constant.detach().view(-1)[:1].mul_(1.75)
        constant.detach().mul_(1.25)


def by_optimiser(graph: Graph) -> None:
    """A step of Adam on what were plain tensors until now."""
    tensors = constants(graph)
    optimiser = torch.optim.Adam(tensors, lr=0.05)
    for constant in tensors:
        constant.grad = torch.full_like(constant, -1.0) * (constant.sign() + (constant == 0))
    optimiser.step()


def by_copy(graph: Graph) -> None:
    """Other numbers altogether, as `load_state_dict` copies them."""
    with torch.no_grad():
        for constant in constants(graph):
            constant.copy_(constant * 0.7 + constant.sign() * 0.1)


WAYS = {way.__name__: way for way in (by_hand, by_alias, by_optimiser, by_copy)}
