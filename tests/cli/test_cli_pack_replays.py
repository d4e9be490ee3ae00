"""Counterexamples in packs of every analysis that finds some: replayed when the pack is checked, and noticed where they are none."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from known_pairs import identity_generator, sign_classifier
from reported_runs import forged_of, made, members, packed, resigned
from taboo_nets import read, rectifier

import absint
from absint.cli.main import main
from absint.runs.packs import ROWS, WITNESSES
from absint.runs.replays import witnesses_in

QUERY = """(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (>= X_0 0.4))(assert (<= X_0 0.6))(assert (>= X_1 0.4))(assert (<= X_1 0.6))(assert (>= X_2 0.0))(assert (<= X_2 0.1))
(assert (<= Y_0 Y_1))"""


@dataclass(frozen=True)
class PackOf:
    """code: of the run.  content: of the pack, by member.  witnesses: how many."""

    code: int
    content: dict[str, bytes]
    witnesses: int


def _words(kind: str, folder: Path) -> list[object]:
    on_data = [made().net, "--data", made().data]
    if kind == "query":
        (folder / "q.vnnlib").write_text(QUERY)
        return ["query", folder / "q.vnnlib", "--network", f"N={made().net}"]
    if kind == "global":
        return ["global", "robustness", sign_classifier(folder, 6.0), "--generator", f"0={identity_generator(folder)}", "--eps", "0.01,0.4",
                "--draws", "12", "--classifier-range", "none"]
    if kind.startswith("certify"):
        return ["taboo", "certify", *_detector(folder), *(["--radius"] if "radius" in kind else ["--eps", "0.2"]), "--attack", "pgd"]
    return {"patch": ["verify", *on_data, "--patch", "1x1:1x3", "--domain", "box"],
            "range": ["verify", *on_data, "--output-range", "0,0.85", "--eps", "0.1", "--domain", "box"],
            "radius": ["radius", *on_data, "--domain", "box", "--attack", "pgd", "--upper", "0.5", "--tolerance", "0.1"],
            "l2": ["radius", *on_data, "--domain", "box", "--attack", "pgd", "--upper", "0.5", "--tolerance", "0.1", "--norm", "l2"],
            "sweep": ["sweep", *on_data, "--eps", "0.02", "--eps", "0.1", "--domain", "box", "--domain", "zonotope"]}[kind]


def _detector(folder: Path) -> list[object]:
    """A network of 2,000 neurons, three traps of which sleep on 30 inputs; the first of these and others are asked about."""
    path = folder / "watched.onnx"
    read(folder, rectifier(np.random.default_rng(4).standard_normal((2000, 4))), path.name)
    x = np.random.default_rng(5).random((30, 4)).astype(np.float32).astype(np.float64)
    absint.taboo_calibrate(str(path), x, keys=("one", "two"), detector=folder / "t.json")
    np.savez(folder / "x.npz", images=x[:2])
    return [path, "--data", folder / "x.npz", "--detector", folder / "t.json"]


KINDS = ("patch", "range", "radius", "l2", "sweep", "query", "global", "certify", "certify radius")


@cache
def pack_of(kind: str) -> PackOf:
    with TemporaryDirectory(prefix="packs-") as name:
        folder = Path(name)
        pack = folder / "p.zip"
        code = main([str(word) for word in (*_words(kind, folder), "--bundle", pack, "--quiet", "--out", folder / "r.json")])
        content = members(pack.read_bytes())
        rows = [json.loads(line) for line in content["journal.jsonl"].splitlines() if not line.startswith(b'{"absint_')]
        return PackOf(code, content, sum(map(witnesses_in, rows)))


def moved(value, point):
    """Every witness elsewhere."""
    if isinstance(value, dict):
        return {name: point(item) if name == "witness" and item is not None else moved(item, point) for name, item in value.items()}
    return [moved(item, point) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", KINDS)
def test_every_counterexample_is_replayed(cli, tmp_path, kind):
    made_of = pack_of(kind)
    assert made_of.witnesses > 0
    done = cli("report", "--check", packed(tmp_path / "p.zip", made_of.content), "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["counterexamples"] == {"replayed": made_of.witnesses, "not_replayed": 0, "reasons": []}


def noticed(cli, tmp_path, kind, change):
    content = forged_of(pack_of(kind).content, tmp_path, change)
    error = cli("report", "--check", packed(tmp_path / "p.zip", content)).fails(3, "E-BUNDLE-WITNESS]").err
    assert "counterexamples are none: items " in error


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_lies_elsewhere_is_noticed(cli, tmp_path, kind):
    noticed(cli, tmp_path, kind, lambda row: moved(row, lambda item: [one + 9.0 for one in item]))


@pytest.mark.parametrize("point", [lambda item: [*item, 0.5], lambda item: [float("nan")] * len(item), lambda item: []],
                         ids=["long", "nan", "empty"])
def test_one_that_is_no_input_is_noticed(cli, tmp_path, point):
    noticed(cli, tmp_path, "radius", lambda row: moved(row, point))


def of_cells(**values):
    """What the cells of a line that have a counterexample say otherwise."""
    return lambda row: {**row, "cells": [{**cell, **values} if cell["witness"] else cell for cell in row["cells"]]}


def where(**values):
    """What a record that has a counterexample says otherwise."""
    def change(row):
        return {**row, **{name: value(row) if callable(value) else value for name, value in values.items()}} if row["witness"] else row

    return change


CHANGES = {
    "radius": (where(certified_exact="0", refuted_exact="1/1000"), where(certified_exact=lambda row: row["refuted_exact"]),
               where(predicted=lambda row: 1 - row["predicted"]), where(refuted_exact="-1")),
    "l2": (where(refuted_exact=None),),
    "patch": (where(label=lambda row: 1 - row["label"]),),
    "sweep": (of_cells(eps="0.02"), of_cells(index=0), of_cells(norm="l1"), of_cells(eps="7")),
    "global": (where(draw=lambda row: row["draw"] + 1), where(label=1), where(distance=0.0),
               where(verdicts={"0.01": "falsified", "0.4": "falsified"}), where(verdicts={"0.01": "verified", "0.4": "verified"}),
               where(verdicts={"9": "falsified"})),
    "query": (where(sha256=["0" * 64, "1" * 64]), where(verdict="unsat")),
    "certify": (where(outcome="quiet"), where(eps="1/9")),
    "certify radius": (where(refuted_exact="-1"),),
}


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind, changes in CHANGES.items() for number in range(len(changes))])
def test_a_record_that_says_another_thing_of_its_counterexample_is_noticed(cli, tmp_path, kind, number):
    noticed(cli, tmp_path, kind, CHANGES[kind][number])


def test_what_is_not_replayed_is_counted_with_the_reason(cli, tmp_path):
    (tmp_path / "q.vnnlib").write_text(QUERY)
    (tmp_path / "list.csv").write_text(f"{made().net},q.vnnlib,60\n")
    done = cli("query", "--instances", tmp_path / "list.csv", "--executor", "local", "--quiet", "--bundle", tmp_path / "p.zip")
    assert done.code == 0, done.err
    text = cli("report", "--check", tmp_path / "p.zip")
    assert "counterexamples: 0 replayed in onnxruntime and proved again; 1 not replayed: the journal names no network" in text.out
    said = json.loads(cli("report", "--check", tmp_path / "p.zip", "--format", "json").out)["counterexamples"]
    assert (said["replayed"], said["not_replayed"], [one["count"] for one in said["reasons"]]) == (0, 1, [1])


def test_a_row_that_the_pack_lacks_keeps_no_other_one_from_its_replay(cli, tmp_path):
    content = dict(pack_of("radius").content)
    with np.load(io.BytesIO(content[ROWS])) as arrays:
        kept = {name: arrays[name] for name in ("index", "inputs", "labels")}
    count = pack_of("radius").witnesses
    first = next(row["index"] for row in map(json.loads, content[WITNESSES].splitlines()))
    here = kept["index"] != first
    stream = io.BytesIO()
    np.savez(stream, **{name: value[here] for name, value in kept.items()})
    pack = packed(tmp_path / "p.zip", resigned({**content, ROWS: stream.getvalue()}))
    said = json.loads(cli("report", "--check", pack, "--format", "json").out)["counterexamples"]
    assert said == {"replayed": count - 1, "not_replayed": 1, "reasons": [{"count": 1, "reason": f"{ROWS} has no row of the input"}]}


@pytest.mark.parametrize(("kind", "part", "name", "value"), [("radius", "search", "norm", "l2"), ("patch", "property", "kind", "other")])
def test_a_header_that_shows_another_question_is_noticed(cli, tmp_path, kind, part, name, value):
    """Readers see the header: a counterexample of one question may not stand for another one."""
    content = dict(pack_of(kind).content)
    first, *rest = content["journal.jsonl"].splitlines(keepends=True)
    row = json.loads(first)
    shown = row["run"]["heading"]["header"][part]
    name = name if name in shown else next(iter(shown))
    shown[name] = value
    content["journal.jsonl"] = b"".join([json.dumps(row).encode() + b"\n", *rest])
    error = cli("report", "--check", packed(tmp_path / "p.zip", forged_of(content, tmp_path))).fails(3, "E-BUNDLE-DISAGREE]").err
    assert f'{part}, {name}: shown "{value}", asked ' in error
