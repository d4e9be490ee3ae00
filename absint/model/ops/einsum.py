"""Einsum: sums of products, two operands at a time, as matrix products of rearranged operands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.op import OnnxNode, Op, Shape, mixes, register_import, unsupported
from absint.model.ops.gemm import Gemm
from absint.model.ops.matmul_constant import Matrices
from absint.model.ops.power import Power
from absint.model.ops.product import Build, MatMul, Multiply, sum_last
from absint.model.ops.shape import Gather, Reshape
from absint.model.shapes import held

Labels = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Einsum(Composite):
    """sum over the labels that `result` lacks of the product of all operands.

    terms: the labels of each operand's axes, batch not counted; an axis of size 1 is repeated along a longer one of its label.
    result: the labels of the result's.  constants: an operand known at import in float64, or None for a computed one.

    Constants are met one by one, so that no coefficient is rounded; every step is a MatMul, a product or a Gemm.
    """

    terms: tuple[Labels, ...]
    result: Labels
    constants_of: tuple[Tensor | None, ...]
    arity = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The sizes of the result's labels."""
        sizes = self._sizes(shapes)
        return held(tuple(sizes[label] for label in self.result))

    def forward(self, *xs: Tensor) -> Tensor:
        """By torch, with a label more for the batch."""
        batch, computed, arguments = 1 + max((0, *(label for term in self.terms for label in term))), iter(xs), list[Tensor | list[int]]()
        for term, constant in zip(self.terms, self.constants_of, strict=True):
            x = next(computed) if constant is None else constant.to(xs[0])
            arguments += [x if constant is not None or term else x[:, 0], [*term] if constant is not None else [batch, *term]]
        y: Tensor = torch.einsum(*arguments, [batch, *self.result])
        return y if self.result else y[:, None]

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """The first computed operand meets the others in turn; labels that neither they nor the result have are summed at once."""
        sizes, result = self._sizes(shapes), self.output_shape(*shapes)
        work, computed = _Steps(build, sizes), iter(zip(inputs, shapes, strict=True))
        operands: list[Operand] = []
        for term, constant in zip(self.terms, self.constants_of, strict=True):
            operands.append((term, *next(computed)) if constant is None else (term, constant, tuple(constant.shape)))
        current = operands.pop(self.constants_of.index(None))
        if not operands:
            gone = tuple(sorted(set(current[0]) - set(self.result)))
            name = work.arranged(current, (*self.result, *gone), (*result, work.count(gone)))
            return sum_last(build, name, (*result, work.count(gone))) if gone else build(Reshape(result), (name,))
        for place, other in enumerate(operands):
            kept = {*self.result, *(label for term, _, _ in operands[place + 1 :] for label in term)}
            current = work.met(current, other, kept)
        return work.arranged(current, self.result, result)

    def _sizes(self, shapes: Sequence[Shape]) -> dict[int, int]:
        """The size of each label. Raises ValueError where the operands do not have the terms' axes, or these do not fit."""
        computed, sizes = iter(shapes), dict[int, int]()
        if len(shapes) != sum(c is None for c in self.constants_of):
            raise ValueError(f"{len(shapes)} computed operands, of which the equation has {sum(c is None for c in self.constants_of)}")
        for term, constant in zip(self.terms, self.constants_of, strict=True):
            shape = next(computed) if constant is None else tuple(constant.shape)
            if len(term) != len(shape) and (term or prod(shape) != 1):
                raise ValueError(f"an operand of shape {shape} has {len(term)} labels in the equation")
            for label, size in zip(term, shape, strict=False):
                known = sizes.setdefault(label, size)
                if size != known and 1 not in (size, known):
                    raise ValueError(f"one label stands for axes of sizes {known} and {size}")
                sizes[label] = max(size, known)
        return sizes


Operand = tuple[Labels, "str | Tensor", Shape]   # labels of its axes, its node or what it is, and its shape


