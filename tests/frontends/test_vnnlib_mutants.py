"""Unsound variants of the path from a query's text to its answer: the checks named for each must notice it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from math import inf, nextafter

import numpy as np
import pytest
import torch
from mutants.planting import assert_killed
from test_query_answers import POSITIVE, UNIT, ask, nets  # noqa: F401  # fixtures
from test_vnnlib_reader import BOX, TEXTS, points, random_text, read  # noqa: F401
from vnnlib_oracle import disagreement

from absint.analyses.query import answering
from absint.analyses.query.answering import QueryAnswer
from absint.frontends import vnnlib_atoms, vnnlib_build, vnnlib_reader
from absint.frontends.vnnlib_numbers import ExactNumber
from absint.problem.query import Query
from absint.problem.regions.decimal_box import DecimalBox
from absint.verdict import Reason

SPEC, QUERY, DECIMAL, VALUES, TIGHTEN = Query.spec, vnnlib_build._query, vnnlib_reader.decimal, vnnlib_build._values, vnnlib_build._tighten


def text_is_kept(name):
    def check(ask, read):  # noqa: F811
        text = TEXTS[name]
        assert disagreement(read(text), text, points(text)) is None

    return check


def sums_are_kept(ask, read):  # noqa: F811
    """Only sums of floats fall between a decimal and the float64 numbers beside it."""
    ends = [nextafter(0.1, -inf), 0.1, nextafter(0.1, inf)]
    for relation in ("<=", ">=", "<", ">"):
        text = BOX + f"(assert ({relation} (+ Y_0 Y_1) 0.1))"
        pairs = [([0.0, 0.5], [end, step]) for end in ends for step in (-1e-17, -1e-18, 0.0, 1e-18, 1e-17)]
        assert disagreement(read(text), text, pairs) is None


def random_texts_are_kept(ask, read):  # noqa: F811
    for seed in range(12):
        text = random_text(seed)
        assert disagreement(read(text), text, itertools.islice(points(text, seed), 150)) is None


def sliver_is_no_witness(ask, read):  # noqa: F811
    assert ask("zero", POSITIVE + "(assert (<= Y_0 -1e-330))").answer is not QueryAnswer.SAT


def strict_tie_is_no_witness(ask, read):  # noqa: F811
    assert ask("zero", POSITIVE + "(assert (< Y_0 0))").answer is not QueryAnswer.SAT


def strict_tie_is_none_beside_a_tie_that_counts(ask, read):  # noqa: F811
    query = read(BOX + "(assert (or (and (<= X_0 0.1) (< Y_0 0)) (and (>= X_0 0.5) (<= Y_0 -1))))")
    (group,) = query.groups()
    assert not query.spec(group.rows[:1], inward=True).violated_exactly(0, np.zeros(2))
    assert query.spec(group.rows, inward=False).violated_exactly(0, np.zeros(2))


def contradiction_is_no_proof(ask, read):  # noqa: F811
    assert ask("identity", UNIT + "(assert (or (<= X_0 -1) (<= Y_0 -5)))").reason is Reason.VACUOUS


def proof_covers_the_decimal(ask, read):  # noqa: F811
    query = read("(assert (= X_0 0.1))(assert (= X_1 0.5))(assert (<= Y_0 1))")
    low, high = query.region.around(0, np.array([0.1, 0.5]))
    assert Fraction(float(low[0, 0])) <= Fraction("0.1") <= Fraction(float(high[0, 0]))
    assert query.region.around(0, np.array([0.1, 0.6])) is None


def boxes_that_round_alike_are_kept_apart(ask, read):  # noqa: F811
    for first, second in (("<", "<="), ("<=", "<")):
        text = BOX + f"(assert (or (and ({first} X_0 0.5) (>= Y_0 0.3)) (and ({second} X_0 0.5) (>= Y_0 0.7))))"
        assert disagreement(read(text), text, [([0.5, 0.25], [0.4, 0.0]), ([0.5, 0.25], [0.8, 0.0])]) is None


def ends_are_enclosed(ask, read):  # noqa: F811
    region = read("(assert (>= X_0 0.1))(assert (<= X_0 0.3))(assert (>= X_1 0.3))(assert (<= X_1 0.7))(assert (<= Y_0 1))").region
    assert [Fraction(v) < Fraction(d) for v, d in zip(region.lower[0].tolist(), ("0.1", "0.3"), strict=True)] == [True, True]
    assert [Fraction(v) > Fraction(d) for v, d in zip(region.upper[0].tolist(), ("0.3", "0.7"), strict=True)] == [True, True]


def spec_always(inward):
    return lambda self, rows, *, inward=None, fixed=inward: SPEC(self, rows, inward=fixed)


def nearest(text):
    found = DECIMAL(text)
    return None if found is None else ExactNumber(float(text), float(text), text)


def shrunk(text):
    found = DECIMAL(text)
    return None if found is None else ExactNumber(found.ceil, found.floor, text)


def keep_first(ends, bound):
    ends.setdefault(bound.var, bound)


MUTANTS = {
    "witnesses from the proof's set": (Query, "spec", spec_always(False), sliver_is_no_witness),
    "proofs from the witness's set": (Query, "spec", spec_always(True), sums_are_kept),
    "ends rounded to nearest": (vnnlib_reader, "decimal", nearest, ends_are_enclosed),
    "biases rounded to nearest": (vnnlib_atoms, "rational", lambda v: ExactNumber(float(v), float(v), v), sums_are_kept),
    "decimals rounded inward": (vnnlib_reader, "decimal", shrunk, text_is_kept("plain")),
    "strict bounds of inputs taken as not strict": (
        vnnlib_build, "_values", lambda bound: VALUES(bound._replace(strict=False)), text_is_kept("strict")),
    "strict rows taken as not strict": (
        Query, "spec", lambda self, rows, *, inward: replace(s := SPEC(self, rows, inward=inward), strict=torch.zeros_like(s.strict)),
        strict_tie_is_no_witness),
    "strict rows where any is": (
        Query, "spec", lambda self, rows, *, inward: replace(SPEC(self, rows, inward=inward), strict=torch.from_numpy(
            self.rows.strict[rows.reshape(len(rows), -1)].any(0))), strict_tie_is_none_beside_a_tie_that_counts),
    "membership by the outer box": (
        DecimalBox, "contains", lambda self, i, p: bool(((p >= self.lower[i].numpy()) & (p <= self.upper[i].numpy())).all()),
        text_is_kept("constants on the left")),
    "constants on the left read as on the right": (vnnlib_reader, "_MIRROR", {o: o for o in vnnlib_reader._MIRROR}, random_texts_are_kept),
    "a second bound ignored": (vnnlib_build, "_tighten", keep_first, text_is_kept("tightened")),
    "contradictory branches dropped in silence": (
        vnnlib_build, "_query", lambda d, b, c, o, notes, s: QUERY(d, b, c, o, (), s), contradiction_is_no_proof),
    "or read as its first branch": (vnnlib_reader, "disjunction", lambda parts: parts[0], random_texts_are_kept),
    "and read as or": (vnnlib_reader, "conjunction", lambda parts, source, at: vnnlib_atoms.disjunction(parts), random_texts_are_kept),
    "the proof leaves the decimal out": (
        DecimalBox, "around", lambda self, i, p: (torch.from_numpy(p)[None], torch.from_numpy(p)[None]), proof_covers_the_decimal),
    "cells of boxes that differ in strictness merged": (
        vnnlib_build._Cell, "key", lambda self: tuple(sorted((2 * b.var + b.upper, b.value.floor, "", False) for b in self.bounds())),
        boxes_that_round_alike_are_kept_apart),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch, ask, read):  # noqa: F811
    owner, attribute, value, check = MUTANTS[name]
    check(ask, read)
    assert_killed((lambda patch: patch(owner, attribute, value), (check,)), lambda killer: killer(ask, read), monkeypatch)


def test_an_answer_needs_all_instances(monkeypatch, ask):  # noqa: F811
    """An engine that returns fewer results than instances proves nothing."""
    real = answering.decided

    def lossy(problem, settings):
        yield from (result for result in real(problem, settings) if result.index == 0)

    text = UNIT + "(assert (or (and (<= X_0 0.2) (>= Y_0 0.3)) (and (>= X_0 0.6) (<= Y_0 0.5))))"
    assert ask("identity", text).answer is QueryAnswer.UNSAT
    monkeypatch.setattr(answering, "decided", lossy)
    assert ask("identity", text).answer is QueryAnswer.UNKNOWN
    assert ask("identity", text, total_timeout=inf).answer is QueryAnswer.UNKNOWN
