"""The check that an imported graph computes what the user's model computes.

Analysing a graph that is not the user's model is the worst bug of this field, so every import, and every region before it
is analysed, is compared with onnxruntime (graph optimisations off, one thread) on corners and random points; `node_check`
compares the nodes one by one beside it. At every tensor that the graph and the file share the graph is compared and goes on
from the runtime's own value: what is accepted is what the operators between two of these tensors may err by
(`forward_error`), however much a network cancels or amplifies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from absint.errors import UnsupportedError
from absint.model.forward_error import Followed, accepted, follow, narrowest
from absint.model.graph import Graph, Node
from absint.model.op import Input
from absint.model.reference import FloatArray, Runtime, probes
from absint.model.work import work
from absint.numeric.backend import Budget, numeric_mode
from absint.numeric.rounding import smallest_normal, unit_roundoff

POINTS = 34  # two extreme corners, eight random ones, the rest uniform
_CORNERS = 8
_VAST = 2.0**64    # of an input: where an execution overflows from there on, the region is to blame
_CHUNK = 8  # at least so many instances at once, more of small networks
_ENTRIES = 1 << 22
# What a check of a torch module against its own execution accepts, relative to the output's scale.
TOLERANCES: dict[type[np.floating[Any]], float] = {np.float32: 1e-4, np.float64: 1e-9, np.float16: 2e-2}
# Formats as onnxruntime writes them; whole numbers round nothing.
STORED = {
    "tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16, "tensor(bool)": torch.float64,
    **{f"tensor({sign}int{bits})": torch.float64 for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_DIGITS = {kind: form for kind, form in STORED.items() if "int" not in kind and "bool" not in kind} | {"tensor(bfloat16)": torch.bfloat16}


class Boxes(Protocol):
    """Boxes: lower and upper, each (batch, *shape); an Interval, or arrays."""

    @property
    def lower(self) -> Any:
        """Lower ends."""

    @property
    def upper(self) -> Any:
        """Upper ends."""


def check_import(
    graph: Graph, low: float = 0.0, high: float = 1.0, region: Boxes | None = None, *, points: int = POINTS, seed: int = 0,
    budget: Budget = Budget(),
) -> float:
    """Compare the graph with onnxruntime on corners and random points of the range, or of the region's boxes.

    Returns the largest deviation of a compared tensor, relative to the largest value it took. Accepted is what an execution
    may err by since the tensors compared before, times `forward_error.FACTOR`. Evaluated in float32, and in float64 where
    that does not suffice to accept. Reproducible: the points follow from `seed`.
    Raises UnsupportedError E-IMPORT-MISMATCH with both values and the first tensor that differs, E-REGION-OVERFLOW where onnxruntime's
    own outputs overflow at vast inputs, E-REGION-UNDEFINED where the graph's and onnxruntime's outputs are the same NaN or infinity at a
    point of the region (of the range, which nobody asked for, such points are left out), and DeadlineError: then nothing is known of
    the graph.
    """
    reference, asked = probes(graph.source), region is not None
    if region is None:
        shape = (1, *graph.input.shape)
        region = _Box(np.full(shape, low), np.full(shape, high))
    x = _sample(np.asarray(region.lower, dtype=np.float64), np.asarray(region.upper, dtype=np.float64), max(points, 1), seed)
    x = x if reference.prefix else reference.round(x)
    shared = _Shared.of(graph, reference)
    largest: dict[str, float] = {}
    worst: dict[str, float] = {}
    defined = False
    with torch.no_grad(), numeric_mode():
        chunk = min(max(_CHUNK, _ENTRIES // sum(node.size for node in graph.nodes)), budget.pieces(work(graph)))
        for start in range(0, len(x), chunk):
            found = _agree_where_defined(graph, reference, shared, x[start : start + chunk], budget, asked=asked)
            defined = defined or found is not None
            for tensor, (deviation, scale) in (found or {}).items():
                worst[tensor] = max(worst.get(tensor, 0.0), deviation)
                largest[tensor] = max(largest.get(tensor, 0.0), scale if scale < np.inf else 0.0)
    if not defined:
        raise _undefined(graph, reference, x[0])
    return max((worst[t] / (largest[t] or 1.0) for t in worst), default=0.0)


@dataclass(frozen=True, eq=False)
class _Box:
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, eq=False)
class _Shared:
    """Graph nodes by name -> the tensors of the files that are compared with them. output: the last file's.  stored: formats.

    floating: those tensors that hold floating-point numbers.  narrow: whether these are of no more digits than float32.
    entrance: what the first file is fed with.  read: all that a file is fed with, which is what the next operators start from.
    computed: in which format executions go on from a tensor: its own, of whole numbers the narrowest of the files' floating-point ones.
    digits: the formats of floating-point tensors, in the file's order, of those too that a runtime does not give out.
    """

    tensors: Mapping[str, tuple[str, ...]]
    output: str
    stored: Mapping[str, torch.dtype]
    floating: frozenset[str]
    narrow: bool
    entrance: str
    read: frozenset[str]
    computed: Mapping[str, torch.dtype]
    digits: Mapping[str, torch.dtype]

    @classmethod
    def of(cls, graph: Graph, reference: Runtime) -> _Shared:
        formats = reference.formats
        stored = {name: STORED[kind] for name, kind in formats.items() if kind in STORED}
        output = reference.output
        stored |= {name: STORED[kind] for name, kind in reference.inputs.items()}
        kinds = {**reference.inputs, **formats}
        digits = {t: _DIGITS[kind] for t, kind in kinds.items() if kind in _DIGITS}
        floating = frozenset(name for name in stored if _floating(formats.get(name, "")))
        coarsest = narrowest([STORED[kind] for kind in reference.inputs.values()] + [stored[t] for t in floating])
        computed = {name: form if name in floating else coarsest for name, form in stored.items()}
        names = {node.name: dict.fromkeys((node.name, *node.tensors)) for node in graph.nodes}
        tensors = {node: tuple(t for t in found if t in stored and t != output) for node, found in names.items()}
        tensors[graph.output.name] += (output,)
        if not reference.prefix:
            tensors[graph.input.name] = ()
        narrow = all(unit_roundoff(stored[t]) >= unit_roundoff(torch.float32) for t in floating)
        return cls(tensors, output, stored, floating, narrow, next(iter(reference.inputs)), frozenset(reference.inputs), computed,
                   digits)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tensors that are compared."""
        return tuple(dict.fromkeys(t for found in self.tensors.values() for t in found))

    def cast(self, node: Node, tensor: str, *, onward: bool = False) -> torch.dtype | None:
        """The format that executions keep a tensor's value in before they cast it to that of the tensor; None where it has more digits.

        node: what stands for the tensor, and for those before and behind it that only casts part from it.
        onward: also before what reads any of these.
        """
        if tensor not in self.digits or not self._places:
            return None
        place = self._places.get(tensor, 0)
        names = [t for t in (node.name, *node.tensors) if t in self.digits]
        kept = narrowest([torch.float64, *(self.digits[t] for t in names if onward or self._places[t] < place)])
        return kept if unit_roundoff(kept) > unit_roundoff(self.digits[tensor]) else None

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """Of the tensors in the file, the output last; none where all have the same format, so that no cast rounds."""
        several = len(set(self.digits.values())) > 1
        return {**{name: k for k, name in enumerate(self.digits)}, self.output: len(self.digits)} if several else {}


