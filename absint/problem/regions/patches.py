"""Patches: a rectangle of pixels is free within a range, wherever it lies. Each position is an instance of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from absint.errors import InputError, UsageError
from absint.model.layout import Axes, Known, known_from, picture_in
from absint.numeric.short_repr import short_repr
from absint.problem.regions.region import BoxRegion, Shape
from absint.problem.trusted import trusted
from absint.problem.whereabouts import check_together, offenders
from absint.verdict import Assurance, InstanceResult, Verdict


@dataclass(frozen=True, eq=False)
class Patch(BoxRegion):
    """A box whose centre is the unperturbed input, so that its prediction is the clean one. anchor: inside the box."""

    anchor: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        check_together("E-REGION", lower=self.lower, anchor=self.anchor)
        same = self.anchor.shape == self.lower.shape
        outside = (self.anchor < self.lower) | (self.anchor > self.upper) if same else torch.zeros(0, dtype=torch.bool)
        if not same or bool(outside.any()):
            raise InputError("E-REGION", "the unperturbed input lies outside the range of the patch", where="--clip",
                             details=offenders(outside, value=self.anchor), hint="give the true range with --clip")

    @property
    def center(self) -> Tensor:
        """The unperturbed inputs."""
        return self.anchor.double()

    def take(self, index: Tensor) -> Patch:
        """Instances `index`."""
        return trusted(Patch, lower=self.lower[index], upper=self.upper[index], anchor=self.anchor[index])


@dataclass(frozen=True)
class Patches:
    """All positions of a height x width rectangle in which every pixel, in all channels, takes any value of `span`.

    image: (height, width) of the picture, where the input's shape does not tell.  layout: "chw" or "hwc", or more of what is
    known of the channels (docs/regions.md); `verify_patches` asks the network, too.
    Raises UsageError E-PATCH where the rectangle is empty or no picture is found to hold it, E-LAYOUT where the channels may
    be the first axis as well as the last.
    """

    __repr__ = short_repr

    height: int
    width: int
    span: tuple[float, float] = (0.0, 1.0)
    image: tuple[int, int] | None = None
    layout: Known | str = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or not self.span[0] <= self.span[1]:
            raise UsageError("E-PATCH", f"not a patch: {self.height}x{self.width} over {self.span}", where="--patch",
                             hint="for example 3x3")

    def positions(self, shape: Shape) -> list[tuple[int, int]]:
        """(top, left) of every position, row by row."""
        rows, columns = self.picture(shape).spatial
        return [(top, left) for top in range(rows - self.height + 1) for left in range(columns - self.width + 1)]

    def of(self, center: Tensor) -> tuple[Patch, Tensor]:
        """The positions of every input (batch, *shape) as one batch, input by input, and (instances,) the input of each."""
        shape = tuple(center.shape[1:])
        picture, places = self.picture(shape), torch.tensor(self.positions(shape))
        # offsets: (places, length of the axis) from the patch's first row, and column.
        down, across = (torch.arange(size) - places[:, k, None] for k, size in enumerate(picture.spatial))
        free = ((down >= 0) & (down < self.height))[:, :, None] & ((across >= 0) & (across < self.width))[:, None, :]
        free = free.unsqueeze(picture.channels + 1).expand(len(places), *picture.view).reshape(len(places), *shape)
        owner = torch.arange(len(center)).repeat_interleave(len(places))
        mask = free.to(center.device).repeat(len(center), *(1,) * len(shape))
        anchor = center.double()[owner.to(center.device)]
        low, high = (torch.where(mask, torch.full_like(anchor, end), anchor) for end in self.span)
        return Patch(low, high, anchor), owner

    def picture(self, shape: Shape) -> Axes:
        """The picture that an input is: height and width, and the axis of its channels."""
        found = picture_in(shape, known_from(self.layout), self.image, "--patch")
        if found is None or self.height > found.spatial[0] or self.width > found.spatial[1]:
            raise UsageError("E-PATCH", f"no {self.height}x{self.width} patch in an input of shape {shape}", where="--patch",
                             hint="for flat inputs add the picture's size: 3x3:28x28")
        return found


def all_positions(results: Sequence[InstanceResult], index: int, places: Sequence[tuple[int, int]] | None = None) -> InstanceResult:
    """One result for an input from those of all its positions: verified only if every position is.

    The margin is the least. A falsified position falsifies the input. Raises InputError for no results, or too few.
    """
    if not results or (places is not None and len(places) != len(results)):
        raise InputError("E-PATCH", f"{len(results)} results for {len(places or ())} positions")
    decisive = next((k for verdict in (Verdict.MISCLASSIFIED, Verdict.FALSIFIED, Verdict.UNKNOWN, Verdict.LIKELY)
                     for k, r in enumerate(results) if r.verdict is verdict), None)
    time_s = sum(r.time_s for r in results)
    margins = [r.margin for r in results if r.margin is not None]
    least = min(margins) if len(margins) == len(results) else None
    notes = tuple(dict.fromkeys(note for r in results for note in r.notes))
    if decisive is not None:
        where = "" if places is None else f"patch at row {places[decisive][0]}, column {places[decisive][1]}"
        found = results[decisive]
        detail = "; ".join(filter(None, (where, found.detail))) if found.verdict is not Verdict.MISCLASSIFIED else found.detail
        return replace(found, index=index, margin=least, time_s=time_s, detail=detail, notes=notes)
    if any(r.verdict is not Verdict.VERIFIED for r in results):
        return replace(results[0], index=index, verdict=Verdict.UNKNOWN, margin=None, assurance=Assurance.NONE, time_s=time_s,
                       notes=notes)
    weakest = next((r for r in results if r.assurance is not Assurance.SOUND), results[0])
    detail = "; ".join(filter(None, (f"{len(results)} positions", weakest.detail)))
    return replace(weakest, index=index, margin=least, time_s=time_s, detail=detail, notes=notes)
