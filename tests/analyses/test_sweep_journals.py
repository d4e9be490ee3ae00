"""Journals of sweeps: those of several machines as one, and what a report says of one of live networks."""

from __future__ import annotations

import json

import numpy as np
import torch
from modules import seeded
from onnx_models import stored
from test_sweep import INPUTS, LABELS, Oracle, model, steps

import absint
from absint.verdict import Verdict


def swept(cli, folder, name, index):
    """Half of the inputs, as one machine has them."""
    np.savez(folder / "data.npz", images=INPUTS, labels=LABELS)
    net = folder / "net.onnx"
    if not net.exists():
        stored(folder, model(), net.name)
    cli("sweep", net, "--data", folder / "data.npz", "--eps", "0.1", "--eps", "0.3", "--domain", "box,deeppoly", "--index", index,
        "--journal", folder / name, "--quiet")
    return folder / name


def changed(path, change):
    """Every record another one."""
    lines = [line if line.startswith(b'{"absint_') else json.dumps(change(json.loads(line))).encode() + b"\n"
             for line in path.read_bytes().splitlines(keepends=True)]
    path.write_bytes(b"".join(lines))


def of_cells(**values):
    return lambda row: {**row, "cells": [{**cell, **values} for cell in row["cells"]]}


def test_journals_that_overlap_are_one_whatever_their_times(monkeypatch, tmp_path, cli) -> None:
    Oracle(steps({0: 0.0, 1: 0.2, 2: 0.0, 3: 1.0}), monkeypatch)
    one, two = swept(cli, tmp_path, "a.jsonl", "0:3"), swept(cli, tmp_path, "b.jsonl", "1:4")
    changed(two, of_cells(time_s=77.0))
    done = cli("merge", one, two, "--out", tmp_path / "m.jsonl")
    assert done.code == 0, done.err
    assert "8 records of 8 items" in done.err
    report = json.loads(cli("report", tmp_path / "m.jsonl", "--format", "json").out)
    assert {row["verified"] + row["falsified"] for row in report["shares"]} == {4}
    assert report["summary"]["complete"] is True


def test_verdicts_that_differ_are_a_conflict(monkeypatch, tmp_path, cli) -> None:
    Oracle(lambda index, domain, eps: Verdict.VERIFIED, monkeypatch)
    one, two = swept(cli, tmp_path, "a.jsonl", "0:3"), swept(cli, tmp_path, "b.jsonl", "1:4")
    changed(two, of_cells(verdict="unknown"))
    assert "cells: " in cli("merge", one, two, "--out", tmp_path / "m.jsonl").fails(3, "E-JOURNAL-CONFLICT]").err
    cli("report", one, two).fails(3, "E-JOURNAL-CONFLICT]")


def test_the_journal_of_a_killed_sweep_of_live_networks_is_summed_up(monkeypatch, tmp_path, cli) -> None:
    """Whatever is in the header needs no object: shares and curves are those of the run."""
    Oracle(steps({0: 0.0, 1: 0.2, 2: 0.0, 3: 1.0}), monkeypatch)
    module, journal = seeded(torch.nn.Linear(2, 2), 0), tmp_path / "j.jsonl"
    ran = absint.sweep(module, INPUTS, LABELS, np.array([0.1, 0.3]), domains="box,deeppoly", journal=journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if not line.startswith(b'{"absint_end')))
    report = json.loads(cli("report", journal, "--format", "json").out)
    assert report.get("shares") == ran.document.values["shares"]
    assert report["summary"]["cells"] == len(ran)
    assert not [note for note in report["notes"] if "objects of a Python program" in note]


def test_of_a_killed_sweep_only_what_is_decided_has_a_share_and_only_all_of_it_an_interval(monkeypatch, tmp_path, cli) -> None:
    """What is decided first is no random sample: one of one is verified, and no interval says that of all."""
    Oracle(lambda index, domain, eps: Verdict.VERIFIED, monkeypatch)
    journal = swept(cli, tmp_path, "j.jsonl", "0:4")
    whole = json.loads(cli("report", journal, "--format", "json").out)
    assert all(row["low"] is not None and row["n"] == 4 for row in whole["shares"])
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]))
    killed = cli("report", journal).out
    assert "in percent of all that are decided, with 95 % intervals (Clopper-Pearson) where every input is" in killed
    assert "0 of 16 verdicts" in killed or "1 of 16 verdicts" in killed or "2 of 16 verdicts" in killed
    rows = json.loads(cli("report", journal, "--format", "json").out)["shares"]
    assert {row["n"] for row in rows} == {0, 1}
    assert all(row["low"] is None and row["high"] is None for row in rows)
