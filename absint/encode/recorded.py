"""Programs and phases as evidence: what multipliers are of, and what an alternative says of the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from absint.encode.builder import Choices, ColumnBlock
from absint.encode.expressions import Expressions
from absint.engine.evidence import Columns, Program, SplitStep, Values
from absint.model.graph import Graph
from absint.solvers.model import Model


def program_of(model: Model, blocks: Sequence[ColumnBlock], graph: Graph, cost: np.ndarray, offset: float, factor: float = 1.0) -> Program:
    """A model with an objective. blocks: of its encoding.  factor: what the property's row was multiplied by. Arrays are not copied."""
    return Program(
        model.matrix.data, model.matrix.indices, model.matrix.indptr, model.row_lower, model.row_upper, model.lower, model.upper,
        np.concatenate([cost, np.zeros(len(model.lower) - len(cost))]), offset, factor, columns_of(blocks, graph))


def program_of_node(model: Model, blocks: Sequence[ColumnBlock], graph: Graph, value: Expressions) -> Program:
    """A model whose objectives are single entries of the node with these values."""
    matrix = value.matrix
    return Program(
        model.matrix.data, model.matrix.indices, model.matrix.indptr, model.row_lower, model.row_upper, model.lower, model.upper,
        np.zeros(len(model.lower)), columns=columns_of(blocks, graph),
        values=Values(matrix.data, matrix.indices, matrix.indptr, value.low, value.high))


def columns_of(blocks: Sequence[ColumnBlock], graph: Graph) -> tuple[Columns, ...]:
    """Of segments, the node is the operand, which is what a path divides."""
    def node(block: ColumnBlock) -> str:
        return graph[block.node].inputs[0] if block.role in ("left", "right") else block.node

    return tuple(Columns(b.role, node(b), b.entry, b.column, b.low, b.high, b.other) for b in blocks)


def splits_of(choices: Choices, blocks: Sequence[ColumnBlock], graph: Graph, chosen: np.ndarray) -> tuple[SplitStep, ...]:
    """What alternatives say, by their positions in `choices`.

    Nothing left of a knot is z >= it, nothing right of it z <= it, a segment that is full z >= its end, no gap to a maximum the winner.
    """
    found = []
    for position in chosen.tolist():
        column = int(choices.column[position])
        block = next(b for b in blocks if b.role != "value" and b.column[0] <= column <= b.column[-1])
        place = column - int(block.column[0])
        entry = int(block.entry[place])
        if block.role == "gap":
            assert block.other is not None
            found.append(SplitStep(block.node, entry, 0.0, 0, int(block.other[place])))
            continue
        full = choices.lower[position] > 0
        ends = block.high if full else block.low
        assert ends is not None
        cut = float(ends[place])
        found.append(SplitStep(graph[block.node].inputs[0], entry, cut, 1 if full or block.role == "left" else -1))
    return tuple(found)
