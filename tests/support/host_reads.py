"""Counts where a program asks a tensor for a number, on any device: each time a device would have to finish first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What an operation's result, or its shape, cannot be known without.
READS = {
    "_local_scalar_dense", "nonzero", "is_nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "equal", "bincount",
}


class HostReads(TorchDispatchMode):
    """Within it reads are counted, by the operation: `with HostReads() as reads: ...; reads.total`.

    made: tensors made from a number of Python's, each a copy to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by: Counter[str] = Counter()
        self.made = 0

    @property
    def total(self) -> int:
        """All reads so far."""
        return self.by.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        name = func.overloadpacket.__name__
        if name in READS:
            self.by[name] += 1
        self.made += name == "lift_fresh"
        if name in ("index", "index_put_"):
            self.by["mask"] += sum(part is not None and part.dtype == torch.bool for part in args[1])
        return func(*args, **(kwargs or {}))
