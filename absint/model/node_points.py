"""Inputs on which a single operator shows all that it can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf, prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.op import Op, Shape
from absint.numeric.outward import next_above, next_below

AnyArray = npt.NDArray[Any]

# Both signs, small and large, halves (where Round decides by the even neighbour) and beyond the saturation of every gate.
_USUAL = (0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 7.0, 20.0, 100.0, 1e3, 1e6, 1e-3)
_MOST_NUMBERS = 24
_UNITS = 5
_LABELS = 4093  # a prime: labels do not repeat along an axis of a usual size


def numbers(node: onnx.NodeProto, constants: Mapping[str, AnyArray], ops: Sequence[Op]) -> tuple[float, ...]:
    """Knots, jumps, ends of pieces and what the node itself names, each with its neighbours on both sides, and the usual ones.

    A part that is linear throughout has nothing to visit: a few of both signs and sizes do.
    """
    if all(isinstance(op, Linear) for op in ops):
        return 0.5, -1.0, 1e3, -1e-3, 0.0
    special = {c for op in ops if isinstance(op, Elementwise) for c in _cuts(op)}
    special |= {v for a in node.attribute for v in ((a.f,) if a.type == onnx.AttributeProto.FLOAT else a.floats)}
    for value in constants.values():
        if value.dtype.kind == "f" and value.size:
            flat = value.reshape(-1)
            special |= {float(v) for v in flat[:: max(1, len(flat) // 4)]}
    chosen = sorted((s for s in special if abs(s) <= 1e6), key=abs)[:_MOST_NUMBERS]
    around = [v for s in chosen for v in (s, *_beside(s), s + 0.3, s - 0.3)]
    usual = [v for u in _USUAL for v in (u, -u)]
    return tuple(dict.fromkeys([*around, *usual]))


def _cuts(op: Elementwise) -> Iterator[float]:
    yield from (k.x for k in op.knots)
    yield from (j.x for j in op.jumps)
    try:
        yield from (end for piece in op.pieces for end in (piece.low, piece.high) if abs(end) < inf)
    except NotImplementedError:  # states its pieces where it needs them
        return


def _beside(value: float) -> tuple[float, float]:
    single = np.asarray(value, dtype=np.float32)
    return float(next_above(single)), float(next_below(single))


def points(
    inputs: Mapping[str, Shape], formats: Mapping[str, np.dtype[Any]], special: Sequence[float], constants: Mapping[str, AnyArray],
    most: int,
) -> list[dict[str, AnyArray]]:
    """At most `most` points, each an array for every input, in its format. Those that tell most come first; reproducible."""
    random = np.random.default_rng(0)
    found: list[dict[str, AnyArray]] = []
    for make in _makers(special, constants):
        if len(found) >= most:
            break
        values = {name: make(k, prod(shape), shape, random) for k, (name, shape) in enumerate(inputs.items())}
        found.append({name: _stored(value, inputs[name], formats[name]) for name, value in values.items()})
    return found


def _stored(values: AnyArray, shape: Shape, dtype: np.dtype[Any]) -> AnyArray:
    if dtype.kind == "b":
        return np.asarray(values > 0).reshape(shape)
    if dtype.kind in "iu":
        values = np.clip(np.round(values), 0 if dtype.kind == "u" else -100, 100)
    if dtype == np.float16:
        values = np.clip(values, -6e4, 6e4)
    return values.astype(dtype).reshape(shape)


def _makers(special: Sequence[float], constants: Mapping[str, AnyArray]) -> Iterator[Any]:
    """Functions of an operand's place, size, shape and a generator that give its flat entries."""
    table = np.array(special)
    count = len(table)

    def cycle(start: int) -> Any:
        # Another stride for another operand, so that all pairs of signs and sizes meet.
        return lambda place, size, shape, random: table[(np.arange(size) * (1 + 2 * place) + start * (1 + 4 * place)) % count]

    yield lambda place, size, shape, random: random.standard_normal(size)
    yield _unit(0.5, 1.0)
    yield lambda place, size, shape, random: (np.arange(size) + 7 * place) % _LABELS + 1.0
    yield cycle(0)
    yield lambda place, size, shape, random: np.abs(random.standard_normal(size)) + 0.1
    yield lambda place, size, shape, random: random.integers(-3, 4, size).astype(float)  # ties
    yield lambda place, size, shape, random: np.full(size, 1.0 + place)
    yield lambda place, size, shape, random: -np.abs(random.standard_normal(size)) - 0.1
    yield lambda place, size, shape, random: random.standard_normal(size) * 8
    yield lambda place, size, shape, random: random.standard_normal(size) / 16
    yield lambda place, size, shape, random: (size - np.arange(size) + 3 * place) / 64
    for constant in constants.values():
        if constant.dtype.kind == "f" and constant.size > 1:
            for step in (0.0, 0.25, -0.25):
                yield _near(constant, step)
    for k in range(count):
        yield cycle(k)
    for k in range(_UNITS):
        yield _unit(k / (_UNITS - 1), -1.0 if k % 2 else 1.0)


def _unit(share: float, height: float) -> Any:
    def make(place: int, size: int, shape: Shape, random: np.random.Generator) -> AnyArray:
        values = np.zeros(size)
        values[min(size - 1, int(share * size))] = height * (1 + place)
        return values

    return make


def _near(constant: AnyArray, step: float) -> Any:
    """Beside the entries of a constant operand that is met entry by entry."""

    def make(place: int, size: int, shape: Shape, random: np.random.Generator) -> AnyArray:
        try:
            return np.broadcast_to(constant.astype(np.float64), shape).reshape(-1) + step
        except ValueError:  # no entry of it belongs to an entry of the operand
            return random.standard_normal(size) * 3

    return make
