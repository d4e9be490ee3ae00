"""VNN-LIB 2.0 through the standard's library: the same queries as in 1.0, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from vnnlib_oracle import disagreement, near

from absint.errors import InputError, UnsupportedError
from absint.problem.query import read_query

HEAD = "(vnnlib-version <2.0>)\n(declare-network N\n  (declare-input X real [1,2])\n  (declare-output Y real [2])\n)\n"
BOX = "(assert (and (<= -0.3 X[0,0]) (<= X[0,0] 0.7) (>= X[0,1] 0.1) (<= X[0,1] 0.7)))\n"
TEXTS = {
    "rows": BOX + "(assert (or (<= Y[0] Y[1]) (and (> Y[0] 0.1) (< Y[1] 0.3))))",
    "sums": BOX + "(assert (<= (+ Y[0] (* 2.0 Y[1]) -0.1) 0.5))(assert (> (- Y[0] Y[1] 0.1) (* Y[1] 0.5)))(assert (<= (- Y[0]) 0.3))",
    "boxes": BOX + "(assert (or (and (<= X[0,0] 0.1) (>= Y[0] 0.3)) (and (> X[0,0] 0.5) (== Y[0] Y[1]))))",
    "different": BOX + "(assert (!= Y[0] 0.25))",
    "digits": BOX + "(assert (<= X[0,0] 0.3000000000000000000000000001))(assert (<= Y[0] 0.1000000000000000000000000001))",
}


def old(text):
    """The same constraints in VNN-LIB 1.0, for the oracle."""
    for new, name in (("X[0,0]", "X_0"), ("X[0,1]", "X_1"), ("Y[0]", "Y_0"), ("Y[1]", "Y_1"), ("(== ", "(= ")):
        text = text.replace(new, name)
    return text.replace("(!= Y_0 0.25)", "(or (< Y_0 0.25) (> Y_0 0.25))")


@pytest.fixture
def read(tmp_path):
    def reading(text):
        file = tmp_path / "q.vnnlib"
        file.write_text(text)
        return read_query(file)

    return reading


@pytest.mark.parametrize("name", TEXTS)
def test_the_query_is_what_the_text_says(name, read):
    query, text = read(HEAD + TEXTS[name]), old(TEXTS[name])
    random = np.random.default_rng(0)
    pool = [0.0, 0.2, 0.4, 0.6, *near(text)]
    points = ((random.choice(pool, 2).tolist(), random.choice(pool, 2).tolist()) for _ in range(1500))
    assert disagreement(query, text, points) is None
    assert (query.network, query.version, query.shapes) == ("N", "2.0", ((1, 2), (2,)))
    assert (query.input_names, query.output_names) == (("X[0,0]", "X[0,1]"), ("Y[0]", "Y[1]"))


def test_indices_are_row_major(read):
    text = HEAD.replace("[1,2]", "[2,3]") + "".join(f"(assert (and (<= {i}{j}.0 X[{i},{j}]) (<= X[{i},{j}] {i}{j}.5)))"
                                                    for i in range(2) for j in range(3)) + "(assert (<= Y[1] 0.0))"
    assert read(text).region.lower.tolist() == [[0, 1, 2, 10, 11, 12]]


def test_inputs_of_type_float32_take_float32_numbers(read):
    """0.1 is no float32 number: the witness lies inside, and is one."""
    query = read((HEAD + TEXTS["rows"]).replace("real [1,2]", "float32 [1,2]"))
    inside = query.region.project(0, np.array([0.7, 0.1]))
    assert query.region.contains(0, inside)
    assert (inside.astype(np.float32) == inside).all()
    assert inside[1] > 0.1 > inside[1] - 1e-7
    assert not query.region.contains(0, np.array([0.7, 0.2]))
    assert not query.region.contains(0, np.array([0.5, float(np.float32(0.1)) - 1e-8]))


@pytest.mark.parametrize(("text", "code", "shown"), [
    (HEAD + TEXTS["rows"][:-1], "E-VNNLIB-SYNTAX", ":7:"),
    (HEAD + BOX + "(assert (<= Z[0] 0.0))", "E-VNNLIB-TYPE", "line 7"),
    (HEAD + BOX + "(assert (<= Y[5] 0.0))", "E-VNNLIB-TYPE", "out of bounds"),
    (HEAD + "(assert (<= X[0,0] 1e5))", "E-VNNLIB-SYNTAX", ":6:"),
    (HEAD + "(assert (<= X[0,0] 0.5))(assert (<= Y[0] 0.0))", "E-VNNLIB-UNBOUNDED", "X[0,0], X[0,1]"),
    (HEAD + BOX + "(assert (<= Y[0] " + "9" * 400 + ".0))", "E-VNNLIB-SYNTAX", "range of float64"),
    (HEAD + BOX + "(assert " + "(and " * 100_000 + "(<= Y[0] 0.0)" + ")" * 100_000 + ")", "E-VNNLIB-SIZE", ":7"),
    (HEAD + BOX + "(assert (or (<= Y[0] 0.0) (<= Y[1] 0.0)))" * 40, "E-VNNLIB-SIZE", "branches"),
    (HEAD.replace("<2.0>", "<3.0>") + BOX, "E-VNNLIB-TYPE", "version"),
    (HEAD.split("\n", 1)[1] + BOX, "E-VNNLIB-SYNTAX", ":1:"),
    ("(vnnlib-version <2.0>)", "E-VNNLIB-SYNTAX", ":1:"),
    (HEAD, "E-VNNLIB-", ""),
])
def test_fault(text, code, shown, read):
    with pytest.raises(InputError) as caught:
        read(text)
    assert caught.value.code.startswith(code)
    assert shown in caught.value.render()


@pytest.mark.parametrize(("text", "code"), [
    (HEAD + "(declare-network M (declare-input A real [1]) (declare-output B real [1]))" + BOX
     + "(assert (<= Y[0] B[0]))", "E-VNNLIB-NETWORKS"),
    (HEAD.replace("  (declare-output", "  (declare-output Z real [1])\n  (declare-output") + BOX, "E-VNNLIB-NETWORKS"),
    (HEAD + BOX + "(assert (<= X[0,0] X[0,1]))", "E-VNNLIB-RELATION"),
    (HEAD + BOX + "(assert (<= X[0,0] Y[1]))", "E-VNNLIB-RELATION"),
    (HEAD + BOX + "(assert (<= (* Y[0] Y[1]) 0.5))", "E-VNNLIB-RELATION"),
    (HEAD.replace("X real", "X float16") + BOX, "E-VNNLIB-SORT"),
    (HEAD.replace("X real", "real float16") + BOX.replace("X[", "real["), "E-VNNLIB-SORT"),     # its name is no type
])
def test_refused(text, code, read):
    with pytest.raises(UnsupportedError) as caught:
        read(text)
    assert caught.value.code == code


@pytest.mark.parametrize(("shapes", "fits"), [
    (((2,), (2,)), True), (((1, 2), (2,)), True), (((2, 1), (1, 2)), True), (((1, 1), (2,)), False), (((2,), (2, 2)), False),
])
def test_shapes_must_be_the_networks(shapes, fits, read):
    query = read(HEAD + TEXTS["rows"])
    if fits:
        query.check(shapes)
    else:
        with pytest.raises(InputError):
            query.check(shapes)


def test_a_transposed_declaration_is_refused(read):
    text = HEAD.replace("[1,2]", "[1,3,2]") + "".join(f"(assert (and (<= 0.0 X[0,{i},{j}]) (<= X[0,{i},{j}] 1.0)))"
                                                      for i in range(3) for j in range(2)) + "(assert (<= Y[1] 0.0))"
    read(text).check(((3, 2), (2,)))
    for shape in ((2, 3), (6,), (1, 2, 3)):
        with pytest.raises(InputError, match="E-VNNLIB-SHAPE"):
            read(text).check((shape, (2,)))


def test_a_second_input_needs_its_own_bounds(read):
    """Entries of all inputs are numbered in a row."""
    text = HEAD.replace("  (declare-output", "  (declare-input X2 real [1])\n  (declare-output") + BOX
    with pytest.raises(InputError, match="X2") as caught:
        read(text)
    assert caught.value.code == "E-VNNLIB-UNBOUNDED"
