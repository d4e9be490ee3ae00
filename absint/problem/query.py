"""Queries of the VNN-LIB standard: is there an input of one of some boxes whose output lies in an unsafe set?

A query is a union of cells. A cell is a box and a union of disjuncts, each the conjunction of rows
weight . y + bias <= 0 (or < 0). What a file says in decimals need not be floating-point numbers: each bias is held as
the float64 numbers below and above it, so that proofs use the larger unsafe set and witnesses the smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from absint.errors import InputError
from absint.problem.regions.decimal_box import DecimalBox
from absint.problem.regions.region import Shape
from absint.problem.several_inputs import Named, wanted
from absint.problem.spec import Spec
from absint.problem.whereabouts import HOME
from absint.registry import Registry

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_ENTRIES = 1 << 22  # weights of one instance's rows: a cell with more disjuncts is analysed in several instances


@dataclass(frozen=True, eq=False)
class UnsafeRows:
    """The rows of all disjuncts of all cells, sparse; R rows with N weights, D disjuncts.

    start: (R + 1,), where each row's weights begin.  index, weight: (N,) output entries and their exact coefficients.
    bias_down, bias_up: (R,) float64 on both sides of the exact bias (equal where it is one).  strict: (R,).
    disjunct: (D + 1,), where each disjunct's rows begin; every disjunct has one at least.  cell: (D,), not decreasing.
    """

    start: Ints
    index: Ints
    weight: Floats
    bias_down: Floats
    bias_up: Floats
    strict: Bools
    disjunct: Ints
    cell: Ints

    def dense(self, rows: Ints, outputs: int) -> Floats:
        """The weights of some rows: (*rows.shape, outputs)."""
        flat = rows.reshape(-1)
        counts = self.start[flat + 1] - self.start[flat]
        out: Floats = np.zeros((flat.size, outputs))
        place = np.repeat(np.arange(flat.size), counts)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        source = np.repeat(self.start[flat], counts) + offset
        out[place, self.index[source]] = self.weight[source]
        return out.reshape(*rows.shape, outputs)


@dataclass(frozen=True, eq=False)
class Group:
    """Instances of one structure, which one call of the engine decides. cell: (I,).  rows: (I, disjuncts, rows of each)."""

    cell: Ints
    rows: Ints


@dataclass(frozen=True)
class DeclaredInput:
    """One of several inputs that a query declares. onnx_name: what the query says the network calls it, '' where it does not."""

    name: str
    shape: Shape
    onnx_name: str = ""


@dataclass(frozen=True, eq=False)
class Query:
    """One query file. region: (cells, inputs) in the order of the input tensor.  rows: unsafe outputs of the cells.

    exact: (cell, input) -> a number of the box, as text, wherever the box holds no float64 number.
    vacuous: one line per contradiction found in the constraints on the inputs; those parts are left out of the cells.
    network: the name the file gives it, None in VNN-LIB 1.0.  shapes: of input and output where the file declares them.
    input_names, output_names: what an assignment calls each entry.  version: of the language.  sha256: of the file.
    inputs: where several are declared, in the order in which their entries are numbered; `shapes` has them as one vector then.
    """

    region: DecimalBox
    rows: UnsafeRows
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    exact: Mapping[tuple[int, int], str] = field(default_factory=dict)
    vacuous: tuple[str, ...] = ()
    network: str | None = None
    shapes: tuple[Shape, Shape] | None = None
    version: str = "1.0"
    path: str = ""
    sha256: str = ""
    inputs: tuple[DeclaredInput, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "region", self.region.to(HOME))

    @property
    def cells(self) -> int:
        """Number of boxes."""
        return self.region.batch

    @property
    def disjuncts(self) -> int:
        """Number of disjuncts over all cells."""
        return len(self.rows.cell)

    def check(self, network: tuple[Shape, Shape], named: Named | None = None) -> None:
        """Raise InputError E-VNNLIB-COUNT, -SHAPE or -INPUTS unless a network of such input and output shapes is meant.

        named: its inputs, where it has several: those declared are these, in order.
        Axes of size 1 are no difference: the batch axis is one of them.
        """
        inputs, outputs = (prod(shape) for shape in network)
        declared = (len(self.input_names), len(self.output_names))
        if declared != (inputs, outputs):
            raise InputError(
                "E-VNNLIB-COUNT", f"the query declares {declared[0]} inputs and {declared[1]} outputs, "
                f"the network has {inputs} and {outputs}", where=self.path or None, hint="does the query belong to this network?",
            )

        self._check_inputs(named or {})
        for what, here, there in zip(("input", "output"), self.shapes or (), network, strict=False):
            if [n for n in here if n != 1] != [n for n in there if n != 1]:
                raise InputError("E-VNNLIB-SHAPE", f"the query declares an {what} of shape {here}, the network's is {there}",
                                 where=self.path or None, hint="declare the axes in the network's order, after the batch axis")

    def _check_inputs(self, named: Named) -> None:
        there = [(name, tuple(n for n in shape if n != 1)) for name, shape in named.items()]
        here = [(one.onnx_name or name, tuple(n for n in one.shape if n != 1)) for one, (name, _) in zip(self.inputs, there, strict=False)]
        if self.inputs and (here != there or len(self.inputs) != len(there)):
            declared = ", ".join(f"{one.name} {one.shape}{f' ({one.onnx_name})' if one.onnx_name else ''}" for one in self.inputs)
            raise InputError("E-VNNLIB-INPUTS", f"the query declares the inputs {declared}", where=self.path or None,
                             details=[f"the network's: {wanted(named)}" if named else "the network has one input"],
                             hint="declare the network's inputs in its own order and shapes")

    def groups(self) -> Iterator[Group]:
        """The instances. Cells of like structure go together, padded by repeating their own disjuncts and rows."""
        first, count = _runs(self.rows.cell)
        limit = max(1, _ENTRIES // max(1, len(self.output_names)))
        lengths = np.diff(self.rows.disjunct)
        longest = np.maximum.reduceat(lengths, first) if len(first) else count
        cell, begin, size, width = _split(self.rows.cell[first], first, count, longest, limit)
        kinds = np.stack([_bits(size), _bits(width)], axis=1)
        for kind in np.unique(kinds, axis=0):
            chosen = (kinds == kind).all(1).nonzero()[0]
            many, wide = size[chosen].max(), width[chosen].max()
            disjunct = begin[chosen, None] + np.arange(many) % size[chosen, None]
            step = np.arange(wide) % lengths[disjunct][:, :, None]
            yield Group(cell[chosen], self.rows.disjunct[disjunct][:, :, None] + step)

    def spec(self, rows: Ints, *, inward: bool) -> Spec:
        """The property of instances with the given rows (I, disjuncts, rows of each).

        Outward (for proofs): an unsafe set that contains the exact one. Inward (for witnesses): one inside it.
        """
        batch, many, wide = rows.shape
        flat = rows.reshape(batch, many * wide)
        # A row counts as strict where all instances agree: `<= 0` is the larger set, `< 0` the smaller one.
        strict = self.rows.strict[flat]
        bias = self.rows.bias_up if inward else self.rows.bias_down
        return Spec(
            torch.from_numpy(self.rows.dense(flat, len(self.output_names))), torch.from_numpy(bias[flat]),
            torch.arange(many).repeat_interleave(wide), torch.from_numpy(strict.any(0) if inward else strict.all(0)),
            "no output in the unsafe set of the query",
        )


def _runs(values: Ints) -> tuple[Ints, Ints]:
    """Where each run of equal values begins, and its length."""
    first = np.flatnonzero(np.diff(values, prepend=values[:1] - 1)).astype(np.int64)
    return first, np.diff(first, append=len(values)).astype(np.int64)


def _split(cell: Ints, first: Ints, count: Ints, width: Ints, limit: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Cells cut into instances of at most limit // width disjuncts: (cell, first disjunct, disjuncts, longest disjunct)."""
    size = np.maximum(1, limit // np.maximum(1, width))
    parts = -(-count // size)
    which = np.repeat(np.arange(len(cell)), parts)
    step = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    begin = first[which] + step * size[which]
    return cell[which], begin, np.minimum(size[which], first[which] + count[which] - begin), width[which]


def _bits(values: Ints) -> Ints:
    """ceil(log2): padding to the largest of a kind at most doubles a size."""
    return np.ceil(np.log2(values)).astype(np.int64)


class QueryReader(Protocol):
    """Turns a query file into a Query."""

    def read(self, path: str | Path) -> Query:
        """The query of a file. Raises InputError or UnsupportedError E-VNNLIB-..."""
        ...


QUERIES: Registry[Callable[[], QueryReader]] = Registry("query front end", "absint.queries")


def read_query(path: str | Path) -> Query:
    """The query in a VNN-LIB file (1.0 or 2.0, plain or .gz), read by the front end registered as `vnnlib`.

    Raises InputError or UnsupportedError E-VNNLIB-..., naming line and column.
    """
    reader: Any = QUERIES.get("vnnlib")()
    query: Query = reader.read(path)
    return query
