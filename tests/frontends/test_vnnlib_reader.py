"""VNN-LIB 1.0: what the reader makes of a text is what the text says, decided by a second reader in rationals."""

from __future__ import annotations

import gzip
import itertools
import random
from functools import partial

import numpy as np
import pytest
from counting import work
from vnnlib_oracle import declared, disagreement, near

from absint.problem.query import read_query

BOX = "(assert (>= X_0 -0.3))(assert (<= X_0 0.7))(assert (>= X_1 0.1))(assert (<= X_1 0.7))"
TEXTS = {
    "plain": BOX + "(assert (<= Y_0 Y_1))(assert (>= Y_0 0.1))",
    "strict": "(assert (> X_0 0.1))(assert (< X_0 0.5))(assert (> X_1 0.25))(assert (< X_1 0.5))(assert (< Y_0 0.5))(assert (> Y_1 0.1))",
    "constants on the left": "(assert (<= -0.3 X_0))(assert (> 0.7 X_0))(assert (< 0.1 X_1))(assert (>= 0.7 X_1))(assert (< 0.1 Y_0))",
    "equal": "(assert (= X_0 0.5))(assert (= 0.1 X_1))(assert (= Y_0 0.25))",
    "equal outputs": BOX + "(assert (= Y_0 Y_1))",
    "tightened": BOX + "(assert (<= X_0 0.1))(assert (< X_0 0.1))(assert (<= X_0 0.5))(assert (>= X_1 0.25))"
                 "(assert (or (<= Y_0 0.1) (>= Y_1 0.3)))",
    "boxes": """(assert (or (and (<= X_0 0.1) (>= X_0 -0.1) (<= X_1 0.5) (>= X_1 0.1))
                        (and (< X_0 0.7) (> X_0 0.3) (<= X_1 0.7) (>= X_1 0.5))))(assert (or (and (<= Y_0 Y_1)) (and (>= Y_0 0.3))))""",
    "mixed": "(assert (or (and (<= X_0 0.1) (>= Y_0 0.3)) (and (>= X_0 0.5) (<= Y_1 0.1) (< Y_0 Y_1))))" + BOX,
    "same box twice": "(assert (or (and (<= X_0 0.1) (>= Y_0 0.3)) (and (<= X_0 0.1) (<= Y_1 0.1)) (>= X_0 0.5)))" + BOX,
    "two disjunctions": BOX + "(assert (or (<= Y_0 0.1) (>= Y_0 0.5)))(assert (or (<= Y_1 Y_0) (> Y_1 0.7)))",
    "two disjunctions of inputs": BOX + "(assert (or (<= X_0 0.1) (>= X_0 0.5)))(assert (or (<= X_1 0.3) (>= X_1 0.5)))"
                                 "(assert (<= Y_0 0.1))",
    "nested": BOX + "(assert (and (or (and (or (<= Y_0 0.1) (>= Y_1 0.7)) (< Y_0 Y_1)) (> Y_0 0.5)) (<= Y_0 0.7)))",
    "sums": BOX + "(assert (<= (+ Y_0 (* 2 Y_1) -0.1) 0.5))(assert (> (- Y_0 Y_1) (* 0.5 Y_1)))(assert (<= (- Y_0) 0.3))",
    "decimal weights": BOX + "(assert (<= (+ (* 0.1 Y_0) (* 0.3 Y_1)) 0.1))",
    "scaled inputs": "(assert (<= (* 2 X_0) 0.5))(assert (>= (* -3 X_0) -0.7))(assert (>= X_0 -0.1))(assert (<= (+ X_1 0.1) 0.5))"
                     "(assert (>= (- X_1) -0.7))(assert (>= X_1 (- 0.3)))(assert (<= Y_0 0.1))",
    "cancelled": BOX + "(assert (<= (- Y_0 Y_0) 0.1))(assert (<= Y_1 0.5))",
    "nothing of the outputs": BOX,
    "exponents": "(assert (>= X_0 -1e-1))(assert (<= X_0 5e-1))(assert (>= X_1 0.0))(assert (<= X_1 7.0e-1))(assert (<= Y_0 3e-1))",
    "constraints between constants": BOX + "(assert (<= 1 2))(assert (or (<= 0.1 Y_0) (>= 0.1 0.7)))",
}


@pytest.fixture
def read(tmp_path):
    def reading(text, inputs=2, outputs=2, name="q.vnnlib"):
        file = tmp_path / name
        file.write_text(declared(inputs, outputs) + text, encoding="utf-8")
        return read_query(file)

    return reading


def points(text, seed=0):
    """Pairs of inputs and outputs near the numbers of the text, and on ties between outputs."""
    numbers, choose = near(text), random.Random(seed)
    pool = [0.0, 0.2, 0.4, 0.6, *numbers]
    for _ in range(700):
        x, y = [choose.choice(pool) for _ in range(2)], [choose.choice(pool) for _ in range(2)]
        yield x, [y[0], y[0]] if choose.random() < 0.2 else y


@pytest.mark.parametrize("name", TEXTS)
def test_the_query_is_what_the_text_says(name, read):
    text = TEXTS[name]
    query = read(text)
    assert disagreement(query, text, points(text)) is None


