"""Inputs and labels as users have them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from absint.errors import InputError, UsageError
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.numeric.backend import numeric_mode
from absint.problem.dataset import Dataset
from absint.problem.live.arrays import array_of
from absint.problem.several_inputs import Named, Shape, check_counts, check_flat, one_each, rows_of
from absint.problem.spec import Spec

_SHOWN = 5    # offenders listed
_ROWS = 256   # evaluated at once


def inputs_of(graph: Graph, inputs: object, *, differentiable: bool = False) -> Tensor:
    """(batch, *input shape) float64, on the CPU.

    inputs: of a network with several inputs a mapping of their names to batches, or rows of all their numbers in order; else
    a batch, or one input of exactly the network's shape without a batch axis; the two can never be mistaken for each
    other. Flat rows and axes of size 1 are reshaped; nothing else is, lest axes get mixed up. A Dataset is arranged as
    its `shaped_for` says.  differentiable: keep the history of gradients of a tensor.
    Raises InputError E-DATA-SHAPE, and what `array_of` and `Dataset.shaped_for` raise.
    """
    wanted, named = graph.input.shape, graph.source.named_inputs
    if isinstance(inputs, Dataset):
        return torch.tensor(arranged(graph, inputs).inputs, dtype=torch.float64)
    if isinstance(inputs, Mapping):
        return _joined(inputs, named or {graph.source.input_tensor or graph.input.name: wanted}, wanted, differentiable=differentiable)
    given = array_of(inputs, "inputs", differentiable=differentiable, truth=True)
    shape = tuple(given.shape)
    if shape == wanted:
        return given.reshape(1, *wanted)
    check_flat(shape[1:], named, "inputs")
    row = shape[1:]
    same = [n for n in row if n != 1] == [n for n in wanted if n != 1]
    if not shape or not (same or row == (graph.input.size,)):
        single = " (one input alone needs its batch axis, of size 1, in front)" if shape == (graph.input.size,) else ""
        raise InputError("E-DATA-SHAPE", f"inputs of shape {shape} for a network that takes (batch, {', '.join(map(str, wanted))})",
                         where="inputs", hint=f"give one row per instance, axes in the network's order{single}")
    return given.reshape(shape[0], *wanted)


def _joined(arrays: Mapping[str, object], named: Named, wanted: Shape, *, differentiable: bool) -> Tensor:
    """One array an input; all of them batches, or all of exactly their input's shape for one instance."""
    parts = [array_of(part, f"inputs['{name}']", differentiable=differentiable, truth=True)
             for name, part in zip(named, one_each(arrays, named, "inputs"), strict=True)]
    if all(tuple(part.shape) == shape for part, shape in zip(parts, named.values(), strict=True)):
        parts = [part[None] for part in parts]
    counts = {name: rows_of(tuple(part.shape), shape, name, "inputs") for (name, shape), part in zip(named.items(), parts, strict=True)}
    check_counts(counts, "inputs")
    flat = torch.cat([part.reshape(len(part), prod(shape)) for part, shape in zip(parts, named.values(), strict=True)], 1)
    return flat.reshape(len(flat), *wanted)


def arranged(graph: Graph, data: Dataset, layout: object = None) -> Dataset:
    """The data in the network's axes (`Dataset.shaped_for`). layout: as --layout. Raises UsageError E-DATA-LAYOUT, and what that does."""
    if layout is not None and not isinstance(layout, str):
        raise UsageError("E-DATA-LAYOUT", f"an object of type {type(layout).__name__} is no layout", where="layout",
                         hint="auto, chw, hwc, or two of them as DATA:NETWORK")
    check_flat(data.shape, graph.source.named_inputs, data.name)
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
        raise InputError("E-LABEL", error.what, where=name, hint=f"{hint}; of names: numpy.unique({name}, return_inverse=True)[1], "
                         "where the network counts its classes in their sorted order") from error
    whole = given.to(torch.int64)
    if bool((whole != given).any()):
        raise InputError("E-LABEL", f"{name} are not whole numbers", where=name, hint=hint)
    if not whole.dim():
        whole = whole.expand(batch).clone()
    if tuple(whole.shape) != (batch,):
        columns = whole.shape[1] if whole.dim() == 2 and len(whole) == batch else 0
        if columns == graph.output.size > 1 and bool(((whole == 0) | (whole == 1)).all()) and bool((whole.sum(1) == 1).all()):
            hint = f"these are one-hot: give {name}.argmax(1)"
        elif columns == 1:
            hint = f"these are a column: give {name}.reshape(-1)"
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
