"""A report of a killed run that was given objects: what it cannot sum up it says in words, with the names of what is lost."""

from __future__ import annotations

import json

import numpy as np
import torch
from modules import seeded

import absint

INPUTS = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.4]])


def killed(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b'{"absint_end')))


def test_verdicts_of_a_module_are_summed_up(tmp_path, cli) -> None:
    net, journal = seeded(torch.nn.Linear(2, 2), 0), tmp_path / "j.jsonl"
    ran = absint.verify(net, INPUTS, None, ["0.01", "0.02", "0.1"], domain="box", journal=journal)
    killed(journal)
    report = json.loads(cli("report", journal, "--format", "json").out)
    assert report["summary"]["counts"] == ran.document.summary["counts"]


def test_what_an_analysis_needs_is_named_where_it_is_lost(tmp_path, cli) -> None:
    net, journal = seeded(torch.nn.Linear(2, 2), 0), tmp_path / "j.jsonl"
    absint.verify(net, INPUTS, None, "0.01", output_range=(np.array([-9.0, -9.0]), np.array([9.0, 9.0])), domain="box", journal=journal)
    killed(journal)
    report = json.loads(cli("report", journal, "--format", "json").out)
    assert any("objects of a Python program" in note and "output_range" in note for note in report["notes"])
