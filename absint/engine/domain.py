"""What an abstract domain offers, the fallbacks it inherits, and the registry of domains and special rules.

A domain states once how it carries a set through each operator family; it never names an operator. Everything is
batched over instances; one instance is a batch of one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from absint.engine.affine_forms import AffineForms, ascended_forms, backward_forms
from absint.engine.backward.combinations import mixed_bounds
from absint.engine.backward.slopes import Ascent, Slopes, improved, open_rows
from absint.engine.backward.walk import input_adjoints, substitute_each
from absint.engine.closed_forms import met_band
from absint.engine.context import Context
from absint.engine.row_forms import RowForm, box_rows, row_products
from absint.engine.rows import Rows, Sense
from absint.errors import PluginError, UsageError
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.op import Op
from absint.numeric.backend import Budget
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rounding import Numerics
from absint.problem.spec import Refutation, Spec
from absint.registry import Registry

__all__ = [
    "DOMAINS", "AffineForms", "Ascent", "BackwardDomain", "Band", "Budget", "Context", "Domain", "Interval", "Node", "Numerics",
    "Relaxation", "RowForm", "Rows", "Sense", "box_rows", "met_band", "open_rows", "register_domain", "row_products", "rule",
    "transfer",
]

E = TypeVar("E")
D = TypeVar("D", bound="type[Domain[Any]]")

DOMAINS: Registry[type[Domain[Any]]] = Registry("domain", "absint.domains")


def chosen_domain(choice: object) -> Domain[Any]:
    """A domain as it was chosen: itself, or a new one of the registered name. Raises UsageError E-DOMAIN-UNKNOWN."""
    if isinstance(choice, str):
        return DOMAINS.get(choice)()
    if isinstance(choice, Domain):
        return choice
    raise UsageError("E-DOMAIN-UNKNOWN", f"no domain: {choice!r}", hint="the name of a registered domain, or an instance of one")


def register_domain(name: str) -> Callable[[D], D]:
    """Class decorator: make the domain known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: D) -> D:
        DOMAINS.add(name, cls)
        return cls

    return enter


class Domain(ABC, Generic[E]):
    """A forward domain. E is its element: a batch of sets of values of one node.

    Soundness contract: an element produced for a node contains the exact value of that node for every input of the
    region (that satisfies what is assumed), whatever the rounding; `bounds` and `hull` round outward. NaN or infinity
    anywhere must come out as an infinite bound. `absint.testing.kit.check_domain` checks all of it.
    """

    source: ClassVar[str] = ""        # citation, with section
    mixed: ClassVar[bool] = True      # keeps matrices: float32 matrices with float64 vectors pay

    @property
    def needs_reference(self) -> bool:
        """Whether the engine must keep the reference trajectory (backward rows are relative to it)."""
        return False

    @property
    def exhaustive(self) -> bool:
        """Whether it may use all the time there is, so that whatever else may decide an instance comes first."""
        return False

    @property
    def one_by_one(self) -> bool:
        """Whether it works on one instance after the other: then each is given to it alone, within its own time, and told at once."""
        return False

    @property
    def guide(self) -> Domain[Any] | None:
        """A cheaper domain that answers for every node but the output; None to be asked oneself."""
        return None

    @property
    def differentiable(self) -> bool:
        """Whether its bounds carry gradients: no number in them comes from outside torch, such as a solver's."""
        return True

    @property
    def alone(self) -> bool:
        """Whether intermediate bounds are this domain's alone: every entry asked, nothing met but what is assumed.

        Looser than what the engine knows otherwise, and slower: it is for comparing with published algorithms.
        """
        return False

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

    def affine(self, element: E, rows: Rows, ctx: Context) -> AffineForms | None:
        """Bounds of the rows that are affine in the network's input, over each row's region; None where the domain has none.

        Sound as `bounds` is: for the very numbers returned, in exact real arithmetic.
        """
        return None

    def corner(self, element: E, rows: Rows, ctx: Context) -> Tensor | None:
        """(R, *input) float64 points of the region's hull where each row's lower relaxation is least; None where unknown.

        A heuristic, used to start attacks: nothing is promised about the rows there.
        """
        return None

    @abstractmethod
    def take(self, element: E, index: Tensor) -> E:
        """Instances `index` of an element."""

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """Start values (batch, *shape) of the free slopes at a node; None where there are none."""
        return None

    def refute(self, element: E, spec: Spec, refuted: Tensor, ctx: Context) -> Refutation | None:
        """What is known of whole disjuncts beyond their single rows: combinations of rows, searches, candidates. Default: nothing.

        refuted: (batch, disjuncts), the best single row of each; positive ones need nothing more. Bounds are sound where they
        are not flagged as a solver's word.
        """
        return None

    def portfolio(self) -> tuple[Domain[Any], ...]:
        """The domains an analysis tries one after another, each on what is undecided. Default: this one alone."""
        return (self,)

    def memory(self, graph: Graph, numerics: Numerics) -> int:
        """Rough bytes one instance needs at its worst node: the engine sizes batches by it. Default: a few vectors."""
        return 64 * max(node.size for node in graph.nodes)


