"""Sound bounds of any tensors over a batch of regions, and where width is gained: statistics of one layer after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf
from typing import Any, TypeVar

import numpy as np
import torch

from absint.analyses.bounds.record import TensorBounds
from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import tensor_bounds
from absint.errors import AbsintError, InternalError, PluginError, ResourceError, UsageError
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.import_check import check_import
from absint.model.work import work
from absint.numeric import backend
from absint.numeric.backend import Budget, DeadlineError, default_memory, is_out_of_memory, numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import Region
from absint.search.names import Method, walker_of

T = TypeVar("T")
_FEW, _MANY = 16, 256      # instances bounded together: more are long unseen on large networks, and gain little on small ones
_SMALL = 2**28             # bytes: while they need no more than that together, a network is small
_FORMATS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class BoundingSettings:
    """How to bound. domain: one, or a strategy, which stands for its walker.

    memory: bytes, None for half of the machine's.  seconds: for the whole call.  timeout: an instance.
    """

    domain: Method
    dtype: str = "float64"
    device: str = "cpu"
    rounding: bool = True
    batch: int | None = None
    memory: int | None = None
    seconds: float = inf
    timeout: float = inf

    def __post_init__(self) -> None:
        if self.dtype not in _FORMATS:
            raise UsageError("E-DTYPE", f"not a number format: '{self.dtype}'", where="--dtype", hint="float32 or float64")
        if self.batch is not None and self.batch < 1:
            raise UsageError("E-BATCH", f"the batch size must be at least 1, not {self.batch}", where="--batch",
                             hint="for example 1000")
        if not (self.seconds > 0 and self.timeout > 0):
            raise UsageError("E-TIMEOUT", f"the time limit must be positive, not {min(self.seconds, self.timeout)}",
                             hint="for example 60, or none")

    @cached_property
    def walker(self) -> Domain[Any]:
        """The domain that bounds; one object, by which substitutions remember things."""
        return walker_of(self.domain)


def bounds(graph: Graph, region: Region, nodes: Sequence[str], options: BoundingSettings) -> dict[str, TensorBounds]:
    """Bounds of every entry of the named nodes, for every instance; the graph is compared with the user's model first.

    Sound: the exact-real value of a node lies within its bounds for every real input of the region (with rounding on).
    Raises ResourceError E-TIMEOUT, PluginError where a domain raises, UnsupportedError E-IMPORT-MISMATCH.
    """
    end = time.monotonic() + options.seconds
    compared(graph, region, end)
    groups = groups_of(graph, nodes, options, region.batch)
    left = replace(options, timeout=inf, seconds=max(end - time.monotonic(), 1e-9))
    parts = [batch.found for batch in batches(graph, region, nodes, left, groups)]
    return {name: _joined([part[name] for part in parts if part is not None]) for name in nodes}


def compared(graph: Graph, region: Region, end: float = inf) -> None:
    """The graph with the user's model on the region.

    Raises UnsupportedError E-IMPORT-MISMATCH, ResourceError E-TIMEOUT past `end`, on the monotonic clock.
    """
    if graph.source.runs:
        try:
            check_import(graph, region=region.hull, budget=Budget(deadline=end))
        except DeadlineError as error:
            raise _late() from error


@dataclass(frozen=True, eq=False)
class Batch:
    """Bounds of some instances. places: of these in the region.  found: None where their limit passed.  seconds: that it took."""

    places: tuple[int, ...]
    found: Mapping[str, TensorBounds] | None
    seconds: float


def batches(graph: Graph, region: Region, nodes: Sequence[str], options: BoundingSettings, groups: Sequence[Sequence[int]]
            ) -> Iterator[Batch]:
    """Bounds of the named nodes for the instances of each group, together: the last bits depend on who is bounded together.

    A group may take `options.timeout` seconds for each of its instances; after that it ends without bounds.
    Sound as `bounds` is. Raises ResourceError E-TIMEOUT where the time of the whole call passed, PluginError where a domain raises.
    """
    wanted = _wanted(graph, nodes)
    whole = working_context(graph, region, options)
    end = whole.budget.deadline
    for group in groups:
        begin = time.monotonic()
        with numeric_mode(), torch.no_grad():
            late = min(end, begin + options.timeout * len(group))
            ctx = replace(whole.take(torch.tensor(list(group))), budget=replace(whole.budget, deadline=late))
            found = _in_time(graph, nodes, wanted, ctx, options.walker)
        if found is None and time.monotonic() >= end:
            raise _late()
        yield Batch(tuple(group), found, time.monotonic() - begin)


def groups_of(graph: Graph, nodes: Sequence[str], options: BoundingSettings, count: int) -> list[list[int]]:
    """The instances in groups that are bounded together: one first, so that something is known soon, then more; as memory allows.

    The same whatever was decided before.
    """
    numerics = working_numerics(options)
    memory = options.memory or default_memory(numerics.device)
    most = options.batch or _batch_size(graph, numerics, options, len(_wanted(graph, nodes)), memory)
    most = min(most, Budget(rate=backend.rate(numerics.device)).pieces(work(graph)))
    size, found, start = min(options.batch or 1, most), [], 0
    while start < count:
        found.append(list(range(start, min(start + size, count))))
        start, size = start + size, min(most, 2 * size)
    return found


def _wanted(graph: Graph, nodes: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*nodes, *_beside(graph, nodes))))


def _in_time(graph: Graph, nodes: Sequence[str], wanted: tuple[str, ...], ctx: Context, domain: Domain[Any]
             ) -> dict[str, TensorBounds] | None:
    """Bounds of one batch; None where its deadline passed."""
    try:
        found = guarded(domain, partial(tensor_bounds, domain, ctx, wanted))
    except ResourceError as error:
        if not isinstance(error.__cause__, DeadlineError):
            raise
        return None
    return {name: _collected(graph, name, found) for name in nodes}


def nothing_known(graph: Graph, name: str) -> TensorBounds:
    """Infinite bounds of one instance, which hold of anything."""
    shape = graph[name].shape
    return TensorBounds(np.full(shape, -inf), np.full(shape, inf), np.ones(shape, np.bool_) if _readers(graph, name) else None)


def layers(graph: Graph) -> list[str]:
    """The nodes whose widths tell where precision goes: what nonlinear operators read, the input and the output."""
    read = {i for node in graph.nodes if isinstance(node.op, Nonlinear) for i in node.inputs}
    return [node.name for node in graph.nodes if node.name in read or node in (graph.input, graph.output)]


def _beside(graph: Graph, nodes: Iterable[str]) -> list[str]:
    """The other inputs of nonlinear operators that read the nodes: `undecided` needs them all."""
    users = (graph[user] for name in nodes for user in graph.consumers[name])
    return [i for user in users if isinstance(user.op, Nonlinear) for i in user.inputs]


def _batch_size(graph: Graph, numerics: Numerics, options: BoundingSettings, kept: int, memory: int) -> int:
    """Kept elements stay in memory until their bounds are read."""
    need = options.walker.traits.bytes_of(graph, numerics) * min(kept, len(graph.nodes))
    return max(1, min(_MANY, max(_FEW, _SMALL // max(1, need)), memory // 2 // max(1, need)))


def working_context(graph: Graph, region: Region, options: BoundingSettings) -> Context:
    """What the settings say, for the engine; the deadline runs from now. Raises UsageError or ResourceError E-DEVICE."""
    numerics = working_numerics(options)
    budget = Budget(options.memory or default_memory(numerics.device), time.monotonic() + options.seconds, backend.rate(numerics.device))
    return Context(graph, region, numerics, budget)


def working_numerics(options: BoundingSettings) -> Numerics:
    """The number formats. Raises UsageError or ResourceError E-DEVICE."""
    numerics = Numerics(_FORMATS[options.dtype], device=backend.device(options.device), rounding=options.rounding)
    return numerics if options.walker.traits.mixed else numerics.single()


def _late() -> ResourceError:
    return ResourceError("E-TIMEOUT", "the time limit passed before all bounds were found",
                         hint="give more time, fewer inputs with --index, or a cheaper --domain")


def guarded(domain: Domain[Any], work: Callable[[], T]) -> T:
    """The engine at work with a domain; a stranger's exceptions and the deadline become coded errors."""
    try:
        return work()
    except DeadlineError as error:
        raise ResourceError("E-TIMEOUT", "the time limit passed before all bounds were found",
                            hint="give more time, fewer inputs with --index, or a cheaper --domain") from error
    except AbsintError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        kind = InternalError if type(domain).__module__.startswith("absint.") else PluginError
        raise kind("E-DOMAIN-RAISED", f"the domain raised {type(error).__name__}: {error}", where=type(domain).__name__,
                   hint="run absint.testing.kit.check_domain on it; --debug shows the traceback") from error


