"""Unsound variants of windowed and of coarse zonotopes, each with the tests that must notice it: their names and arguments."""

from __future__ import annotations

from dataclasses import replace

import torch

from absint.domains import coarse
from absint.domains.coarse import Coarse
from absint.domains.generators import fresh_symbols
from absint.domains.patches import WindowedBlock
from absint.model.ops.conv import Conv
from mutants.planting import into

WINDOWED = {}
mutant = into(WINDOWED)


@mutant(("same_as_whole", "linear"))
def what_lies_beyond_the_image_goes_on(patch):
    """A convolution above a convolution reads what the first one left in its padding."""
    patch(WindowedBlock, "_cleaned", lambda self: self)


@mutant(("same_as_whole", "plain"), ("same_as_whole", "uneven"))
def windows_without_the_padding_before_them(patch):
    patch(Conv, "patch_corner", lambda self, corner: (corner - corner.new_tensor(self._reach) + 1).div(
        corner.new_tensor(self.stride), rounding_mode="floor"))


@mutant(("same_as_whole", "strided"))
def windows_that_begin_with_the_last_kernel(patch):
    """Rounded up: kernels that reach into a window from before are left out."""
    def late(self, corner):
        begin = corner.new_tensor([pad for pad, _ in self.pads])
        return (corner + begin - corner.new_tensor(self._reach) + 1).div(corner.new_tensor(self.stride), rounding_mode="floor") + 1

    patch(Conv, "patch_corner", late)


@mutant(("same_as_whole", "plain"))
def sums_of_signed_entries(patch):
    """Symbols at one place cancel in the spread."""
    spread = WindowedBlock.spread
    patch(WindowedBlock, "spread", lambda self, like: torch.maximum(
        spread(replace(self, values=self.values.clamp(min=0)), like), spread(replace(self, values=self.values.clamp(max=0)), like)))


@mutant(("same_as_whole", "plain"))
def slopes_of_another_channel(patch):
    scaled = WindowedBlock.scaled
    patch(WindowedBlock, "scaled", lambda self, slope, shape: scaled(self, slope.roll(1, 1), shape))


@mutant(("columns_shared", 4))
def tiles_that_forget_where_a_window_stands(patch):
    framed = WindowedBlock._framed
    patch(WindowedBlock, "_framed", lambda self, corner, mine: framed(replace(self, corner=corner.expand_as(self.corner)), corner, mine))


@mutant(("coarse_holds", 1.0, 6000))
def small_symbols_dropped(patch):
    """What makes no symbol is not in the remainder either."""
    def careless(radius, mask, num):
        found, left = fresh_symbols(radius, mask, num)
        return found, torch.zeros_like(left)

    patch(coarse, "fresh_symbols", careless)


@mutant(("coarse_holds", 0.001, 12))
def boxes_without_their_width(patch):
    """Instances of too many symbols lose these."""
    original = Coarse._reduced

    def emptied(self, node, zono, ctx):
        found = original(self, node, zono, ctx)
        return found if found is zono else replace(found, rest=zono.rest)

    patch(Coarse, "_reduced", emptied)
