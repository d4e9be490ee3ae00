"""How operators were made of a file's numbers, kept with their nodes: `Graph.with_parameters` makes them anew from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from absint.frontends.onnx_file import AnyArray
from absint.frontends.onnx_values import tensors_of
from absint.model.graph import GraphBuilder, Node
from absint.model.op import OPS, Input, OnnxNode, Op, Shape
from absint.model.parameters import Made, Making


def with_making(nodes: Sequence[Node], written: OnnxNode, names: tuple[str, ...], constants: tuple[AnyArray | None, ...],
                shapes: tuple[Shape, ...]) -> list[Node]:
    """The nodes that one node of the file became, each with its place in the making of them all.

    names: of the floating-point constants, by input, '' where there is none.  constants: all of them, by input.
    shapes: of the computed inputs.
    """
    unnamed = any(value is not None and not name for name, value in zip(names, constants, strict=True))
    making = Making(OPS.get(written.op_type), replace(written, constants=()), names, partial(tensors_of, constants),
                    tuple(node.op for node in nodes), partial(expanded, shapes=shapes), unnamed)
    return [replace(node, made=Made(making, place)) for place, node in enumerate(nodes)]


def expanded(op: Op, shapes: tuple[Shape, ...]) -> tuple[Op, ...]:
    """The operators that a composite becomes for inputs of these shapes, in the order in which a builder adds them."""
    builder = GraphBuilder("0", shapes[0])
    names = tuple(map(str, range(len(shapes))))
    builder.nodes.update((name, Node(name, Input(shape), (), shape)) for name, shape in zip(names, shapes, strict=True))
    builder.add(op, names, "result")
    return tuple(node.op for node in builder.nodes.values())[len(shapes):]
