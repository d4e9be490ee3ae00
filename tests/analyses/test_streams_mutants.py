"""Every wrong way to yield, to count time and to name a limit is noticed by the tests named for it, which pass in their own files."""

from __future__ import annotations

import sys
import time
from inspect import signature
from pathlib import Path

import pytest
from hand_clock import Clock
from mutants.planting import assert_killed
from mutants.streams import MUTANTS

sys.path.insert(0, str(Path(__file__).parents[1] / "search"))  # one of the killers' files stands there

import test_limits_by_share
import test_limits_have_reasons
import test_looks_at_the_clock
import test_yielded_at_once

FILES = (test_limits_by_share, test_limits_have_reasons, test_looks_at_the_clock, test_yielded_at_once)
ORDER = (test_limits_by_share.HARD, 0.1, 0.1, 0.1)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch, tmp_path):
    def run(killer):
        test = next(getattr(file, killer[0]) for file in FILES if hasattr(file, killer[0]))
        names, given = list(signature(test).parameters), list(killer[1:])
        with pytest.MonkeyPatch.context() as patch:
            made = {"monkeypatch": lambda: patch, "tmp_path": lambda: tmp_path, "clock": lambda: turned(patch), "order": lambda: ORDER,
                    "batch": lambda: 4, "slow": lambda: test_looks_at_the_clock.slowed(patch)}
            free = [n for n in names if n not in made or (n == "batch" and given)]
            found = dict(zip(free, given, strict=True))
            test(**{n: found[n] if n in found else made[n]() for n in names})

    assert_killed(MUTANTS[name], run, monkeypatch)


def turned(patch):
    clock = Clock()
    patch.setattr(time, "monotonic", clock)
    patch.setattr(time, "sleep", clock.sleep)
    return clock
