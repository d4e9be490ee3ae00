"""Every wrong way to a certificate is noticed by the tests named for it, which pass without it: test_taboo_certificates.py."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
import test_taboo_certificates as tests
from mutants.planting import assert_killed
from mutants.taboo_certificates import MUTANTS
from taboo_nets import read, rectifier


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = {"tmp_path": tmp_path, "hand": read(tmp_path, rectifier(tests.HAND, tests.BIAS))}

    def run(killer) -> None:
        test = getattr(tests, killer[0])
        names = signature(test).parameters
        test(**{name: folder[name] for name in names if name in folder}, **dict(zip([n for n in names if n not in folder], killer[1:],
                                                                                    strict=True)))

    assert_killed(MUTANTS[name], run, monkeypatch)
