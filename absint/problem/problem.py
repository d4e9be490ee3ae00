"""What a verification is asked to do: the options, and one region and property per instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from absint.errors import InputError, UnsupportedError
from absint.model.graph import Graph
from absint.model.work import work
from absint.numeric.backend import Budget, numeric_mode
from absint.numeric.interval import Interval
from absint.problem.regions.region import Region
from absint.problem.spec import Spec
from absint.problem.whereabouts import HOME, at_home


@dataclass(frozen=True, eq=False)
class Problem:
    """What to verify: one region and property per instance.

    specify: positions (int64) -> their Spec; properties are built batch by batch, because the rows of many classes are
    large.  index: (batch,) the instances' names in the user's data.  labels, predicted: (batch,) int64 or None.
    An instance whose predicted class differs from its label is reported as misclassified and not analysed.
    known: sound bounds of nodes over each region, float64 (batch, *shape), such as those proved over a larger one.
    Tensors may be given on any device; region, spec, labels and predicted are on the CPU.
    """

    graph: Graph
    region: Region
    specify: Callable[[Tensor], Spec]
    index: tuple[int, ...]
    labels: Tensor | None = None
    predicted: Tensor | None = None
    eps: str | None = None
    known: Mapping[str, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "region", self.region.to(HOME))
        for name in ("labels", "predicted"):
            object.__setattr__(self, name, at_home(getattr(self, name)))

    @property
    def spec(self) -> Spec:
        """The properties of all instances."""
        return self.specify(torch.arange(len(self.index))).to(HOME)

    def take(self, index: Tensor) -> Problem:
        """Some instances."""
        labels, predicted = (None if v is None else v[index] for v in (self.labels, self.predicted))
        known = {name: interval.take(index.to(interval.lower.device)) for name, interval in self.known.items()}
        return replace(self, region=self.region.take(index), specify=lambda inner: self.specify(index[inner]), known=known,
                       labels=labels, predicted=predicted, index=tuple(self.index[i] for i in index.tolist()))


def check_classes(graph: Graph) -> None:
    """Raise UnsupportedError E-CLASSES for a network of one output: no class can be robust."""
    if graph.output.size < 2:
        raise UnsupportedError(
            "E-CLASSES", "robustness needs two outputs at least, this network has one", where=graph.source.path or None,
            hint="state a property of its output: absint verify NET --output-range LOW,HIGH (output_range= in Python), or a VNN-LIB query: "
                 "absint verify QUERY.vnnlib --network NET, absint.verify_query",
        )


def robustness(graph: Graph, region: Region, labels: Tensor, *, targets: Tensor | None = None,
               index: tuple[int, ...] | None = None, eps: str | None = None) -> Problem:
    """The robustness problem of labelled inputs: the label's output stays the strict maximum over each region.

    labels, targets: (batch,) int64. Raises InputError for labels outside the network's classes, or too few or many, and
    UnsupportedError E-CLASSES for a network of one output.
    """
    check_classes(graph)
    classes, region = graph.output.size, region.to(HOME)
    labels, targets = labels.to(HOME), at_home(targets)
    for name, given in (("labels", labels), ("targets", targets)):
        if given is not None and given.shape != (region.batch,):
            raise InputError("E-LABEL", f"of shape {tuple(given.shape)} for {region.batch} inputs", where=name,
                             hint="give one class per input")

    def specify(chosen: Tensor) -> Spec:
        if targets is None:
            return Spec.robust(labels[chosen], classes)
        return Spec.targeted(labels[chosen], targets[chosen], classes)

    Spec.check_labels(labels, classes)
    if targets is not None:
        specify(torch.arange(len(labels)))
    with numeric_mode(), torch.no_grad():
        predicted = torch.cat([graph(part).flatten(1).argmax(1) for part in region.center.split(min(256, Budget().pieces(work(graph))))])
    names = tuple(range(len(labels))) if index is None else index
    return Problem(graph, region, specify, names, labels, predicted, eps)