class _DifferenceError(Exception):
    """One entry that no rounding explains. point: which instance of the chunk."""

    def __init__(self, point: int, text: str) -> None:
        super().__init__(text)
        self.point, self.text = point, text


class _UndefinedError(Exception):
    """Where the outputs are no numbers, the same ones here and there. points: a mask of the instances of the chunk."""

    def __init__(self, points: npt.NDArray[np.bool_]) -> None:
        super().__init__()
        self.points = points


def _agree_where_defined(
    graph: Graph, reference: Runtime, shared: _Shared, x: FloatArray, budget: Budget, *, asked: bool,
) -> dict[str, tuple[float, float]] | None:
    """`_agree`, on the points at which the network is defined; None where that is none of them.

    asked: whether it must be defined at all of them, as in a region.
    """
    while len(x):
        try:
            return _agree(graph, reference, shared, x, budget)
        except _UndefinedError as found:
            # The walk starts anew from the runtime's values, which may have overflowed: the graph itself must be undefined there.
            values = graph(torch.as_tensor(x[found.points])).flatten(1)
            if bool(values.isfinite().all(1).any()):
                place = int(np.flatnonzero(found.points)[int(values.isfinite().all(1).nonzero()[0])])
                text = f"'{shared.output}': a number here, none in onnxruntime"
                raise _mismatch(graph, reference, shared, x[place], _DifferenceError(place, text)) from found
            if asked:
                raise _undefined(graph, reference, x[found.points][0]) from found
            x = x[~found.points]
    return None


