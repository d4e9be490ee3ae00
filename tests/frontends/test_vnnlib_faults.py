"""Bad query files: one coded error that names line and column, never a traceback, never an answer."""

from __future__ import annotations

import gzip

import pytest

from absint.errors import InputError, UnsupportedError
from absint.problem.query import read_query

HEAD = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n"
BOX = "(assert (<= X_0 1))\n(assert (>= X_0 0))\n"
GOOD = HEAD + BOX + "(assert (<= Y_0 1))\n"
ZIPPED = gzip.compress(GOOD.encode(), mtime=0)    # without the time of day, which would make other tests of each run

FAULTS = {
    "undeclared input": (HEAD + "(assert (<= X_1 1))", "E-VNNLIB-UNDECLARED", "4:13"),
    "undeclared output": (HEAD + BOX + "(assert (or (<= Y_0 1)\n (>= Y_7 Y_0)))", "E-VNNLIB-UNDECLARED", "7:6"),
    "a word": (GOOD + "(assert (<= Y_0 infinity))", "E-VNNLIB-UNDECLARED", "7:17"),
    "never closed": (GOOD + "(assert (<= Y_0 1)", "E-VNNLIB-PARENTHESIS", "7:1"),
    "not closed before the next": (HEAD + "(assert (<= X_0 1)\n(assert (>= X_0 0))", "E-VNNLIB-PARENTHESIS", "5:1"),
    "closed twice": (HEAD + "(assert (<= X_0 1)))", "E-VNNLIB-PARENTHESIS", "4:20"),
    "no lower bound": (HEAD + "(assert (<= X_0 1))(assert (<= Y_0 1))", "E-VNNLIB-UNBOUNDED", "X_0"),
    "no bound in a branch": (HEAD + "(assert (<= X_0 1))(assert (or (>= X_0 0) (<= Y_0 1)))", "E-VNNLIB-UNBOUNDED", "X_0"),
    "no bounds at all": (HEAD + "(assert (<= Y_0 1))", "E-VNNLIB-UNBOUNDED", "X_0"),
    "empty": ("", "E-VNNLIB-EMPTY", "is empty"),
    "blank": (" \r\n\t", "E-VNNLIB-EMPTY", "is empty"),
    "only a comment": ("; nothing\n", "E-VNNLIB-EMPTY", "no input"),
    "only declarations": (HEAD, "E-VNNLIB-EMPTY", "nothing is asserted"),
    "no outputs": ("(declare-const X_0 Real)" + BOX, "E-VNNLIB-EMPTY", "no output"),
    "huge number": (HEAD + "(assert (<= X_0 1e999))", "E-VNNLIB-NUMBER", "4:17"),
    "huge number of digits": (HEAD + f"(assert (<= X_0 {'1' * 5000}))", "E-VNNLIB-NUMBER", "4:17"),
    "huge exponent": (HEAD + "(assert (<= X_0 1e-99999999999))", "E-VNNLIB-NUMBER", "4:17"),
    "no number": (HEAD + "(assert (<= X_0 1.2.3))", "E-VNNLIB-NUMBER", "4:17"),
    "division by zero": (HEAD + "(assert (<= (/ X_0 0) 1))", "E-VNNLIB-NUMBER", "4:13"),
    "a number without end": (HEAD + "(assert (<= " + "(* 0.1 " * 6000 + "Y_0" + ")" * 6000 + " 1))", "E-VNNLIB-NUMBER", ":4:"),
    "declared twice": ("(declare-const X_0 Real)" + HEAD, "E-VNNLIB-DUPLICATE", "1:40"),
    "a gap": ("(declare-const X_2 Real)" + GOOD, "E-VNNLIB-COUNT", "X_1 is not"),
    "another name": ("(declare-const Z_0 Real)", "E-VNNLIB-NAME", "1:16"),
    "leading zero": ("(declare-const X_00 Real)", "E-VNNLIB-NAME", "1:16"),
    "no command": (GOOD + "(foo X_0)", "E-VNNLIB-SYNTAX", "7:1"),
    "a word outside": ("hello", "E-VNNLIB-SYNTAX", "1:1"),
    "a constraint outside": (HEAD + "(<= X_0 1)", "E-VNNLIB-SYNTAX", "4:2"),
    "three operands": (HEAD + "(assert (<= 0 X_0 1))", "E-VNNLIB-SYNTAX", "4:9"),
    "two constraints": (HEAD + "(assert (<= X_0 1) (>= X_0 0))", "E-VNNLIB-SYNTAX", "4:1"),
    "a number for a constraint": (HEAD + "(assert (and X_0 (<= X_0 1)))", "E-VNNLIB-SYNTAX", "4:14"),
    "a constraint for a number": (HEAD + "(assert (<= (<= X_0 1) 1))", "E-VNNLIB-SYNTAX", "4:9"),
    "empty parentheses": (HEAD + "(assert ())", "E-VNNLIB-SYNTAX", "4:9"),
    "doubled parentheses": (HEAD + "(assert ((<= X_0 1)))", "E-VNNLIB-SYNTAX", "4:1"),
    "an assertion after the end": (GOOD + "(check-sat)(assert (<= Y_0 1))", "E-VNNLIB-SYNTAX", "7:12"),
    "an assertion after the exit": (GOOD + "(exit)\n(assert (<= Y_0 1))", "E-VNNLIB-SYNTAX", "8:1"),
    "an open quotation": (GOOD + '(set-info :source "a note)(assert (<= Y_0 1))', "E-VNNLIB-SYNTAX", "7:19"),
    "a quoted name": (GOOD + "(assert (<= |Y_0| 1))", "E-VNNLIB-UNDECLARED", "7:13"),
    "a product of disjunctions": (GOOD + "(assert (or (<= Y_0 1) (>= Y_0 Y_1)))\n" * 40, "E-VNNLIB-SIZE", "branches"),
    "a product inside one assert": (GOOD + "(assert (and" + " (or (<= Y_0 1) (>= Y_0 Y_1))" * 40 + "))", "E-VNNLIB-SIZE", "7:9"),
    "a product of boxes": (GOOD + "(assert (or (<= X_0 1) (>= X_0 0.5)))\n" * 40, "E-VNNLIB-SIZE", "branches"),
}
REFUSED = {
    "two inputs": (GOOD + "(assert (<= X_0 (+ X_0 X_0 1)))(assert (or (<= X_0 Y_0)))", "E-VNNLIB-RELATION", "7:44"),
    "input against output": (GOOD + "(assert (<= X_0 Y_0))", "E-VNNLIB-RELATION", "7:9"),
    "sum of input and output": (GOOD + "(assert (<= (+ X_0 Y_0) 1))", "E-VNNLIB-RELATION", "7:9"),
    "product": (GOOD + "(assert (<= (* Y_0 Y_1) 1))", "E-VNNLIB-RELATION", "7:13"),
    "implication": (GOOD + "(assert (=> (<= Y_0 1) (<= Y_1 1)))", "E-VNNLIB-OPERATOR", "7:9"),
    "not": (GOOD + "(assert (not (<= Y_0 1)))", "E-VNNLIB-OPERATOR", "7:9"),
    "functions": ("(declare-fun f (Real) Real)", "E-VNNLIB-OPERATOR", "1:16"),
    "integers": ("(declare-const X_0 Int)", "E-VNNLIB-SORT", "1:20"),
    "a coefficient beyond float64": (GOOD + "(assert (<= (* 0.1234567890123456789 Y_0) Y_1))", "E-VNNLIB-COEFFICIENT", "7:9"),
}


