"""Rows of `tests/project/test_hints.py`: what people who use absint for the first time give it, and its advice followed to the letter."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from hint_calls import LiveCase, rows
from hint_cases import V
from hint_commands import rows as commands

import absint
from absint.problem.boxes import read_limits
from absint.problem.data_frontend import Reading, read_data
from absint.region import LinfBall

Call = Callable[[dict[str, str]], Any]
_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


def _beside(words: dict[str, str], name: str) -> Path:
    return Path(words["NET"]).with_name(name)


def _read(content: str | bytes, name: str = "first.csv", **reading: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = _beside(words, name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_data(path, None, Reading(**reading))

    return call


def _classes(content: str) -> Call:
    return lambda words: _read(content)(words).check_labels(3)


def _limits(content: str) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = _beside(words, "first_box.csv")
        path.write_text(content)
        return read_limits(path, 2)

    return call


_GROUPED, _BOTH, _WORDS = "label,a,b\n0,\"1,234.5\",2\n", "label;a;b\n0;1.234,5;2\n", "label,a,b\nold,1,2\nnew,3,4\n"
_DATES, _LATIN = "label,day,b\n0,2026-01-01,2\n", "label,gr\xf6\xdfe,b\n0,1,2\n".encode("latin-1")

# What the lines of pandas write, which absint does not depend on, stands as the text that they write.
TABLES = [
    *rows("E-DATA-CELL",
          ("write numbers without commas: pandas.read_csv(path, sep={}, thousands=',').to_csv(new, index=False)", _read(_GROUPED),
           _read("label,a,b\n0,1234.5,2\n")),
          ("write numbers plainly: pandas.read_csv(path, sep={}, thousands='.', decimal=',').to_csv(new, index=False)", _read(_BOTH),
           _read("label,a,b\n0,1234.5,2\n")),
          ("leave that column out, or turn it into numbers as in training: pandas.read_csv(path, sep={}).drop(columns={})"
           ".to_csv(new, index=False); where it holds the labels: --label-column {}", _read(_DATES),
           _read("label,b\n0,2\n")),
          ("number the classes from 0, as the network's outputs are ordered", _read("1,2,old\n", label_column="-1"),
           _read("1,2,0\n", label_column="-1")),
          ("number the classes from 0, as the network's outputs are ordered; by the alphabet: table = pandas.read_csv(path, sep={}); "
           "table[{}] = pandas.factorize(table[{}], sort=True)[0]; table.to_csv(new, index=False)", _read(_WORDS),
           _read("label,a,b\n1,1,2\n0,3,4\n"))),
    *rows("E-DATA-LABEL",
          ("labels count from 0, these from 1 to {}: take 1 from each", _classes("1,2,2\n3,2,2\n"), _classes("0,2,2\n2,2,2\n"))),
    *rows("E-DATA-FORMAT",
          ("write it as UTF-8: pandas.read_csv(path, encoding='latin-1').to_csv(new, index=False)", _read(_LATIN),
           _read("label,größe,b\n0,1,2\n")),
          ("fetch the file: git lfs pull", _read(_LFS), _read("0,1,2\n")),
          ("fetch the file: git annex get", _read("/annex/objects/MD5-s1--00\n"), _read("0,1,2\n")),
          ("fetch the file itself, by the link of its raw or download button", _read("<!DOCTYPE html>\n<html></html>\n"),
           _read("0,1,2\n"))),
]


def _query(path: str | Path) -> Any:
    from absint.problem.query import read_query

    return read_query(path)


def _missing(code: str, word: str, read: Callable[[Any], Any]) -> list[LiveCase]:
    def beside(words: dict[str, str]) -> Path:
        return Path(words[word])

    return rows(code,
                ("did you mean {}?", lambda words: read(beside(words).with_name(f"{beside(words).name[:-1]}")),
                 lambda words: read(words[word])),
                ("there is no folder {} either: paths start at {}",
                 lambda words: read(beside(words).parent / "nowhere" / beside(words).name), lambda words: read(words[word])),
                ("links are not followed: download it, and give the path of the copy",
                 lambda words: read(f"https://example.com/{beside(words).name}"), lambda words: read(words[word])))


_CENTER = torch.full((1, 4), 0.5, dtype=torch.float64)
PATHS = [
    *_missing("E-MODEL-MISSING", "NET", absint.load), *_missing("E-DATA-MISSING", "DATA", read_data),
    *_missing("E-VNNLIB-MISSING", "QUERY", _query),
    *rows("E-DATA-MISSING",
          ("limits are a file: CSV with a line an entry under the header 'lower,upper', or npz with these arrays",
           lambda words: read_limits(Path("0,1"), 2), _limits("lower,upper\n0,1\n0,1\n"))),
    *rows("E-MODEL-FORMAT",
          ("name the file in it, such as one that ends in .onnx", lambda words: absint.load(Path(words["NET"]).parent),
           lambda words: absint.load(words["NET"]))),
    *rows("E-EPS",
          ("fractions.Fraction('0.1') for 0.1, or a float64 tensor for a radius an entry", lambda words: LinfBall(_CENTER, 0.1),
           lambda words: LinfBall(_CENTER, Fraction("0.1")))),
    *rows("E-REGION",
          ("torch.as_tensor(inputs), one row an input", lambda words: LinfBall(_CENTER.tolist(), Fraction(1, 10)),
           lambda words: LinfBall(torch.as_tensor(_CENTER.tolist()), Fraction(1, 10)))),
]

FIRST_COMMANDS = [
    *commands("E-EPS",
              ("a radius is in raw input units: 0.01, or 8/255 for 8 steps of an eight-bit picture",
               f"{V} --eps 1e400", f"{V} --eps 8/255"),
              ("a share of 1 as a decimal or a fraction: {}/100", f"{V} --eps 1%", f"{V} --eps 1/100"),
              ("decimals have a point: 0.01, not 0,01", f"{V} --eps 0,01", f"{V} --eps 0.01"),
              ("several radii are a sweep: absint sweep net.onnx --eps {}", f"{V} --eps 0.01:0.02:2",
               "sweep NET --data DATA --domain box --attack none --eps 0.01:0.02:2")),
    *commands("E-INDEX",
              ("from a first one up to, and without, another: {}:{}", f"{V} --index 0-1", f"{V} --index 0:2"),
              ("inputs count from 0: {}", f"{V} --index -1", f"{V} --index 2"),
              ("without brackets: {}", f"{V} --index [0,1]", f"{V} --index 0,1")),
    *commands("E-DOMAIN-UNKNOWN",
              ("several are compared by a sweep: absint sweep net.onnx --domain {}", "verify NET --data DATA --domain box,zonotope",
               "sweep NET --data DATA --domain box,zonotope --attack none --eps 0.01")),
    *commands("E-JOURNAL-FORMAT",
              ("name the file that --journal wrote, or one that is not there yet", f"{V} --journal QUERY --resume",
               f"{V} --journal TMP/another --resume")),
    *commands("E-USAGE",
              ("put it behind: {} VALUE; see absint {} --help-all", "report KEPT --out", "report KEPT --out TMP/kept.json"),
              ("the network of a query: {}", "verify QUERY --onnx NET", "query QUERY --network NET"),
              ("the network has no option before it: {}", "verify --network NET --data DATA --domain box --attack none", V)),
]