def _readers(graph: Graph, name: str) -> list[Node]:
    """The nonlinear nodes that read a node."""
    return [user for user in (graph[u] for u in dict.fromkeys(graph.consumers[name])) if isinstance(user.op, Nonlinear)]


def _collected(graph: Graph, name: str, found: Mapping[str, Interval]) -> TensorBounds:
    masks = [
        user.op.undecided(tuple(found[i] for i in user.inputs))[position]  # type: ignore[attr-defined]
        for user in _readers(graph, name) for position, source in enumerate(user.inputs) if source == name
    ]
    ends = found[name].to(torch.float64)
    undecided = None if not masks else torch.stack(masks).any(0).cpu().numpy()
    return TensorBounds(np.asarray(ends.lower.cpu()), np.asarray(ends.upper.cpu()), undecided)


def _joined(parts: Sequence[TensorBounds]) -> TensorBounds:
    marked = [part.undecided for part in parts if part.undecided is not None]
    return TensorBounds(np.concatenate([part.lower for part in parts]), np.concatenate([part.upper for part in parts]),
                        np.concatenate(marked) if marked else None)


@dataclass(frozen=True)
class LayerWidths:
    """Widths upper - lower of one node over all entries and instances; infinite ones are counted apart.

    mean, median, greatest: of the finite widths, None where there is none.  unbounded: share of infinite ones.
    undecided: share of entries a nonlinear reader is not affine over, None where there is no such reader.
    """

    tensor: str
    op: str
    shape: tuple[int, ...]
    entries: int
    mean: float | None
    median: float | None
    greatest: float | None
    unbounded: float
    undecided: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"tensor": self.tensor, "op": self.op, "shape": list(self.shape), "entries": self.entries, "mean_width": self.mean,
                "median_width": self.median, "max_width": self.greatest, "unbounded": self.unbounded, "undecided": self.undecided}


def layer_widths(graph: Graph, name: str, found: TensorBounds, label: str | None = None) -> LayerWidths:
    """The statistics of one node. label: what to call it."""
    node = graph[name]
    with np.errstate(over="ignore"):
        width = found.upper - found.lower
    finite = width[np.isfinite(width)]
    some = finite.size > 0
    scale = float(finite.max()) if some else 0.0
    mean = float((finite / scale).mean() * scale) if scale > 0 else 0.0  # the sum of finite widths may overflow
    return LayerWidths(
        label or name, type(node.op).__name__, node.shape, node.size, mean if some else None,
        float(np.median(finite)) if some else None, scale if some else None, 1 - finite.size / max(1, width.size),
        None if found.undecided is None else float(found.undecided.mean()),
    )
