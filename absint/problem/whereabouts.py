"""On which device numbers lie: those of one value together, and whatever a user hands over at home, in the CPU's memory."""

from __future__ import annotations

import torch
from torch import Tensor

from absint.errors import InputError

_MOST = 5           # entries that a message names
HOME = torch.device("cpu")    # the engine sends to a device what it computes there, and reads its results back


def check_together(code: str, **parts: Tensor | None) -> None:
    """Raise InputError `code` unless all parts lie on one device; None stands for a part that is not there."""
    places = {name: str(part.device) for name, part in parts.items() if part is not None}
    if len(set(places.values())) > 1:
        raise InputError(code, "parts of it lie on different devices: " + ", ".join(f"{name} on {at}" for name, at in places.items()),
                         hint="move them to one device, such as with .cpu()")


def offenders(wrong: Tensor, **values: Tensor) -> tuple[str, ...]:
    """The first of the marked entries as details of a message. wrong: (batch, *shape).  values: what stands there, by name."""
    places = wrong.nonzero().tolist()
    lines = [f"row {row} of the batch, entry {', '.join(map(str, entry)) or 'the only one'}: "
             + ", ".join(f"{name} {float(value[(row, *entry)]):.9g}" for name, value in values.items()) for row, *entry in places[:_MOST]]
    return (*lines, *([f"... {len(places) - _MOST} more"] if len(places) > _MOST else []))


def at_home(values: Tensor | None) -> Tensor | None:
    """The same numbers, with their history of gradients."""
    return None if values is None else values.to(HOME)
