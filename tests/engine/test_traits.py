"""Whatever wraps or combines domains passes their traits on whole: every pair of wrappers over every domain, field by field."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import product as pairs

import pytest
import torch

from absint.engine import product
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain, Traits
from absint.engine.forward import analyse
from absint.engine.product import JOINS, Product, Wrapper
from absint.errors import PluginError
from absint.search.bounders.neurons import Tightening
from absint.search.bounders.refined import Refined
from absint.search.names import strategy_of
from absint.testing.networks import case, network
from absint.testing.truth import FLOAT64

Box, DeepPoly, Alpha = DOMAINS.get("box"), DOMAINS.get("deeppoly"), DOMAINS.get("alpha")
FIELDS = [field.name for field in fields(Traits)]
GRAPH = network("residual", 1.0)
COUNTS = {node.name: node.size / 3 for node in GRAPH.nodes}


@dataclass(frozen=True)
class Same(Wrapper):
    """Adds nothing."""

    base: Domain

    @property
    def walker(self):
        return self.base


# The registered ones, and options that change what is true of them.
PLAIN = {
    **{name: DOMAINS.get(name)() for name in DOMAINS.names()},
    "crown": DeepPoly(plain=True), "guided": DeepPoly(intermediate="box"), "guided-alpha": Alpha(intermediate="zonotope"),
    "scouted": DeepPoly(first="box"),
}
BOX = Box()
WRAPPERS = {
    "same": Same,
    "refined": lambda domain: Refined(domain, Tightening(())),
    "with-box": lambda domain: Product(domain, BOX),
    "box-with": lambda domain: Product(BOX, domain),
    "twice": lambda domain: Product(domain, domain),
}


def joined(one, two):
    """What is true of a product, said a second time: of the members' traits, and of what answers for their intermediate nodes."""
    a, b = one.traits, two.traits
    guides = None if a.guide is b.guide is None else (a.guide or one, b.guide or two)
    scouts = (a.scout, b.scout) if a.scout and b.scout else members(a.scout or b.scout)
    return {
        "source": {*filter(None, (a.source + "; " + b.source).split("; "))}, "mixed": any((a.mixed, b.mixed)),
        "reference": any((a.reference, b.reference)), "alone": any((a.alone, b.alone)),
        "differentiable": all((a.differentiable, b.differentiable)), "guide": guides, "scout": scouts,
        "relaxations": [*a.relaxations, *b.relaxations],
        "memory": a.memory(GRAPH, FLOAT64) + b.memory(GRAPH, FLOAT64), "estimate": together(estimated(a), estimated(b)),
    }


def estimated(traits):
    """What an instance is said to take, as numbers; None where nothing is said."""
    cost = traits.estimate and traits.estimate(GRAPH, FLOAT64, COUNTS)
    return cost and (cost.memory, cost.products)


def together(one, two):
    """Both kept at the same time."""
    return tuple(map(sum, zip(one, two, strict=True))) if one and two else one or two


def members(domain):
    """Of a product both, so that two of the same members are equal."""
    return (domain.first, domain.second) if isinstance(domain, Product) else domain


def shown(traits):
    """In the form in which `joined` says it."""
    guide, scout = map(members, (traits.guide, traits.scout))
    return {
        **{name: getattr(traits, name) for name in ("mixed", "reference", "alone", "differentiable")},
        "source": {*filter(None, traits.source.split("; "))}, "memory": traits.memory(GRAPH, FLOAT64), "estimate": estimated(traits),
        "guide": guide, "scout": scout, "relaxations": [*traits.relaxations],
    }


def expected(wrapper, domain):
    """Of one wrapper around a domain."""
    if wrapper in ("same", "refined"):
        return shown(domain.traits) | ({"differentiable": False} if wrapper == "refined" else {})
    return joined(*{"with-box": (domain, BOX), "box-with": (BOX, domain), "twice": (domain, domain)}[wrapper])


