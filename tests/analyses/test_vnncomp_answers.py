"""Answers to real queries: none contradicts what is known of them, with falsification and without."""

from __future__ import annotations

import csv
from itertools import groupby
from pathlib import Path

import pytest
from places import SHARED

import absint
from absint.analyses.query.answering import QueryAnswer

ROOT = SHARED / "vnncomp"
EXPECTED = list(csv.DictReader((ROOT / "expected.csv").open())) if (ROOT / "expected.csv").exists() else []
pytestmark = pytest.mark.skipif(not EXPECTED, reason="the VNN-COMP instances are not beside this checkout")
QUICK = ("acasxu_2023", "collins_rul_cnn_2023", "dist_shift_2023", "mnist_fc_2022", "reach_prob_density_2022", "rl_benchmarks_2022",
         "test_2021", "verivital_2021")


def first(verdict: str) -> list[dict[str, str]]:
    """The first easy instance of each category with that answer."""
    rows = [row for row in EXPECTED if row["verdict"] == verdict and row["difficulty"] == "easy" and row["category"] in QUICK]
    return [next(group) for _, group in groupby(rows, key=lambda row: row["category"])]


def ask(row: dict[str, str], total_timeout: float = 60.0, **options: object) -> QueryAnswer:
    folder = ROOT / row["category"]
    return absint.verify_query(folder / row["onnx"], folder / row["vnnlib"], total_timeout=total_timeout, **options).answer


def name(row: dict[str, str]) -> str:
    return f"{row['category']}-{Path(row['vnnlib']).name}"


@pytest.mark.parametrize("row", first("sat"), ids=name)
def test_easy_counterexamples_are_found_and_never_proved_away(row):
    assert ask(row) is QueryAnswer.SAT
    assert ask(row, 2.0, attack=None) is not QueryAnswer.UNSAT     # longer in the slow test below


# The properties of ACAS Xu and of the reachability nets need case splits.
PROVABLE = [row for row in first("unsat") if row["category"] not in ("acasxu_2023", "reach_prob_density_2022")]


@pytest.mark.parametrize("row", PROVABLE, ids=name)
def test_easy_properties_are_proved(row):
    assert ask(row) is QueryAnswer.UNSAT


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in EXPECTED if row["verdict"] == "sat"], ids=name)
def test_nothing_that_has_a_counterexample_is_proved(row):
    assert ask(row, attack=None) is not QueryAnswer.UNSAT
