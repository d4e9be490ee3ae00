"""How a mutant is planted and judged: registration, the one way to run killers, and numerics with a flaw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from inspect import signature
from itertools import product

import pytest

from absint.engine import context as context_module
from absint.errors import AbsintError
from absint.numeric.rounding import Numerics
from absint.testing.kit import ContractError

MUTANTS = {}
# What the engine itself finds contradictory counts as noticed; any other error is a mutant that is merely broken.
CONTRADICTION = ("E-CONTRADICTION",)
SLIPS = ("TypeError", "AttributeError", "NameError", "KeyError", "IndexError", "RuntimeError")


def into(found):
    """A decorator factory: `@mutant(*killers)` enters `function(patch)` in `found`; patch(owner, name, value) replaces an attribute."""

    def mutant(*killers):
        def enter(function):
            found[function.__name__] = (function, killers)
            return function

        return enter

    return mutant


def claims_into(found):
    """A decorator that enters `function(folder)` in `found`; it raises AssertionError where the claim is broken."""

    def claim(function):
        found[function.__name__] = function
        return function

    return claim


mutant = into(MUTANTS)


def plant(function, monkeypatch):
    """Apply a mutant; a patched attribute that does not exist is an error, and so is a mutant that patches nothing."""
    count = 0

    def patch(owner, name, value):
        nonlocal count
        count += 1
        monkeypatch.setattr(owner, name, value, raising=True)

    function(patch)
    assert count, "the mutant changes nothing"


def notices(run, killer, codes=CONTRADICTION):
    """Whether `run(killer)` notices unsoundness. A crash is no kill: it would hide a mutant that is merely broken."""
    try:
        run(killer)
    except ContractError as error:
        return any(not any(slip in line for slip in SLIPS) for line in error.details)
    except (AssertionError, pytest.fail.Exception):
        return True
    except AbsintError as error:
        return error.code in codes
    return False


def assert_killed(mutant, run, monkeypatch, codes=CONTRADICTION):
    """Every killer of the mutant (function, killers) fails under it."""
    function, killers = mutant
    plant(function, monkeypatch)
    assert [killer for killer in killers if not notices(run, killer, codes)] == []


def killing(mutants, run, forget=lambda: None):
    """A test for a module to hold: every one of the mutants is killed by its killers, which pass without it.

    That a killer passes is a claim of its own where every run asks for it (`ordinary`); the others are looked at, once.
    run: as `calls` makes it.  forget: called before a mutant is planted, where something was computed without it and kept.
    """

    @pytest.mark.parametrize("name", mutants)
    def test_mutant_is_killed(name, monkeypatch):
        assert all(run.ordinary(killer) or _passes(run, killer) for killer in mutants[name][1])
        forget()
        assert_killed(mutants[name], run, monkeypatch)

    return test_mutant_is_killed


@cache
def _passes(run, killer):
    run(killer)
    return True


def calls(*modules, named=lambda test, one: one):
    """`run` for killers (test, arguments...), whose tests stand in these modules; `run.ordinary` says which of them are tests anyway.

    named: from the name of a test and what a killer gives to what the test is called with.
    """

    def called(killer):
        test, *given = killer
        module = next(module for module in modules if hasattr(module, test))
        return module, getattr(module, test), [named(test, one) for one in given]

    def run(killer):
        _, test, given = called(killer)
        test(*given)

    run.ordinary = lambda killer: ordinary(*called(killer))
    return run


def ordinary(module, test, given):
    """Whether every run of the suite calls the test with just these values: not where it is slow, skipped, or asks for fixtures' values."""
    of_all, marks = getattr(module, "pytestmark", []), getattr(test, "pytestmark", [])
    others = {mark.name for mark in (*(of_all if isinstance(of_all, list) else [of_all]), *marks)} - {"parametrize", "usefixtures"}
    names = list(signature(test).parameters)
    if others or not test.__name__.startswith("test_") or len(names) != len(given):
        return False
    choices = []
    for mark in (mark for mark in marks if mark.name == "parametrize"):
        of, values = mark.args
        of = [name.strip() for name in of.split(",")] if isinstance(of, str) else list(of)
        sets = [value if isinstance(value, _PARAM) else pytest.param(*(value if len(of) > 1 else [value])) for value in values]
        choices.append([dict(zip(of, one.values, strict=True)) for one in sets if not one.marks])
    wanted = dict(zip(names, given, strict=True))
    every = ({name: value for part in parts for name, value in part.items()} for parts in product(*choices))
    return any(one.keys() == wanted.keys() and all(_equal(value, wanted[name]) for name, value in one.items()) for one in every)


_PARAM = type(pytest.param())


def _equal(one, two):
    """Whether they are the same, or say so; what answers in arrays does not."""
    return one is two or (type(one) is type(two) and (one == two) is True)


@dataclass(frozen=True)
class NoGamma(Numerics):
    """Numerics whose relative error terms are gone."""

    def gamma(self, terms):
        return 0.0

    def vector_gamma(self, terms):
        return 0.0


@dataclass(frozen=True)
class NoFloor(Numerics):
    """Numerics without underflow terms."""

    floor = 0.0
    vector_floor = 0.0


def flawed(num, kind):
    return kind(num.dtype, num.vector, num.device, num.rounding, num.float32_semantics)


def with_numerics(method, kind):
    """The method run with flawed numerics in its context (the argument named ctx, in any position)."""

    def run(*args, **kwargs):
        def swap(value):
            return replace(value, numerics=flawed(value.numerics, kind)) if isinstance(value, context_module.Context) else value

        return method(*(swap(a) for a in args), **{k: swap(v) for k, v in kwargs.items()})

    return run


