"""Inputs and labels as users have them."""

from __future__ import annotations

import torch
from torch import Tensor

from absint.errors import InputError, UsageError
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.numeric.backend import numeric_mode
from absint.problem.dataset import Dataset
from absint.problem.live.arrays import array_of
from absint.problem.spec import Spec

_SHOWN = 5    # offenders listed
_ROWS = 256   # evaluated at once


def inputs_of(graph: Graph, inputs: object, *, differentiable: bool = False) -> Tensor:
    """(batch, *input shape) float64, on the CPU.

    inputs: a batch, or one input of exactly the network's shape without a batch axis; the two can never be mistaken for each
    other. Flat rows and axes of size 1 are reshaped; nothing else is, lest axes get mixed up. A Dataset is arranged as
    its `shaped_for` says.  differentiable: keep the history of gradients of a tensor.
    Raises InputError E-DATA-SHAPE, and what `array_of` and `Dataset.shaped_for` raise.
    """
    wanted = graph.input.shape
    if isinstance(inputs, Dataset):
        return torch.tensor(arranged(graph, inputs).inputs, dtype=torch.float64)
    given = array_of(inputs, "inputs", differentiable=differentiable, truth=True)
    shape = tuple(given.shape)
    if shape == wanted:
        return given.reshape(1, *wanted)
    row = shape[1:]
    same = [n for n in row if n != 1] == [n for n in wanted if n != 1]
    if not shape or not (same or row == (graph.input.size,)):
        single = " (one input alone needs its batch axis, of size 1, in front)" if shape == (graph.input.size,) else ""
        raise InputError("E-DATA-SHAPE", f"inputs of shape {shape} for a network that takes (batch, {', '.join(map(str, wanted))})",
                         where="inputs", hint=f"give one row per instance, axes in the network's order{single}")
    return given.reshape(shape[0], *wanted)


def arranged(graph: Graph, data: Dataset, layout: object = None) -> Dataset:
    """The data in the network's axes (`Dataset.shaped_for`). layout: as --layout. Raises UsageError E-DATA-LAYOUT, and what that does."""
    if layout is not None and not isinstance(layout, str):
        raise UsageError("E-DATA-LAYOUT", f"an object of type {type(layout).__name__} is no layout", where="layout",
                         hint="auto, chw, hwc, or two of them as DATA:NETWORK")
    told = {} if layout is None else {"layout": layout}
    return data.shaped_for(graph.input.shape, network=axes_of(graph), **told)


def labels_of(graph: Graph, labels: object, batch: int, name: str = "labels") -> Tensor | None:
    """(batch,) int64, each a class of the network; None stays None, which stands for the predicted class (`predicted_classes`).

    labels: one whole number for all, one an input, or a Dataset, whose labels are taken.
    Raises InputError E-LABEL for what are no whole numbers (truth values are none), for classes that the network does not
    have, and for another number of them than inputs.
    """
    if isinstance(labels, Dataset):
        labels = labels.labels
    if labels is None:
        return None
    hint = "class numbers 0, 1, 2, ..., one an input"
    try:
        given = array_of(labels, name)
    except InputError as error:
        raise InputError("E-LABEL", error.what, where=name, hint=hint) from error
    whole = given.to(torch.int64)
    if bool((whole != given).any()):
        raise InputError("E-LABEL", f"{name} are not whole numbers", where=name, hint=hint)
    if not whole.dim():
        whole = whole.expand(batch).clone()
    if tuple(whole.shape) != (batch,):
        raise InputError("E-LABEL", f"{name} of shape {tuple(whole.shape)} for {batch} inputs", where=name, hint=hint)
    Spec.check_labels(whole, graph.output.size)
    return whole


def predicted_classes(graph: Graph, center: Tensor) -> Tensor:
    """(batch,) int64: the class of the greatest output at each input, by evaluation in float64.

    A choice of what to ask, not a claim: what is then proved of that class is proved. Where no output is the greatest, nothing
    is chosen: raises InputError E-LABEL naming the inputs with tied outputs, or with outputs that are not finite.
    """
    with numeric_mode(), torch.no_grad():
        outputs = torch.cat([graph(part.detach()).flatten(1) for part in center.split(_ROWS)]) if len(center) else center.new_zeros(0, 1)
    finite = outputs.isfinite().all(1)
    tied = (outputs == outputs.amax(1, keepdim=True)).sum(1) > 1
    bad = (tied | ~finite).nonzero().flatten().tolist()
    if bad:
        shown = [f"input {k}: {'tied outputs' if finite[k] else 'outputs that are not finite'}" for k in bad[:_SHOWN]]
        rest = [f"... and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        raise InputError("E-LABEL", "no class is predicted where several outputs are the greatest", where="labels",
                         details=(*shown, *rest), hint="give labels")
    return outputs.argmax(1)
