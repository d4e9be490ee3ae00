"""Results under a name that ends in .gz are compressed: every text format; what is no text is refused."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from documents import DOCUMENT, HEADING, ROWS

from absint.errors import UsageError
from absint.reports.csv import Csv
from absint.reports.interface import format_for, suffix_of
from absint.reports.json import Json
from absint.reports.jsonl import JsonLines
from absint.reports.npz import Npz
from absint.reports.outputs import Outputs
from absint.reports.text import Text
from absint.runs import output


def run(path, kind):
    with Outputs([(path, kind)]) as outputs:
        outputs.begin(HEADING)
        for row in ROWS:
            outputs.row(row)
        outputs.end(DOCUMENT)
    return path.read_bytes()


@pytest.mark.parametrize("kind", [Csv, Json, JsonLines, Text])
def test_what_is_compressed_is_what_a_plain_file_has(tmp_path, kind):
    plain = run(tmp_path / "plain", kind)
    packed = run(tmp_path / "r.gz", kind)
    assert plain
    assert packed[:2] == b"\x1f\x8b"
    assert gzip.decompress(packed) == plain
    assert run(tmp_path / "again.gz", kind) == packed      # no name and no time in it


@pytest.mark.parametrize(("name", "kind"), [("a.json.gz", Json), ("a.JSONL.GZ", JsonLines), ("a.csv.gz", Csv), ("a.gz", None)])
def test_the_suffix_before_chooses_the_format(tmp_path, name, kind):
    assert format_for(tmp_path / name) is kind
    assert suffix_of(tmp_path / "a.svg") == ".svg"


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(UsageError) as refused:
        Outputs([(tmp_path / "a.npz.gz", Npz)])
    assert refused.value.code == "E-OUT-GZIP"
    assert not list(tmp_path.iterdir())


def test_rows_can_be_read_while_the_run_goes_on(tmp_path):
    path = tmp_path / "r.jsonl.gz"
    with Outputs([(path, JsonLines)]) as outputs:
        outputs.begin(HEADING)
        outputs.row(ROWS[0])
        so_far = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(path.read_bytes())
        assert json.loads(so_far)["index"] == ROWS[0].values["index"]


def test_a_run_that_fails_before_leaves_no_file(tmp_path):
    path = tmp_path / "r.json.gz"
    with pytest.raises(RuntimeError, match="no network"), Outputs([(path, Json)]):
        raise RuntimeError("no network")
    assert not path.exists()


def test_the_end_of_the_data_is_written_though_something_else_fails(tmp_path):
    def fail():
        with output.opened(tmp_path / "a.gz", zipped=True) as stream:
            stream.write("line\n")
            raise RuntimeError("later")

    with pytest.raises(RuntimeError, match="later"):
        fail()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"line\n"
