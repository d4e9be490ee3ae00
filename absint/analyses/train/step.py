"""One step of training, as a method sees it: a batch, the moment of the schedule, and bounds that carry gradients, made when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import Walked, analyse, row_bounds
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

LAYERS = ("hidden", "all")
DataRange = tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Step:
    """What a method may use to say what a batch costs.

    network, parameters: a graph, and what stands in place of its constants in this step, by name.
    inputs: (n, *shape) in raw units, of the parameters' format.  labels: (n,) int64.
    eps: the radius now.  kappa: the share of the clean loss now.  clip: the range of the data, into which regions are cut.
    domain: what bounds.  elided: whether worst cases are found through the last layer.  generator: of random numbers, this step's own.
    Bounds are computed once a step, without rounding, and carry gradients: they train, and prove nothing.
    """

    network: Graph
    parameters: Mapping[str, Tensor]
    inputs: Tensor
    labels: Tensor
    eps: float
    kappa: float
    clip: DataRange
    domain: Domain[Any]
    elided: bool
    generator: torch.Generator

    @property
    def graph(self) -> Graph:
        """The network over the parameters of this step: a view of its own for whoever asks, as a gradient frees what it went through."""
        return self.network.with_parameters(self.parameters)

    @cached_property
    def logits(self) -> Tensor:
        """(n, classes) of the inputs themselves."""
        return self.graph(self.inputs)

    @cached_property
    def region(self) -> BoxRegion:
        """All inputs within eps in each entry, and within the clip."""
        return BoxRegion(*ball(self.inputs, self.eps, self.clip))

    @cached_property
    def walked(self) -> Walked[Any]:
        """The bounds of every node."""
        numerics = Numerics(self.inputs.dtype, self.inputs.dtype, self.inputs.device, rounding=False)
        spec = Spec.robust(self.labels, self.network.output.size) if self.elided else None
        return analyse(self.domain, Context(self.graph, self.region, numerics, target=spec))

    @property
    def bounded(self) -> bool:
        """Whether bounds were asked for."""
        return "walked" in self.__dict__

    @cached_property
    def worst_logits(self) -> Tensor:
        """(n, classes) logits of the worst case, up to a number that is the same for all classes of an input.

        Elided: what each class may exceed the label by, as the domain bounds the difference, and 0 for the label. Otherwise the upper
        bound of each class and the lower one of the label (Morawiecki et al. 2019, arXiv:1906.00628, section 3).
        """
        walked, labels = self.walked, self.labels[:, None]
        target = walked.ctx.target
        if target is None:
            ends = walked.ctx.known[self.network.output.name]
            flat = ends.upper.flatten(1)
            return flat.scatter(1, labels, ends.lower.flatten(1).gather(1, labels))
        excess = -row_bounds(self.domain, walked.element, walked.ctx, target).lower.to(self.inputs.dtype)
        others = torch.arange(self.network.output.size, device=excess.device).expand(len(labels), -1)
        others = others[others != labels].reshape(len(labels), -1)
        return excess.new_zeros(len(labels), self.network.output.size).scatter(1, others, excess)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Mean over the batch."""
        return functional.cross_entropy(logits.flatten(1), self.labels)

    @property
    def clean(self) -> Tensor:
        """Cross entropy of the inputs themselves."""
        return self.cross_entropy(self.logits)

    @property
    def worst(self) -> Tensor:
        """Cross entropy of the worst case."""
        return self.cross_entropy(self.worst_logits)

    def widths(self, layers: str) -> Tensor:
        """Sum over layers of the mean squared distance of upper and lower bounds: see `layer_widths`. A scalar."""
        return torch.stack(list(layer_widths(self.walked.ctx.graph, dict(self.walked.ctx.known), layers).values())).sum()


def ball(inputs: Tensor, eps: float, clip: DataRange) -> tuple[Tensor, Tensor]:
    """Lower and upper ends of the inputs' neighbourhoods."""
    lower, upper = inputs - eps, inputs + eps
    return (lower, upper) if clip is None else (lower.clamp(*clip), upper.clamp(*clip))


def layers_of(graph: Graph, layers: str) -> tuple[str, ...]:
    """Nodes that count as layers: affine and activation layers from the first trained one on; the logits among them for 'all' alone.

    What only moves entries is no layer, nor is a normalisation in front of the first weight.
    """
    behind: set[str] = set()
    found = []
    for node in graph.nodes:
        if getattr(node.op, "live", False) or any(name in behind for name in node.inputs):
            behind.add(node.name)
            if not (isinstance(node.op, Linear) and node.op.exact) and (layers == "all" or node is not graph.output):
                found.append(node.name)
    return tuple(found)


def layer_widths(graph: Graph, known: dict[str, Interval], layers: str) -> dict[str, Tensor]:
    """By layer: mean over batch and entries of (upper - lower)^2, a scalar each (Morawiecki et al. 2019, figures 6 and 7)."""
    return {name: known[name].width.square().mean() for name in layers_of(graph, layers)}
