"""Every box, range or scale that is read wrongly is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

import pytest
import test_boxes_given
import test_data_choices
import test_output_ranges
from mutants.boxes_and_ranges import MUTANTS
from mutants.planting import assert_killed, calls


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    ask = calls(test_boxes_given, test_output_ranges, test_data_choices)
    fixtures = {"net": lambda: test_output_ranges.network(tmp_path_factory.mktemp("nets")),
                "tmp_path": lambda: tmp_path_factory.mktemp("files")}

    def run(killer) -> None:
        ask([fixtures[part]() if isinstance(part, str) and part in fixtures else part for part in killer])

    assert_killed(MUTANTS[name], run, monkeypatch)