class BackwardDomain(Domain[str]):
    """A domain of affine bounds found backward. Its element is the node's name; `relax` is all it states."""

    every_layer: bool = False

    @property
    def ascent(self) -> Ascent | None:
        """How the free slopes of `parameters` are optimised; None leaves them at their start values."""
        return None

    @property
    def needs_reference(self) -> bool:
        """Rows are."""
        return True

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
        """Backward substitution, both sides in one walk."""
        signs = {Sense.LOWER: (1.0,), Sense.UPPER: (-1.0,), Sense.BOTH: (1.0, -1.0)}[sense]
        begin = time.monotonic()
        found = substitute_each(rows, self._relax, ctx, signs, every_layer=self.every_layer and not self.alone)
        low, high = found[0], -found[-1]
        inf = torch.full_like(low, torch.inf)
        plain = Interval(-inf if sense is Sense.UPPER else low, inf if sense is Sense.LOWER else high)
        return plain if self.ascent is None else improved(rows, plain, ctx, self._slopes, self.ascent, time.monotonic() - begin)

    def affine(self, element: str, rows: Rows, ctx: Context) -> AffineForms:
        """Backward substitution, not concretised; the free slopes are those of the ascent where there is one."""
        if self.ascent is None:
            return backward_forms(rows, self._relax, ctx)
        return ascended_forms(rows, ctx, self._slopes, self.ascent)

    def refute(self, element: str, spec: Spec, refuted: Tensor, ctx: Context) -> Refutation | None:
        """By combinations whose weights are optimised with the slopes; None without an ascent."""
        return None if self.ascent is None else Refutation(mixed_bounds(spec, refuted, ctx, self._slopes, self.ascent))

    @property
    def _slopes(self) -> Slopes:
        return Slopes(self._relax, self.parameters)

    def corner(self, element: str, rows: Rows, ctx: Context) -> Tensor | None:
        """The corner of the hull that the adjoint at the input points away from; the middle where it is zero or NaN."""
        adjoint = input_adjoints(rows, self._relax, ctx)
        lower, upper = (end.to(adjoint.device).double()[rows.instance] for end in (ctx.region.hull.lower, ctx.region.hull.upper))
        return torch.where(adjoint > 0, lower, torch.where(adjoint < 0, upper, lower / 2 + upper / 2))

    def _relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        special = find_rule(self, node.op)
        result = self.relax(node, inputs, ctx) if special is None else special(self, node, inputs, ctx)
        if not isinstance(result, Relaxation):
            raise PluginError("E-PLUGIN-CONTRACT", f"relax returned a {type(result).__name__}, not a Relaxation",
                              where=type(self).__name__)
        return result

    def memory(self, graph: Graph, numerics: Numerics) -> int:
        """Vectors only, and what a guide needs: rows are chunked inside the walk."""
        own = 256 * sum(node.size for node in graph.nodes)
        return own if self.guide is None else own + self.guide.memory(graph, numerics)


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


