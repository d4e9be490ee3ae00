"""The Python API: load, verify, bounds, radius. Thin wrappers that turn arrays and names into the engine's objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from fractions import Fraction
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.analyses.query.answering import QueryResult
from absint.analyses.query.answering import verify_query as _verify_query
from absint.analyses.radius.bisection import RadiusOptions, RadiusResult
from absint.analyses.radius.bisection import radius as _radius_of
from absint.analyses.verify import VerifyOptions, robustness
from absint.analyses.verify import verify as _verify
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain
from absint.engine.forward import tensor_bounds
from absint.errors import AbsintError, InputError, PluginError, UsageError
from absint.model.frontend import load_model, normalised
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.model.input_axes import axes_of
from absint.model.layout import agreed, network_layout
from absint.numeric import backend
from absint.numeric.backend import Budget, numeric_mode
from absint.numeric.decimal import parse_eps
from absint.numeric.rounding import Numerics
from absint.problem.query import Query, read_query
from absint.problem.regions import ball
from absint.problem.regions.region import Region
from absint.verdict import InstanceResult

ArrayLike = Tensor | np.ndarray | Sequence[Any]
Radius = float | str | Fraction | ArrayLike


def load(
    model: object, *, example_input: ArrayLike | None = None, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
    fold: bool = True, check_range: tuple[float, float] | None = None, layout: str = "auto",
) -> Graph:
    """Read a model (a path, or an object that a front end accepts, such as a torch.nn.Module) and check it.

    example_input: one batch of inputs, needed for a module and for nothing else.  mean, std: normalisation to prepend, so
    that eps lives in raw input units.  fold: False keeps every operator of the file as it is (needed for
    `semantics="float32"`).  check_range: input range of the check against onnxruntime and the module, [0, 1] if None.
    layout: chw or hwc, the order of the input's axes, for a mean and std per channel that the operators leave open.
    Raises InputError or UnsupportedError, every offender at once.
    """
    options: dict[str, Any] = {} if example_input is None else {"example_input": example_input}
    graph = load_model(model, fold=fold, check_range=check_range, **options)
    return graph if mean is None and std is None else normalised(graph, mean, std, network_layout(layout))


def verify(
    graph: Graph | str | Path, inputs: ArrayLike | Region, labels: ArrayLike, eps: Radius | None = None, *, norm: str = "linf",
    domain: str | Domain[Any] = "auto", clip: tuple[float, float] | None = (0.0, 1.0), targets: ArrayLike | None = None,
    layout: str = "auto", **options: Any,
) -> list[InstanceResult]:
    """Local robustness of labelled inputs: one InstanceResult per input, in order.

    inputs: (batch, *input shape) in raw units, or a Region (docs/regions.md), which stands for eps, norm and clip.
    labels, targets: (batch,).  eps: a number (its printed decimals are meant), a list of one number, text or Fraction per
    channel, or an array that broadcasts against the inputs.  layout: chw or hwc, the order of the inputs' axes, for radii per
    channel where the operators leave it open.  norm: linf, l2 or l1.  clip: the data range.  options: fields of VerifyOptions.
    Sound: see `absint.analyses.verify.verify`.
    """
    graph = load(graph) if isinstance(graph, (str, Path)) else graph
    region, text = _region(graph, inputs, eps, norm, clip, layout)
    wanted = None if targets is None else _integers(targets, "targets")
    problem = robustness(graph, region, _integers(labels, "labels"), targets=wanted, eps=text)
    return _verify(problem, _options(options, domain_from(domain)))


def radius(
    graph: Graph | str | Path, inputs: ArrayLike, *, upper: float | str | Fraction = "0.256", tolerance: float | str | Fraction = "0.001",
    norm: str = "linf", domain: str | Domain[Any] | None = None, exact: bool = False, clip: tuple[float, float] | None = (0.0, 1.0),
    labels: ArrayLike | None = None, fan: int | None = None, **options: Any,
) -> list[RadiusResult]:
    """Each input's robustness radius by bisection of [0, upper], exact multiples of upper / 2^n: one RadiusResult per input, in order.

    inputs: (batch, *input shape) in raw units.  upper, tolerance: numbers (their printed decimals are meant), text or Fractions.
    The class kept is the predicted one; labels are only reported.  norm, clip: as in `verify`.  fan: halvings tried at once.
    domain: zonotope if None.  exact: domain `exact` and attack `pgd` instead: certified and refuted meet where nothing is left open.
    options: fields of VerifyOptions; attack is None unless given.  Sound: see `absint.analyses.radius.bisection.radius`.
    Raises UsageError E-USAGE for exact with a domain, and for accept_solver: what is called certified is proved.
    """
    if exact and domain is not None:
        raise UsageError("E-USAGE", "exact=True chooses the domain", where="domain", hint="leave one of them away")
    if options.get("accept_solver"):
        raise UsageError("E-USAGE", "a certified radius needs proofs, not a solver's word", where="accept_solver", hint="leave it away")
    graph = load(graph) if isinstance(graph, (str, Path)) else graph
    engine = _options({"attack": "pgd" if exact else None, **options}, domain_from(domain or ("exact" if exact else "zonotope")))
    search = RadiusOptions(parse_eps(upper, "upper"), parse_eps(tolerance, "tolerance"), engine, norm, clip, fan)
    return _radius_of(graph, _inputs(graph, inputs), search, labels=None if labels is None else _integers(labels, "labels"))


def verify_query(
    graph: Graph | str | Path, query: Query | str | Path, *, domain: str | Domain[Any] = "auto", **options: Any,
) -> QueryResult:
    """The answer to a VNN-LIB query about a network: sat with a proved counterexample, unsat with a proof, or neither.

    graph, query: loaded, or paths.  options: fields of VerifyOptions; `total_timeout` limits the whole call.
    Sound: see `absint.analyses.query.answering.verify_query`.
    """
    asked = read_query(query) if isinstance(query, (str, Path)) else query
    network = load_model(graph, check=False) if isinstance(graph, (str, Path)) else graph
    return _verify_query(network, asked, _options(options, domain_from(domain)))


@dataclass(frozen=True, eq=False)
class Bounds:
    """lower, upper: (batch, *shape) float64 numpy arrays, rounded outward."""

    lower: np.ndarray
    upper: np.ndarray


def bounds(
    graph: Graph | str | Path, inputs: ArrayLike | Region, eps: Radius | None = None, *, norm: str = "linf",
    tensors: Sequence[str] | None = None, domain: str | Domain[Any] = "zonotope", clip: tuple[float, float] | None = (0.0, 1.0),
    dtype: str = "float64", device: str = "cpu", rounding: bool = True, layout: str = "auto",
) -> dict[str, Bounds]:
    """Sound bounds of tensors by their ONNX names (default: the output) over balls around the inputs, or over a Region.

    eps, layout: as in `verify`.
    """
    graph = load(graph) if isinstance(graph, (str, Path)) else graph
    names = [graph.output.name] if tensors is None else list(tensors)
    nodes = {name: graph.find(name).name for name in names}
    region, _ = _region(graph, inputs, eps, norm, clip, layout)
    if graph.source.model is not None:
        check_import(graph, region=region.hull)
    chosen = domain_from(domain)
    numerics = Numerics(_format(dtype), device=backend.device(device), rounding=rounding)
    ctx = Context(graph, region, numerics if chosen.mixed else numerics.single(), Budget(backend.default_memory()))
    with numeric_mode(), torch.no_grad():
        found = tensor_bounds(chosen, ctx, tuple(dict.fromkeys(nodes.values())))
    ends = {node: found[node].to(torch.float64) for node in nodes.values()}
    return {name: Bounds(ends[node].lower.cpu().numpy(), ends[node].upper.cpu().numpy()) for name, node in nodes.items()}


def domain_from(text: str | Domain[Any]) -> Domain[Any]:
    """A domain from its name, with options after a colon: 'zonotope', 'zonotope:max_generators=500,product=false'.

    Raises UsageError E-DOMAIN-UNKNOWN (with near names) or E-DOMAIN-OPTION, PluginError where the class cannot be used.
    """
    if isinstance(text, Domain):
        return text
    name, _, rest = text.partition(":")
    cls = DOMAINS.get(name)
    if not (isinstance(cls, type) and issubclass(cls, Domain)):
        raise PluginError("E-PLUGIN-CONTRACT", f"what is registered as domain '{name}' is no subclass of Domain", where=name)
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cls) if f.init} if is_dataclass(cls) else {}
    values: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        if key not in known:
            raise UsageError("E-DOMAIN-OPTION", f"domain '{name}' has no option '{key}'", hint=f"known: {', '.join(known) or 'none'}")
        values[key] = _option(name, key, value, known[key].default)
    try:
        return cls(**values)
    except AbsintError:
        raise
    except Exception as error:  # a stranger's code, or a class that leaves a method abstract
        raise PluginError("E-PLUGIN-RAISED", f"the domain could not be made: {type(error).__name__}: {error}", where=name,
                          hint="--debug shows the traceback; absint.testing.kit.check_domain tests a domain") from error


def _option(domain: str, key: str, value: str, default: object) -> Any:
    try:
        if isinstance(default, bool):
            return {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}[value.lower()]
        if isinstance(default, int):
            number = int(value)
            if number < 0:
                raise ValueError
            return number
        if isinstance(default, float) and isnan(float(value)):
            raise ValueError
        return float(value) if isinstance(default, float) else value
    except (KeyError, ValueError) as error:
        raise UsageError("E-DOMAIN-OPTION", f"'{value}' is no value for option '{key}' of domain '{domain}'",
                         hint=f"the default is {default!r}") from error


def _inputs(graph: Graph, inputs: ArrayLike) -> Tensor:
    """(batch, *input shape) float64. Flat rows and axes of size 1 are reshaped; nothing else is, lest axes get mixed up."""
    center = torch.as_tensor(np.asarray(inputs) if not isinstance(inputs, Tensor) else inputs).detach().double()
    given, wanted = tuple(center.shape[1:]), graph.input.shape
    same = [n for n in given if n != 1] == [n for n in wanted if n != 1]
    if center.dim() < 1 or not (same or given == (graph.input.size,)):
        raise InputError("E-DATA-SHAPE", f"inputs of shape {tuple(center.shape)} for a network that takes (batch, "
                         f"{', '.join(map(str, wanted))})", hint="give one row per instance, axes in the network's order")
    return center.reshape(-1, *wanted)


def _integers(values: ArrayLike, name: str) -> Tensor:
    given = torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values)
    whole = given.to(torch.int64)
    if bool((whole != given).any()):
        raise InputError("E-LABEL", f"{name} are not whole numbers", hint="give class numbers 0, 1, 2, ...")
    return whole


def _region(graph: Graph, inputs: ArrayLike | Region, eps: Radius | None, norm: str, clip: tuple[float, float] | None, layout: str
            ) -> tuple[Region, str | None]:
    """The region asked for, and its radius as text."""
    axes = agreed(graph.input.shape, axes_of(graph), network_layout(layout))
    if isinstance(inputs, Region):
        if eps is not None:
            raise UsageError("E-EPS", "a region has its own radius", where="eps", hint="leave eps away")
        if inputs.shape != graph.input.shape:
            raise InputError("E-DATA-SHAPE", f"a region of shape {inputs.shape} for a network that takes {graph.input.shape}")
        return inputs, None
    if eps is None:
        raise UsageError("E-EPS", "no radius is given", where="eps", hint="a number such as 0.01, or a Region as inputs")
    center = _inputs(graph, inputs)
    radius, text = _radius(eps, center)
    if norm != "linf" and isinstance(radius, Tensor):
        flat = radius.flatten(1)
        if bool((flat != flat[:, :1]).any()):
            raise UsageError("E-EPS", f"a radius per entry has no meaning in {norm}", where="eps", hint="one radius, or one per instance")
        radius = flat[:, 0]
    return ball(norm, center, radius, clip, axes), text


def _radius(eps: Radius, like: Tensor) -> tuple[Fraction | tuple[Fraction, ...] | Tensor, str]:
    if isinstance(eps, (np.floating, np.integer)):
        eps = float(eps)
    if isinstance(eps, (float, int, str, Fraction)):
        return parse_eps(eps), str(eps)
    if isinstance(eps, Sequence) and len(eps) and all(isinstance(e, (float, int, str, Fraction)) for e in eps):
        return tuple(parse_eps(e) for e in eps), ",".join(map(str, eps))
    values = torch.as_tensor(np.asarray(eps)).double()
    try:
        values = values.expand_as(like)
    except RuntimeError as error:
        raise UsageError("E-EPS", f"radii of shape {tuple(values.shape)} do not broadcast to inputs of shape {tuple(like.shape)}",
                         where="eps", hint="a number, or one radius per entry, channel or instance") from error
    return values, f"per entry, at most {float(values.max()):g}" if values.numel() else "per entry"


def _options(options: dict[str, Any], domain: Domain[Any]) -> VerifyOptions:
    known = [f.name for f in fields(VerifyOptions) if f.name != "domain"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError("E-OPTION", f"verify has no option {', '.join(map(repr, unknown))}", hint=f"known: {', '.join(known)}")
    return VerifyOptions(domain=domain, **options)


def _format(name: str) -> torch.dtype:
    formats = {"float32": torch.float32, "float64": torch.float64}
    if name not in formats:
        raise UsageError("E-DTYPE", f"not a number format: '{name}'", where="dtype", hint="float32 or float64")
    return formats[name]
