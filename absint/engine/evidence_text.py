"""Parts of evidence in words and numbers, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from absint.engine.evidence_parts import Leaf, NeuronBounds, Program, SlopeTable

_MOST = 12      # things of a kind that are shown


def disjunct_lines(leaves: Sequence[Leaf]) -> Iterator[str]:
    """Why one disjunct holds nowhere."""
    if not leaves:
        yield "  nothing is proved of it"
        return
    lines = []
    for leaf in leaves:
        where = " and ".join(map(str, leaf.path)) or "everywhere"
        by = leaf.by if leaf.program is None else f"{leaf.by} {leaf.program}"
        lines.append([f"  {where}: at least {short(leaf.bound)} by {by}{f', {leaf.stage}' if leaf.stage else ''}", *_hints(leaf)])
    yield from (line for part in lines[:_MOST] for line in part)
    if len(lines) > _MOST:
        yield f"  {len(lines) - _MOST} more leaves"


def _hints(leaf: Leaf) -> Iterator[str]:
    if leaf.shares is not None and len(leaf.shares) > 1:
        yield f"    shares {listed(leaf.shares)}"
    yield from _slopes(leaf.slopes)
    for node, one in (leaf.hints or {}).items():
        shown = [f"[{e}] {short(s)} A{constant(b)}" for e, s, b in zip(one.entry, one.slope, one.added, strict=True)]
        yield f"    hints at {node}: {', '.join(shown[:_MOST])}{', ...' if len(shown) > _MOST else ''}"
    for name, values in (("multipliers", leaf.multipliers), ("ray", leaf.ray)):
        if values is not None:
            yield f"    {name} {combined(values, 'row') or '0'}"


def _slopes(table: SlopeTable | None) -> Iterator[str]:
    for node, one in (table or {}).items():
        if len(one.entry) and one.ratio.ndim == 1:
            shown = [f"[{e}] {short(r)}" for e, r in zip(one.entry, one.ratio, strict=True)]
            yield f"    slopes at {node}: {', '.join(shown[:_MOST])}{', ...' if len(shown) > _MOST else ''}"


def neurons_lines(group: NeuronBounds) -> Iterator[str]:
    """Bounds of a node's entries."""
    yield f"bounds of {group.node} by {'slopes' if group.program is None else f'program {group.program}'}, {group.stage}"
    yield from first_of([f"  {group.node}[{e}] {'>=' if s > 0 else '<='} {short(b)}"
                      for e, s, b in zip(group.entry, group.side, group.bound, strict=True)])


def program_lines(number: int, program: Program) -> Iterator[str]:
    """An objective, the columns and what they stand for, and the rows of a small one."""
    m, n = program.shape
    yield f"program {number}: minimise {combined(program.cost, 'c') or '0'}{constant(program.offset)}, {m} rows, {n} columns"
    if program.factor != 1:
        yield f"  of the property's row times {short(program.factor)}"
    meant = {int(c): f"{b.role} of {b.node}[{e}]" for b in program.columns for c, e in zip(b.column, b.entry, strict=True)}
    ends = [f"[{short(low)}, {short(high)}]" for low, high in zip(program.lower, program.upper, strict=True)]
    yield from first_of([f"  c[{j}] in {ends[j]}  {meant.get(j, '')}".rstrip() for j in range(n)])
    dense = program.dense() if m * n <= 1 << 16 else None
    if dense is not None:
        sums = [combined(row, "c") or "0" for row in dense]
        yield from first_of([f"  row[{i}]: {short(program.row_lower[i])} <= {sums[i]} <= {short(program.row_upper[i])}" for i in range(m)])


def first_of(lines: list[str]) -> Iterator[str]:
    """The first ones, and how many more there are."""
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"  {len(lines) - _MOST} more"


def short(value: float) -> str:
    """A number."""
    return f"{float(value) + 0.0:.6g}"


def constant(value: float) -> str:
    """To be added to a sum."""
    return "" if value == 0 else f" {'+' if value > 0 else '-'} {short(abs(value))}"


def listed(values: np.ndarray) -> str:
    """The first numbers, in brackets."""
    shown = ", ".join(map(short, values[:_MOST]))
    return f"({shown}{', ...' if len(values) > _MOST else ''})"


def combined(weights: np.ndarray, name: str) -> str:
    """The terms that are not 0."""
    out = ""
    places = np.flatnonzero(weights)
    for k in places[:_MOST]:
        size = abs(float(weights[k]))
        sign = ("- " if out else "-") if weights[k] < 0 else "+ " if out else ""
        out += f"{' ' if out else ''}{sign}{'' if size == 1 else f'{short(size)} '}{name}[{k}]"
    return out + (" + ..." if len(places) > _MOST else "")
