"""What float32 executions make of inputs: bounds of the watched values of every one of them, and the values of one.

Every bound here holds for the exact network on every real input of a box, and for every float32 execution, in any order of summation,
that is fed any of these inputs: an input that the model's format does not hold is rounded before the model sees it, perhaps to a number
outside of the box, and the boxes are widened by that much first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.engine.context import Context
from absint.engine.cost import within
from absint.engine.float32_executions import check_executions
from absint.engine.forward import boxes
from absint.errors import UnsupportedError, UsageError
from absint.model.graph import Graph
from absint.model.reference import runtime
from absint.model.work import work
from absint.numeric import backend
from absint.numeric.backend import Budget, default_memory, is_out_of_memory, numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, cast_down, cast_up
from absint.problem.regions.region import BoxRegion

_CPU = torch.device("cpu")
_KEPT = 6               # numbers that a box step keeps of an entry, or holds for a moment
_ON_A_CPU = 48 << 20    # bytes of a batch on a CPU: more of them leave its caches


def fed(lower: Tensor, upper: Tensor) -> BoxRegion:
    """The boxes with all that their inputs become when they are rounded to float32, up or down. lower, upper: (n, *shape) float64."""
    return BoxRegion(cast_down(lower.double(), torch.float32).double(), cast_up(upper.double(), torch.float32).double())


def check_batch(batch: int | None) -> None:
    """Raise UsageError E-BATCH for a number of inputs below 1."""
    if batch is not None and batch < 1:
        raise UsageError("E-BATCH", f"the batch size must be at least 1, not {batch}", where="--batch", hint="memory decides without it")


@dataclass(frozen=True, eq=False)
class Executions:
    """Of a graph whose outputs are the watched values, (k,). batch: inputs together, by memory if None.  memory: bytes.

    Raises UnsupportedError, UsageError E-SEMANTICS where nothing is known of the network's float32 executions, UnsupportedError E-DTYPE.
    """

    graph: Graph
    device: torch.device = _CPU
    batch: int | None = None
    memory: int | None = None
    end: float = inf

    def __post_init__(self) -> None:
        check_batch(self.batch)
        check_executions(self.graph)
        if not self.graph.fits(torch.float64):
            raise UnsupportedError("E-DTYPE", "some constants underflow or overflow in float64", where=self.graph.source.path or None)

    @property
    def numerics(self) -> Numerics:
        """Float64, executions in float32 included."""
        return Numerics(torch.float64, device=self.device, float32_semantics=True)

    @cached_property
    def budget(self) -> Budget:
        """Without what the constants take."""
        return Budget(within(self.memory or default_memory(self.device), self.graph), self.end, backend.rate(self.device))

    @cached_property
    def at_once(self) -> int:
        """Inputs that go through box steps together."""
        need = 8 * _KEPT * sum(node.size for node in self.graph.nodes)
        room = self.budget.memory if self.device.type != "cpu" else min(self.budget.memory, _ON_A_CPU)
        return max(1, min(self.batch or room // need, self.budget.memory // need, self.budget.pieces(work(self.graph))))

    def context(self, region: BoxRegion) -> Context:
        """For the engine."""
        return Context(self.graph, region, self.numerics, self.budget)

    def bounds(self, region: BoxRegion) -> tuple[Tensor, Tensor]:
        """(n, k) float64 each, on the CPU: what every execution on an input of each box lies between, by box steps.

        Infinite where an execution may overflow. Raises DeadlineError past `end`.
        """
        def one(part: Tensor) -> Tensor:
            self.budget.check()
            found: Interval = boxes(self.context(region.take(part))).known[self.graph.output.name]
            return torch.stack((found.lower, found.upper), 1).flatten(2)

        both = self._in_parts(region.batch, one)
        return both[:, 0], both[:, 1]

    def exact(self, inputs: Tensor) -> Tensor:
        """(n, k) float64 on the CPU: the values of (n, *shape) inputs, evaluated in float64: near the exact ones, no bound of them."""
        return self._in_parts(len(inputs), lambda part: self.graph(inputs[part].to(self.device).double()).flatten(1).double())

    def executed(self, inputs: Tensor) -> Tensor:
        """(n, k) float64 on the CPU: the values in one execution: onnxruntime's of the user's file, or torch's where there is none."""
        if self.graph.source.model is None:
            return self._in_parts(len(inputs), lambda part: self.graph(inputs[part].to(self.device).float()).flatten(1).double())
        reference = runtime(self.graph.source)
        array = np.asarray(inputs.double())
        return self._in_parts(len(inputs), lambda part: torch.from_numpy(reference.run(array[part.numpy()]).reshape(len(part), -1)))

    def _in_parts(self, count: int, work_on: Callable[[Tensor], Tensor]) -> Tensor:
        """What `work_on` makes of places 0 to count - 1, so many at a time; fewer where memory runs out."""
        size, done, parts = self.at_once, 0, [torch.zeros(0, self.graph.output.size, dtype=torch.float64)] if not count else []
        while done < count:
            place = torch.arange(done, min(done + size, count))
            try:
                with numeric_mode(), torch.no_grad():
                    parts.append(work_on(place).cpu())
            except Exception as error:
                if not is_out_of_memory(error) or len(place) == 1:
                    raise
                size = max(1, len(place) // 2)
                continue
            done += len(place)
        return torch.cat(parts)

    def until(self, end: float) -> Executions:
        """The same with another end, on the monotonic clock."""
        return replace(self, end=end)
