"""How many instances are analysed together."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from absint.engine.domain import Traits
from absint.model.graph import Graph
from absint.model.work import work
from absint.numeric import backend
from absint.numeric.backend import Budget
from absint.numeric.rounding import Numerics

# A generator tensor of about this size stays in the last-level cache of a CPU core; measured in benchmarks/RESULTS.md.
_CACHE_BYTES = 24 << 20
# Instances that a CPU takes at least, whatever they hold: fewer cost more each, more touch more memory than they save time. And at most:
# more cost it as much each. A device takes what its memory and the clock allow.
_AT_LEAST, _ON_A_CPU = 3, 512
# Of a network that is evaluated so many times more often between two looks at the clock, calls cost more than what they compute: there
# four times the memory pays. Measured on LeNet-5 and the bundled networks: DeepPoly takes half to two thirds of the time.
_LIGHT, _MORE = 64, 4


def most_at_once(graph: Graph, device: torch.device) -> int:
    """However large the batch asked for: one evaluation of it is one step between two looks at the clock."""
    return Budget(rate=backend.rate(device)).pieces(work(graph))


def batch_size(graph: Graph, traits: Iterable[Traits], formats: Iterable[Numerics], memory: int, device: torch.device) -> int:
    """Instances at a time, at least one, for domains of these traits in these formats. memory: bytes for all of them."""
    formats = tuple(formats)
    needs = {one.bytes_of(graph, numerics) for one in traits for numerics in formats}
    need = max((one for one in needs if one <= memory), default=memory)  # what does not fit is hardly begun
    fit, most = memory // max(1, need), most_at_once(graph, device)
    if device.type == "cpu":
        held = 3 * _CACHE_BYTES // max(1, need)
        fit = min(fit, _ON_A_CPU, max(_AT_LEAST, held, min(_MORE * held, most // _LIGHT)))
    return int(max(1, min(fit, most)))
