"""Every wrong way to hand items to a cluster is noticed by the tests named for it, which pass in their own files."""

from __future__ import annotations

from inspect import signature

import pytest
import test_ray_joining
import test_ray_pool
from mutants.clusters import MUTANTS
from mutants.planting import assert_killed

FIXTURES = ("ray", "records", "tiny", "clock", "monkeypatch", "tmp_path")


@pytest.mark.parametrize(("name", "killer"), [
    pytest.param(name, killer, id=f"{name}-{place}") for name, (_, killers) in MUTANTS.items() for place, killer in enumerate(killers)])
def test_mutant_is_killed(name, killer, request, monkeypatch):
    test, *words = killer
    function = getattr(test_ray_pool, test, None) or getattr(test_ray_joining, test)
    given = {one: request.getfixturevalue(one) if one in FIXTURES else words.pop(0) for one in signature(function).parameters}
    assert not words
    assert_killed((MUTANTS[name][0], (killer,)), lambda killer: function(**given), monkeypatch, ("E-RAY-LOST",))
