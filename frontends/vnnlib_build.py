"""From formulas to a Query: boxes with their unsafe rows, cells that share a box merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf

import numpy as np
import torch

from absint.errors import InputError
from absint.frontends.vnnlib_atoms import Atom, Bound, Branch, Formula, OutputRow, QueryText, check_size, conjunction
from absint.frontends.vnnlib_numbers import written
from absint.numeric.outward import next_above, next_below
from absint.problem.query import Query, UnsafeRows
from absint.problem.regions.decimal_box import DecimalBox

_MAX_ENTRIES = 1 << 25    # cells times inputs
_SHOWN = 5                # offenders named in a message
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_ALWAYS = OutputRow((), (), 0.0, 0.0, False)  # 0 <= 0: where nothing is asked of the outputs, every output is unsafe

Ends = dict[int, Bound]            # variable -> its tightest bound on one side
Key = tuple[tuple[int, float, str, bool], ...]


@dataclass(frozen=True)
class Declared:
    """What a file declares. single: inputs are float32 numbers.  false: where constants contradict each other."""

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    false: tuple[int, ...] = ()
    single: bool = False


@dataclass
class _Cell:
    """Tightest bounds of some inputs, and rows that every disjunct of the cell has."""

    lower: Ends
    upper: Ends
    rows: list[OutputRow]

    def void(self) -> tuple[Bound, Bound] | None:
        """A pair of bounds that contradict each other."""
        for var, low in self.lower.items():
            high = self.upper.get(var)
            if high is not None and (high.value.below(low.value)
                                     or ((low.strict or high.strict) and low.value.equals(high.value))):
                return low, high
        return None

    def bounds(self) -> Iterator[Bound]:
        return chain(self.lower.values(), self.upper.values())

    def key(self) -> Key:
        """Different for different boxes. Ends that are no float64 numbers are told apart as they are written."""
        return tuple(sorted((2 * b.var + b.upper, b.value.floor, "" if b.value.is_float else str(b.value), b.strict)
                            for b in self.bounds()))


def build(declared: Declared, asserts: Sequence[Formula], source: QueryText) -> Query:
    """The query that the conjunction of all asserts states.

    Raises InputError E-VNNLIB-EMPTY where nothing is declared or asserted, E-VNNLIB-UNBOUNDED naming inputs without bounds,
    E-VNNLIB-SIZE for more cells than memory should hold.
    """
    _check_declared(declared, asserts, source)
    notes = [f"{source.where(at)}: a constraint between constants that never holds" for at in declared.false[:_SHOWN]]
    several = [part for part in asserts if len(part) != 1]
    base = _cell(chain.from_iterable(part[0] for part in asserts if len(part) == 1))
    over_inputs = [part for part in several if any(isinstance(atom, Bound) for branch in part for atom in branch)]
    taken = {id(part) for part in over_inputs}
    outputs = conjunction([part for part in several if id(part) not in taken], source, 0)
    pair = base.void()
    cells = [] if pair else _cells(base, over_inputs, notes, source)
    if pair:
        notes.append(_pair(pair, source))
    cells = cells if outputs else []
    if not cells and not notes:
        notes.append(f"{source.path}: the constraints contradict each other")
    return _query(declared, base, cells, outputs, tuple(notes), source)


def _check_declared(declared: Declared, asserts: Sequence[Formula], source: QueryText) -> None:
    for names, what in ((declared.input_names, "input"), (declared.output_names, "output")):
        if not names:
            raise InputError("E-VNNLIB-EMPTY", f"no {what} is declared", where=source.path, hint="is this a VNN-LIB file?")
    if not asserts:
        raise InputError("E-VNNLIB-EMPTY", "nothing is asserted", where=source.path, hint="is the file complete?")


def _cell(atoms: Iterable[Atom], start: _Cell | None = None) -> _Cell:
    """The conjunction of atoms, and of a cell whose own bounds are not copied unless they are tightened."""
    cell = _Cell({}, {}, [])
    for atom in atoms:
        if isinstance(atom, OutputRow):
            cell.rows.append(atom)
        else:
            _tighten(cell.upper if atom.upper else cell.lower, atom)
    if start is not None:
        for mine, given in ((cell.lower, start.lower), (cell.upper, start.upper)):
            for var in {*cell.lower, *cell.upper} & given.keys():
                _tighten(mine, given[var])
    return cell


def _tighten(ends: Ends, bound: Bound) -> None:
    present = ends.get(bound.var)
    if present is None:
        ends[bound.var] = bound
    elif bound.value.equals(present.value):
        ends[bound.var] = bound if bound.strict else present
    elif bound.value.below(present.value) == bound.upper:
        ends[bound.var] = bound


def _cells(base: _Cell, parts: Sequence[Formula], notes: list[str], source: QueryText) -> list[_Cell]:
    """One cell per choice of a branch from each part. Contradictions between parts are no fault; inside a branch they are."""
    kept: list[list[tuple[Branch, _Cell]]] = []
    found = 0
    for part in parts:
        tried = [(branch, _cell(branch, base)) for branch in part]
        kept.append([(branch, cell) for branch, cell in tried if cell.void() is None])
        for _, cell in tried:
            pair = cell.void()
            found += pair is not None
            if pair is not None and found <= _SHOWN:
                notes.append(_pair(pair, source))
    if found > _SHOWN:
        notes.append(f"{source.path}: {found - _SHOWN} more branches whose bounds contradict each other")
    if len(kept) == 1:
        return [cell for _, cell in kept[0]]
    if not kept:
        return [_Cell({}, {}, [])]
    count, longest = 1, 0
    for choice in kept:
        count *= len(choice)
        longest += max((len(branch) for branch, _ in choice), default=0)
    check_size(count, longest, source, 0)
    product = conjunction([[list(branch) for branch, _ in choice] for choice in kept], source, 0)
    cells = (_cell(branch, base) for branch in product)
    return [cell for cell in cells if cell.void() is None]


def _pair(pair: tuple[Bound, Bound], source: QueryText) -> str:
    low, high = pair
    return (f"{source.where(high.at)}: the upper bound {high.value} of input {high.var} contradicts "
            f"the lower bound {low.value} at {source.where(low.at)}")


# ---- arrays --------------------------------------------------------------------------------------------------------------


def _query(declared: Declared, base: _Cell, cells: list[_Cell], outputs: Formula, notes: tuple[str, ...], source: QueryText) -> Query:
    merged: dict[Key, tuple[_Cell, list[list[OutputRow]]]] = {}
    common = [[*base.rows, *(atom for atom in branch if isinstance(atom, OutputRow))] for branch in outputs]
    check_size(len(cells) * len(common), 1, source, 0)
    for cell in cells:
        _, disjuncts = merged.setdefault(cell.key(), (cell, []))
        disjuncts.extend([*cell.rows, *rows] for rows in common)
    boxes = [cell for cell, _ in merged.values()]
    region = _region(declared, base, boxes, source)
    rows = _rows([disjuncts for _, disjuncts in merged.values()])
    return Query(region, rows, declared.input_names, declared.output_names, _exact(region, base, boxes), notes, path=source.path)


def _exact(region: DecimalBox, base: _Cell, cells: Sequence[_Cell]) -> dict[tuple[int, int], str]:
    """A number of each set wherever it holds no float64 number: an end that is written down, or the midpoint."""
    found = {}
    for k, var in (region.inner_lower > region.inner_upper).nonzero().tolist():
        low, high = cells[k].lower.get(var) or base.lower.get(var), cells[k].upper.get(var) or base.upper.get(var)
        if low is None or high is None:  # a bound beyond a type that has no numbers there
            continue
        plain = next((end for end in (low, high) if not end.strict), None)
        found[k, var] = str(plain.value) if plain is not None else written((low.value.value + high.value.value) / 2)
    return found


def _region(declared: Declared, base: _Cell, cells: Sequence[_Cell], source: QueryText) -> DecimalBox:
    """The boxes: the common ends everywhere, then what each cell narrows."""
    count = len(declared.input_names)
    if len(cells) * count > _MAX_ENTRIES:
        raise InputError("E-VNNLIB-SIZE", f"{len(cells)} box{'es' if len(cells) > 1 else ''} of {count} inputs", where=source.path,
                         hint=f"at most {_MAX_ENTRIES} bounds in all; split the query into several files")
    ends = np.empty((4, len(cells), count))
    ends[0::2], ends[1::2] = -inf, inf
    for bound in base.bounds():
        ends[_slots(bound), :, bound.var] = np.array(_values(bound))[:, None]
    places = [(k, bound) for k, cell in enumerate(cells) for bound in cell.bounds()]
    if places:
        cell_of, var = np.array([k for k, _ in places]), np.array([bound.var for _, bound in places])
        upper, values = np.array([bound.upper for _, bound in places]), np.array([_values(bound) for _, bound in places])
        for side in (0, 1):
            mine = upper == bool(side)
            ends[side, cell_of[mine], var[mine]] = values[mine, 0]
            ends[2 + side, cell_of[mine], var[mine]] = values[mine, 1]
    if declared.single:
        _fill(ends)
    _check_bounded(ends, declared, source)
    lower, upper_, inner_lower, inner_upper = (torch.from_numpy(np.ascontiguousarray(end)) for end in ends)
    return DecimalBox(lower, upper_, inner_lower, inner_upper, declared.single)


def _fill(ends: np.ndarray) -> None:
    """Bounds of float32 numbers that are left out are those of the type; the outer ends do not cross where nothing is inside."""
    for side, limit in enumerate((-_FLOAT32_MAX, _FLOAT32_MAX)):
        missing, other = np.isinf(ends[side]), ends[1 - side]
        beyond = np.isfinite(other) & (np.abs(other) > _FLOAT32_MAX)
        ends[side][missing], ends[2 + side][missing] = np.where(beyond, other, limit)[missing], limit


def _slots(bound: Bound) -> list[int]:
    return [1, 3] if bound.upper else [0, 2]


def _values(bound: Bound) -> tuple[float, float]:
    """(the float64 number at or beyond the end, the outermost one inside the set)."""
    floor, ceil = bound.value.floor, bound.value.ceil
    outer, inner, inward = (ceil, floor, next_below) if bound.upper else (floor, ceil, next_above)
    return outer, inward(inner) if bound.strict and bound.value.is_float else inner


def _check_bounded(ends: np.ndarray, declared: Declared, source: QueryText) -> None:
    missing = [name for k, name in enumerate(declared.input_names) if not np.isfinite(ends[:2, :, k]).all()]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        raise InputError("E-VNNLIB-UNBOUNDED", f"no finite lower and upper bound for {shown}", where=source.path,
                         hint="every input needs both, in every branch of a disjunction; only one declared as float32 has them by itself")


def _rows(cells: Sequence[Sequence[Sequence[OutputRow]]]) -> UnsafeRows:
    """All rows, one after the other."""
    disjuncts = [list(disjunct) or [_ALWAYS] for cell in cells for disjunct in cell]
    flat = list(chain.from_iterable(disjuncts))
    return UnsafeRows(
        _offsets(len(row.entries) for row in flat),
        np.array(list(chain.from_iterable(row.entries for row in flat)), dtype=np.int64),
        np.array(list(chain.from_iterable(row.weight for row in flat)), dtype=np.float64),
        np.array([row.down for row in flat], dtype=np.float64), np.array([row.up for row in flat], dtype=np.float64),
        np.array([row.strict for row in flat], dtype=bool), _offsets(len(disjunct) for disjunct in disjuncts),
        np.repeat(np.arange(len(cells)), [len(cell) for cell in cells]).astype(np.int64),
    )


def _offsets(lengths: Iterable[int]) -> np.ndarray:
    return np.cumsum([0, *lengths], dtype=np.int64)
