"""A network whose input has a one-hot part, with one class put in: a network of the other part alone."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch

from absint.errors import InputError
from absint.model.graph import Graph, Node
from absint.model.op import Input, Op
from absint.model.ops.gemm import Gemm
from absint.model.ops.shape import Reshape


def conditioned(graph: Graph, label: int, classes: int, *, first: bool = False) -> Graph:
    """The network at inputs whose last (or `first`) `classes` entries, in row-major order, are 1 for the label and 0 elsewhere.

    Its input is the rest, flat; the reference model is fed with both. Exact: entries are moved, constants added.
    Raises InputError E-GLOBAL-CLASS where the input leaves nothing besides, or there is no such class.
    """
    size = prod(graph.input.shape) - classes
    where = graph.source.path or None
    if size < 1:
        raise InputError("E-GLOBAL-CLASS", f"an input of shape {graph.input.shape} has no part besides one of {classes} classes",
                         where=where,
                         hint="a conditional generator takes latents and a one-hot class in one input")
    if not 0 <= label < classes:
        raise InputError("E-GLOBAL-CLASS", f"class {label} is not in 0..{classes - 1}", where=where, hint="classes count from 0")
    latent, one_hot = (classes, label) if first else (0, size + label)
    weight, bias = torch.zeros(size + classes, size, dtype=torch.float64), torch.zeros(size + classes, dtype=torch.float64)
    weight[latent : latent + size] = torch.eye(size, dtype=torch.float64)
    bias[one_hot] = 1.0
    ops: tuple[Op, ...] = (Gemm(weight, bias), Reshape(graph.input.shape))
    return _behind(graph, ops, size)


def _behind(graph: Graph, ops: tuple[Op, ...], size: int) -> Graph:
    old, used = graph.input, set(graph.tensors)
    names = []
    for part in ("latent", "joined"):
        name = f"{old.name}/{part}"
        while name in used:
            name += "'"
        names.append(name)
    nodes = (
        Node(names[0], Input((size,)), (), (size,), (names[0],)),
        Node(names[1], ops[0], (names[0],), (prod(old.shape),)),
        replace(old, op=ops[1], inputs=(names[1],)),
        *graph.nodes[1:],
    )
    return Graph(nodes, graph.source.behind(ops))
