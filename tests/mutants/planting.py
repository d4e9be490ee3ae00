"""How a mutant is planted: registration, and numerics with a flaw."""

from __future__ import annotations

from dataclasses import dataclass, replace

from absint import context as context_module
from absint.rounding import Numerics

MUTANTS = {}


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


