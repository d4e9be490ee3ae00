"""Queries about a network that ends in ArgMax: what they ask of the class index, as conditions on the scores.

"j beats c" means s_j > s_c where a tie goes to c, and s_j >= s_c where it goes to j: a strict total order of the classes,
whose greatest is the index. So the index lies in a set K exactly where some j of K beats every class outside of K.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from absint.errors import InputError, UnsupportedError
from absint.model.graph import Graph
from absint.model.import_check import Boxes
from absint.model.reference import runtime
from absint.model.source import ClassIndex, Source
from absint.problem.query import Query, UnsafeRows

_WEIGHTS = 1 << 25   # of all rows
_POINTS = 5          # on which the rule of ties is compared with the runtime's

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoreQuery:
    """query: the question about scores, for proofs and for proofs of witnesses.  inside: (cells, classes), the indices that
    surely are unsafe: what the network itself returns at a witness must be one of them.
    """

    query: Query
    inside: Mask

    def unsafe(self, cell: int, output: Floats) -> bool:
        """Whether the class index that the network returned is an unsafe one."""
        index = int(output.reshape(-1)[0])
        return output.size == 1 and 0 <= index < self.inside.shape[1] and bool(self.inside[cell, index])


def check_outputs(query: Query, chooses: ClassIndex) -> None:
    """Raise InputError E-VNNLIB-COUNT where the query declares anything but the one class index."""
    declared = len(query.output_names)
    if declared != 1:
        raise InputError(
            "E-VNNLIB-COUNT", f"the query declares {declared} outputs, but the network ends in {chooses.node} and has one, the class index",
            where=query.path or None,
            hint="declare Y_0 alone; for a query about the scores, cut the network in front of it: onnx.utils.extract_model",
        )


def about_scores(query: Query, graph: Graph, chooses: ClassIndex) -> ScoreQuery:
    """The same question about the graph's output. Raises UnsupportedError E-VNNLIB-SIZE where it takes too many rows.

    Sound: exact where every bias is a float64 number; else the unsafe set is the larger one for proofs and the smaller one
    for witnesses, as in the query itself.
    """
    classes = graph.output.size
    outward, inward = (_allowed(query, classes, bias) for bias in (query.rows.bias_down, query.rows.bias_up))
    kinds: dict[bytes, _Block] = {}
    chosen: list[_Block] = []
    for large, small in zip(outward, inward, strict=True):
        key = large.tobytes() + small.tobytes()
        if key not in kinds:
            kinds[key] = _Block.of(large, small, last=chooses.last)
        chosen.append(kinds[key])
    weights = sum(len(block.index) for block in chosen)
    if weights > _WEIGHTS:
        raise UnsupportedError("E-VNNLIB-SIZE", f"conditions on {classes} scores take {weights} coefficients", where=query.path or None,
                               hint=f"at most {_WEIGHTS}; split the query into several files")
    names = tuple(f"score {k}" for k in range(classes))
    return ScoreQuery(replace(query, rows=_joined(chosen), output_names=names, shapes=None), inward)


def check_index(source: Source, region: Boxes) -> None:
    """Compare the rule of ties and the axis with the user's own model in onnxruntime, on a few points of the boxes.

    Raises UnsupportedError E-IMPORT-MISMATCH where the index is not that of the greatest score, E-IMPORT-RUNTIME.
    """
    assert source.chooses is not None
    scores, whole = runtime(source), runtime(source.whole)
    lower, upper = (np.asarray(end, dtype=np.float64)[0] for end in (region.lower, region.upper))
    share = np.random.default_rng(0).random((_POINTS, *lower.shape))
    share[0], share[1], share[2] = 0.0, 1.0, 0.5
    for point in np.clip(lower * (1 - share) + upper * share, lower, upper):
        given, index = scores.run(point[None]).reshape(-1), whole.run(point[None]).reshape(-1)
        if not np.isfinite(given).all():
            continue
        best = np.flatnonzero(given == given.max())
        expected = int(best[-1 if source.chooses.last else 0])
        if index.size != 1 or int(index[0]) != expected:
            raise UnsupportedError(
                "E-IMPORT-MISMATCH", f"{source.chooses.node} does not return the index of the greatest score", where=source.path or None,
                details=[f"absint {expected}, onnxruntime {index.tolist()[:5]}"], hint="nothing was analysed; report this with the model",
            )


def _allowed(query: Query, classes: int, bias: Floats) -> Mask:
    """(cells, classes): the class indices that some disjunct of a cell allows; each row is `weight Y + bias <= 0` (or < 0)."""
    rows = query.rows
    found = np.zeros((query.cells, classes), dtype=bool)
    for disjunct, cell in enumerate(rows.cell.tolist()):
        low, high = 0, classes - 1
        for row in range(int(rows.disjunct[disjunct]), int(rows.disjunct[disjunct + 1])):
            weight = sum((Fraction(w) for w in rows.weight[rows.start[row] : rows.start[row + 1]].tolist()), Fraction(0))
            least, most = _interval(weight, Fraction(float(bias[row])), bool(rows.strict[row]), classes)
            low, high = max(low, least), min(high, most)
        found[cell, low : high + 1] = True
    return found


def _interval(weight: Fraction, bias: Fraction, strict: bool, classes: int) -> tuple[int, int]:
    """The whole numbers k of 0..classes - 1 with weight k + bias <= 0 (< 0 where strict), as first and last; (0, -1) for none."""
    if not weight:
        return (0, classes - 1) if bias < 0 or (bias == 0 and not strict) else (0, -1)
    end = -bias / weight
    if weight > 0:
        return 0, max(-1, min(classes - 1, ceil(end) - 1 if strict else floor(end)))
    return max(0, min(classes, floor(end) + 1 if strict else ceil(end))), classes - 1


@dataclass(frozen=True, eq=False)
class _Block:
    """The rows of one cell, as in UnsafeRows: sizes of rows and of disjuncts instead of offsets."""

    index: npt.NDArray[np.int64]
    weight: Floats
    size: npt.NDArray[np.int64]
    down: Floats
    up: Floats
    strict: Mask
    rows: npt.NDArray[np.int64]

    @staticmethod
    def of(large: Mask, small: Mask, *, last: bool) -> _Block:
        """The index lies in `large`; for witnesses, in its subset `small`. One disjunct a winner."""
        parts = [_Block._winner(j, large, small, last) for j in np.flatnonzero(large).tolist()]
        return _Block._joined(parts or [_Block._constant(1.0, 1.0)])

    @staticmethod
    def _winner(j: int, large: Mask, small: Mask, last: bool) -> _Block:
        """Class j beats all that are not allowed. Where the sets differ, it beats all others, and is unsafe for proofs alone."""
        same = bool((large == small).all())
        rivals = np.flatnonzero(~large if same else np.arange(len(large)) != j).astype(np.int64)
        count = len(rivals)
        index = np.stack([rivals, np.full(count, j)], axis=1).reshape(-1).astype(np.int64)
        strict = rivals > j if last else rivals < j
        zero = np.zeros(count)
        block = _Block(index, np.tile([1.0, -1.0], count), np.full(count, 2), zero, zero, strict, np.array([count]))
        if same:
            return block if count else _Block._constant(0.0, 0.0)
        if small[j]:
            return block
        both = _Block._joined([block, _Block._constant(-1.0, 1.0)])
        return replace(both, rows=np.array([count + 1]))

    @staticmethod
    def _constant(down: float, up: float) -> _Block:
        """A row without scores: `down <= 0` for proofs, `up <= 0` for witnesses."""
        return _Block(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(1, dtype=np.int64), np.array([down]), np.array([up]),
                      np.zeros(1, dtype=bool), np.ones(1, dtype=np.int64))

    @staticmethod
    def _joined(parts: Iterable[_Block]) -> _Block:
        """One after the other."""
        whole = list(parts)
        names = ("index", "weight", "size", "down", "up", "strict", "rows")
        return _Block(*(np.concatenate([getattr(part, name) for part in whole]) for name in names))


def _joined(blocks: list[_Block]) -> UnsafeRows:
    """All rows of all cells; none for a query without cells."""
    if not blocks:
        none, zero = np.zeros(0), np.zeros(1, dtype=np.int64)
        return UnsafeRows(zero, zero[:0], none, none, none, none.astype(bool), zero, zero[:0])
    whole = _Block._joined(blocks)
    cell = np.repeat(np.arange(len(blocks)), [len(block.rows) for block in blocks]).astype(np.int64)
    return UnsafeRows(_offsets(whole.size), whole.index, whole.weight, whole.down, whole.up, whole.strict, _offsets(whole.rows), cell)


def _offsets(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])
