"""Where `absint.global_correctness` puts its pictures: a folder that is made, or refused, before anything is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

import absint
from absint import samples
from absint.analyses.global_robustness import judging
from absint.errors import InputError

PNG = b"\x89PNG\r\n"


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    grid = tmp_path / "pictures" / "of" / "today"
    absint.global_correctness(draws=20, grid=grid)
    found = sorted(grid.iterdir())
    assert [path.name for path in found] == [f"lowest-0{place}-class-{digit}.png" for place, digit in enumerate(samples.digits())]
    assert all(path.read_bytes().startswith(PNG) for path in found)


def test_a_file_in_its_place_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setattr(judging, "judged", lambda items, run: pytest.fail("nothing is drawn"))
    with pytest.raises(InputError) as caught:
        absint.global_correctness(draws=20, grid=tmp_path / "taken" / "grid")
    assert caught.value.code == "E-OUT"
    assert "--grid" in caught.value.hint
    assert (tmp_path / "taken").read_text() == "mine"