def _agree(graph: Graph, reference: Runtime, shared: _Shared, x: FloatArray, budget: Budget) -> dict[str, tuple[float, float]]:
    """Largest deviation and value of every compared tensor. Raises where one differs, in float64 and instance by instance."""
    attempts = [(torch.float32, reference.batchable), (torch.float64, reference.batchable), (torch.float64, False)]
    theirs: dict[str, list[npt.NDArray[Any]]] | None = None
    fetched: bool | None = None
    for dtype, together in dict.fromkeys(attempts if shared.narrow else attempts[1:]):
        if fetched is not together or theirs is None:
            theirs, fetched = _theirs(reference, shared, x, together=together), together
        budget.check()
        last = (dtype, together) == attempts[-1]
        if theirs is None:
            continue
        try:
            return _walk(graph, reference, shared, x, theirs, dtype, budget=budget)
        except _DifferenceError as found:
            if last:
                raise _mismatch(graph, reference, shared, x[found.point], found) from found
    raise AssertionError  # the last attempt returns or raises


def _floating(kind: str) -> bool:
    """Whether a tensor holds floating-point numbers. kind: its type as onnxruntime writes it, '' where it is not told."""
    return "float" in kind or "double" in kind or not kind


def _theirs(reference: Runtime, shared: _Shared, x: FloatArray, *, together: bool) -> dict[str, list[npt.NDArray[Any]]] | None:
    try:
        return reference.values(shared.names, x, together=together)
    except UnsupportedError:
        if not together:
            raise
        return None


def _walk(
    graph: Graph, reference: Runtime, shared: _Shared, x: FloatArray, theirs: Mapping[str, Sequence[npt.NDArray[Any]]], dtype: torch.dtype,
    *, budget: Budget,
) -> dict[str, tuple[float, float]]:
    """Follow the graph, going on from the runtime's value wherever there is one. Raises _DifferenceError."""
    values: dict[str, Followed] = {}
    found: dict[str, tuple[float, float]] = {}
    for node in graph.nodes:
        budget.check()
        names = shared.tensors[node.name]
        if isinstance(node.op, Input):
            start = torch.as_tensor(x).to(dtype)
            error = start.abs() * unit_roundoff(dtype) if reference.prefix else None
            here = _cast(Followed(start, error, shared.stored[shared.entrance]), shared.cast(node, shared.entrance, onward=True))
        else:
            stored = next((shared.stored[t] for t in names if t in shared.floating), None)
            here = follow(node.op, [values[i] for i in node.inputs], stored)
        for name in node.inputs:
            if graph.last_use[name] == node.name:
                values.pop(name, None)
        compared = [(t, _Comparison.of(t, node, _cast(here, shared.cast(node, t)), theirs[t], shared)) for t in names]
        found.update((t, (c.deviation, c.scale)) for t, c in compared)
        final = node is graph.output
        onward = next((pair for pair in compared if pair[0] in shared.read), compared[0] if compared else None)
        if onward is not None and not final:
            here = _cast(onward[1].restart, shared.cast(node, onward[0], onward=True))
        values[node.name] = here
        if dtype == torch.float32 and any(not c.scale < np.inf for _, c in compared):
            raise _DifferenceError(0, "overflow")
    return found


