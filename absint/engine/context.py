"""What an analysis carries along: the context of one batch, and rows, the linear functionals asked of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from absint.engine.recorder import Recorder
from absint.model.graph import Graph
from absint.numeric.backend import Budget, trusted
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import Region
from absint.problem.spec import Spec

_NOTES, _HURRIED = "notes", "hurried"


@dataclass(frozen=True, eq=False)
class Context:
    """One batch under analysis. Immutable: `learn` and `take` return new contexts.

    known: proved bounds per node, in the vector format; the engine keeps it total on the nodes it has visited.
    assumed: bounds of a case split, kept apart from what is proved; the engine meets them in.
    reference: per node a float64 trajectory (batch, *shape) near the image of the region's centre; backward rows are
    relative to it. It is a number, not a proof: its own evaluation error is bounded in `drift`.
    drift: per node |reference - exact op of the inputs' references|, bounded entry by entry.
    noise: per node what a float32 execution may add; empty unless numerics.float32_semantics.
    slopes: free slopes of an optimiser, (batch, *shape) in [0, 1].
    row_slopes: (R, *shape), a slope of its own for each of the R rows of one substitution, in their order; beats `slopes`
    there. Relaxations see them as the slopes of R instances. `take` drops them: they belong to rows, not to instances.
    inner_slopes: whether free slopes are optimised for rows of inner nodes, too, or for those of the output alone.
    memo: what substitutions on this very context compute once; a cache, checked against every field it depends on.
    recorder: who is told what verdicts rest on, or None. `take` drops it, as whoever takes instances may go on to narrow them.
    """

    graph: Graph
    region: Region
    numerics: Numerics
    budget: Budget = Budget()
    target: Spec | None = None
    known: Mapping[str, Interval] = field(default_factory=dict)
    assumed: Mapping[str, Interval] = field(default_factory=dict)
    reference: Mapping[str, Tensor] = field(default_factory=dict)
    drift: Mapping[str, Tensor] = field(default_factory=dict)
    noise: Mapping[str, Tensor] = field(default_factory=dict)
    slopes: Mapping[str, Tensor] = field(default_factory=dict)
    row_slopes: Mapping[str, Tensor] = field(default_factory=dict)
    inner_slopes: bool = True
    memo: dict[object, object] = field(default_factory=dict, repr=False)
    recorder: Recorder | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """No bound is computed on a device that did not pass its probe."""
        trusted(self.numerics.device)

    @property
    def recording(self) -> Recorder | None:
        """The recorder where what is proved here holds for all of its regions: not under assumptions, nor over any other region."""
        recorder = self.recorder
        return recorder if recorder is not None and not self.assumed and recorder.region is self.region else None

    def note(self, text: str, instance: int | None = None) -> None:
        """Tell the user something of one instance, or of all: it is kept with what this walk computes once."""
        kept = self.memo.setdefault(_NOTES, [])
        assert isinstance(kept, list)
        kept.extend((slot, text) for slot in (range(self.batch) if instance is None else (instance,)))

    def cut_short(self, text: str) -> None:
        """Note, once a walk, what there was no time for."""
        if not self.hurried:
            self.memo[_HURRIED] = True
            self.note(text)

    @property
    def hurried(self) -> bool:
        """Whether time cut this walk short."""
        return _HURRIED in self.memo

    @property
    def notes(self) -> tuple[tuple[int, str], ...]:
        """(instance, text) of what was noted in this walk, each once."""
        kept = self.memo.get(_NOTES, [])
        assert isinstance(kept, list)
        return tuple(dict.fromkeys(kept))

    @property
    def batch(self) -> int:
        """Number of instances."""
        return self.region.batch

    def met(self, node: str, interval: Interval) -> Interval:
        """`interval` met with what is known of the node."""
        present = self.known.get(node)
        return interval if present is None or present is interval else present.meet(interval)

    def learn(self, node: str, interval: Interval) -> Context:
        """A context that also knows `interval`."""
        return replace(self, known={**self.known, node: self.met(node, interval)})

    def take(self, index: Tensor) -> Context:
        """Instances `index`, repeats allowed: `ctx.take(rows.instance)` makes every row its own instance."""

        def pick(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[index] for name, value in values.items()}

        return replace(
            self, region=self.region.take(index), target=None if self.target is None else self.target.take(index),
            known={k: v.take(index) for k, v in self.known.items()},
            assumed={k: v.take(index) for k, v in self.assumed.items()},
            reference=pick(self.reference), drift=pick(self.drift), noise=pick(self.noise), slopes=pick(self.slopes),
            row_slopes={}, memo={}, recorder=None,
        )

    def inputs(self, names: tuple[str, ...]) -> tuple[Interval, ...]:
        """Known bounds of nodes, non-empty stand-ins where a split is void."""
        found = [self.known[name] for name in names]
        return tuple(interval if interval.proper else interval.filled for interval in found)

    def spread(self, name: str) -> Tensor:
        """(batch, *shape): bound on |x - reference| at a node, rounded up; in the vector format."""
        known, reference, num = self.known[name].filled, self.reference[name], self.numerics
        # Not the number next to 0, which is subnormal: products with these cost many times others.
        return num.up(torch.maximum(known.upper - reference, reference - known.lower)).clamp(min=num.vector_least)

    @property
    def empty(self) -> Tensor:
        """(batch,) bool: some known bound of the instance is void, so that no input satisfies what was assumed."""
        flags = [interval.empty for interval in self.known.values() if not interval.proper]
        if not flags:
            return torch.zeros(self.batch, dtype=torch.bool, device=self.numerics.device)
        return torch.stack(flags).any(0)
