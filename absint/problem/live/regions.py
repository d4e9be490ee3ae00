"""Regions as users state them: inputs, radii, a norm and a data range."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf, isfinite
from typing import Any

import numpy as np
from torch import Tensor

from absint.errors import AbsintError, InputError, UsageError, shown
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.model.layout import Axes, Known, agreed, axes_of_values
from absint.numeric.decimal import float_above, parse_eps, rational
from absint.problem.dataset import Dataset
from absint.problem.live.arrays import array_of, is_list, number_of
from absint.problem.live.inputs import arranged, inputs_of
from absint.problem.live.words import layout_of
from absint.problem.regions import ball
from absint.problem.regions.radii import InstanceRadii
from absint.problem.regions.region import Region
from absint.problem.whereabouts import HOME

_NORMS = {inf: "linf", 2.0: "l2", 1.0: "l1"}
Radius = Fraction | tuple[Fraction, ...] | InstanceRadii | Tensor


def norm_of(norm: object) -> str:
    """'linf', 'l2' or 'l1', from its name (any case; 'inf', 'L2' and '1' too) or its order: 2, 1, inf. Raises UsageError E-NORM."""
    order: object = None
    if isinstance(norm, str):
        word = norm.strip().lower().removeprefix("l").removeprefix("_")
        order = {"inf": inf, "2": 2.0, "1": 1.0}.get(word)
    else:
        order = number_of(norm)
    for known, name in _NORMS.items():
        if order is not None and order == known:
            return name
    raise UsageError("E-NORM", f"there is no norm {shown(norm)}", where="--norm",
                     hint="'linf', 'l2' or 'l1', or their orders inf, 2 and 1")


def clip_of(clip: object) -> tuple[float, float] | None:
    """The data range (low, high), or None for none: None, 'none', '0,1', or two numbers.

    The decimals of the ends count (0.1 is one tenth). Raises UsageError E-CLIP for anything else: an end that is infinite, or
    has no decimals of float64 that mean it, a range per channel.
    """
    if clip is None or (isinstance(clip, str) and clip.strip().lower() == "none"):
        return None
    parts: object = clip.split(",") if isinstance(clip, str) else clip
    if isinstance(parts, (np.ndarray, Tensor)):
        parts = parts.tolist() if parts.ndim == 1 and len(parts) == 2 else None
    ends = [_end(part) for part in parts] if isinstance(parts, (list, tuple)) and len(parts) == 2 else [None]
    low, high = (ends[0], ends[-1])
    if low is None or high is None or not (isfinite(low) and isfinite(high) and low <= high):
        raise UsageError("E-CLIP", f"not a data range: {shown(clip)}", where="clip",
                         hint="two finite numbers such as (0, 1), the same for all entries, or None")
    return low, high


def _end(value: object) -> float | None:
    """One end, as the float whose decimals mean exactly what is given; None where there is none."""
    try:
        plain = value.item() if isinstance(value, (np.ndarray, Tensor)) and value.ndim == 0 else value
        exact = rational(plain.strip()) if isinstance(plain, str) else number_of(plain)
        if isinstance(exact, Fraction):
            near = float(exact)
            return near if Fraction(repr(near)) == exact else None
        return exact if isinstance(exact, float) else None
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def region_of(
    graph: Graph, inputs: object, eps: object = None, norm: object = "linf", clip: object = (0.0, 1.0), layout: object = None, *,
    differentiable: bool = False,
) -> tuple[Region, str | None]:
    """The region asked for, and its radius as text (None for a Region, which stands for eps, norm and clip).

    inputs: as `inputs_of` takes them, or a Region of the network's shape. Tensors on any device; the region's are on the CPU.
    eps: a number (its printed decimals are meant), text or a Fraction: one radius for all.  A list of them: one a channel, in
    linf, or one an input; refused where both fit and it matters.  An array: float values that broadcast against the
    inputs, or of shape (batch,) or (batch, 1, ...), one an input; refused where both fit and it matters.
    norm, clip: as `norm_of` and `clip_of` take them.  layout: chw or hwc, the order of the inputs' axes, for radii per
    channel that the operators leave open; or what is known of these axes. Of a Dataset it says how to arrange it: one that
    was arranged before comes as an array, lest it be arranged twice.  differentiable: keep the history of gradients of tensors.
    Raises UsageError E-EPS, E-NORM, E-CLIP, E-LAYOUT; InputError E-DATA-SHAPE, E-DATA-TYPE, E-REGION.
    """
    if isinstance(inputs, Region):
        if eps is not None:
            raise UsageError("E-EPS", "a region has its own radius", where="eps", hint="leave eps away")
        if inputs.shape != graph.input.shape:
            raise InputError("E-DATA-SHAPE", f"a region of shape {inputs.shape} for a network that takes {graph.input.shape}",
                             where="inputs", hint="make it of inputs in the network's shape")
        return inputs.afresh().to(HOME), None
    if eps is None:
        raise UsageError("E-EPS", "no radius is given", where="eps", hint="a number such as 0.01, or a Region as inputs")
    name, data_range = norm_of(norm), clip_of(clip)
    axes: Known
    if isinstance(inputs, Dataset):
        inputs = arranged(graph, inputs, layout)
        axes = inputs.axes
    else:
        axes = agreed(graph.input.shape, axes_of(graph), layout if isinstance(layout, Axes) else layout_of(layout))
    center = inputs_of(graph, inputs, differentiable=differentiable)
    given = tuple(np.shape(inputs)) if isinstance(inputs, (np.ndarray, Tensor)) else tuple(center.shape)
    radius, text = _radius(eps, center, name, axes, given, differentiable=differentiable)
    return ball(name, center, radius, data_range, axes), text


def _radius(eps: object, center: Tensor, norm: str, axes: Known, given: tuple[int, ...], *, differentiable: bool) -> tuple[Radius, str]:
    single = eps if isinstance(eps, str) else number_of(eps)
    if single is not None:
        exact = _exact(eps)
        return exact, eps if isinstance(eps, str) else str(eps)
    if is_list(eps) and len(eps) <= center.numel() + 1 and all(isinstance(e, str) or number_of(e) is not None for e in eps):
        return _of_list(eps, center, norm, axes)
    try:
        values = array_of(eps, "eps", differentiable=differentiable)
    except InputError as error:
        raise UsageError("E-EPS", error.what, where="eps", hint="a number, one radius an input, or one an entry") from error
    return _of_array(values, center, norm, given)


def _exact(value: object) -> Fraction:
    """A radius, exactly: text and numbers mean their decimals."""
    known = value if isinstance(value, str) else number_of(value)
    assert known is not None
    exact = parse_eps(known, "eps")
    if float_above(exact) == inf:
        raise UsageError("E-EPS", "the radius is beyond float64", where="eps", hint="a number >= 0 such as 0.01 or 2/255")
    return exact


def _of_list(values: Sequence[Any], center: Tensor, norm: str, axes: Known) -> tuple[Radius, str]:
    """One radius an input, or one a channel."""
    batch, shape = len(center), tuple(center.shape[1:])
    radii = tuple(_exact(value) for value in values)
    text = ",".join(map(str, values))
    if len(radii) == 1:
        return radii[0], text
    by_input = len(radii) == batch
    if norm != "linf":
        if not by_input:
            raise UsageError("E-EPS", f"{len(radii)} radii for {batch} inputs in {norm}", where="eps", hint="one radius, or one an input")
        return InstanceRadii(radii), text
    by_channel = _fits_channels(shape, radii, axes, alone=not by_input)
    if by_input and by_channel and len(set(radii)) > 1:
        raise UsageError("E-EPS", f"{len(radii)} radii are one an input as well as one a channel", where="eps",
                         hint=f"an array of shape {(batch, *(1,) * len(shape))} is one an input; "
                              "for one a channel, give another number of inputs at once")
    if by_input and not by_channel:
        return InstanceRadii(radii), text
    return radii, text


def _fits_channels(shape: tuple[int, ...], radii: tuple[Fraction, ...], axes: Known, *, alone: bool) -> bool:
    """Whether as many channels can be seen in an input. alone: no other reading is there, so that the region may say what is wrong."""
    if alone:
        return True
    try:
        return axes_of_values(shape, radii, axes, "eps") is not None
    except AbsintError:    # along two axes
        return True


def _of_array(values: Tensor, center: Tensor, norm: str, given: tuple[int, ...]) -> tuple[Radius, str]:
    """Float values, one an input or broadcast against the inputs."""
    batch, rank, shape = len(center), center.dim(), tuple(values.shape)
    plain = values.detach()
    by_input = len(shape) > 0 and shape[0] == batch and all(n == 1 for n in shape[1:])
    spread = _broadcast(values, tuple(center.shape))
    if by_input and spread is not None and len(shape) < rank and batch > 1 and bool((plain != plain.flatten()[0]).any()):
        raise UsageError("E-EPS", f"radii of shape {shape} are one an input as well as some along the last axes of an input",
                         where="eps", hint=f"give them the shape {(batch, *(1,) * (rank - 1))} for one an input, or that of the inputs")
    if by_input:
        spread = values.reshape(batch, *(1,) * (rank - 1)).expand(center.shape)
    elif spread is None and shape == given:
        spread = values.reshape(center.shape)
    if spread is None:
        raise UsageError("E-EPS", f"radii of shape {shape} do not broadcast to inputs of shape {tuple(center.shape)}", where="eps",
                         hint="a number, or one radius per entry, channel or instance")
    where = "input" if by_input else "entry"
    text = f"per {where}, at most {float(plain.max()):g}" if values.numel() else f"per {where}"
    if norm == "linf":
        return spread, text
    flat = spread.flatten(1)
    if bool((flat.detach() != flat.detach()[:, :1]).any()):
        raise UsageError("E-EPS", f"a radius per entry has no meaning in {norm}", where="eps", hint="one radius, or one per instance")
    return flat[:, 0], text


def _broadcast(values: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    try:
        return values.expand(shape)
    except RuntimeError:
        return None
