"""What an operator keeps of its constants: casts, absolute values, flags. Kept while these are the tensors that they were, no longer.

An operator's tensors may be anybody's: an optimiser's step, a loader of weights or an alias may change them in place, and bounds
by a cast of the old numbers would be wrong. So an entry holds only for the very tensors, and the versions of them, that it was made
of. torch counts a tensor's version up with every change in place, one through a view or through `detach()` too.
Nothing at all is kept
- where an operator is `live`, and of a constant that requires a gradient: every use belongs to a graph of gradients of its own;
- of tensors made in inference mode, which have no version;
- of operators that are no frozen dataclasses, and of fields that can change unseen: lists, arrays of numpy, objects of any other kind.

No version tells of a write through `tensor.data`, nor through memory shared with numpy or with another process: no library can see
one. Front ends copy what they read, so that nobody has a handle on the numbers of a graph that was loaded. Who builds operators
from tensors of their own and writes to them so must build new operators, or have them require a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor

KEPT = "_kept"   # the attribute of an operator; no field of its dataclass
_PLAIN = frozenset((int, float, bool, str, type(None)))     # of `_FIXED`, what most attributes are
_FIXED = (int, float, complex, str, bytes, Enum, Fraction, Decimal, range, torch.dtype, torch.device, type(None))
T = TypeVar("T")


# What it was made of: (name, tensor, version) of the attributes that are tensors, (tensor, version) of those inside other attributes.
Sources = tuple[tuple[tuple[str, Tensor, int], ...], tuple[tuple[Tensor, int], ...]]
Entry = tuple[Any, tuple[tuple[str, Tensor, int], ...], tuple[tuple[Tensor, int], ...]]
NOTHING: Mapping[Hashable, Entry] = MappingProxyType({})


def sources(op: Any) -> Sources | None:
    """The constants of an operator as they are at this moment, before anything is made of them; None where nothing may be kept."""
    if op.live or not _frozen(op):
        return None
    direct: list[tuple[str, Tensor]] = []
    inner: list[Tensor] = []
    for name, value in vars(op).items():
        if type(value) in _PLAIN or name == KEPT:
            continue
        if isinstance(value, Tensor):
            direct.append((name, value))
        elif not _fixed(value, inner):
            return None
    if any(t.is_inference() for _, t in direct) or any(t.is_inference() for t in inner):
        return None
    return tuple((name, t, t._version) for name, t in direct), tuple((t, t._version) for t in inner)


def of_one(made_of: Sources | None, value: Tensor) -> Sources | None:
    """The sources of what is made of `value` alone: fewer, where that is one of the constants itself."""
    if made_of is None:
        return None
    own = tuple(source for source in made_of[0] if source[1] is value)
    return (own, ()) if own else made_of


def keep(op: Any, key: Hashable, value: Any, made_of: Sources | None) -> None:
    """Keep a value unless `sources` forbade it, what it was made of requires a gradient, or it was made in inference mode."""
    if made_of is None or (isinstance(value, Tensor) and (value.requires_grad or value.is_inference())):
        return
    direct, inner = made_of
    if not any(t.requires_grad for t in (*(t for _, t, _ in direct), *(t for t, _ in inner))):
        vars(op).setdefault(KEPT, {})[key] = (value, direct, inner)


def unchanged(inner: tuple[tuple[Tensor, int], ...]) -> bool:
    """Whether tensors are of the versions that they were, and require no gradient."""
    return all(tensor._version == version and not tensor.requires_grad for tensor, version in inner)


def _frozen(value: object) -> bool:
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def _fixed(value: object, found: list[Tensor]) -> bool:
    """Whether an attribute cannot change but in its tensors, which are added to `found`."""
    if isinstance(value, Tensor):
        found.append(value)
        return True
    if isinstance(value, (tuple, frozenset)):
        return all(type(one) in _PLAIN or _fixed(one, found) for one in value)
    if isinstance(value, _FIXED):
        return True
    if not is_dataclass(value) or isinstance(value, type) or not _frozen(value) or getattr(value, "live", False):
        return False
    return all(_fixed(getattr(value, one.name), found) for one in fields(value))


def kept(function: Callable[[Any], T]) -> Callable[[Any], T]:
    """A method of an operator without arguments, such as a flag: its result is kept while the constants stay.

    The one way to remember what follows from constants; `functools.cached_property` would outlive them. Under `property`:

        @property
        @kept
        def single(self) -> bool: ...
    """

    @wraps(function)
    def remembered(self: Any) -> T:
        found: T | None = self._held(function)
        if found is None:
            made_of = sources(self)
            found = function(self)
            keep(self, function, found, made_of)
        return found

    return remembered