def faults():
    """(domain, inner wrapper, outer wrapper, field) wherever a trait is not what it should be."""
    found = set()
    for (name, domain), inner, outer in pairs(PLAIN.items(), WRAPPERS, WRAPPERS):
        for wrapper, base in ((inner, domain), (outer, WRAPPERS[inner](domain))):
            is_, should = shown(WRAPPERS[wrapper](base).traits), expected(wrapper, base)
            assert is_.keys() == should.keys() == set(FIELDS), "the test says nothing of a trait"
            found |= {(name, inner, outer, field) for field in FIELDS if is_[field] != should[field]}
    return found


def test_every_pair_of_wrappers_passes_every_trait_of_every_domain():
    assert faults() == set()


@pytest.mark.parametrize("field", FIELDS)
def test_a_product_that_drops_a_trait_is_noticed(field, monkeypatch):
    monkeypatch.setitem(JOINS, field, lambda a, b: getattr(Traits(), field))
    assert {fault[-1] for fault in faults()} == {field}


@pytest.mark.parametrize("field", FIELDS)
def test_a_product_that_takes_a_trait_of_its_first_alone_is_noticed(field, monkeypatch):
    monkeypatch.setitem(JOINS, field, lambda a, b: getattr(a.traits, field))
    assert field in {fault[-1] for fault in faults()}


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrapper_that_drops_a_trait_is_noticed(field, monkeypatch):
    whole = Wrapper.traits
    monkeypatch.setattr(Wrapper, "traits", property(lambda self: replace(whole.fget(self), **{field: getattr(Traits(), field)})))
    assert field in {fault[-1] for fault in faults()} or field == "differentiable"    # no walker here lacks gradients


def test_gradients_are_lost_once_for_all():
    refined = Refined(BOX, Tightening(()))
    assert [WRAPPERS[name](refined).traits.differentiable for name in WRAPPERS] == [False] * len(WRAPPERS)


def test_a_trait_of_which_nobody_says_how_it_is_joined_is_an_error(monkeypatch):
    assert JOINS.keys() == set(FIELDS)
    monkeypatch.delitem(JOINS, "guide")
    with pytest.raises(KeyError, match="guide"):
        product.joined(BOX, BOX)


# ---- what the traits are for -----------------------------------------------------------------------------------------


def known(domain):
    """Total widths of every node's known bounds."""
    boxes = case("residual", 1.0)
    found = analyse(domain, Context(GRAPH, boxes.region, FLOAT64)).ctx.known
    return {name: float((interval.upper - interval.lower).sum()) for name, interval in found.items()}


def test_a_product_is_asked_alone_where_a_member_is():
    """Looser than what the engine knows otherwise: CROWN as published, twice, is CROWN as published."""
    crown = DeepPoly(plain=True)
    assert known(Product(crown, crown)) == known(crown) != known(DeepPoly())


def test_a_product_is_guided_as_its_members_are():
    guided, full = DeepPoly(intermediate="box"), known(DeepPoly())
    assert known(Product(guided, BOX)) == known(guided) == known(BOX) != full


def test_slopes_of_a_product_are_optimised_and_its_combinations_tried():
    for domain in (Alpha(), Product(Alpha(), BOX), Product(BOX, Alpha()), Same(Product(BOX, Alpha()))):
        light, whole = strategy_of(domain).stages()
        assert (light.inner_slopes, whole.inner_slopes) == (False, True)
        boxes = case("residual", 1.0)
        assert whole.attempt(Context(GRAPH, boxes.region, FLOAT64), boxes.spec).whole is not None


def test_bytes_of_a_product_are_those_of_its_members_and_of_their_guides():
    guided = DeepPoly(intermediate="box")
    own, box = guided.traits.memory(GRAPH, FLOAT64), BOX.traits.memory(GRAPH, FLOAT64)
    assert guided.traits.bytes_of(GRAPH, FLOAT64) == own + box
    assert Product(guided, guided).traits.bytes_of(GRAPH, FLOAT64) == 2 * (own + box)


@pytest.mark.parametrize("name", ["alone", "guide", "scout", "memory", "source", "ascent", "portfolio", "refute", "exhaustive"])
def test_what_would_be_overlooked_is_refused_where_it_is_written(name):
    """A domain that says `alone = True` beside its traits would silently not be asked alone."""
    with pytest.raises(PluginError, match=name) as caught:
        type("Old", (Box,), {name: torch.zeros(1)})
    assert caught.value.code == "E-PLUGIN-CONTRACT"
