"""Sound bounds of any tensors over a batch of regions, and where width is gained: statistics of one layer after another."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import tensor_bounds
from absint.errors import AbsintError, InternalError, PluginError, ResourceError, UsageError
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.numeric import backend
from absint.numeric.backend import Budget, DeadlineError, default_memory, is_out_of_memory, numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import Region

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_FORMATS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class BoundsOptions:
    """How to bound. memory: bytes, None for half of the machine's.  seconds: for the whole call."""

    domain: Domain[Any]
    dtype: str = "float64"
    device: str = "cpu"
    rounding: bool = True
    batch: int | None = None
    memory: int | None = None
    seconds: float = inf

    def __post_init__(self) -> None:
        if self.dtype not in _FORMATS:
            raise UsageError("E-DTYPE", f"not a number format: '{self.dtype}'", hint="float32 or float64")
        if self.batch is not None and self.batch < 1:
            raise UsageError("E-BATCH", f"the batch size must be at least 1, not {self.batch}")
        if not self.seconds > 0:
            raise UsageError("E-TIMEOUT", f"the time limit must be positive, not {self.seconds}")


@dataclass(frozen=True, eq=False)
class TensorBounds:
    """Bounds of one node. lower, upper: (instances, *shape) float64, rounded outward, infinite where nothing is known.

    undecided: (instances, *shape) entries over which some operator that reads them is not affine; None where no
    nonlinear operator reads the node.
    """

    lower: FloatArray
    upper: FloatArray
    undecided: BoolArray | None


def bounds(graph: Graph, region: Region, nodes: Sequence[str], options: BoundsOptions) -> dict[str, TensorBounds]:
    """Bounds of every entry of the named nodes, for every instance; the graph is compared with the user's model first.

    Sound: the exact-real value of a node lies within its bounds for every real input of the region (with rounding on).
    Raises ResourceError E-TIMEOUT, PluginError where a domain raises, UnsupportedError E-IMPORT-MISMATCH.
    """
    if graph.source.model is not None:
        check_import(graph, region=region.hull)
    wanted = tuple(dict.fromkeys((*nodes, *_beside(graph, nodes))))
    parts: dict[str, list[TensorBounds]] = {name: [] for name in nodes}
    end = time.monotonic() + options.seconds
    numerics = Numerics(_FORMATS[options.dtype], device=backend.device(options.device), rounding=options.rounding)
    numerics = numerics if options.domain.mixed else numerics.single()
    budget = Budget(options.memory or default_memory(), end)
    size = options.batch or _batch_size(graph, numerics, options, len(wanted), budget)
    with numeric_mode(), torch.no_grad():
        for chosen in torch.arange(region.batch).split(size):
            ctx = Context(graph, region.take(chosen), numerics, budget)
            found = _guarded(ctx, wanted, options.domain)
            for name in nodes:
                parts[name].append(_collected(graph, name, found))
    return {name: _joined(pieces) for name, pieces in parts.items()}


def layers(graph: Graph) -> list[str]:
    """The nodes whose widths tell where precision goes: what nonlinear operators read, the input and the output."""
    read = {i for node in graph.nodes if isinstance(node.op, Nonlinear) for i in node.inputs}
    return [node.name for node in graph.nodes if node.name in read or node in (graph.input, graph.output)]


def _beside(graph: Graph, nodes: Iterable[str]) -> list[str]:
    """The other inputs of nonlinear operators that read the nodes: `undecided` needs them all."""
    users = (graph[user] for name in nodes for user in graph.consumers[name])
    return [i for user in users if isinstance(user.op, Nonlinear) for i in user.inputs]


def _batch_size(graph: Graph, numerics: Numerics, options: BoundsOptions, kept: int, budget: Budget) -> int:
    """Kept elements stay in memory until their bounds are read."""
    need = options.domain.memory(graph, numerics) * min(kept, len(graph.nodes))
    return max(1, min(256, budget.memory // 2 // max(1, need)))


def _guarded(ctx: Context, nodes: tuple[str, ...], domain: Domain[Any]) -> dict[str, Interval]:
    """The engine, with a stranger's exceptions and the deadline turned into coded errors."""
    try:
        return tensor_bounds(domain, ctx, nodes)
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


def _collected(graph: Graph, name: str, found: Mapping[str, Interval]) -> TensorBounds:
    masks = [
        user.op.undecided(tuple(found[i] for i in user.inputs))[position]
        for user in (graph[u] for u in dict.fromkeys(graph.consumers[name])) if isinstance(user.op, Nonlinear)
        for position, source in enumerate(user.inputs) if source == name
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
