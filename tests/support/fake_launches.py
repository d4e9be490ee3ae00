"""What one operation costs on a CUDA card: an estimate of its kernels, and how often the host waits for the card.

The figures follow torch's CUDA back end without cuDNN (the numeric mode switches it off). They compare one version of our
code with another; they are no prediction of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Cost(NamedTuple):
    """kernels: launched.  syncs: times that the host waits until the card has caught up."""

    kernels: int = 0
    syncs: int = 0


# No kernel: only a description of memory, or memory that nothing is written to.
_FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "alias", "lift_fresh", "resize_", "set_",
         "_reshape_alias", "_local_scalar_dense"}
_KERNELS = {"nonzero": 5, "_unique2": 8, "unique_dim": 8, "unique_consecutive": 6, "bincount": 6, "sort": 6, "argsort": 6, "topk": 3,
            "cumsum": 2, "constant_pad_nd": 2, "masked_select": 6, "equal": 3, "repeat_interleave": 4, "repeat": 2, "index_add": 2,
            "scatter": 2, "scatter_add": 2, "scatter_reduce": 3}
# The size of the result, or a number that the host asks for, lies on the card.
_SYNCS = {"nonzero": 1, "_unique2": 1, "unique_dim": 1, "unique_consecutive": 1, "bincount": 2, "masked_select": 1, "equal": 1,
          "repeat_interleave": 1, "multinomial": 1, "_local_scalar_dense": 1}
_UNTAGGED = ("masked_fill", "masked_fill_", "where", "fill_")    # elementwise all the same
_NO_SCALARS = ("clamp", "clamp_")                                # elementwise, and yet no operand of the CPU is taken
_INDEXED = ("index", "index_put", "_index_put_impl", "_unsafe_index", "_unsafe_index_put")


@dataclass(frozen=True)
class Operation:
    """What is known of an operation of torch's. name: 'add_'.  base: without the underscore that says in place.

    view: whether it only describes memory anew.  aliases: whether its result shares memory with an argument, or is one.
    mutable: whether it writes to one.  elementwise: CUDA takes numbers of the CPU for operands, where these have no axes.
    """

    name: str
    base: str
    view: bool
    aliases: bool
    mutable: bool
    elementwise: bool

    @staticmethod
    @cache
    def of(func: Any) -> Operation:
        """`func` as a dispatch mode is given it."""
        name, schema = func.overloadpacket.__name__, func._schema
        shared = [one.alias_info for one in schema.returns if one.alias_info is not None]
        return Operation(
            name, name if name in _FREE else name.rstrip("_"), bool(shared) and not shared[0].is_write, bool(shared), schema.is_mutable,
            (torch.Tag.pointwise in func.tags or name in _UNTAGGED) and name not in _NO_SCALARS)

    def cost(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], crossings: int) -> Cost:
        """crossings: copies between host and card that it makes, each of which waits."""
        base = self.base
        if base in ("_to_copy", "copy") and crossings:
            return Cost(0, crossings)
        if self.view or base in _FREE:
            return Cost(0, _SYNCS.get(base, 0) + crossings)
        if base in _INDEXED:
            kernels, syncs = _indexed(base, args)
            return Cost(kernels, syncs + crossings)
        if base in ("convolution", "convolution_backward"):
            return Cost(_convolution(base, args))
        known_size = kwargs.get("output_size") is not None
        return Cost(_KERNELS.get(base, 1), (0 if known_size else _SYNCS.get(base, 0)) + crossings)


def _indexed(base: str, args: tuple[Any, ...]) -> Cost:
    """A mask is turned into indices, whose number the host must know; a number of the host's is filled in under a mask."""
    masks = sum(isinstance(one, Tensor) and one.dtype == torch.bool and one.device.type != "cpu" for one in args[1])
    filled = base != "index" and masks == 1 and args[2].dim() == 0 and getattr(args[2], "literal", True)
    return Cost(1, 0) if filled or not masks else Cost(1 + 5 * masks, masks)


def _convolution(base: str, args: tuple[Any, ...]) -> int:
    """Without cuDNN: a loop over the batch, of one product each, and one gathering of columns unless the kernel is 1 x 1."""
    forward = base == "convolution"
    x, weight = (args[0], args[1]) if forward else (args[1], args[2])
    stride, _, _, transposed, _, groups = args[3:9] if forward else args[4:10]
    if not transposed and groups > 1 and groups == x.shape[1] and weight.dim() == 4:
        return 1                                           # a kernel of its own for depthwise convolutions
    plain = not transposed and prod(weight.shape[2:]) == 1 and prod(stride) == 1
    wanted = 1 if forward else max(1, sum(args[10][:2]))    # the gradients of the input and of the weight
    return int(groups * (1 + wanted * (1 if plain else 2) * len(x)) + (groups > 1))
