"""The engine on the device: every domain on the networks of the conformance kit, the property there and the inputs at home."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from contract.operators import INSTANCES
from fake_device import NAME
from walkers import WALKERS

from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain
from absint.engine.forward import analyse, kept_bounds, row_bounds
from absint.engine.from_relaxations import combined
from absint.engine.product import Product
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.shape import Concat, Gather, Reshape
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion, Region
from absint.problem.spec import Spec
from absint.search.names import walker_of
from absint.testing.networks import NETS, case, network
from absint.testing.truth import formats
from device.compared import NARROW, WIDE, both, scenario

# The networks that a variant is always walked through, in float32; all others, and float64, are `slow`.
FAMILIES = ("conv", "residual", "concat-gather", "maximum", "affine", "shapes", "average-pool", "sigmoid")
FEW = ("conv", "residual", "maximum")
VARIANTS = {
    "box": (DOMAINS.get("box"), FAMILIES),
    "zonotope": (DOMAINS.get("zonotope"), FAMILIES),
    "deeppoly": (DOMAINS.get("deeppoly"), FEW),
    "linear": (DOMAINS.get("linear"), FEW),
    "deeppoly-scouted": (lambda: DOMAINS.get("deeppoly")(first="linear"), ("relu",)),
    "parallel": (DOMAINS.get("parallel"), ("residual",)),
    "coarse": (DOMAINS.get("coarse"), ("residual",)),
    "alpha": (lambda: DOMAINS.get("alpha")(steps=2, inner=1), ("residual",)),
    "auto": (lambda: walker_of("auto"), ("relu",)),
    "refine": (lambda: walker_of("refine"), ("relu",)),
    "zonotope-reduced": (lambda: DOMAINS.get("zonotope")(max_generators=6), ("residual",)),
    "zonotope-without-box": (lambda: DOMAINS.get("zonotope")(product=False), ("maximum",)),
    "zonotope-x-deeppoly": (lambda: Product(DOMAINS.get("zonotope")(), DOMAINS.get("deeppoly")()), ("residual",)),
    "crown": (lambda: DOMAINS.get("deeppoly")(every_layer=False), ("conv",)),
}
assert set(WALKERS) <= set(VARIANTS), "a domain is registered that no scenario walks with"


def walked(domain: Domain[Any], graph: Graph, region: Region, spec: Spec, num: Numerics, *, every: bool) -> list[Any]:
    """Bounds of the property's rows and disjuncts, and of every node where that is wanted."""
    spec = spec.to(num.device)
    result = analyse(domain, Context(graph, region, num, target=spec), frozenset(node.name for node in graph.nodes if every))
    rows = row_bounds(domain, result.element, result.ctx, spec)
    refuted = combined(domain.traits, spec, spec.refutation(rows.lower), result.ctx)
    kept = kept_bounds(domain, replace(result, ctx=replace(result.ctx, target=None)))
    return [rows.lower, rows.upper, None if refuted is None else refuted.lower,
            {node: [bound.lower, bound.upper] for node, bound in kept.items()}]


def _compare(domain: Domain[Any], make: Callable[[], Graph], asked: tuple[Region, Spec], num: Numerics, where: str, *,
             every: bool = False) -> None:
    """The same on both devices, from a fresh graph each time: operators keep converted constants."""
    try:
        tolerance = NARROW if torch.float32 in (num.dtype, num.vector) else WIDE
        both(lambda there: walked(domain, make(), *asked, replace(num, device=torch.device(there)), every=every), where, tolerance)
    except Exception as error:
        error.add_note(where)
        raise


def _enter(variant: str, names: tuple[str, ...], *, slow: bool) -> None:
    @scenario("walks", f"walk-{variant}" + ("-slow" if slow else ""), slow=slow)
    def walk(device: object) -> None:
        domain = VARIANTS[variant][0]()
        with numeric_mode(), torch.no_grad():
            for name in names:
                c = case(name, 1.0)
                for num in formats(domain) if slow else formats(domain)[1:]:
                    _compare(domain, lambda name=name: network(name, 1.0), (c.region, c.spec), num, f"{variant} on {name}", every=True)


for _variant, (_, _names) in VARIANTS.items():
    _enter(_variant, _names, slow=False)
    _enter(_variant, tuple(NETS), slow=True)


# ---- every operator ------------------------------------------------------------------------------------------------------


WITHOUT_AXES = {"maximum-of-9"}    # its result has none; no front end makes such a node


def around(names: Sequence[str]) -> Graph:
    """A network of some operators side by side: their inputs are pieces of a flat one, rows are asked of what they find."""
    given = [INSTANCES[name]() for name in names]
    shapes = [tuple(map(tuple, shapes or ((2, 3),))) for _, shapes in given]
    most = max(sum(map(prod, each)) for each in shapes)
    build, found = GraphBuilder("x", (most,)), []
    for (op, _), each in zip(given, shapes, strict=True):
        begin, parts = 0, []
        for shape in each:
            piece = build.add(Gather.of(torch.arange(begin, begin + prod(shape))), ("x",))
            parts.append(build.add(Reshape(shape), (piece,)))
            begin += prod(shape)
        made = build.add(op, tuple(parts))
        found.append(build.add(Reshape((prod(build.shape(made)),)), (made,)))
    return build.graph(build.add(Concat(0), tuple(found)))


def asked_of(graph: Graph) -> tuple[Region, Spec]:
    """Two boxes, one of them a point, and two rows."""
    random = torch.Generator().manual_seed(5)
    middle = torch.rand(2, graph.input.size, generator=random, dtype=torch.float64) + 0.5
    radius = torch.tensor([[0.3], [0.0]], dtype=torch.float64)
    weight = torch.randn(2, 2, graph.output.size, generator=random, dtype=torch.float64)
    return BoxRegion(middle - radius, middle + radius), Spec.rows(weight, torch.zeros(2, 2, dtype=torch.float64))


def _enter_operators(domain: str, names: Iterable[str], *, slow: bool = False) -> None:
    """slow: compare with the CPU, too; else that it runs is all that is asked."""
    @scenario("operators", f"operators-{domain}" + ("-slow" if slow else ""), slow=slow)
    def walk(device: object) -> None:
        walker, ordered = DOMAINS.get(domain)(), sorted(names)
        num = formats(walker)[1]
        with numeric_mode(), torch.no_grad():
            for begin in range(0, len(ordered), SIDE_BY_SIDE):
                some = ordered[begin : begin + SIDE_BY_SIDE]
                graph = around(some)
                if slow:
                    _compare(walker, lambda some=some: around(some), asked_of(graph), num, f"{domain} on {some}")
                else:
                    walked(walker, graph, *asked_of(graph), replace(num, device=torch.device(NAME)), every=False)


SIDE_BY_SIDE = 12
# Supporting lines of these are found by bisection in bisection: 100,000 operations each.
COSTLY = {"cos", "gelu", "gelu-tanh", "mish", "truncate"}
for _domain in ("box", "zonotope", "deeppoly", "linear"):
    _enter_operators(_domain, {*INSTANCES} - WITHOUT_AXES, slow=True)
_enter_operators("box", {*INSTANCES} - WITHOUT_AXES)
_enter_operators("deeppoly", {*INSTANCES} - WITHOUT_AXES - COSTLY)
