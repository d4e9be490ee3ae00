"""Certificates of inputs: first what they are themselves, then what is proved of the balls around them, by the engine of `verify`.

Everything is asked of the graph of the watched neurons alone, so that nothing behind the last of them costs anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.analyses.radius.bisection import BisectionSettings, RadiusResult, radii_of
from absint.analyses.radius.kept import outputs_at
from absint.analyses.taboo.certificate import Outcome, TabooCertificate
from absint.analyses.taboo.claims import TrapClaim, above
from absint.analyses.taboo.traps import Trap, Traps
from absint.analyses.verify.deciding import decided
from absint.analyses.verify.settings import ProofSettings
from absint.attacks import Search, falsify
from absint.attacks.falsify import Given
from absint.errors import InternalError
from absint.model.graph import Graph
from absint.model.reference import runtime
from absint.numeric import backend
from absint.numeric.backend import Budget, default_memory, numeric_mode
from absint.numeric.decimal import exact_text
from absint.problem.problem import Problem
from absint.problem.regions import ball
from absint.problem.regions.region import BoxRegion, check_center
from absint.verdict import InstanceResult, Verdict

PART = 1024     # inputs whose regions are in memory together


@dataclass(frozen=True, eq=False)
class Certifying:
    """What is asked. trap: one of the traps, or the union of all.  graph: its watched neurons, from raw input units.

    eps: of the balls, or None where the largest radius is looked for, by `search`.  always: whether of inputs that alarm themselves it
    is asked that all around them does, too.  detector: what messages call the traps.
    """

    traps: Traps
    trap: Trap
    graph: Graph
    eps: Fraction | None
    search: BisectionSettings
    always: bool = False
    detector: str = ""

    @property
    def settings(self) -> ProofSettings:
        """Of the proofs."""
        return self.search.verify

    @property
    def clip(self) -> tuple[float, float] | None:
        """The data range."""
        return self.search.clip

    def limited(self, settings: ProofSettings) -> Certifying:
        """With other limits."""
        return replace(self, search=replace(self.search, verify=settings))


def certificates(asked: Certifying, center: Tensor, names: Sequence[int]) -> Iterator[TabooCertificate]:
    """One of each input, the moment it is known; part by part. center: (batch, *shape) float64, raw units.  names: of the inputs.

    Sound: QUIET and ALARMED where the engine proves the claim on the ball that is cut to the data range, under the semantics of the
    settings; REACHABLE with a point of the ball that is proved in exact arithmetic and replayed.
    Raises InputError E-REGION for inputs that are NaN or outside of the data range, and as `decided` and `radii_of` do.
    """
    check_center(center, asked.clip)
    end = time.monotonic() + asked.settings.total_timeout
    for part in torch.arange(len(center)).split(PART):
        yield from _Part(asked, center[part].double(), [names[k] for k in part.tolist()], end).certificates()


class _Part:
    """Some inputs. values: (n, k) of the watched neurons at the inputs themselves.  alarm: in the reference runtime.

    end: of the time for everything, on the monotonic clock.
    """

    def __init__(self, asked: Certifying, center: Tensor, names: Sequence[int], end: float = inf) -> None:
        self.asked, self.center, self.names, self.end = asked, center, list(names), end
        self.slots = {name: slot for slot, name in enumerate(self.names)}
        self.thresholds = TrapClaim(asked.trap).thresholds
        with numeric_mode():
            self.values = outputs_at(asked.graph, center)
        self.alarm = above(executed(asked.graph, center), self.thresholds).any(1).tolist()

    def certificates(self) -> Iterator[TabooCertificate]:
        """Those first whose own alarm is proved."""
        own = self._own()
        for slot, point in own.items():
            if not self.asked.always:
                yield self._reachable(slot, point)
        never = [slot for slot in range(len(self.names)) if slot not in own]
        for claim, slots in ((TrapClaim(self.asked.trap), never), (TrapClaim(self.asked.trap, alarmed=True), list(own))):
            if slots and (self.asked.always or not claim.alarmed):
                yield from self._ball(claim, slots, own) if self.asked.eps is not None else self._radii(claim, slots, own)

    def _left(self) -> Certifying:
        """What is asked, with what is left of the time."""
        settings = self.asked.settings
        return self.asked.limited(replace(settings, total_timeout=max(self.end - time.monotonic(), 1e-9)))

    # ---- the inputs themselves ---------------------------------------------------------------------------------

    def _own(self) -> dict[int, tuple[float, ...]]:
        """slot -> the input, of those that are proved to alarm themselves."""
        asked, slots = self.asked, above(self.values, self.thresholds).any(1).nonzero().flatten()
        if not len(slots):
            return {}
        device = backend.device(asked.settings.device)
        budget = Budget(asked.settings.memory or default_memory(device))
        points = self.center[slots]
        region = BoxRegion(points, points)
        with numeric_mode():
            found = falsify(asked.graph, region, TrapClaim(asked.trap).specify(slots), Given(points.to(device)), Search(device, budget))
        return {int(slots[place]): witness.point for place, witness in sorted(found.witnesses.items())}

    def _reachable(self, slot: int, point: tuple[float, ...]) -> TabooCertificate:
        eps, (tensor, entry) = self.asked.eps, self._highest(self.values[slot])
        bound = None if eps is not None else Fraction(0)
        return TabooCertificate(self.names[slot], Outcome.REACHABLE, self.alarm[slot], eps, bound, bound, tensor, entry, witness=point)

    # ---- balls -------------------------------------------------------------------------------------------------

    def _ball(self, claim: TrapClaim, slots: list[int], own: dict[int, tuple[float, ...]]) -> Iterator[TabooCertificate]:
        """Of one radius."""
        asked, eps = self.asked, self.asked.eps
        assert eps is not None
        region = ball(asked.search.norm, self.center[slots], eps, asked.clip)
        problem = Problem(asked.graph, region, claim.specify, tuple(self.names[slot] for slot in slots), eps=exact_text(eps))
        with closing(decided(problem, self._left().settings)) as found:
            for result in found:
                slot = self.slots[result.index]
                yield self._agreed(self._decided(claim, result, slot, own.get(slot)), slot)

    def _decided(self, claim: TrapClaim, result: InstanceResult, slot: int, own: tuple[float, ...] | None) -> TabooCertificate:
        made = TabooCertificate(result.index, Outcome.OPEN, self.alarm[slot], self.asked.eps, reason=result.reason, time_s=result.time_s,
                                cut=result.cut)
        proved = result.verdict is Verdict.VERIFIED
        if claim.alarmed:       # the input itself alarms, whatever else does
            tensor, entry = self._highest(self.values[slot])
            outcome, witness = (Outcome.ALARMED, None) if proved else (Outcome.REACHABLE, own)
            return replace(made, outcome=outcome, tensor=tensor, entry=entry, witness=witness)
        if proved:
            return replace(made, outcome=Outcome.QUIET)
        if result.verdict is Verdict.FALSIFIED and result.witness is not None:
            tensor, entry = self._alarming(result.witness)
            return replace(made, outcome=Outcome.REACHABLE, tensor=tensor, entry=entry, witness=result.witness)
        return made if result.disjunct is None else _at(made, self.asked.trap.neurons[result.disjunct])

    # ---- radii -------------------------------------------------------------------------------------------------

    def _radii(self, claim: TrapClaim, slots: list[int], own: dict[int, tuple[float, ...]]) -> Iterator[TabooCertificate]:
        """The largest radius of each."""
        names, search = [self.names[slot] for slot in slots], self._left().search
        found = radii_of(self.asked.graph, self.center[slots], search, claim.kept, index=names)
        with closing(found) as results:
            for result in results:
                slot = self.slots[result.index]
                yield self._agreed(self._bracketed(claim, result, slot, own), slot)

    def _bracketed(self, claim: TrapClaim, result: RadiusResult, slot: int, own: dict[int, tuple[float, ...]]) -> TabooCertificate:
        made = TabooCertificate(result.index, Outcome.OPEN, self.alarm[slot], None, result.certified, result.refuted, reason=result.reason,
                                calls=result.calls, time_s=result.time_s, witness=result.witness, cut=result.cut)
        if claim.alarmed:
            tensor, entry = self._highest(self.values[slot])
            outcome = Outcome.ALARMED if result.certified else Outcome.REACHABLE
            return replace(made, outcome=outcome, tensor=tensor, entry=entry, witness=result.witness or own[slot])
        reached = result.witness is not None
        outcome = Outcome.QUIET if result.certified else Outcome.REACHABLE if reached else Outcome.OPEN
        made = replace(made, outcome=outcome)
        return made if result.witness is None else _at(made, self._alarming(result.witness))

    def _agreed(self, made: TabooCertificate, slot: int) -> TabooCertificate:
        """The certificate. Raises E-CONTRADICTION where it denies what the runtime did at the input, as float32 holds that."""
        denied = {Outcome.QUIET: True, Outcome.ALARMED: False}.get(made.outcome)
        radius = made.certified if made.eps is None else made.eps
        if self.asked.settings.semantics != "float32" or denied is None or self.alarm[slot] is not denied or radius is None:
            return made
        x = self.center[slot]
        fed = x.float().double()
        low, high = self.asked.clip or (-inf, inf)
        if bool(((fed >= low) & (fed <= high)).all()) and float((fed - x).abs().max()) < float(radius):
            raise InternalError("E-CONTRADICTION", f"input {made.index} is proved {made.outcome.value}, the reference runtime denies it",
                                where=self.asked.graph.source.path or None, hint="an operator states too small an error: report it")
        return made

    # ---- neurons -----------------------------------------------------------------------------------------------

    def _alarming(self, point: Sequence[float]) -> tuple[str, int]:
        """The neuron furthest above its threshold at a point."""
        x = torch.tensor(point, dtype=torch.float64).reshape(1, *self.center.shape[1:])
        with numeric_mode():
            return self._highest(outputs_at(self.asked.graph, x)[0])

    def _highest(self, values: Tensor) -> tuple[str, int]:
        return self.asked.trap.neurons[int(torch.nan_to_num(values - self.thresholds, nan=inf).argmax())]


def _at(made: TabooCertificate, neuron: tuple[str, int]) -> TabooCertificate:
    return replace(made, tensor=neuron[0], entry=neuron[1])


def executed(graph: Graph, center: Tensor) -> Tensor:
    """(batch, k) float64: what the watched neurons hold in the reference runtime; of a graph without a file, in float32 of our own."""
    if graph.source.model is None:
        with numeric_mode():
            return outputs_at(graph, center.float())
    values: Any = runtime(graph.source).run(np.asarray(center.numpy()))
    return torch.from_numpy(values.reshape(len(center), -1))
