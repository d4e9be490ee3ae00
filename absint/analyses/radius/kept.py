"""What has to hold around each input, for a radius: a property, and whether it holds at the input itself; of classes, or any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from absint.errors import InputError
from absint.model.graph import Graph
from absint.problem.spec import Spec


@dataclass(frozen=True, eq=False)
class Kept:
    """Of some inputs. specify: (k,) int64 places among them -> the properties that must hold around these.

    tied: (n,) bool, those at which it does not hold themselves: their radius is 0.  finite: (n,) bool, those of which that is known.
    predicted: (n,) int64, the class that is kept, where the property is one of classes.
    """

    specify: Callable[[Tensor], Spec]
    tied: Tensor
    finite: Tensor
    predicted: Tensor | None = None

    def answer(self, slot: int) -> int | None:
        """The class that one keeps; None where it has none."""
        known = self.predicted is not None and bool(self.finite[slot]) and not bool(self.tied[slot])
        return int(self.predicted[slot]) if known and self.predicted is not None else None


# (graph, centres (n, *shape) float64, their (n,) places among all inputs) -> what must hold around them.
Asked = Callable[[Graph, Tensor, Tensor], Kept]


def classes_kept(target: Tensor | None = None) -> Asked:
    """The predicted class; with targets (batch,) int64, that class above one other class alone."""

    def asked(graph: Graph, center: Tensor, positions: Tensor) -> Kept:
        outputs = outputs_at(graph, center)
        predicted, classes = outputs.argmax(1), graph.output.size
        mine = None if target is None else target[positions].long()
        tied = (outputs == outputs.amax(1, keepdim=True)).sum(1) > 1 if mine is None else _pair_tied(outputs, mine)

        def specify(slots: Tensor) -> Spec:
            labels = predicted[slots]
            return Spec.robust(labels, classes) if mine is None else Spec.targeted(labels, mine[slots], classes)

        return Kept(specify, tied, outputs.isfinite().all(1), predicted)

    return asked


def check_targets(graph: Graph, center: Tensor, target: Tensor | None, names: Sequence[int]) -> None:
    """Each target is a class that is not the predicted one. Raises InputError E-LABEL."""
    if target is None or not len(center):
        return
    if target.shape != center.shape[:1] or target.is_floating_point():
        raise InputError("E-LABEL", f"targets {tuple(target.shape)} of {target.dtype} for {len(center)} inputs", where="target",
                         hint="give one class number per input")
    Spec.check_labels(target, graph.output.size)
    outputs = outputs_at(graph, center.double())
    own = (_pair_tied(outputs, target).logical_not() & (outputs.argmax(1) == target)).nonzero().flatten().tolist()
    if own:
        shown = ", ".join(str(names[k]) for k in own[:10]) + (", ..." if len(own) > 10 else "")
        raise InputError("E-LABEL", f"the target is the predicted class itself: inputs {shown}", where="target",
                         hint="a target must be another class")


def outputs_at(graph: Graph, center: Tensor) -> Tensor:
    """(batch, outputs) float64."""
    with torch.no_grad():
        return torch.cat([graph(part).flatten(1).double() for part in center.split(256)])


def _pair_tied(outputs: Tensor, target: Tensor) -> Tensor:
    """(batch,): whether the target is one of several largest."""
    largest = outputs == outputs.amax(1, keepdim=True)
    return largest.gather(1, target[:, None])[:, 0] & (largest.sum(1) > 1)
