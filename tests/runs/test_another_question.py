"""A journal answers the question that it was begun with: values of Python programs, and parts of graphs, have no file whose hash tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from modules import seeded

import absint
from absint.errors import InputError, UsageError
from absint.model.content_digest import graph_digest, model_digest
from absint.model.graph import Graph, chain
from absint.problem.dataset import Dataset
from absint.problem.regions import ball

INPUTS = np.linspace(0.1, 0.9, 20).reshape(4, 5)
LABELS = np.array([0, 1, 2, 0])


@cache
def net(seed: int, wide: int = 5, classes: int = 3) -> Graph:
    module = seeded(torch.nn.Sequential(torch.nn.Linear(wide, 6), torch.nn.ReLU(), torch.nn.Linear(6, classes)), seed)
    return absint.load(module, example_input=torch.zeros(1, wide))


REGION = ball("linf", torch.from_numpy(INPUTS), Fraction(1, 200), (0.0, 1.0))
DATA = Dataset(INPUTS, LABELS, "made", "the same")
Question = tuple[tuple[Any, ...], dict[str, Any]]


def asked(*arguments: Any, **keywords: Any) -> Question:
    return arguments, {"attack": None, **keywords}


# Made when they are asked: torch takes a second for each export.
PAIRS: dict[str, Callable[[], tuple[Question, Question]]] = {
    "labels of a region": lambda: (asked(net(0), REGION, LABELS), asked(net(0), REGION, (LABELS + 1) % 3)),
    "a region's own labels": lambda: (asked(net(0), REGION), asked(net(0), REGION, LABELS)),
    "radii by input": lambda: (asked(net(0), INPUTS, LABELS, ["0.001", "0.3"], index="0,1"),
                               asked(net(0), INPUTS, LABELS, ["0.001", "0.3"], index="1,0")),
    "radii by input, an array": lambda: (asked(net(0), INPUTS, LABELS, np.array([[0.001], [0.3]]), index="0,1"),
                                         asked(net(0), INPUTS, LABELS, np.array([[0.001], [0.3]]), index="1,2")),
    "targets by input": lambda: (asked(net(0), INPUTS, [0, 0, 0, 0], targets=[1, 2], index="0,1", eps="0.01"),
                                 asked(net(0), INPUTS, [0, 0, 0, 0], targets=[1, 2], index="1,2", eps="0.01")),
    "values of a Dataset": lambda: (asked(net(0), DATA, eps="0.01"), asked(net(0), replace(DATA, inputs=INPUTS / 2), eps="0.01")),
    "places of a Dataset": lambda: (asked(net(0), DATA.select([0, 1]), eps="0.01"),
                                    asked(net(0), replace(DATA.select([2, 3]), index=np.array([0, 1]), labels=LABELS[:2]), eps="0.01")),
    "the second of a chain": lambda: (asked(chain(net(1, 5, 4), net(2, 4)), INPUTS, LABELS, "0.01"),
                                      asked(chain(net(1, 5, 4), net(3, 4)), INPUTS, LABELS, "0.01")),
    "a part of a graph": lambda: (asked(net(0).upto(net(0).nodes[-2].name), INPUTS, LABELS, "0.01"),
                                asked(net(0).upto(net(0).nodes[-3].name), INPUTS, LABELS, "0.01")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_question_is_refused(name: str, tmp_path: Path) -> None:
    (first, options), (second, others) = PAIRS[name]()
    absint.verify(*first, **options, journal=tmp_path / "journal")
    again = absint.verify(*first, **options, journal=tmp_path / "journal", resume=True)
    assert len(again) == len(again.run.asked)
    with pytest.raises(InputError, match="E-JOURNAL-MISMATCH"):
        absint.verify(*second, **others, journal=tmp_path / "journal", resume=True)


@pytest.mark.parametrize(("ask", "more"), [(absint.verify, {"eps": "0.01"}), (absint.radius, {})], ids=["verify", "radius"])
def test_a_normalisation_loaded_with_the_graph_is_part_of_it(ask: Callable[..., Any], more: dict[str, str], tmp_path: Path) -> None:
    module = seeded(torch.nn.Linear(5, 3), 0)
    one, two = (absint.load(module, example_input=torch.zeros(1, 5), mean=mean, std=0.5) for mean in (0.1, 0.9))
    ask(one, INPUTS, **more, journal=tmp_path / "journal")
    with pytest.raises(InputError, match="model_sha256"):
        ask(two, INPUTS, **more, journal=tmp_path / "journal", resume=True)


def test_a_graph_is_known_by_its_file_where_it_is_that_file() -> None:
    assert graph_digest(net(0)) == net(0).source.sha256
    parts = [net(0), net(0).upto(net(0).nodes[-2].name), chain(net(1, 5, 4), net(2, 4)), chain(net(1, 5, 4), net(3, 4))]
    assert len({graph_digest(one) for one in parts}) == len({model_digest(one) for one in parts}) == len(parts)


def test_a_choice_of_inputs_is_no_other_question_where_values_do_not_go_by_place(tmp_path: Path) -> None:
    absint.verify(net(0), INPUTS, LABELS, "0.01", index="0:2", journal=tmp_path / "journal")
    found = absint.verify(net(0), INPUTS, LABELS, "0.01", journal=tmp_path / "journal", resume=True)
    assert [record.index for record in found] == [0, 1, 2, 3]


def test_a_norm_that_is_infinity_has_a_journal(tmp_path: Path) -> None:
    for resume in (False, True):
        assert len(absint.verify(net(0), INPUTS, LABELS, "0.01", norm=np.inf, journal=tmp_path / "journal", resume=resume)) == 4


def test_an_analysis_that_knows_no_region_refuses_one() -> None:
    with pytest.raises(UsageError, match="takes inputs, not a region"):
        absint.radius(net(0), REGION)