def _cast(here: Followed, kept: torch.dtype | None) -> Followed:
    """What an execution has that kept the value in a format of fewer digits meanwhile."""
    if kept is None:
        return here
    error = here.value.abs() * (2 * unit_roundoff(kept)) + smallest_normal(kept)
    return replace(here, error=error if here.error is None else error + here.error)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """deviation, scale: the largest met.  restart: what the walk goes on from."""

    deviation: float
    scale: float
    restart: Followed

    @classmethod
    def of(cls, tensor: str, node: Node, here: Followed, rows: Sequence[npt.NDArray[Any]], shared: _Shared) -> _Comparison:
        """Raises _DifferenceError at the entry that exceeds its bound the most."""
        ours, name = here.value, f"'{tensor}' ({type(node.op).__name__})"
        size = node.size
        for point, row in enumerate(rows):
            if row.size != size:
                raise _DifferenceError(point, f"{name}: {size} entries, onnxruntime has {row.size}")
        wide = np.float32 if ours.dtype == torch.float32 and rows[0].dtype == np.float32 else np.float64
        exact = torch.as_tensor(np.asarray(_together(rows), dtype=wide).reshape(len(rows), *node.shape))
        theirs = exact.to(ours.dtype)
        allowed, deviation, fine = accepted(here, theirs, shared.stored[tensor])
        scale = float(theirs.abs().max())
        if tensor == shared.output and not (isfinite(scale) and bool(ours.isfinite().all())):
            nowhere = ~ours.isfinite() & ((ours == theirs) | (ours.isnan() & theirs.isnan()))
            numbers = ours.isfinite() & theirs.isfinite()
            if fine and ours.dtype == torch.float64 and bool(nowhere.any()) and bool((nowhere | numbers).all()):
                raise _UndefinedError(nowhere.flatten(1).any(1).numpy())
            allowed, fine = torch.where(ours.isfinite() & theirs.isfinite(), allowed, -1.0), False
        if not fine:
            excess = torch.where(deviation <= allowed, 0.0, (deviation / allowed.clamp(min=1e-300)).nan_to_num(torch.inf, posinf=torch.inf))
            worst = int(torch.where(allowed < 0, torch.inf, excess).argmax())
            point, entry = divmod(worst, size)
            mine, other, bound = (float(t.flatten()[worst]) for t in (ours, exact, allowed.clamp(min=0)))
            raise _DifferenceError(point, f"{name}, flat entry {entry}: absint {mine:.9g}, onnxruntime {other:.9g} "
                                          f"(rounding explains {bound:.2g})")
        stored = shared.stored[tensor]
        rounded = theirs.dtype != torch.float64 and stored == torch.float64
        restart = Followed(theirs, theirs.abs() * unit_roundoff(theirs.dtype) if rounded else None, shared.computed[tensor])
        gap = float(deviation.max())
        return cls(gap if gap < np.inf else 0.0, scale, restart)


