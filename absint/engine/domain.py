"""What an abstract domain offers, the fallbacks it inherits, and the registry of domains and special rules.

A domain states once how it carries a set through each operator family; it never names an operator. Everything is
batched over instances; one instance is a batch of one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from absint.engine.affine_forms import AffineForms
from absint.engine.backward.slopes import Ascent, Slopes, improved, open_rows, start_slopes
from absint.engine.backward.walk import substitute_each
from absint.engine.closed_forms import met_band, met_lines
from absint.engine.context import Context
from absint.engine.cost import Cost
from absint.engine.evidence import ROWS
from absint.engine.evidence_records import Chosen
from absint.engine.row_forms import RowForm, box_rows, row_products
from absint.engine.rows import Rows, Sense
from absint.errors import PluginError
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.op import Op
from absint.numeric.backend import Budget
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rounding import Numerics
from absint.registry import Registry

__all__ = [
    "DOMAINS", "AffineForms", "Ascent", "BackwardDomain", "Band", "Budget", "Context", "Cost", "Domain", "Interval", "Node", "Numerics",
    "Relaxation", "RowForm", "Rows", "Sense", "Slopes", "Traits", "box_rows", "met_band", "met_lines", "open_rows", "register_domain",
    "row_products", "rule", "transfer", "vectors_of_every_node",
]

E = TypeVar("E")
D = TypeVar("D", bound="type[Domain[Any]]")

DOMAINS: Registry[type[Domain[Any]]] = Registry("domain", "absint.domains")


def register_domain(name: str) -> Callable[[D], D]:
    """Class decorator: make the domain known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: D) -> D:
        DOMAINS.add(name, cls)
        return cls

    return enter


def few_vectors(graph: Graph, numerics: Numerics) -> int:
    """Bytes of an instance of a domain that keeps a few vectors a node."""
    return 64 * max(node.size for node in graph.nodes)


def vectors_of_every_node(graph: Graph, numerics: Numerics) -> int:
    """Bytes of an instance of a backward domain: vectors only, rows are chunked inside the walk."""
    return 256 * sum(node.size for node in graph.nodes)


@dataclass(frozen=True)
class Traits:
    """What is true of a domain beside its bounds. One value, so that what wraps or combines domains passes on all of it.

    source: citation, with section.
    mixed: it keeps matrices: float32 matrices with float64 vectors pay.
    reference: the engine must keep the reference trajectory (backward rows are relative to it).
    alone: intermediate bounds are this domain's alone: every entry asked, nothing met but what is assumed. Looser than what the
    engine knows otherwise, and slower: it is for comparing with published algorithms.
    differentiable: its bounds carry gradients: no number in them comes from outside torch, such as a solver's.
    guide: a cheaper domain that answers for every node but the output and those of no more entries than are asked for there; None to be
    asked oneself.
    scout: a cheaper domain that is asked first at every node but the output, the domain itself only for entries left undecided then.
    relaxations: what it substitutes backward, with the free slopes; empty where it has no bounds affine in the network's input.
    memory: (graph, numerics) -> rough bytes one instance needs at its worst node, without its helpers'; batches are sized by it.
    estimate: (graph, numerics, undecided entries of each nonlinear node and those of the input that vary; all of these where nothing is
    said) -> what one instance will take, helpers apart; a stage of which that exceeds what is left is skipped. None for a domain that may
    always be begun, because it keeps what time left it.
    """

    source: str = ""
    mixed: bool = True
    reference: bool = False
    alone: bool = False
    differentiable: bool = True
    guide: Domain[Any] | None = None
    scout: Domain[Any] | None = None
    relaxations: tuple[Slopes, ...] = ()
    memory: Callable[[Graph, Numerics], int] = few_vectors
    estimate: Callable[[Graph, Numerics, Mapping[str, float]], Cost] | None = None

    def ascending(self, ascent: Ascent) -> Traits:
        """The same, with the free slopes of every relaxation optimised."""
        return replace(self, relaxations=tuple(replace(slopes, ascent=ascent) for slopes in self.relaxations))

    @property
    def helpers(self) -> tuple[Domain[Any], ...]:
        """The guide and the scout, where there are any: they walk beside the domain."""
        return tuple(one for one in (self.guide, self.scout) if one is not None)

    def bytes_of(self, graph: Graph, numerics: Numerics) -> int:
        """Rough bytes one instance needs, the helpers' included."""
        return self.memory(graph, numerics) + sum(one.traits.bytes_of(graph, numerics) for one in self.helpers)

    def cost(self, graph: Graph, numerics: Numerics, counts: Mapping[str, float]) -> Cost | None:
        """What `estimate` says, the helpers' included; None where none says anything."""
        own = None if self.estimate is None else self.estimate(graph, numerics, counts)
        costs = [cost for cost in (own, *(one.traits.cost(graph, numerics, counts) for one in self.helpers)) if cost is not None]
        return reduce(Cost.plus, costs) if costs else None


# What a domain may not define beside its traits: it would be overlooked.
_STATED = {field.name for field in fields(Traits)} | {
    "needs_reference", "ascent", "affine", "corner", "refute", "exhaustive", "one_by_one", "portfolio"}


