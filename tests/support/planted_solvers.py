"""Solvers that lie in ways of their own, that fail where they are told to, and how they come under a name."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
from solver_contract import LIES, Liar, wrong

from absint.solvers import SOLVERS, Claim, Engine, Presence, Solver, Status
from absint.solvers.highs import Highs


def random_point(claim, model):
    """Far outside the columns' bounds, whatever they are."""
    return replace(claim, point=1e3 * wrong(len(model.lower), 3))


def nan_point(claim, model):
    return replace(claim, point=np.full(len(model.lower), np.nan), value=0.0)


def nonsense_at_a_limit(claim, model):
    return Claim(Status.LIMIT, wrong(len(model.row_lower), 5), wrong(len(model.row_lower), 6), wrong(len(model.lower), 7), -1e9, 1e9)


def corner(claim, model):
    """A point of the box that satisfies no row in particular, as the optimum of everything."""
    return replace(claim, status=Status.OPTIMAL, point=np.where(np.isfinite(model.lower), model.lower, 0.0), value=-1e6, bound=-1e6)


def too_high(claim, model):
    """A MILP's bound above its optimum; an LP's answer as it is."""
    return Claim(Status.OPTIMAL, value=0.5, bound=0.5) if model.mixed else claim


def too_high_at_a_limit(claim, model):
    return Claim(Status.LIMIT, bound=0.5) if model.mixed else claim


def empty_and_flipped(claim, model):
    """What is optimal is called infeasible, with its multipliers as a ray; what is infeasible is optimal."""
    if claim.status is Status.INFEASIBLE:
        return Claim(Status.OPTIMAL, claim.ray, value=7.0, point=np.zeros(len(model.lower)))
    return Claim(Status.INFEASIBLE, ray=claim.multipliers, multipliers=claim.multipliers)


def minus_the_ray(claim, model):
    return claim if claim.ray is None else replace(claim, ray=-claim.ray)


class Fickle:
    """Contradicts itself: every other answer is 'infeasible', the others are the opposite multipliers."""

    def __init__(self):
        self.count = 0

    def __call__(self, claim, model):
        self.count += 1
        return [empty_and_flipped, LIES["flipped multipliers"], nonsense_at_a_limit][self.count % 3](claim, model)


MORE = {
    "a point outside": random_point, "a point of NaN": nan_point, "nonsense at a limit": nonsense_at_a_limit, "a corner": corner,
    "a MILP's bound": too_high, "a MILP's bound at a limit": too_high_at_a_limit, "the contrary": empty_and_flipped,
    "minus the ray": minus_the_ray, "contradictions": Fickle, "unbounded": lambda c, m: Claim(Status.UNBOUNDED),
    "minus infinity": lambda c, m: replace(c, value=-inf, bound=-inf, point=None),
}
EVERY = {**LIES, **MORE}


class Planted(Solver):
    """HiGHS, changed by a lie; a class of lies remembers, anew for each solver."""

    def __init__(self, lie):
        self.lie = lie() if isinstance(lie, type) else lie

    def check(self):
        return Presence(True, "planted")

    def start(self, model):
        return Liar(model, self.lie)


class Failing(Solver):
    """HiGHS for some runs, then an exception; `where` says in which method."""

    def __init__(self, error, where="run", after=0):
        self.error, self.where, self.after = error, where, after

    def check(self):
        return Presence(True, "planted")

    def start(self, model):
        self.reached("start")
        return FailingEngine(self, Highs().start(model))

    def reached(self, method):
        if method == self.where:
            self.after -= 1
            if self.after < 0:
                raise self.error


class FailingEngine(Engine):
    def __init__(self, plan, inner):
        self.plan, self.inner = plan, inner

    def set_bounds(self, index, lower, upper):
        self.plan.reached("set_bounds")
        self.inner.set_bounds(index, lower, upper)

    def set_cost(self, cost):
        self.plan.reached("set_cost")
        self.inner.set_cost(cost)

    def run(self, limits):
        self.plan.reached("run")
        return self.inner.run(limits)


def enter(made):
    """Known as 'planted', until the test ends."""
    SOLVERS._entries.pop("planted", None)
    SOLVERS.add("planted", lambda: made)
