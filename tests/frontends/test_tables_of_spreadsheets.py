"""Tables as spreadsheets and people write them: separators, decimal commas, encodings, columns that are nothing."""

from __future__ import annotations

import numpy as np
import pytest

import absint.frontends.csv_text as csv_text
from absint.errors import AbsintError
from absint.problem.boxes import read_limits
from absint.problem.data_frontend import Reading, read_data

VALUES = np.array([[0.637, 0.27], [1.5, -0.04]])
PLAIN = "label,a,b\n0,0.637,0.27\n2,1.5,-0.04\n"


def _with(mark: str, header: bool = True, point: str = ",") -> str:
    rows = PLAIN.replace(",", mark).replace(".", point)
    return rows if header else rows.partition("\n")[2]


def _read(tmp_path, content, **reading):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_data(path, None, Reading(**reading))


READ = {
    "semicolons, decimal commas": _with(";"),
    "the same without a header": _with(";", header=False),
    "tabs, decimal commas, no header": _with("\t", header=False),
    "bars": _with("|", point="."),
    "bars, decimal commas, no header": _with("|", header=False),
    "quoted decimal commas between commas": 'label,a,b\n"0","0,637","0,27"\n"2","1,5","-0,04"\n',
    "Excel names the separator": "sep=;\r\n" + _with(";").replace("\n", "\r\n"),
    "Excel's Unicode text": _with("\t").encode("utf-16"),
    "a separator behind every line": PLAIN.replace("\n", ",\n"),
    "one behind every line but the header's": PLAIN.replace("\n", ",\n").replace(",\n", "\n", 1),
    "a mark of the header's own": PLAIN.replace("a,b", '"a;1",b|2'),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_the_numbers_are_those_of_the_plain_table(tmp_path, content):
    found = _read(tmp_path, content)
    assert np.array_equal(found.inputs, VALUES)
    assert found.labels.tolist() == [0, 2]


def test_what_was_made_of_the_text_is_said(tmp_path):
    assert "decimal commas read as points" in _read(tmp_path, _with(";")).notes
    assert "the last column, which is empty, left out" in _read(tmp_path, READ["a separator behind every line"]).notes
    assert not {"decimal commas read as points"} & {*_read(tmp_path, PLAIN).notes, *_read(tmp_path, _with("|", point=".")).notes}


NOT_READ = {
    "a thousand and some, or one and some": "label;a\n0;1,234\n1;5,678\n",
    "points and commas": "label;a;b\n0;1.234;0,5\n",
    "groups of thousands": 'label,a\n0,"1,234,567"\n',
    "two commas": "label;a\n0;1,2,3\n",
}


@pytest.mark.parametrize("content", NOT_READ.values(), ids=NOT_READ)
def test_commas_that_may_mean_something_else_are_refused(tmp_path, content):
    with pytest.raises(AbsintError) as caught:
        _read(tmp_path, content)
    assert caught.value.code == "E-DATA-CELL"


def test_one_sure_decimal_comma_settles_the_others(tmp_path):
    assert _read(tmp_path, "label;a;b\n0;1,234;0,5\n").inputs.tolist() == [[1.234, 0.5]]


def test_lines_keep_their_numbers_behind_a_line_that_names_the_separator(tmp_path):
    with pytest.raises(AbsintError, match="line 4, column 2"):
        _read(tmp_path, "sep=;\nlabel;a\n0;0,5\n1;x\n")


def test_limits_are_read_with_decimal_commas_too(tmp_path):
    path = tmp_path / "limits.csv"
    path.write_text("lower;upper\n-0,5;0,25\n0;1\n")
    found = read_limits(path, 2)
    assert [float(one) for one in found.lower[0]] == [-0.5, 0]
    assert [float(one) for one in found.upper[0]] == [0.25, 1]


@pytest.mark.parametrize("head", ["", "height,speed,angle\n"])
def test_sides_may_stand_under_the_names_of_entries(tmp_path, head):
    path = tmp_path / "limits.csv"
    path.write_text(f"{head}0,-1,2\n1,1,3\n")
    found = read_limits(path, 3)
    assert [float(one) for one in (*found.lower[0], *found.upper[0])] == [0, -1, 2, 1, 1, 3]


def test_names_do_not_settle_what_two_lines_of_two_numbers_are(tmp_path):
    path = tmp_path / "limits.csv"
    path.write_text("height,speed\n0,1\n0,1\n")
    with pytest.raises(AbsintError, match="is a line an entry, or a side"):
        read_limits(path, 2)


def test_columns_that_are_there_are_named_where_none_is_a_label(tmp_path):
    with pytest.raises(AbsintError, match=r"3 columns \(a, species, b\)"):
        _read(tmp_path, "a,species,b\n0.5,1,0.5\n")


def _all_of_them(tmp_path):
    for content in NOT_READ.values():
        test_commas_that_may_mean_something_else_are_refused(tmp_path, content)
    for content in READ.values():
        test_the_numbers_are_those_of_the_plain_table(tmp_path, content)


@pytest.mark.parametrize("fault", ["every comma is decimal", "points are no reason", "the first mark decides"])
def test_the_tables_above_tell_a_reader_that_guesses(tmp_path, monkeypatch, fault):
    if fault == "every comma is decimal":
        monkeypatch.setattr(csv_text, "_GROUPED", csv_text.re.compile("(?!)"))
    elif fault == "points are no reason":
        monkeypatch.setattr(csv_text, "_POINT", csv_text.re.compile("(?!)"))
    else:
        monkeypatch.setattr(csv_text, "_mark", lambda text: next((mark for mark in (";", "\t", "|", ",") if mark in text), ","))
    with pytest.raises((AssertionError, AbsintError, pytest.fail.Exception)):
        _all_of_them(tmp_path)
