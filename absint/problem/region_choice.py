"""Which inputs around a given one are meant, as stated: eps, norm, patch, brightness and contrast."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch import Tensor

from absint.errors import UsageError
from absint.model.layout import Known, axes_of_values, named
from absint.numeric.decimal import parse_eps
from absint.problem.regions import Patches, Photometric, ball
from absint.problem.regions.region import Region, Shape

Clip = tuple[float, float] | None
Range = tuple[Fraction, Fraction]
_NORMS = ("linf", "l2", "l1")
_PATCH = re.compile(r"(\d{1,6})x(\d{1,6})(?::(\d{1,6})x(\d{1,6}))?")


@dataclass(frozen=True)
class RegionChoice:
    """The options parsed. Exactly one of the three kinds: a ball, patches, or brightness and contrast."""

    clip: Clip
    norm: str
    eps: Fraction | tuple[Fraction, ...]
    eps_text: str
    patches: Patches | None = None
    photometric: tuple[Range, Range] | None = None
    axes: Known = None

    def seen(self, axes: Known, shape: Shape) -> RegionChoice:
        """The same about inputs of that shape, whose axes are known as far as `axes`.

        Raises UsageError E-PATCH where the patch does not fit, E-LAYOUT where what is known is too little.
        """
        if self.patches is not None:
            patches = replace(self.patches, layout=axes)
            return replace(self, patches=patches, axes=patches.picture(shape))
        found = axes_of_values(shape, self.eps, axes, "--eps") if isinstance(self.eps, tuple) else None
        return replace(self, axes=found or axes)

    def around(self, inputs: Tensor) -> Region:
        """The regions around the inputs; for patches the plain inputs as balls of radius 0 (see `patches`)."""
        if self.photometric is not None:
            contrast, brightness = self.photometric
            return Photometric(inputs, contrast, brightness, self.clip)
        return ball(self.norm, inputs, Fraction(0) if self.patches is not None else self.eps, self.clip, self.axes)

    @property
    def by_axes(self) -> bool:
        """Whether it matters which axis holds the channels."""
        return self.patches is not None or isinstance(self.eps, tuple)

    @property
    def text(self) -> str:
        """What a report's column `eps` shows."""
        if self.patches is not None:
            return f"patch {self.patches.height}x{self.patches.width}"
        if self.photometric is not None:
            return " ".join(f"{name} {low}:{high}" for name, (low, high) in zip(("contrast", "brightness"), self.photometric, strict=True))
        return self.eps_text

    @property
    def property(self) -> Mapping[str, Any]:
        """What is not the default, for the header of a report and the binding of a journal."""
        if self.patches is not None:
            size = self.patches.image
            shown = {"height": self.patches.height, "width": self.patches.width, "image": None if size is None else list(size)}
            return {"norm": None, "eps": None, "region": f"every {self.text} of {named(self.axes)} images", "patch": shown}
        if self.photometric is not None:
            contrast, brightness = ([str(end) for end in ends] for ends in self.photometric)
            return {"norm": None, "eps": None, "region": self.text, "contrast": contrast, "brightness": brightness}
        return {} if self.norm == "linf" else {"norm": self.norm, "region": f"{self.norm} eps {self.eps_text}"}


def parse_region(clip: Clip, *, eps: str, norm: str = "linf", patch: str | None = None, brightness: str | None = None,
                 contrast: str | None = None) -> RegionChoice:
    """What the words mean. Raises UsageError E-EPS, E-NORM, E-PATCH, E-RANGE, or E-USAGE where two kinds are asked for."""
    radii = tuple(parse_eps(part.strip()) for part in eps.split(","))
    parsed = radii[0] if len(radii) == 1 else radii
    if norm not in _NORMS:
        raise UsageError("E-NORM", f"there is no norm '{norm}'", where="--norm", hint=", ".join(_NORMS))
    if isinstance(parsed, tuple) and norm != "linf":
        raise UsageError("E-EPS", f"a radius per channel has no meaning in {norm}", where="--eps", hint="use --norm linf")
    kinds = [name for name, given in (("--norm", norm != "linf"), ("--patch", patch is not None),
                                      ("--brightness/--contrast", brightness is not None or contrast is not None))
             if given]
    if len(kinds) > 1:
        raise UsageError("E-USAGE", f"{' and '.join(kinds)} do not go together", where=kinds[1], hint="ask for one kind of change a run")
    choice = RegionChoice(clip, norm, parsed, eps)
    if patch is not None:
        return replace(choice, patches=parse_patch(patch, clip))
    if brightness is None and contrast is None:
        return choice
    ends = (parse_around(contrast or "0", Fraction(1), "--contrast"), parse_around(brightness or "0", Fraction(0), "--brightness"))
    return replace(choice, photometric=ends)


def parse_patch(text: str, clip: Clip) -> Patches:
    """'3x3', or '3x3:28x28' with the picture's size for flat inputs. Raises UsageError E-PATCH."""
    match = _PATCH.fullmatch(text.strip())
    if match is None:
        raise UsageError("E-PATCH", f"not a patch: '{text}'", where="--patch", hint="HEIGHTxWIDTH, for example 3x3, or 3x3:28x28")
    if clip is None:
        raise UsageError("E-PATCH", "a patch takes its values from the data range, and there is none", where="--clip", hint="--clip 0,1")
    image = None if match[3] is None else (int(match[3]), int(match[4]))
    return Patches(int(match[1]), int(match[2]), clip, image)


def parse_around(text: str, middle: Fraction, where: str) -> Range:
    """'0.1' as [middle - 0.1, middle + 0.1], '0.9:1.2' as it stands; exact. Raises UsageError E-RANGE."""
    try:
        ends = [Fraction(part.strip()) for part in text.split(":")]
    except (ValueError, ZeroDivisionError):
        ends = []
    if len(ends) == 1 and ends[0] >= 0:
        ends = [middle - ends[0], middle + ends[0]]
    if len(ends) != 2 or ends[0] > ends[1] or max(abs(e) for e in ends) > Fraction(10) ** 30:
        raise UsageError("E-RANGE", f"not an interval: '{text}'", where=where, hint="a width such as 0.1, or LOW:HIGH")
    if not ends[0] <= middle <= ends[1]:
        raise UsageError("E-RANGE", f"the interval {text} leaves out the unchanged input ({middle})", where=where,
                         hint=f"give LOW:HIGH around {middle}")
    return ends[0], ends[1]
