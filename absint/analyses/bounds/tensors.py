"""Bounds of tensors for people: names resolved, bounds that carry gradients, and affine coefficients in terms of the input."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from absint.analyses.bounds.widths import BoundingSettings, guarded, working_context
from absint.engine.affine_forms import AffineForms
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain, Traits
from absint.engine.forward import analyse, tensor_bounds
from absint.engine.from_relaxations import forms_at_input
from absint.engine.rows import Rows
from absint.errors import ResourceError, UnsupportedError, UsageError, shown
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.problem.regions.region import Region
from absint.search.names import Method, called

FloatArray = npt.NDArray[np.float64]
_NEAR, _LISTED = 3, 8    # names that a message about an unknown one shows
_COPIES = 16             # of a row's coefficients, while they are worked on
T = TypeVar("T")


def names_of(graph: Graph, tensors: object = None) -> tuple[str, ...]:
    """Names of tensors as asked for, each once and in order: None is the output, 'all' every tensor that is analysed.

    tensors: a name of the user's file or of a node, or a sequence of them. A tensor of the file called 'all' is meant by that word.
    Raises UsageError E-TENSOR with near names for one that the graph does not have, and for what is no name.
    """
    if tensors is None:
        return (graph.output.name,)
    if isinstance(tensors, str) and tensors == "all" and tensors not in graph.tensors:
        return tuple(node.tensors[0] if node.tensors else node.name for node in graph.nodes)
    given = [tensors] if isinstance(tensors, str) else tensors
    if not isinstance(given, (list, tuple, set, frozenset, np.ndarray, dict)) or not len(given):
        raise UsageError("E-TENSOR", f"no name of a tensor: {shown(tensors)}", where="tensors", hint="a name, a list of names, or 'all'")
    names = tuple(dict.fromkeys(map(_word, given)))
    unknown = [name for name in names if name not in graph.tensors]
    if unknown:
        raise UsageError("E-TENSOR", f"the network computes no tensor {', '.join(map(shown, unknown[:_NEAR]))}", where="tensors",
                         details=[f"{shown(name)}: {_hint(graph, name)}" for name in unknown[1:]],
                         hint=f"{_hint(graph, unknown[0])}; constants have no bounds")
    return names


def _word(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError("E-TENSOR", f"no name of a tensor: {shown(name)}", where="tensors", hint="a name, a list of names, or 'all'")
    return str(name)


def _hint(graph: Graph, name: str) -> str:
    near = difflib.get_close_matches(name, graph.tensors, n=_NEAR, cutoff=0.5)
    known = list(graph.tensors)
    more = f" and {len(known) - _LISTED} more (absint inspect lists them)" if len(known) > _LISTED else ""
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(known[:_LISTED])}{more}"


# ---- bounds that carry gradients ---------------------------------------------------------------------------------------


def tensor_intervals(graph: Graph, region: Region, names: Sequence[str], settings: BoundingSettings, *, grad: bool = True
                     ) -> dict[str, Interval]:
    """Bounds of the named tensors as torch tensors, (batch, *shape) in the settings' formats and on their device.

    grad: record gradients with respect to the region's centre and radii, and to parameters of the graph's operators that ask for
    them; their values are those found without. What a domain chooses (slopes, touch points of a curve, where an input counts as
    undecided) is a constant to the gradient, and the error terms are. The whole region is one batch.
    Sound as `bounds` is. Raises UnsupportedError E-GRADIENT for a domain whose bounds rest on what a solver returned.
    """
    chosen = {name: graph.find(name).name for name in names}
    if grad and not settings.walker.traits.differentiable:
        raise UnsupportedError("E-GRADIENT", "what this domain takes from a solver has no gradient", where=called(settings.domain),
                               hint=f"domains with gradients: {', '.join(_having(lambda traits: traits.differentiable))}")
    _compare(graph, region)
    ctx = working_context(graph, region, settings)
    with numeric_mode(), torch.set_grad_enabled(grad):
        found = guarded(settings.walker, lambda: tensor_bounds(settings.walker, ctx, tuple(dict.fromkeys(chosen.values()))))
    return {name: found[node] for name, node in chosen.items()}


def _compare(graph: Graph, region: Region) -> None:
    """The user's model on points of the very regions."""
    if graph.source.runs and region.batch:
        with torch.no_grad():
            hull = region.hull
        check_import(graph, region=Interval(hull.lower.detach(), hull.upper.detach(), proper=hull.proper))