def _together(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The entries of all instances, in order."""
    first = rows[0]
    if first.ndim and all(row.shape == first.shape and row.dtype == first.dtype for row in rows):
        return np.concatenate(rows)     # a stack makes a view of each first
    return np.stack([row.reshape(-1) for row in rows])


def _sample(lower: FloatArray, upper: FloatArray, count: int, seed: int) -> FloatArray:
    """(count, *shape): lower corner, upper corner, random corners, then uniform points, taking the boxes in turn."""
    random = np.random.default_rng(seed)
    box = np.linspace(0, len(lower) - 1, count).round().astype(int) if len(lower) > count else np.arange(count) % len(lower)
    share = random.random((count, *lower.shape[1:]))
    share[2 : 2 + _CORNERS] = share[2 : 2 + _CORNERS].round()
    share[0], share[1:2] = 0.0, 1.0
    points: FloatArray = np.clip(lower[box] * (1 - share) + upper[box] * share, lower[box], upper[box])
    return points


def _undefined(graph: Graph, reference: Runtime, x: FloatArray) -> UnsupportedError:
    values = reference.values([reference.output], x[None], together=False)
    assert values is not None
    theirs = np.asarray(values[reference.output][0], dtype=np.float64).reshape(-1)
    if np.abs(x).max(initial=0.0) >= _VAST:
        return _overflow(graph, theirs, x)
    return UnsupportedError(
        "E-REGION-UNDEFINED", "the network's outputs are no numbers at an input of the region", where=graph.source.path or None,
        details=[f"onnxruntime's outputs there: {', '.join(f'{value:.3g}' for value in theirs[:4])}",
                 f"the input: {', '.join(f'{value:.6g}' for value in x.reshape(-1)[:4])}{', ...' if x.size > 4 else ''}"],
        hint="take a region without it: --eps, --clip LOW,HIGH or --box; or keep what is divided by away from 0")


def _overflow(graph: Graph, theirs: FloatArray, x: FloatArray) -> UnsupportedError:
    return UnsupportedError(
        "E-REGION-OVERFLOW", f"executions of the network overflow at inputs up to {np.abs(x).max():.3g}",
        where=graph.source.path or None, details=[f"onnxruntime's outputs there: {', '.join(f'{value:.3g}' for value in theirs[:4])}"],
        hint="take a smaller radius or range of inputs: --upper, --eps, --clip LOW,HIGH or --box")


def _mismatch(graph: Graph, reference: Runtime, shared: _Shared, x: FloatArray, found: _DifferenceError) -> UnsupportedError:
    ours = graph(torch.as_tensor(x)[None]).flatten()
    values = reference.values([shared.output], x[None], together=False)
    assert values is not None
    theirs = np.asarray(values[shared.output][0], dtype=np.float64).reshape(-1)
    undone = None if np.isfinite(theirs).all() else _not_finite(graph, shared, x, theirs, ours.numpy())
    if undone is not None:
        return undone
    if theirs.size != ours.numel():
        details = [f"the output has {ours.numel()} entries, onnxruntime's {theirs.size}"]
    else:
        gap = np.nan_to_num(np.abs(ours.numpy() - theirs), nan=np.inf)
        k = int(gap.argmax())
        details = [f"output entry {k}: absint {float(ours[k]):.9g}, onnxruntime {theirs[k]:.9g}"]
    return UnsupportedError(
        "E-IMPORT-MISMATCH", "the imported graph does not compute what onnxruntime computes", where=graph.source.path or None,
        details=[*details, f"first tensor that differs: {found.text}"],
        hint="nothing was analysed; report this with the model, it is a bug of absint or of the model",
    )


def _not_finite(graph: Graph, shared: _Shared, x: FloatArray, theirs: FloatArray, ours: FloatArray) -> UnsupportedError | None:
    """Why the runtime's own outputs are no numbers, where that is no fault of the import."""
    if np.abs(x).max(initial=0.0) >= _VAST:
        return _overflow(graph, theirs, x)
    narrow = [name for name, form in shared.digits.items() if form in (torch.float16, torch.bfloat16)]
    if not narrow or not np.isfinite(ours).all():
        return None
    return UnsupportedError(
        "E-REGION-OVERFLOW", f"executions of the network overflow in {str(shared.digits[narrow[0]]).removeprefix('torch.')}, which "
        f"'{narrow[0]}' is kept in", where=graph.source.path or None,
        details=[f"onnxruntime's outputs there: {', '.join(f'{value:.3g}' for value in theirs[:4])}"],
        hint="export the network in float32, without casts to fewer digits")
