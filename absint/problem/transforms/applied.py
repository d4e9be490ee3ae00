"""A transform by its name, and how it is applied: what comes back is checked, whoever wrote it."""

from __future__ import annotations

import difflib
import re
from dataclasses import Field, dataclass, fields, is_dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from absint.errors import AbsintError, PluginError, UsageError
from absint.model.layout import Known
from absint.model.op import Shape
from absint.problem.transforms.interface import TRANSFORMS, Frame, Transform

_NUMBERED = re.compile(r"(.*?[^0-9])([0-9]{1,9})")


@dataclass(frozen=True)
class Applied:
    """A transform with what it is told of the inputs. Calling it gives no gradient. name: as the user wrote it."""

    name: str
    transform: Transform
    frame: Frame

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, *shape), of x's device and format, in the data range.

        Raises PluginError E-PLUGIN-RAISED, E-TRANSFORM-SHAPE (another shape, or no tensor of numbers), E-TRANSFORM-VALUES (NaN, or
        beyond the data range); the transform's own coded errors go through.
        """
        try:
            with torch.no_grad():
                # A copy for strangers: what they write into it must not reach the caller's samples.
                found = self.transform(x.detach() if self.transform.safe else x.detach().clone(), self.frame)
        except AbsintError:
            raise
        except Exception as error:  # a stranger's code: whatever it raises becomes one coded message
            raise _fault("E-PLUGIN-RAISED", self.name, f"the transform raised {type(error).__name__}: {error}",
                         "--debug shows the traceback") from error
        if not isinstance(found, Tensor) or found.is_complex() or found.dtype == torch.bool:
            raise _fault("E-TRANSFORM-SHAPE", self.name, f"the transform returned {_described(found)}", "return a tensor of numbers")
        if found.shape != x.shape:
            raise _fault("E-TRANSFORM-SHAPE", self.name, f"the transform made {tuple(found.shape)} of {tuple(x.shape)}",
                         "a transform keeps the shape of the batch; what changes it belongs into the network")
        found = found.detach().to(x.device, x.dtype)
        if not self.transform.safe:
            self._look(found)
        return found

    def _look(self, found: Tensor) -> None:
        low, high = self.frame.low, self.frame.high
        slack = 4 * torch.finfo(found.dtype).eps * max(abs(low), abs(high))
        wrong = ~((found >= low - slack) & (found <= high + slack))        # NaN is in no range
        if bool(wrong.any()):
            value = float(found[wrong][0])
            count = f"{int(wrong.sum())} of {found.numel()} numbers are not in the data range {low:g} to {high:g}"
            raise _fault("E-TRANSFORM-VALUES", self.name, f"the transform returned {value:g}: {count}",
                         "clamp what it returns, or correct --clip")


def transform_of(choice: object, clip: tuple[float, float] | None, shape: Shape, axes: Known = None) -> Applied:
    """What `--transform` names, for inputs of that shape in the data range `clip`.

    choice: bits3, jpeg75, png; NAME, NAME:option=value,... or NAME and a whole number of a plug-in; or a Transform.
    axes: of the network's input, where known. Raises UsageError E-TRANSFORM-UNKNOWN, -OPTION, -CLIP and what the transform's `check`
    raises; PluginError where a plug-in cannot be made.
    """
    transform = choice if isinstance(choice, Transform) else _named(choice)
    name = choice if isinstance(choice, str) else type(choice).__name__
    if clip is None or not (isfinite(clip[0]) and isfinite(clip[1]) and clip[0] < clip[1]):
        said = "there is no data range" if clip is None else f"the data range {clip[0]:g} to {clip[1]:g} is a point"
        raise UsageError("E-TRANSFORM-CLIP", f"{said}, whose ends a transform takes for 0 and 255", where="--transform",
                         hint="--clip 0,1 says where the data lies")
    frame = Frame(tuple(shape), float(clip[0]), float(clip[1]), axes)
    try:
        transform.check(frame)
    except AbsintError:
        raise
    except Exception as error:
        raise _fault("E-PLUGIN-RAISED", name, f"the transform's check raised {type(error).__name__}: {error}",
                     "--debug shows the traceback") from error
    return Applied(name, transform, frame)


def _named(choice: object) -> Transform:
    if not isinstance(choice, str):
        raise UsageError("E-TRANSFORM-UNKNOWN", f"an object of type {type(choice).__name__} is no transform", where="transform",
                         hint="a name such as 'bits3', or an instance of a Transform")
    stem, colon, rest = choice.partition(":")
    name, number = _split(stem)
    made: Any = TRANSFORMS.get(name)
    known: dict[str, Field[Any]] = {f.name: f for f in fields(made) if f.init} if is_dataclass(made) else {}
    items = [item.strip().partition("=")[::2] for item in rest.split(",")] if colon else []
    if number is not None:
        if not known:
            raise _option(choice, f"transform '{name}' takes no number", "leave the number away")
        items.insert(0, (next(iter(known)), number))
    values: dict[str, Any] = {}
    for key, text in items:
        if key not in known or key in values:
            said = f"names '{key}' twice" if key in values else f"has no option '{key}'"
            raise _option(choice, f"transform '{name}' {said}", f"known: {', '.join(known) or 'none'}")
        values[key] = _value(choice, key, text, known[key].default)
    try:
        transform = made(**values)
    except AbsintError:
        raise
    except Exception as error:  # a stranger's code, or a class that leaves a method abstract
        raise _fault("E-PLUGIN-RAISED", name, f"the transform could not be made: {type(error).__name__}: {error}",
                     "docs/extending.md shows a complete one") from error
    if not isinstance(transform, Transform):
        raise _fault("E-PLUGIN-CONTRACT", name, f"what is registered as a transform makes {_described(transform)}",
                     "inherit from absint.problem.transforms.Transform")
    return transform


def _split(stem: str) -> tuple[str, str | None]:
    """The registered name, and the whole number behind it; a name that is registered as it stands comes first."""
    if stem in TRANSFORMS:
        return stem, None
    numbered = _NUMBERED.fullmatch(stem)
    if numbered is not None and numbered[1] in TRANSFORMS:
        return numbered[1], numbered[2]
    names = TRANSFORMS.names()
    plain = numbered[1] if numbered is not None else stem
    near = difflib.get_close_matches(plain.lower(), names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise UsageError("E-TRANSFORM-UNKNOWN", f"there is no transform '{stem}'", where="--transform",
                     hint=f"{hint}known: {', '.join(names)}; a whole number may follow, such as bits3")


def _value(choice: str, key: str, text: str, default: object) -> Any:
    """The text of an option in the type of its default."""
    try:
        if isinstance(default, bool):
            return {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float) and not isfinite(float(text)):
            raise ValueError(text)
        return float(text) if isinstance(default, float) else text
    except (KeyError, ValueError) as error:
        kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a finite number")
        raise _option(choice, f"'{text}' is no {key}", f"{kind}, such as {default}") from error


def _option(choice: str, what: str, hint: str) -> UsageError:
    return UsageError("E-TRANSFORM-OPTION", what, where=f"--transform {choice}", hint=hint)


def _fault(code: str, name: str, what: str, hint: str) -> PluginError:
    return PluginError(code, what, where=f"--transform {name}", hint=hint)


def _described(found: object) -> str:
    return f"a tensor of {str(found.dtype).removeprefix('torch.')}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
