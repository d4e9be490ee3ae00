"""What a trap sees of inputs: one forward pass in float32 gives the class and the values of the watched neurons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from absint.analyses.taboo.alarms import Alarms, alarms_of, limits
from absint.analyses.taboo.executions import check_batch
from absint.analyses.taboo.traps import Traps
from absint.engine.batch_size import most_at_once
from absint.engine.cost import within
from absint.errors import ResourceError
from absint.model.graph import Graph
from absint.numeric.backend import Budget, default_memory, is_out_of_memory, numeric_mode, rate

_CPU = torch.device("cpu")
_ON_A_CPU = 128     # inputs that a CPU evaluates at a time: more leave its caches


@dataclass(frozen=True, eq=False)
class Seen:
    """Of n inputs, on the CPU. outputs: (n, classes) float32.  values: (n, k) float32, of the union's neurons in their order."""

    traps: Traps
    outputs: Tensor
    values: Tensor

    @property
    def predicted(self) -> Tensor:
        """(n,) int64 classes."""
        return self.outputs.argmax(1)

    @cached_property
    def alarms(self) -> Alarms:
        """By trap, with the NaN among the watched values."""
        return alarms_of(self.traps, self.values)

    def firing(self) -> list[int | None]:
        """For each input the place of the union's neuron that is furthest above its threshold; None without an alarm."""
        above = torch.nan_to_num(self.values.double() - limits(self.traps.union), nan=inf)
        places = above.argmax(1).tolist()
        return [place if fires else None for place, fires in zip(places, self.alarms.any.tolist(), strict=True)]


@dataclass(frozen=True, eq=False)
class Observer:
    """A network under watch: no forward pass but its own, no parameters but the thresholds.

    graph: as traps are bound to it.  device: where it computes.  memory: bytes.  batch: inputs at a time; None for what fits.
    Raises InputError E-TABOO-MODEL for traps of another network.
    """

    graph: Graph
    traps: Traps
    device: torch.device = _CPU
    memory: int | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        check_batch(self.batch)
        self.traps.check(self.graph)

    def seen(self, inputs: Tensor, end: float = inf) -> Seen:
        """All of them. inputs: (n, *shape), raw units, rounded to float32. Raises ResourceError E-TIMEOUT past `end` (monotonic clock)."""
        parts = []
        for part, found in self.parts(inputs, end):
            parts.append(found)
            if part.stop == len(inputs):
                break
        else:
            if len(inputs):
                raise ResourceError("E-TIMEOUT", "the time was over before all inputs were seen", hint="give --total-timeout more seconds")
        outputs = torch.cat([torch.zeros(0, self.graph.output.size), *(one.outputs for one in parts)])
        return Seen(self.traps, outputs, torch.cat([torch.zeros(0, len(self.traps.union)), *(one.values for one in parts)]))

    def parts(self, inputs: Tensor, end: float = inf) -> Iterator[tuple[slice, Seen]]:
        """So many at a time, each as soon as it is known, until the time is over; fewer where memory runs out."""
        size, done = self._at_once, 0
        while done < len(inputs) and time.monotonic() < end:
            part = slice(done, min(done + size, len(inputs)))
            try:
                found = self._seen(inputs[part])
            except Exception as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
                size = max(1, (part.stop - part.start) // 2)
                continue
            yield part, found
            done = part.stop

    def _seen(self, inputs: Tensor) -> Seen:
        with numeric_mode(), torch.no_grad():
            found = self.graph.evaluate(inputs.to(self.device).float(), self._nodes)
            pairs = zip(self._nodes, self._places, strict=True)
            picked = [found[node].flatten(1).float()[:, places.to(self.device)] for node, places in pairs]
            outputs = found[self.graph.output.name].flatten(1).float()
        return Seen(self.traps, outputs.cpu(), torch.cat(picked, 1).cpu())

    @cached_property
    def _nodes(self) -> list[str]:
        return [self.graph.find(watch.tensor).name for watch in self.traps.watches]

    @cached_property
    def _places(self) -> list[Tensor]:
        return [torch.tensor(watch.entries) for watch in self.traps.watches]

    @cached_property
    def _at_once(self) -> int:
        memory = within(self.memory or default_memory(self.device), self.graph)
        need = 4 * 2 * (sum(node.size for node in self.graph.nodes) + 2 * self.graph.input.size)
        fit = min(Budget(memory, rate=rate(self.device)).rows(need), most_at_once(self.graph, self.device))
        fit = min(fit, _ON_A_CPU) if self.device.type == "cpu" else fit
        return min(fit, self.batch or fit)
