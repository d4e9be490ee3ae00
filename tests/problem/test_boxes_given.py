"""Boxes that users bring: ends exactly as they were written, from tables, archives, queries and arrays; what is no box is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from absint.errors import AbsintError
from absint.problem.boxes import box_of, box_text
from absint.problem.regions.decimal_box import DecimalBox
from absint.problem.regions.region import BoxRegion


def text(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def refused(value, shape, code, *words):
    with pytest.raises(AbsintError) as caught:
        box_of(value, shape)
    said = caught.value.render()
    assert caught.value.code == code, said
    assert caught.value.hint
    assert all(word in said for word in words), said


def ends(region):
    return region.hull.lower.flatten(1).tolist(), region.hull.upper.flatten(1).tolist()


TABLES = ("lower,upper\n0.1,0.7\n-1/3,1e-3\n2,2\n", "name,hi,lo\na,0.7,0.1\nb,1e-3,-1/3\nc,2,2\n", "0.1,-1/3,2\n0.7,1e-3,2\n",
          "upper,0.7,1e-3,2\nlower,0.1,-1/3,2\n", "0.1;0.7\n-1/3;1e-3\n2;2\n")


@pytest.mark.parametrize("content", TABLES)
def test_ends_of_a_table_are_exact_decimals(tmp_path, content):
    region, _ = box_of(text(tmp_path / "b.csv", content), (3,))
    (low,), (high,) = ends(region)
    exact = [(Fraction("0.1"), Fraction("0.7")), (Fraction(-1, 3), Fraction("0.001")), (Fraction(2), Fraction(2))]
    for (least, most), below, above in zip(exact, low, high, strict=True):
        assert Fraction(below) <= least <= most <= Fraction(above)      # what is proved covers the decimals
        assert Fraction(above) - Fraction(below) - (most - least) <= Fraction(1, 2**52)
    # A float64 number is a point of the box where it lies within the decimals, exactly.
    for k, (least, most) in enumerate(exact):
        for value in (float(least), float(most), np.nextafter(float(least), -9), np.nextafter(float(most), 9)):
            point = region.center[0].numpy().copy()
            point[k] = value
            assert region.contains(0, point) == (least <= Fraction(float(value)) <= most)


def test_an_input_that_is_held_in_place_is_a_number_near_its_decimal(tmp_path):
    region, _ = box_of(text(tmp_path / "b.csv", "lower,upper\n0,1\n0.1,0.1\n"), (2,))
    assert isinstance(region, DecimalBox)
    assert Fraction(float(region.hull.lower[0, 1])) < Fraction(1, 10) <= Fraction(float(region.hull.upper[0, 1]))
    assert region.contains(0, np.array([0.5, 0.1]))
    assert not region.contains(0, np.array([0.5, np.nextafter(0.1, 1)]))
    assert box_text(region) == "the box x[0] in [0, 1], x[1] = 0.1"


@pytest.mark.parametrize("content", ["lower,upper\n1,-1\n0,1\n", "0,1\n1,0.5\n0,2\n"])
def test_swapped_ends_are_refused(tmp_path, content):
    refused(text(tmp_path / "b.csv", content), (content.count("\n") - content.startswith("l"),), "E-BOX", "swapped", "1 >")


@pytest.mark.parametrize(("content", "word"), [
    ("0,1\n2,3\n", "is a line an entry, or a side?"), ("lower,upper\n0,one\n", "'one'"), ("0\n1\n2\n", "3 lines of 1 cells"),
    ("lower,upper\n0,1_0\n", "1_0"), ("lower,upper\n", "0 least"), ("lower,upper\n0\n", "1 cells"),
])
def test_what_is_no_table_of_limits_is_refused(tmp_path, content, word):
    refused(text(tmp_path / "b.csv", content), (2,), "E-BOX-FORMAT", word)


def test_archives_hold_one_box_or_several(tmp_path):
    low, high = np.zeros((2, 3)), np.arange(1.0, 7.0).reshape(2, 3)
    for names in (("lower", "upper"), ("lb", "ub"), ("lo", "hi")):
        np.savez(tmp_path / "b.npz", **{names[0]: low, names[1]: high, "more": low})
        assert ends(box_of(tmp_path / "b.npz", (3,))[0]) == (low.tolist(), high.tolist())
    region, _ = box_of(tmp_path / "b.npz", (1, 2, 3))      # the same numbers are one box of a network of six inputs
    assert isinstance(region, BoxRegion)
    assert region.shape == (1, 2, 3)
    assert box_text(box_of(tmp_path / "b.npz", (3,))[0]) == "2 boxes of 3 inputs"
    refused(tmp_path / "b.npz", (4,), "E-BOX", "6 inputs", "4")
    refused(tmp_path / "b.npz", (3, 2), "E-BOX", "(2, 3)")
    np.savez(tmp_path / "c.npz", low=low, up=high)
    refused(tmp_path / "c.npz", (3,), "E-BOX-FORMAT", "found: low, up")
    np.savez(tmp_path / "d.npz", lower=low, upper=np.full((2, 3), np.nan))
    refused(tmp_path / "d.npz", (3,), "E-BOX", "NaN")
    np.savez(tmp_path / "e.npz", lower=low, upper=np.full((2, 3), np.inf))
    refused(tmp_path / "e.npz", (3,), "E-BOX", "finite")


QUERY = """
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)
(assert (or (and (>= X_0 0.1) (<= X_0 0.3)) (and (>= X_0 2) (<= X_0 3))))
(assert (>= X_1 0.1)) (assert (<= X_1 0.1)) (assert (>= Y_0 5))
"""


def test_the_inputs_of_a_query(tmp_path):
    region, notes = box_of(text(tmp_path / "q.vnnlib", QUERY), (2,))
    assert region.batch == 2
    assert "2 boxes" in notes[0]
    assert "outputs are left out" in notes[0]
    assert region.contains(0, np.array([0.2, 0.1]))
    assert region.contains(1, np.array([2.5, 0.1]))
    assert Fraction(float(region.hull.upper[0, 0])) >= Fraction("0.3")
    refused(tmp_path / "q.vnnlib", (3,), "E-BOX", "2 inputs")
    refused(text(tmp_path / "e.vnnlib", QUERY + "(assert (<= X_0 0))"), (2,), "E-BOX", "no input")
    bare = "\n".join(line.partition("(declare-const Y")[0].partition("(assert (>= Y")[0] for line in QUERY.splitlines())
    refused(text(tmp_path / "b.vnnlib", bare), (2,), "E-VNNLIB-EMPTY", "Y_0")
    advised = bare + "(declare-const Y_0 Real) (assert (<= Y_0 0))"
    assert box_of(text(tmp_path / "c.vnnlib", advised), (2,))[0].batch == 2


def test_pairs_of_arrays():
    one, _ = box_of((np.zeros(3), [1, 2, 0.1]), (3,))
    assert ends(one) == ([[0.0, 0.0, 0.0]], [[1.0, 2.0, 0.1]])      # float64 numbers are taken as they are
    several, _ = box_of((np.zeros((4, 6)), np.ones((4, 6))), (1, 2, 3))
    assert (several.batch, several.shape) == (4, (1, 2, 3))
    assert ends(box_of((-1, 1), (2,))[0]) == ([[-1.0, -1.0]], [[1.0, 1.0]])
    same = BoxRegion(one.lower, one.upper)
    assert box_of(same, (3,))[0] is same
    refused(same, (4,), "E-BOX", "(3,)")
    refused((np.zeros(3), np.ones(2)), (3,), "E-BOX", "(2,)")
    refused((np.zeros((2, 3)), np.ones(3)), (3,), "E-BOX", "2 lower and 1 upper")
    refused((np.ones(3), np.zeros(3)), (3,), "E-BOX", "swapped")
    refused(np.zeros((3, 3)), (3,), "E-OPTION", "pair")
