"""Every wrong way to an error rate is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from importlib import import_module
from inspect import signature

import pytest
from hand_clock import Clock
from mutants.error_rates import MUTANTS
from mutants.planting import assert_killed


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(killer) -> None:
        module, test, *given = killer
        found = getattr(import_module(module), test)
        with pytest.MonkeyPatch.context() as patch:
            made = {"monkeypatch": lambda: patch, "clock": lambda: turned(patch)}
            found(*given, **{name: make() for name, make in made.items() if name in signature(found).parameters})

    assert_killed(MUTANTS[name], run, monkeypatch)


def turned(patch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    patch.setattr("time.monotonic", clock)
    return clock