def complaint(tmp_path, data, name="q.vnnlib"):
    file = tmp_path / name
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises((InputError, UnsupportedError)) as caught:
        read_query(file)
    return caught.value


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name, tmp_path):
    text, code, shown = FAULTS[name]
    error = complaint(tmp_path, text)
    assert (error.code, error.exit_code) == (code, 3)
    assert shown in error.render()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    text, code, shown = REFUSED[name]
    error = complaint(tmp_path, text)
    assert (error.code, error.exit_code) == (code, 4)
    assert shown in error.render()


@pytest.mark.parametrize(("data", "name", "code"), [
    (bytes(range(256)) * 4, "q.vnnlib", "E-VNNLIB-FORMAT"),
    (b"(declare-const X_0 Real)\0", "q.vnnlib", "E-VNNLIB-FORMAT"),
    (b"\x1f\x8bnothing", "q.vnnlib.gz", "E-VNNLIB-FORMAT"),
    (ZIPPED[:-20], "q.vnnlib.gz", "E-VNNLIB-FORMAT"),
    (ZIPPED[:40] + b"\0" * 40, "q.vnnlib.gz", "E-VNNLIB-FORMAT"),
    (GOOD.encode(), "q.vnnlib.gz", "E-VNNLIB-FORMAT"),
    (gzip.compress(b"", mtime=0), "q.vnnlib.gz", "E-VNNLIB-EMPTY"),
    (b"", "q.vnnlib.gz", "E-VNNLIB-EMPTY"),
])
def test_files_that_are_none(data, name, code, tmp_path):
    error = complaint(tmp_path, data, name)
    assert (error.code, error.exit_code) == (code, 3)


