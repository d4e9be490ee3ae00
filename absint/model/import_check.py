"""The check that an imported graph computes what the user's model computes.

Analysing a graph that is not the user's model is the worst bug of this field, so every import, and every region before it
is analysed, is compared with onnxruntime (graph optimisations off, one thread) on corners and random points; `node_check`
compares the nodes one by one beside it. At every tensor that the graph and the file share the graph is compared and goes on
from the runtime's own value: what is accepted is what the operators between two of these tensors may err by
(`forward_error`), however much a network cancels or amplifies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from absint.numeric.rounding import unit_roundoff

POINTS = 34  # two extreme corners, eight random ones, the rest uniform
_CORNERS = 8
_VAST = 2.0**64    # of an input: where an execution overflows from there on, the region is to blame
_CHUNK = 8  # at least so many instances at once, more of small networks
_ENTRIES = 1 << 20
# What a check of a torch module against its own execution accepts, relative to the output's scale.
TOLERANCES: dict[type[np.floating[Any]], float] = {np.float32: 1e-4, np.float64: 1e-9, np.float16: 2e-2}
# Formats as onnxruntime writes them; whole numbers round nothing.
STORED = {
    "tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16, "tensor(bool)": torch.float64,
    **{f"tensor({sign}int{bits})": torch.float64 for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


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
    own outputs overflow at vast inputs, and DeadlineError: then nothing is known of the graph.
    """
    reference = probes(graph.source)
    if region is None:
        shape = (1, *graph.input.shape)
        region = _Box(np.full(shape, low), np.full(shape, high))
    x = _sample(np.asarray(region.lower, dtype=np.float64), np.asarray(region.upper, dtype=np.float64), max(points, 1), seed)
    x = x if reference.prefix else reference.round(x)
    shared = _Shared.of(graph, reference)
    largest: dict[str, float] = {}
    worst: dict[str, float] = {}
    with torch.no_grad(), numeric_mode():
        chunk = min(max(_CHUNK, _ENTRIES // sum(node.size for node in graph.nodes)), budget.pieces(work(graph)))
        for start in range(0, len(x), chunk):
            for tensor, (deviation, scale) in _agree(graph, reference, shared, x[start : start + chunk], budget).items():
                worst[tensor] = max(worst.get(tensor, 0.0), deviation)
                largest[tensor] = max(largest.get(tensor, 0.0), scale if scale < np.inf else 0.0)
    return max((worst[t] / (largest[t] or 1.0) for t in worst), default=0.0)


@dataclass(frozen=True, eq=False)
class _Box:
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, eq=False)
class _Shared:
    """Graph nodes by name -> the tensors of the files that are compared with them. output: the last file's.  stored: formats.

    read: tensors that a file is fed with, which is what the next operators start from.
    computed: in which format executions go on from a tensor: its own, of whole numbers the narrowest of the files' floating-point ones.
    """

    tensors: Mapping[str, tuple[str, ...]]
    output: str
    stored: Mapping[str, torch.dtype]
    read: frozenset[str]
    computed: Mapping[str, torch.dtype]

    @classmethod
    def of(cls, graph: Graph, reference: Runtime) -> _Shared:
        formats = reference.formats
        stored = {name: STORED[kind] for name, kind in formats.items() if kind in STORED}
        output = reference.output
        stored |= {name: STORED[kind] for name, kind in reference.inputs.items()}
        floating = narrowest([STORED[kind] for kind in reference.inputs.values()] + [stored[t] for t in stored if _computes(reference, t)])
        computed = {name: form if _computes(reference, name) else floating for name, form in stored.items()}
        names = {node.name: dict.fromkeys((node.name, *node.tensors)) for node in graph.nodes}
        tensors = {node: tuple(t for t in found if t in stored and t != output) for node, found in names.items()}
        tensors[graph.output.name] += (output,)
        if not reference.prefix:
            tensors[graph.input.name] = ()
        return cls(tensors, output, stored, frozenset(reference.inputs), computed)


class _DifferenceError(Exception):
    """One entry that no rounding explains. point: which instance of the chunk."""

    def __init__(self, point: int, text: str) -> None:
        super().__init__(text)
        self.point, self.text = point, text


def _agree(graph: Graph, reference: Runtime, shared: _Shared, x: FloatArray, budget: Budget) -> dict[str, tuple[float, float]]:
    """Largest deviation and value of every compared tensor. Raises where one differs, in float64 and instance by instance."""
    narrow = all(unit_roundoff(s) >= unit_roundoff(torch.float32) for t, s in shared.stored.items() if _computes(reference, t))
    attempts = [(torch.float32, reference.batchable), (torch.float64, reference.batchable), (torch.float64, False)]
    theirs: dict[str, list[npt.NDArray[Any]]] | None = None
    fetched: bool | None = None
    for dtype, together in dict.fromkeys(attempts if narrow else attempts[1:]):
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


def _computes(reference: Runtime, tensor: str) -> bool:
    """Whether a tensor holds floating-point numbers."""
    kind = reference.formats.get(tensor, "")
    return "float" in kind or "double" in kind or not kind


def _theirs(reference: Runtime, shared: _Shared, x: FloatArray, *, together: bool) -> dict[str, list[npt.NDArray[Any]]] | None:
    names = list(dict.fromkeys(t for found in shared.tensors.values() for t in found))
    try:
        return reference.values(names, x, together=together)
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
            here = Followed(start, error, shared.stored[next(iter(reference.inputs))])
        else:
            stored = [shared.stored[t] for t in names if _computes(reference, t)]
            here = follow(node.op, [values[i] for i in node.inputs], stored[0] if stored else None)
        for name in node.inputs:
            if graph.last_use[name] == node.name:
                values.pop(name, None)
        compared = [(t, _Comparison.of(t, node, here, theirs[t], shared)) for t in names]
        found.update((t, (c.deviation, c.scale)) for t, c in compared)
        final = node is graph.output
        onward = next((c for t, c in compared if t in shared.read), compared[0][1] if compared else None)
        values[node.name] = onward.restart if onward is not None and not final else here
        if dtype == torch.float32 and any(not c.scale < np.inf for _, c in compared):
            raise _DifferenceError(0, "overflow")
    return found


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
        for point, row in enumerate(rows):
            if row.size != node.size:
                raise _DifferenceError(point, f"{name}: {node.size} entries, onnxruntime has {row.size}")
        wide = np.float32 if ours.dtype == torch.float32 and rows[0].dtype == np.float32 else np.float64
        exact = torch.as_tensor(np.stack([np.asarray(row, dtype=wide).reshape(node.shape) for row in rows]))
        theirs = exact.to(ours.dtype)
        allowed, deviation, fine = accepted(here, theirs, shared.stored[tensor])
        size = theirs.abs().max()
        if tensor == shared.output and not bool(size.isfinite() and ours.isfinite().all()):
            allowed, fine = torch.where(ours.isfinite() & theirs.isfinite(), allowed, -1.0), False
        if not fine:
            excess = torch.where(deviation <= allowed, 0.0, (deviation / allowed.clamp(min=1e-300)).nan_to_num(torch.inf, posinf=torch.inf))
            worst = int(torch.where(allowed < 0, torch.inf, excess).argmax())
            point, entry = divmod(worst, node.size)
            mine, other, bound = (float(t.flatten()[worst]) for t in (ours, exact, allowed.clamp(min=0)))
            raise _DifferenceError(point, f"{name}, flat entry {entry}: absint {mine:.9g}, onnxruntime {other:.9g} "
                                          f"(rounding explains {bound:.2g})")
        stored = shared.stored[tensor]
        rounded = theirs.dtype != torch.float64 and stored == torch.float64
        restart = Followed(theirs, theirs.abs() * unit_roundoff(theirs.dtype) if rounded else None, shared.computed[tensor])
        gap = float(deviation.max())
        return cls(gap if gap < np.inf else 0.0, float(size), restart)


def _sample(lower: FloatArray, upper: FloatArray, count: int, seed: int) -> FloatArray:
    """(count, *shape): lower corner, upper corner, random corners, then uniform points, taking the boxes in turn."""
    random = np.random.default_rng(seed)
    box = np.linspace(0, len(lower) - 1, count).round().astype(int) if len(lower) > count else np.arange(count) % len(lower)
    share = random.random((count, *lower.shape[1:]))
    share[2 : 2 + _CORNERS] = share[2 : 2 + _CORNERS].round()
    share[0], share[1:2] = 0.0, 1.0
    points: FloatArray = np.clip(lower[box] * (1 - share) + upper[box] * share, lower[box], upper[box])
    return points


def _mismatch(graph: Graph, reference: Runtime, shared: _Shared, x: FloatArray, found: _DifferenceError) -> UnsupportedError:
    ours = graph(torch.as_tensor(x)[None]).flatten()
    values = reference.values([shared.output], x[None], together=False)
    assert values is not None
    theirs = np.asarray(values[shared.output][0], dtype=np.float64).reshape(-1)
    if not np.isfinite(theirs).all() and np.abs(x).max(initial=0.0) >= _VAST:
        return UnsupportedError(
            "E-REGION-OVERFLOW", f"executions of the network overflow at inputs up to {np.abs(x).max():.3g}",
            where=graph.source.path or None, details=[f"onnxruntime's outputs there: {', '.join(f'{value:.3g}' for value in theirs[:4])}"],
            hint="take a smaller radius or range of inputs: --upper, --eps, --clip LOW,HIGH or --box")
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
