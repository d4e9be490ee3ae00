"""Every broken promise of a format is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_formats
import test_outputs
import test_pictures
from mutants.formats import MUTANTS
from mutants.planting import assert_killed, calls


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    given = {
        "terminal": lambda: test_formats.coloured(monkeypatch), "canvases": lambda: test_pictures.saved(monkeypatch),
        "monkeypatch": lambda: monkeypatch, "full": lambda: test_outputs.failing("written", OSError(28, "No space left on device")),
    }
    count = iter(range(100))

    def folder():
        made = tmp_path / str(next(count))
        made.mkdir()
        return made

    def run(killer) -> None:
        test, *words = killer
        filled = [folder() if word == "tmp_path" else given[word]() if word in given else word for word in words]
        calls(test_formats, test_pictures, test_outputs)((test, *filled))

    assert_killed(MUTANTS[name], run, monkeypatch, codes=("E-CONTRADICTION", "E-OUT-BUSY", "E-PLUGIN-RAISED"))
