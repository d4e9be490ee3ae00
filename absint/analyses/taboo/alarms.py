"""What traps say of watched values: the alarms of each, and how far above its threshold the worst value is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from absint.analyses.taboo.traps import Trap, Traps
from absint.model.graph import Graph
from absint.numeric.backend import numeric_mode

_CPU = torch.device("cpu")
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Alarms:
    """Of n inputs. by_trap: (n, traps) bool.  scores: (n,) float64, greatest z - T over all watched neurons, +inf for a NaN: above 0
    exactly where a trap alarms, by one neuron's own threshold.  nan: (n,) bool, a watched value is none.
    """

    by_trap: Tensor
    scores: Tensor
    nan: Tensor

    @property
    def any(self) -> Tensor:
        """(n,) bool."""
        return self.by_trap.any(1)


def alarms_of(traps: Traps, values: Tensor) -> Alarms:
    """values: (n, k) float32, of the union's neurons in turn. A difference of two float32 numbers is exact in sign in float64."""
    nan, z = values.isnan(), values.double()
    columns = []
    for place, trap in enumerate(traps.traps):
        at = list(traps.places(place))
        columns.append(((z[:, at] > limits(trap)) | nan[:, at]).any(1))
    scores = torch.where(nan, torch.inf, z - limits(traps.union)).amax(1)
    return Alarms(torch.stack(columns, 1), scores, nan.any(1))


def unsteady(traps: Traps, lower: Tensor, upper: Tensor) -> Tensor:
    """(n,) bool: float32 executions may disagree on whether any trap alarms; bounds (n, k) of the union's values in all of them."""
    edge = limits(traps.union)
    return ~((lower > edge).any(1) | (upper <= edge).all(1))


def ratios(traps: Traps, values: Tensor) -> Tensor:
    """(n,) float64, greatest z / T of all watched neurons, +inf for a NaN: above 1 exactly where a trap alarms. values: as `alarms_of`."""
    return torch.where(values.isnan(), torch.inf, values.double() / limits(traps.union)).amax(1)


def unsteady_by_trap(traps: Traps, lower: Tensor, upper: Tensor) -> Tensor:
    """(n, traps) bool: float32 executions may disagree on a trap's alarm; bounds (n, k) of the union's values in all of them."""
    alarmed, quiet = proved_by_trap(traps, lower, upper)
    return ~(alarmed | quiet)


def proved_by_trap(traps: Traps, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """(n, traps) bool each: every float32 execution alarms; none does. Bounds (n, k) of the union's values in all of them."""
    alarmed, quiet = [], []
    for number, trap in enumerate(traps.traps):
        at, edge = list(traps.places(number)), limits(trap)
        alarmed.append((lower[:, at] > edge).any(1))
        quiet.append((upper[:, at] <= edge).all(1))
    return torch.stack(alarmed, 1), torch.stack(quiet, 1)


def limits(trap: Trap) -> Tensor:
    """(k,) float64, the thresholds."""
    return torch.tensor(trap.thresholds, dtype=torch.float64)


def executed(graph: Graph, traps: Traps, inputs: Tensor, device: torch.device = _CPU) -> tuple[Tensor, Tensor]:
    """One float32 pass of the network: its scores (n, classes), and the union's values (n, k), on the CPU. inputs: (n, *shape)."""
    nodes = [(graph.find(watch.tensor).name, list(watch.entries)) for watch in traps.watches]
    scores, values = [], []
    with numeric_mode(), torch.no_grad():
        for part in inputs.split(_CHUNK):
            found = graph.evaluate(part.to(device, torch.float32), {name for name, _ in nodes})
            scores.append(found[graph.output.name].flatten(1).cpu())
            values.append(_watched(found, nodes))
    empty = torch.zeros(0)
    return (torch.cat(scores), torch.cat(values)) if scores else (empty.reshape(0, graph.output.size), empty.reshape(0, len(traps.union)))


def _watched(found: dict[str, Tensor], nodes: Sequence[tuple[str, list[int]]]) -> Tensor:
    return torch.cat([found[name].flatten(1)[:, entries] for name, entries in nodes], 1).cpu()
