"""What an analysis takes: costs that domains estimate, and the memory that elements hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass

from torch import Tensor

from absint.model.graph import Graph

# Bytes that constants take, in terms of those in float64: the network's own, float32 ones, and both without their signs.
_FORMATS = 3


@dataclass(frozen=True)
class Cost:
    """Of one instance. memory: bytes at its worst node.  products: multiplications."""

    memory: float
    products: float

    def plus(self, other: Cost) -> Cost:
        """Of both, kept at the same time."""
        return Cost(self.memory + other.memory, self.products + other.products)


def within(memory: int, graph: Graph) -> int:
    """Of so many bytes, what an analysis of the graph may use: not what its constants take, in two formats and as absolute values."""
    return max(memory // 4, memory - _FORMATS * held_bytes([node.op for node in graph.nodes]))


def held_bytes(value: object) -> int:
    """Bytes of the tensors in mappings, tuples and dataclasses, those that share their memory counted once."""
    found: dict[int, int] = {}
    _collect(value, found)
    return sum(found.values())


def _collect(value: object, found: dict[int, int]) -> None:
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        found[storage._cdata] = storage.nbytes()
    elif isinstance(value, Mapping):
        for one in value.values():
            _collect(one, found)
    elif isinstance(value, (tuple, list)):
        for one in value:
            _collect(one, found)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):  # not what it caches: that may be itself
            if field.name in getattr(value, "__dict__", (field.name,)):     # nor what it would compute when asked
                _collect(getattr(value, field.name), found)
