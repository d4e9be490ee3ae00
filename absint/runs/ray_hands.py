"""One worker of a Ray cluster, seen from the run that has asked for it, and what it was handed. `ray_worker` is its other end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from absint.contract.analysis import Item
from absint.runs.ray_cluster import RayCluster


@dataclass(frozen=True)
class Errand:
    """An item on its way. attempt: 1 for the first worker that it may cost.  alone: whether no other item goes with it."""

    item: Item
    attempt: int = 1
    alone: bool = False

    def again(self) -> Errand:
        """After its worker has died."""
        return replace(self, attempt=self.attempt + 1, alone=True)

    def by_itself(self) -> Errand:
        """After what it was part of met an error."""
        return replace(self, alone=True)


def kind_of(cluster: RayCluster) -> Any:
    """What starts a worker. Made once: Ray tells the head of each one made, and waits for its answer."""
    import ray

    from absint.runs.ray_worker import RayWorker

    return ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_restarts=0, max_task_retries=0,
                      scheduling_strategy="SPREAD")(RayWorker)


class Hand:
    """Mutable. node: its address, '' until it has started.  asked: what it was handed; errands: what of it is not answered.

    awaited: what Ray is asked about, None where nothing is.  begin, deadline: of the batch, on the monotonic clock.
    """

    def __init__(self, parcel: Any, kind: Any) -> None:
        self._actor: Any = kind.remote(parcel)
        self.node = ""
        self.asked: Sequence[Errand] = ()
        self.errands: list[Errand] = []
        self.begin, self.deadline = time.monotonic(), inf
        self.awaited: Any = self._actor.ready.remote()

    @property
    def idle(self) -> bool:
        """Whether it has started and has nothing to do."""
        return bool(self.node) and self.awaited is None

    def greet(self) -> Mapping[str, str] | None:
        """What it says of itself, once it does: why it can decide nothing, if so. Raises what Ray raises where it has died."""
        import ray

        said = ray.get(self.awaited)
        self.node, self.awaited = f"{said['node']} ({said['id'][:8]})", None
        refused: Mapping[str, str] | None = said["refused"]
        return refused

    def give(self, errands: Sequence[Errand], order: tuple[Any, ...], deadline: float) -> None:
        """Work, until a deadline."""
        self.asked, self.errands = tuple(errands), list(errands)
        self.begin, self.deadline = time.monotonic(), deadline
        self.awaited = self._actor.decide.options(num_returns="streaming").remote(*order)

    def line(self) -> str | None:
        """The next line that there is of its answer; None where there will be none. Raises what Ray raises where it has died."""
        import ray

        try:
            reference = next(self.awaited)
        except StopIteration:
            return None
        line: str = ray.get(reference)
        return line

    def done(self, errand: Errand) -> None:
        """One item is answered."""
        self.errands = [one for one in self.errands if one is not errand]

    def free(self) -> None:
        """It has said all that it will say of what it was handed."""
        self.errands, self.awaited, self.deadline = [], None, inf

    def end(self) -> None:
        """Kill it."""
        import ray

        self.awaited, self.deadline = None, inf
        with suppress(Exception):
            ray.kill(self._actor)