# ---- affine coefficients -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AffineBounds:
    """For every real input x of each region: lower_weight . x + lower_bias <= value <= upper_weight . x + upper_bias, entry by entry.

    lower_weight, upper_weight: (batch, *tensor shape, *input shape), lower_bias, upper_bias: (batch, *tensor shape), float64.
    Holds in exact real arithmetic for the very numbers given: roundings lie in the biases. Whoever evaluates the right-hand
    side in floating point adds roundings of his own. Where nothing affine is known, the weight is 0 and the bias the bound of
    the entry, infinite where there is none.
    """

    lower_weight: FloatArray
    lower_bias: FloatArray
    upper_weight: FloatArray
    upper_bias: FloatArray


def affine_bounds(graph: Graph, region: Region, names: Sequence[str], settings: BoundingSettings) -> dict[str, AffineBounds]:
    """Affine bounds of the named tensors in terms of the network's input, over each region.

    The coefficients are those the domain relaxes with; minimised over the region, the bounds may be looser than those of
    `bounds`, which also uses what is known of single layers.
    Raises UnsupportedError E-AFFINE for a domain that has no affine bounds, ResourceError E-MEMORY where the coefficients do not
    fit, E-TIMEOUT, PluginError where a domain raises, UnsupportedError E-IMPORT-MISMATCH.
    """
    domain = settings.walker
    if not domain.traits.relaxations:
        raise _without_forms(settings.domain)
    chosen = {name: graph.find(name) for name in names}
    _compare(graph, region)
    ctx = working_context(graph, region, settings)
    entries = region.batch * graph.input.size * sum(node.size for node in chosen.values())
    if 4 * 8 * entries > ctx.budget.memory:
        raise ResourceError("E-MEMORY", f"{2 * entries} coefficients do not fit into the memory allowed", where="tensors",
                            hint="fewer tensors or inputs at once")
    nodes = {node.name for node in chosen.values()}
    with numeric_mode(), torch.no_grad():
        result = guarded(domain, lambda: analyse(domain, ctx, frozenset(nodes)))
        found = {name: guarded(domain, lambda n=name: _forms(domain, n, result.ctx))  # type: ignore[misc]
                 for name in sorted(nodes)}
    return {name: found[node.name] for name, node in chosen.items()}


def _forms(domain: Domain[Any], name: str, ctx: Context) -> AffineBounds:
    """Of every entry of a node; the known bound where the domain has no affine one."""
    shape = (ctx.batch, *ctx.graph[name].shape)
    if any(interval.solver is not None and bool(interval.solver.any()) for interval in ctx.known.values()):
        having = ", ".join(_having(lambda traits: bool(traits.relaxations) and traits.differentiable))
        raise UnsupportedError("E-AFFINE", "bounds of inner tensors rest on a solver's word", where=called(domain),
                               hint=f"domains that ask none: {having}")
    rows = Rows.units(name, torch.ones(shape, dtype=torch.bool, device=ctx.numerics.device))
    parts = []
    for part in list(rows.chunks(ctx.budget.rows(_COPIES * 8 * ctx.graph.input.size))) or [rows]:
        forms = forms_at_input(domain.traits, part, ctx)
        assert forms is not None, "asked of a domain that has a relaxation"
        parts.append(forms)
    forms = AffineForms.joined(parts)
    known = ctx.known[name].to(torch.float64)
    no_lower, no_upper = forms.unbounded()
    lower = torch.where(no_lower, known.lower.flatten(), forms.lower_bias)
    upper = torch.where(no_upper, known.upper.flatten(), forms.upper_bias)
    whole = (*shape, *ctx.graph.input.shape)
    return AffineBounds(_array(forms.lower, whole), _array(lower, shape), _array(forms.upper, whole), _array(upper, shape))


def _array(values: Tensor, shape: tuple[int, ...]) -> FloatArray:
    return np.asarray(values.double().cpu().reshape(shape))


def _without_forms(domain: Method) -> UnsupportedError:
    having = ", ".join(_having(lambda traits: bool(traits.relaxations)))
    return UnsupportedError("E-AFFINE", "this domain has no affine bounds", where=called(domain), hint=f"domains that have them: {having}")


def _having(trait: Callable[[Traits], bool]) -> list[str]:
    """Names of the domains with a trait; those that cannot be made without options, or at all, are left out."""
    found = []
    for name in DOMAINS.names():
        try:
            domain = DOMAINS.get(name)()
            if trait(domain.traits):
                found.append(name)
        except Exception:
            continue
    return found
