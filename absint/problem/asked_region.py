"""The regions that a run is about, from what a user stated: text as on the command line, exactly; anything else as Python hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from absint.errors import InputError, UsageError
from absint.model.graph import Graph
from absint.model.layout import named
from absint.problem.dataset import Dataset
from absint.problem.live import norm_of, region_of
from absint.problem.region_choice import RegionChoice, parse_region
from absint.problem.regions.region import Region

Clip = tuple[float, float] | None


@dataclass(frozen=True)
class Stated:
    """The options, as stated. eps: None for no radius, which is an error unless something else says what changes."""

    clip: Clip
    eps: Any = None
    norm: Any = "linf"
    brightness: str | None = None
    contrast: str | None = None

    def parsed(self) -> RegionChoice | None:
        """The words parsed; None where a radius is no text. Raises UsageError E-EPS, E-NORM, E-RANGE, E-USAGE."""
        norm = norm_of(self.norm)
        changed = self.brightness is not None or self.contrast is not None
        if not changed and not isinstance(self.eps, str):
            return None
        eps = self.eps if isinstance(self.eps, str) else "0"
        return parse_region(self.clip, eps=eps, norm=norm, brightness=self.brightness, contrast=self.contrast)


@dataclass(frozen=True, eq=False)
class AskedRegion:
    """region: one for each input.  text: for people: 'linf eps 0.01'.  property: JSON-ready, for the header of a report."""

    region: Region
    text: str
    property: Mapping[str, Any]


def asked_region(graph: Graph, stated: Stated, data: Dataset | None, region: Region | None) -> AskedRegion:
    """The regions around the inputs, or the one that was given in their place.

    data: in the network's shape, its `axes` as far as they are known.
    Raises what `Stated.parsed` and `region_of` do, InputError E-DATA-SHAPE for a region of another shape.
    """
    if region is not None:
        found, _ = region_of(graph, region, stated.eps)
        return AskedRegion(found, f"{type(region).__name__} regions", {"norm": None, "eps": None, "clip": None})
    if data is None:
        raise InputError("E-DATA-NONE", "there are no inputs", where="inputs",
                         hint="give arrays, a file of data, or a Region")
    choice = stated.parsed()
    if choice is None:
        return _of_values(graph, stated, data)
    choice = choice.seen(data.axes, graph.input.shape)
    around = choice.around(torch.from_numpy(np.ascontiguousarray(data.inputs)))
    text = choice.text if choice.photometric is not None else f"{choice.norm} eps {choice.eps_text}"
    layout = {"layout": named(choice.axes)} if choice.by_axes else {}
    return AskedRegion(around, text, {"norm": "linf", "eps": choice.eps_text, **choice.property, "clip": _plain(stated.clip), **layout})


def _of_values(graph: Graph, stated: Stated, data: Dataset) -> AskedRegion:
    """Radii as numbers, lists or arrays."""
    if stated.eps is None:
        raise UsageError("E-EPS", "no radius is given", where="eps", hint="a number such as 0.01, or a Region as inputs")
    region, text = region_of(graph, torch.from_numpy(np.ascontiguousarray(data.inputs)), stated.eps, stated.norm, stated.clip, data.axes)
    norm = norm_of(stated.norm)
    shown = str(stated.eps) if isinstance(stated.eps, (int, float, Fraction)) else text
    return AskedRegion(region, f"{norm} eps {shown}", {"norm": norm, "eps": shown, "clip": _plain(stated.clip)})


def _plain(clip: Clip) -> list[float] | None:
    return None if clip is None else list(clip)
