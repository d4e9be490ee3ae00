"""A format in one file of a stranger's shows the document of any analysis, and is chosen by its name or suffix."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath

import pytest
from documents import DOCUMENT, HEADING, HOSTILE, ROWS, written
from places import ROOT

from absint.contract.document import Document
from absint.errors import PluginError
from absint.registry import load_plugin
from absint.reports.interface import FORMATS, Format, format_for, format_of, register_format
from absint.reports.outputs import Outputs

FILE = ROOT / "tests" / "plugins" / "files" / "asciidoc_table.py"


@pytest.fixture
def asciidoc() -> type[Format]:
    load_plugin(FILE)
    return format_of("asciidoc")


def test_it_is_short() -> None:
    assert len(FILE.read_text().splitlines()) <= 50


def test_it_is_found_by_name_and_suffix(asciidoc) -> None:
    assert format_for(PurePath("r.ADOC")) is asciidoc


def test_it_shows_every_part(asciidoc) -> None:
    text = written(asciidoc)
    lines = text.splitlines()
    assert lines[:3] == ["[%header]", "|===", "|index |name |verdict |margin"]
    assert lines[4] == "|0 |much longer than its column is |falsified |-1.25"
    for cells in (("result", "1 of 3"), ("note", "seventh"), ("unnamed",), ("b", "")):
        assert " ".join(f"|{text}" for text in cells) in lines


def test_a_cell_ends_where_its_column_does(asciidoc) -> None:
    text = written(asciidoc)
    for block in re.split(r"\n\n", text.strip()):
        lines = [line for line in block.splitlines() if not line.startswith(("[", "|==="))]
        assert len({line.count("|") for line in lines}) == 1, block
    assert "\x1b" not in text
    assert "a\\x1b[2J{vbar}" in text
    assert HOSTILE not in text


def test_an_answer_in_the_words_of_a_standard_is_shown(asciidoc) -> None:
    assert "|answer |sat\n" in written(asciidoc, Document(lead="sat\n"), (), replace(HEADING, shown={}))


def test_it_goes_to_a_file_of_a_run(asciidoc, tmp_path) -> None:
    with Outputs([(tmp_path / "r.adoc", asciidoc)]) as outputs:
        outputs.begin(HEADING)
        outputs.row(ROWS[1])
        assert "|0 |much" in (tmp_path / "r.adoc").read_text()
        outputs.end(DOCUMENT)


def test_its_options_are_read_as_those_of_a_format_of_absint(asciidoc) -> None:
    assert "|note |seventh" in written(asciidoc)
    quiet = format_of("asciidoc:notes=off")
    assert "|note" not in written(quiet)
    assert quiet.suffixes == asciidoc.suffixes
    assert quiet.__module__ == asciidoc.__module__     # what it raises is still a stranger's


def test_what_is_no_format_is_refused_by_name() -> None:
    FORMATS.add("odd", object)  # type: ignore[arg-type]
    with pytest.raises(PluginError) as caught:
        format_of("odd")
    assert caught.value.code == "E-PLUGIN-CONTRACT"
    register_format("fine")(type("Fine", (Format,), {"end": lambda self, document: None}))
    assert issubclass(format_of("fine"), Format)