class Domain(ABC, Generic[E]):
    """A forward domain. E is its element: a batch of sets of values of one node.

    Soundness contract: an element produced for a node contains the exact value of that node for every input of the
    region (that satisfies what is assumed), whatever the rounding; `bounds` and `hull` round outward. NaN or infinity
    anywhere must come out as an infinite bound. `absint.testing.kit.check_domain` checks all of it.

    stated: what is true of every instance of the class; `traits` is what is true of this one, and what everybody reads.
    """

    stated: ClassVar[Traits] = Traits()
    synonyms: ClassVar[tuple[str, ...]] = ()      # what papers and other tools call it: for advice alone, a class's own

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        lost = sorted(_STATED & vars(cls).keys())
        if lost:
            raise PluginError("E-PLUGIN-CONTRACT", f"a domain does not define {', '.join(lost)}", where=cls.__qualname__,
                              hint="what is true of it is one value, stated = Traits(...); what it schedules is a Strategy")

    @property
    def traits(self) -> Traits:
        """What is true of this instance. Default: what its class states."""
        return self.stated

    @abstractmethod
    def enclose(self, node: Node, interval: Interval, ctx: Context) -> E:
        """The element of a box, with no relation to anything else."""

    def start(self, node: Node, ctx: Context) -> E:
        """The element of the region at the input. Default: its hull."""
        return self.enclose(node, ctx.known[node.name].filled, ctx)

    @abstractmethod
    def linear(self, node: Node, args: list[E], ctx: Context) -> E:
        """Image under node.op, a Linear."""

    def nonlinear(self, node: Node, args: list[E], ctx: Context) -> E:
        """Image under any other family, through its range, band or planes. Default: the box of the result ("loose")."""
        return self.enclose(node, ctx.known[node.name].filled, ctx)

    @abstractmethod
    def bounds(self, element: E, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """(R,) bounds of each row; the side not asked for is infinite."""

    def hull(self, element: E, ctx: Context) -> Interval | None:
        """Bounds of all entries, where that costs less than asking rows; None to be asked rows."""
        return None

    @abstractmethod
    def take(self, element: E, index: Tensor) -> E:
        """Instances `index` of an element."""

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """Start values (batch, *shape) of the free slopes at a node; None where there are none."""
        return None


class BackwardDomain(Domain[str]):
    """A domain of affine bounds found backward. Its element is the node's name; `relax` is all it states."""

    every_layer: bool = False

    @property
    def traits(self) -> Traits:
        """What the class states, with its relaxation; a subclass replaces what its options change."""
        return replace(self.stated, reference=True, relaxations=(Slopes(self._relax, self.parameters),), memory=vectors_of_every_node)

    @abstractmethod
    def relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        """Affine bounds of a nonlinear node on its inputs' intervals."""

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> str:
        """The name: what is known of the node is in the context."""
        return node.name

    def linear(self, node: Node, args: list[str], ctx: Context) -> str:
        """The name."""
        return node.name

    def take(self, element: str, index: Tensor) -> str:
        """The name."""
        return element

    def bounds(self, element: str, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """Backward substitution, both sides in one walk; with the slopes optimised where the traits say how."""
        signs = {Sense.LOWER: (1.0,), Sense.UPPER: (-1.0,), Sense.BOTH: (1.0, -1.0)}[sense]
        traits, begin = self.traits, time.monotonic()
        found = substitute_each(rows, self._relax, ctx, signs, every_layer=self.every_layer and not traits.alone)
        low, high = found[0], -found[-1]
        inf = torch.full_like(low, torch.inf)
        plain = Interval(-inf if sense is Sense.UPPER else low, inf if sense is Sense.LOWER else high)
        (slopes,) = traits.relaxations
        recorder = ctx.recording
        if recorder is not None and rows.number is not None:
            start = start_slopes(rows.node, ctx, slopes)
            recorder.rows(rows, low, ROWS, {name: Chosen.of_instances(*choice, rows.instance) for name, choice in start.items()})
        return plain if slopes.ascent is None else improved(rows, plain, ctx, slopes, slopes.ascent, time.monotonic() - begin)

    def _relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        special = find_rule(self, node.op)
        result = self.relax(node, inputs, ctx) if special is None else special(self, node, inputs, ctx)
        if not isinstance(result, Relaxation):
            raise PluginError("E-PLUGIN-CONTRACT", f"relax returned a {type(result).__name__}, not a Relaxation",
                              where=type(self).__name__)
        return result


# ---- special rules ------------------------------------------------------------------------------------------------

Rule = Callable[..., Any]
_RULES: dict[tuple[str, str], Rule] = {}


def rule(domain: str, op: str) -> Callable[[Rule], Rule]:
    """Register f(domain, node, args, ctx) (for a BackwardDomain: f(domain, node, intervals, ctx) -> Relaxation) for one
    pair of class names. Names, so that neither side imports the other; the nearest base class wins.
    """

    def enter(function: Rule) -> Rule:
        _RULES[domain, op] = function
        return function

    return enter


def find_rule(domain: Domain[Any], op: Op) -> Rule | None:
    """The special rule for a pair, or None."""
    if not _RULES:
        return None
    for above_domain in type(domain).__mro__:
        for above_op in type(op).__mro__:
            found = _RULES.get((above_domain.__name__, above_op.__name__))
            if found is not None:
                return found
    return None


def transfer(domain: Domain[E], node: Node, args: list[E], ctx: Context) -> E:
    """The domain's image of one node: a special rule, else the family's method."""
    if not isinstance(domain, BackwardDomain):
        special = find_rule(domain, node.op)
        if special is not None:
            result: E = special(domain, node, args, ctx)
            return result
    if isinstance(node.op, Linear):
        return domain.linear(node, args, ctx)
    assert isinstance(node.op, Nonlinear)
    return domain.nonlinear(node, args, ctx)