@dataclass(frozen=True)
class _Steps:
    """What an equation is built of. sizes: of every label."""

    build: Build
    sizes: dict[int, int]

    def count(self, labels: Iterable[int]) -> int:
        """Entries along these axes together."""
        return prod(self.sizes[label] for label in labels)

    def met(self, one: Operand, other: Operand, kept: set[int]) -> Operand:
        """The product of two, the first one computed, summed over every label that is not kept."""
        mine, theirs = set(one[0]), set(other[0])
        both, left, right, inner = (tuple(sorted(group)) for group in (
            mine & theirs & kept, (mine - theirs) & kept, (theirs - mine) & kept, (mine | theirs) - kept))
        name = self._products(one, other, (both, left, inner, right))
        labels = (*both, *left, *right)
        shape = held(tuple(self.sizes[label] for label in labels))
        return labels, self.build(Reshape(shape), (name,)), shape

    def _products(self, one: Operand, other: Operand, groups: tuple[Labels, ...]) -> str:
        """A matrix (left, right) for each position along `both`, summed over `inner`; flat, or with these axes."""
        (both, left, inner, right), (b, m, k, n) = groups, (self.count(group) for group in groups)
        if isinstance(other[1], Tensor):
            weight = other[1].reshape(-1)[self._index(other, (*both, *inner, *right))].reshape(b, k, n)
            name = self.arranged(one, (*both, *left, *inner), (b, m, k))
            return self.build(Matrices(weight, left=False, repeats=1) if both else Gemm(weight[0].T.contiguous()), (name,))
        if one == other and m == n == 1:    # a tensor and itself: squares, which know that their operands are one
            squares = self.build(Power(2.0), (self.arranged(one, (*both, *inner), (b, k)),))
            return sum_last(self.build, squares, (b, k)) if inner else squares
        pair = self.arranged(one, (*both, *left, *inner), (b, m, k)), self.arranged(other, (*both, *inner, *right), (b, k, n))
        return self.build(MatMul() if inner else Multiply(), pair)

    def arranged(self, operand: Operand, labels: Labels, shape: Shape) -> str:
        """An operand with these axes, in this order, repeated along those that it lacks, in a shape with as many entries."""
        _, name, size = operand
        if isinstance(name, Tensor):
            raise TypeError("a constant is arranged by its entries")
        index = self._index(operand, labels)
        if index.numel() == prod(size) and bool((index.reshape(-1) == torch.arange(prod(size))).all()):
            return name if size == shape else self.build(Reshape(shape), (name,))
        return self.build(Gather.of(index.reshape(shape).contiguous()), (name,))

    def _index(self, operand: Operand, labels: Labels) -> Tensor:
        """Where the entry at each position along `labels` stands in the flat operand; a label twice is its diagonal."""
        own, _, shape = operand
        index, stride = torch.zeros([self.sizes[label] for label in labels], dtype=torch.int64), 1
        for label, size in reversed(list(zip(own, shape, strict=False))):
            if size > 1:
                place = labels.index(label)
                view = [1] * len(labels)
                view[place] = size
                index = index + stride * torch.arange(size).reshape(view)
            stride *= size
        return index


@register_import("Einsum")
def einsum_from_onnx(node: OnnxNode) -> Op:
    """Any equation with or without dots and arrow; axis 0 of what is computed stays in front."""
    given = node.attribute("equation", "")
    text = "".join((given.decode() if isinstance(given, bytes) else str(given)).split())
    terms, result = _parsed(node, text, [len(shape) for shape in node.shapes])
    constants = [None if c is None else c.double() for c in node.constants]
    if any(node.batched):
        terms, result, constants = _apart(node, terms, result, constants)
    return Einsum(tuple(terms), result, tuple(constants))


def _parsed(node: OnnxNode, text: str, ranks: list[int]) -> tuple[list[Labels], Labels]:
    """Labels of every operand and of the result; the axes behind dots have labels below 0 for each place from the right."""
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    letters = {letter: k for k, letter in enumerate(sorted(set(left) - set(".,")))}
    if len(parts) != len(ranks) or not all(letter.isalpha() for letter in letters) or not set(right) - {"."} <= set(letters):
        raise unsupported(node, f"equation '{text}' is not one for {len(ranks)} operands", "repair the model")
    terms, dots = [], 0
    for part, rank in zip(parts, ranks, strict=True):
        hidden = rank - len(part.replace("...", "", 1)) if "..." in part else 0
        dots = max(dots, hidden)
        terms.append(_labels(part, hidden, letters))
        if hidden < 0 or len(terms[-1]) != rank:
            raise unsupported(node, f"equation '{text}' gives an operand of {rank} axes {len(terms[-1])}", "repair the model")
    if arrow:
        result = _labels(right, dots, letters)
    else:
        seen = Counter(label for term in terms for label in term)
        result = (*range(-dots, 0), *(k for k in sorted(letters.values()) if seen[k] == 1))
    if len(set(result)) != len(result):
        raise unsupported(node, f"equation '{text}' repeats a label in its result", "repair the model")
    shift = dots        # labels count from 0
    return [tuple(label + shift for label in term) for term in terms], tuple(label + shift for label in result)


def _labels(part: str, hidden: int, letters: dict[str, int]) -> Labels:
    before, dots, after = part.partition("...")
    middle = tuple(range(-hidden, 0)) if dots else ()
    if "." in before + after:
        return ()
    return (*(letters[x] for x in before), *middle, *(letters[x] for x in after))


def _apart(
    node: OnnxNode, terms: list[Labels], result: Labels, constants: list[Tensor | None],
) -> tuple[list[Labels], Labels, list[Tensor | None]]:
    """Without the batch's label, which every computed operand and the result have in front, and nowhere else."""
    batch = next(term[:1] for term, kept in zip(terms, node.batched, strict=True) if kept)
    every = all(term[:1] == batch for term, kept in zip(terms, node.batched, strict=True) if kept)
    if not batch or not every or result[:1] != batch or any(batch[0] in term[1:] for term in (*terms, result)):
        raise mixes(node, "moves, sums or shares the batch axis")
    for k, constant in enumerate(constants):
        if constant is not None and terms[k][:1] == batch:
            if constant.shape[0] != 1:
                raise mixes(node, f"a constant of shape {tuple(constant.shape)} acts along the batch axis")
            constants[k] = constant[0]
    return [term[1:] if term[:1] == batch else term for term in terms], result[1:], constants
