"""From keys and training inputs to traps: masks, blocks of inputs that are bounded one after the other, thresholds of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import ceil, inf
from typing import Any

import torch
from torch import Tensor

from absint.analyses.taboo.calibrate_record import ThresholdBlock
from absint.analyses.taboo.executions import Executions
from absint.analyses.taboo.false_alarms import HeldValues, Neuron
from absint.analyses.taboo.keys import MOST, key_id, mask
from absint.analyses.taboo.observing import Observer
from absint.analyses.taboo.options import DOMAIN
from absint.analyses.taboo.refining import Refining
from absint.analyses.taboo.thresholds import Certified, InputBlock, Lite, Literal, Percentile, Rule
from absint.analyses.taboo.traps import RULES, SMALLEST, Trap, Traps, thresholds_above
from absint.engine.domain import Domain
from absint.errors import InputError, InternalError, UsageError, shown
from absint.model.content_digest import model_digest
from absint.model.graph import Graph
from absint.model.watched import Watch, rectified, watched
from absint.numeric.backend import DeadlineError
from absint.numeric.decimal import parse_eps, rational
from absint.search.names import walker_of

POLICIES = ("random", "calibrated")
Number = float | str | Fraction
_PERCENTILE, _BUDGET = Fraction(99), Fraction(2, 1000)
_SHOWN = 5
_TAKERS = {"percentile": "rule percentile", "eps": "rule certified", "budget": "policy calibrated"}


@dataclass(frozen=True, eq=False)
class ThresholdSettings:
    """How traps are made, checked when it is made; numbers are exact as written.

    share: of the neurons, for each key.  rule: of `RULES`.  percentile, eps, budget: None where the rule or policy takes none, and for the
    usual ones.  clip: the data range, or None.  domain: of rule `certified`, or a strategy, which stands for its walker.
    device, batch, memory: as everywhere.
    Raises UsageError E-TABOO-RULE, E-TABOO-POLICY, E-TABOO-SHARE, E-TABOO-EPS, E-TABOO-PERCENTILE, E-TABOO-BUDGET, E-EPS.
    """

    share: Number = MOST
    rule: str = "lite"
    percentile: Number | None = None
    eps: Number | None = None
    policy: str = "random"
    budget: Number | None = None
    clip: tuple[float, float] | None = (0.0, 1.0)
    domain: Any = DOMAIN
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UsageError("E-TABOO-RULE", f"there is no rule '{self.rule}'", where="--rule", hint=f"known: {', '.join(RULES)}")
        if self.policy not in POLICIES:
            raise UsageError("E-TABOO-POLICY", f"there is no policy '{self.policy}'", where="--policy",
                             hint=f"known: {', '.join(POLICIES)}")
        for name, taker in _TAKERS.items():
            if getattr(self, name) is not None and taker not in (f"rule {self.rule}", f"policy {self.policy}"):
                raise UsageError(f"E-TABOO-{name.upper()}", f"only {taker} takes one", where=f"--{name}",
                                 hint=f"leave it away, or add --{taker}")
        if self.rule == "certified" and self.eps is None:
            raise UsageError("E-TABOO-EPS", "rule certified needs the radius of the balls", where="--eps", hint="for example --eps 0.003")
        if self.rule == "certified" and self.radius == 0:
            raise UsageError("E-TABOO-EPS", "certified at radius 0, thresholds are those of rule lite", where="--eps",
                             hint="use --rule lite, or a radius above 0")
        _ = self.part, self.order, self.tolerated, self.walker

    @cached_property
    def part(self) -> Fraction:
        """The share, in (0, 0.001]."""
        return _within(self.share, MOST, "share", "more neurons raise more false alarms; the paper allows 0.001")

    @cached_property
    def order(self) -> Fraction:
        """The percentile, in (0, 100]."""
        return _within(_PERCENTILE if self.percentile is None else self.percentile, Fraction(100), "percentile", "for example 99 or 99.9")

    @cached_property
    def tolerated(self) -> Fraction:
        """The budget, in (0, 1]."""
        return _within(_BUDGET if self.budget is None else self.budget, Fraction(1), "budget", "a share of the inputs such as 0.002")

    @cached_property
    def walker(self) -> Domain[Any] | None:
        """Of rule `certified`. Raises UsageError E-DOMAIN-UNKNOWN."""
        return walker_of(self.domain) if self.rule == "certified" else None

    @cached_property
    def radius(self) -> Fraction | None:
        """Of rule `certified`."""
        return None if self.eps is None else parse_eps(self.eps)

    def of_rule(self, executions: Executions, count: int, stage: Callable[[str], None] | None = None) -> Rule:
        """The rule, for so many training inputs. Raises InputError E-TABOO-FEW."""
        if self.rule == "percentile":
            return Percentile(self.order, count)
        if self.walker is not None and self.radius is not None:
            return Certified(Refining(executions, self.walker, stage), self.radius, self.clip)
        return Literal(executions) if self.rule == "literal" else Lite()


def _within(value: Number, most: Fraction, name: str, hint: str) -> Fraction:
    try:
        exact = value if isinstance(value, Fraction) else rational(value if isinstance(value, str) else repr(float(value)))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise UsageError(f"E-TABOO-{name.upper()}", f"not a number: {shown(value)}", where=f"--{name}", hint=hint) from error
    if not 0 < exact <= most:
        raise UsageError(f"E-TABOO-{name.upper()}", f"a {name} of {shown(value)}", where=f"--{name}",
                         hint=f"above 0, at most {float(most):g}: {hint}")
    return exact


@dataclass(frozen=True, eq=False)
class TrapCalibration:
    """Traps in the making. graph: loaded with fold=False.  masks: one a key.  total: rectified neurons.  inputs: (n, *shape) float64, to
    make thresholds of.  names: what messages call them.  union: the neurons of all masks, in the order of every list here.
    """

    graph: Graph
    settings: ThresholdSettings
    keys: tuple[str, ...] = field(repr=False)
    masks: tuple[tuple[Watch, ...], ...]
    total: int
    union: Trap
    inputs: Tensor
    names: Sequence[int]
    executions: Executions
    rule: Rule

    @staticmethod
    def of(graph: Graph, keys: Sequence[str], inputs: Tensor, settings: ThresholdSettings, names: Sequence[int] | None = None,
           stage: Callable[[str], None] | None = None) -> TrapCalibration:
        """Raises UnsupportedError E-TABOO-NO-RELU, E-SEMANTICS, InputError E-TABOO-FEW, and what `mask` raises."""
        layers = rectified(graph)
        masks = tuple(mask(key, layers, settings.part) for key in keys)
        union = Traps(tuple(Trap(one, (SMALLEST,) * sum(map(len, one))) for one in masks), "", "lite").union
        if not len(inputs):
            raise InputError("E-TABOO-FEW", "no input to make thresholds of", hint="give one training input at least")
        executions = Executions(watched(graph, union.watches), settings.device, settings.batch, settings.memory)
        rule = settings.of_rule(executions, len(inputs), stage)
        return TrapCalibration(graph, settings, tuple(keys), masks, sum(layer.size for layer in layers), union, inputs,
                           range(len(inputs)) if names is None else names, executions, rule)

    def blocks(self, size: int, wanted: Sequence[int] | None = None, done: Sequence[ThresholdBlock] = (), timeout: float = inf,
               end: float = inf) -> Iterator[ThresholdBlock]:
        """Each block of `size` inputs, the wanted ones alone, until the time is over. done: blocks that are known: they spare work, and
        change nothing of what all blocks lead to.

        timeout: seconds a block.  end: on the monotonic clock. Raises InputError E-TABOO-NAN, InternalError E-CONTRADICTION.
        """
        kept = [torch.tensor(block.rows, dtype=torch.float64) for block in done]
        running = self.rule.bounds(kept) if kept and self.rule.carries else None
        for number in range(-(-len(self.inputs) // size)) if wanted is None else wanted:
            try:
                found = self._block(number, slice(number * size, min((number + 1) * size, len(self.inputs))), running, timeout, end)
            except DeadlineError:
                return
            if found.open and time.monotonic() >= end:
                return
            if self.rule.carries:
                rows = torch.tensor(found.rows, dtype=torch.float64)
                running = rows.amax(0) if running is None else torch.maximum(running, rows.amax(0))
            yield found

    def _block(self, number: int, part: slice, running: Tensor | None, timeout: float, end: float) -> ThresholdBlock:
        begin = time.monotonic()
        inputs, executions = self.inputs[part], self.executions.until(end)
        block = InputBlock.of(inputs, self.names[part], executions)
        executed = executions.executed(inputs)
        self._check(block, executed, part)
        kept = self.rule.keep(block, running, min(end, begin + timeout))
        rows = tuple(map(tuple, kept.rows.tolist()))
        return ThresholdBlock(number, part.start, len(inputs), tuple(block.upper.amax(0).tolist()), tuple(executed.amax(0).tolist()), rows,
                              kept.refined, kept.open, time.monotonic() - begin)

    def _check(self, block: InputBlock, executed: Tensor, part: slice) -> None:
        """What was executed lies within the bounds of all executions; else nothing here can be believed."""
        wrong = (~((executed >= block.lower) & (executed <= block.upper))).any(1).nonzero().flatten().tolist()
        if wrong:
            raise InternalError("E-CONTRADICTION", f"an execution on {len(wrong)} inputs is outside of the bounds of all executions",
                                details=[f"input {self.names[part][slot]}" for slot in wrong[:_SHOWN]],
                                hint="an operator states too small an error: report this network")

    # ---- what all blocks lead to ---------------------------------------------------------------------------------------

    def thresholds(self, blocks: Sequence[ThresholdBlock]) -> dict[Neuron, float]:
        """By neuron. blocks: all of them. Raises InputError E-TABOO-THRESHOLD naming neurons without a finite bound."""
        bounds = self.rule.bounds([torch.tensor(block.rows, dtype=torch.float64) for block in blocks])
        endless = [f"{tensor}[{entry}]" for (tensor, entry), bound in zip(self.union.neurons, bounds.tolist(), strict=True)
                   if not abs(bound) < torch.finfo(torch.float32).max]
        if endless:
            raise InputError("E-TABOO-THRESHOLD", "neurons without a bound that float32 holds", details=endless[:_SHOWN],
                             hint="a smaller radius, or a more precise domain")
        return dict(zip(self.union.neurons, thresholds_above(bounds.tolist()), strict=True))

    def check_held(self, count: int | None, where: str = "held_out") -> None:
        """For the policy, with so many held-out inputs or None. Raises UsageError E-TABOO-HELD-OUT, InputError E-TABOO-FEW."""
        if self.settings.policy != "calibrated":
            return
        if count is None:
            raise UsageError("E-TABOO-HELD-OUT", "policy calibrated needs inputs that are held out", where="--policy",
                             hint="add --held-out FILE or --hold-out N")
        budget = self.settings.tolerated
        if count * budget < 1:
            raise InputError("E-TABOO-FEW", f"{count} held-out inputs cannot tell a rate of {float(budget):g}", where=where,
                             hint=f"hold out {ceil(1 / budget)} at least, or tolerate more with --budget")

    def dropped(self, thresholds: Mapping[Neuron, float], held: HeldValues | Tensor | None) -> tuple[frozenset[Neuron], ...]:
        """Of each key the neurons that policy `calibrated` leaves out; () under policy `random`. held: inputs, or what is known of them.

        Raises as `check_held` does.
        """
        self.check_held(None if held is None else len(held))
        if self.settings.policy != "calibrated" or held is None:
            return ()
        whole = self.traps(thresholds)
        values = held if isinstance(held, HeldValues) else HeldValues.of(self.observer(whole), held)
        return tuple(values.too_often(trap, self.settings.tolerated) for trap in whole.traps)

    def observer(self, traps: Traps) -> Observer:
        """Of these traps."""
        return Observer(self.graph, traps, self.settings.device, self.settings.memory, self.settings.batch)

    def traps(self, thresholds: Mapping[Neuron, float], dropped: Sequence[frozenset[Neuron]] = ()) -> Traps:
        """One a key. dropped: of each, the neurons that are left out."""
        left_out = dropped or [frozenset()] * len(self.masks)
        made = []
        for known, watches, out in zip(self.ids, self.masks, left_out, strict=True):
            mine = [(watch.tensor, entry) for watch in watches for entry in watch.entries]
            made.append(Trap.of({neuron: thresholds[neuron] for neuron in mine if neuron not in out}, len(out), known))
        return Traps(tuple(made), model_digest(self.graph), self.settings.rule, self.settings.radius, len(self.inputs))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """By which the keys are known again: slow, once."""
        return tuple(map(key_id, self.keys))

    @property
    def domain(self) -> Domain[Any] | None:
        """The one that is asked, where one is."""
        return self.settings.walker

    def lite(self, blocks: Sequence[ThresholdBlock]) -> Tensor:
        """(k,): the greatest value of any float32 execution on any training input."""
        return torch.tensor([block.upper for block in blocks], dtype=torch.float64).amax(0)


def with_facts(traps: Traps, facts: Mapping[str, Any]) -> Traps:
    """The same traps, and how they were made."""
    return replace(traps, facts={**traps.facts, **facts})
