"""Every broken promise of a page is noticed by the tests named for it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pages
import pytest
import test_html
import test_percent
import test_pictures
import test_verify_details
from mutants.pages import MUTANTS
from mutants.planting import assert_killed, calls


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    test_verify_details.answered()      # the run itself is no mutant
    given = {"hostile": lambda: pages.page(replace(pages.SHOWN, figures=())), "COLOUR": lambda: pages.COLOUR,
             "canvases": lambda: test_pictures.saved(monkeypatch), "share": lambda: 1 - Fraction(1, 30_000),
             "little": lambda: Fraction(1, 30_000), "0.003": lambda: "0.003"}

    def run(killer) -> None:
        test, *words = killer
        calls(test_html, test_pictures, test_percent, test_verify_details)((test, *(given[word]() for word in words)))

    assert_killed(MUTANTS[name], run, monkeypatch)