def test_no_file(tmp_path):
    for path in (tmp_path / "nowhere.vnnlib", tmp_path):
        with pytest.raises(InputError) as caught:
            read_query(path)
        assert caught.value.code == "E-VNNLIB-MISSING"


def test_a_file_that_unpacks_to_more_than_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("absint.frontends.vnnlib._MAX_BYTES", 1000)
    assert complaint(tmp_path, gzip.compress(GOOD.encode() + b" " * 1000), "q.vnnlib.gz").code == "E-VNNLIB-SIZE"
    assert complaint(tmp_path, GOOD.encode() + b" " * 1000).code == "E-VNNLIB-SIZE"


@pytest.mark.parametrize(("text", "count"), [
    (HEAD + "(assert (<= X_0 0))(assert (>= X_0 1))(assert (<= Y_0 1))", 0),
    (HEAD + "(assert (< X_0 0.1))(assert (>= X_0 0.1))(assert (<= Y_0 1))", 0),
    (HEAD + "(assert (< X_0 0.1))(assert (>= X_0 0.10000000000000000001))(assert (<= Y_0 1))", 0),
    (HEAD + BOX + "(assert (or (<= X_0 -1) (<= Y_0 1)))", 1),
    (GOOD + "(assert (<= 1 0))", 0),
    (GOOD + "(assert (or (< Y_0 Y_0) (<= Y_1 0)))", 1),
    (HEAD + BOX + "(assert (or (<= X_0 0.1) (>= X_0 0.5)))(assert (and (> X_0 0.1) (< X_0 0.5)))(assert (<= Y_0 1))", 0),
    (GOOD + "(assert false)", 0),
])
def test_contradictions_are_told(text, count, tmp_path):
    file = tmp_path / "q.vnnlib"
    file.write_text(text)
    query = read_query(file)
    assert query.vacuous
    assert query.cells == count


def test_disjunctions_may_contradict_each_other_in_part(tmp_path):
    """Of the combinations of two disjunctions that each have a point, some are void by nature: no fault of the file."""
    file = tmp_path / "q.vnnlib"
    file.write_text(HEAD + BOX + "(assert (or (<= X_0 0.1) (>= X_0 0.5)))(assert (or (<= X_0 0.2) (>= X_0 0.4)))(assert (<= Y_0 1))")
    query = read_query(file)
    assert (query.cells, query.vacuous) == (2, ())
