"""Every wrong notion of an image's axes is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import test_layout
import test_layout_data
from mutants.layout import MUTANTS
from mutants.test_mutants import apply
from onnx_models import imported

from absint.errors import AbsintError


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    function, killers = MUTANTS[name]
    apply(monkeypatch, function)
    for test, *arguments in killers:
        run = getattr(test_layout, test, None) or getattr(test_layout_data, test)
        given = [partial(imported, tmp_path) if argument == "read" else argument for argument in arguments]
        with pytest.raises((AssertionError, AbsintError, pytest.fail.Exception)) as error:
            run(*given)
        assert not isinstance(error.value, AbsintError) or error.value.code == "E-LAYOUT"