def random_text(seed):
    choose = random.Random(seed)
    numbers = ["0.1", "0.25", "0.3", "0.5", "0.7", "-0.1"]

    def atom():
        kind, op = choose.random(), choose.choice(["<=", ">=", "<", ">"])
        if kind < 0.4:
            return f"({op} X_{choose.randrange(2)} {choose.choice(numbers)})"
        if kind < 0.7:
            return f"({op} {choose.choice(numbers)} Y_{choose.randrange(2)})"
        return f"({op} (+ Y_0 (* {choose.choice(numbers)} Y_1)) {choose.choice(numbers)})" if kind < 0.8 else f"({op} Y_0 Y_1)"

    def tree(depth):
        if not depth or choose.random() < 0.3:
            return atom()
        return f"({choose.choice(['and', 'or'])} {' '.join(tree(depth - 1) for _ in range(choose.randint(1, 3)))})"

    return BOX + "".join(f"(assert {tree(3)})" for _ in range(choose.randint(1, 3)))


@pytest.mark.parametrize("seed", range(40))
def test_random_texts(seed, read):
    text = random_text(seed)
    query = read(text)
    assert disagreement(query, text, itertools.islice(points(text, seed), 200)) is None


@pytest.mark.parametrize("write", [
    lambda t: ("﻿" + t).encode(), lambda t: t.replace(")(", ")\r\n(").encode(), lambda t: t.replace(" ", "\t").encode(),
    lambda t: ("; (assert (<= X_0 -5))\n" + t.replace(")(", "); )\n(")).encode(), lambda t: gzip.compress(t.encode()),
    lambda t: t.replace("(<=", "( <= ").replace(" 0.7", " ; half ) of\n 0.7 ").encode(),
], ids=["bom", "crlf", "tabs", "comments", "gzip", "comment inside"])
def test_the_form_of_the_file_does_not_matter(write, tmp_path, read):
    text = declared(2, 2) + TEXTS["mixed"]
    plain = read(TEXTS["mixed"])
    file = tmp_path / ("other.vnnlib.gz" if write(text).startswith(b"\x1f\x8b") else "other.vnnlib")
    file.write_bytes(write(text))
    other = read_query(file)
    for name in ("lower", "upper", "inner_lower", "inner_upper"):
        assert bool((getattr(plain.region, name) == getattr(other.region, name)).all())
    for name in ("index", "weight", "bias_down", "bias_up", "strict", "disjunct", "cell"):
        assert np.array_equal(getattr(plain.rows, name), getattr(other.rows, name))


def test_boxes_are_rounded_outward_and_keep_their_decimals(read):
    query = read("(assert (<= X_0 0.3))(assert (>= X_0 0.1))(assert (= X_1 0.1))(assert (<= Y_0 1))")
    region = query.region
    assert region.lower[0, 0] < 0.1 <= region.inner_lower[0, 0]  # 0.1 as a float64 number lies above one tenth
    assert region.inner_upper[0, 0] == 0.3 < region.upper[0, 0]  # 0.3 as one lies below three tenths
    assert not region.attainable[0]
    assert query.exact == {(0, 1): "0.1"}
    assert not region.contains(0, region.project(0, np.array([0.2, 0.1])))


def test_cells_of_one_box_are_merged_and_others_kept_apart(read):
    same = "(and (<= X_0 0.1) (>= Y_0 {k}))"
    text = BOX + "(assert (or " + " ".join(same.format(k=k) for k in range(50)) + "(and (<= X_0 0.10000000000000001) (>= Y_0 7))))"
    query = read(text)
    assert (query.cells, query.disjuncts) == (2, 51)


def test_instances_of_different_structure_say_the_same_as_their_cells(read):
    parts = [f"(and (>= X_0 0.{k}) " + " ".join(f"(<= Y_{j % 2} 0.{j})" for j in range(1, k + 1)) + ")" for k in range(1, 7)]
    text = BOX + f"(assert (or {' '.join(parts)} (and (>= X_0 0.1) (> Y_0 Y_1))))"
    query = read(text)
    assert disagreement(query, text, points(text)) is None
    assert sum(len(group.cell) for group in query.groups()) == query.cells == 6


def test_a_cell_with_very_many_disjuncts_is_cut_up(read, monkeypatch):
    text = BOX + f"(assert (or {' '.join(f'(<= Y_0 (* {k} Y_1))' for k in range(1, 40))}))"
    query = read(text)
    whole = [group.rows.copy() for group in query.groups()]
    monkeypatch.setattr("absint.problem.query._ENTRIES", 14)
    parts = [row for group in query.groups() for row in group.rows]
    assert len(parts) == 6
    assert {r for part in parts for r in part.reshape(-1).tolist()} == set(whole[0].reshape(-1).tolist())


def test_work_is_linear_in_the_number_of_branches(read):
    def grouped(count):
        query = read("(assert (or " + "\n".join(
            f"(and (>= X_0 {k}.25) (<= X_0 {k}.7) (>= X_1 0.1) (<= X_1 1) (<= Y_0 Y_1))" for k in range(count)) + "))")
        groups = list(query.groups())
        assert (query.cells, len(groups), groups[0].rows.shape) == (count, 1, (count, 1, 1))

    grouped(30_000)
    once, twice = (work(partial(grouped, count)) for count in (500, 1_000))
    assert twice < 2.2 * once


@pytest.mark.parametrize("text", [
    "(and " * 100_000 + "(<= Y_0 1)" + ")" * 100_000, "(or (<= Y_0 2) " * 30_000 + "(<= Y_0 1)" + ")" * 30_000,
    "(<= " + "(+ Y_0 " * 30_000 + "1" + ")" * 30_000 + " 3)",
], ids=["and", "or", "plus"])
def test_depth_is_no_limit(text, read):
    query = read(BOX + f"(assert {text})")
    assert query.cells == 1
    assert disagreement(query, BOX, [([0.0, 0.5], [5.0, 0.0])]) is not None  # 5 is not at most 1, 2 or 3
