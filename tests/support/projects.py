"""Folders with an `absint.toml`, as a user who stands in them sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from absint.cli.settings import Choice, settle


def stand(folder: Path, text: str | None, monkeypatch: pytest.MonkeyPatch, below: str = "", **variables: str) -> Path:
    """Write the file, clear the environment of others' variables, set these, and go there, or below. A repository ends at the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".git").mkdir(exist_ok=True)
    (folder / below).mkdir(parents=True, exist_ok=True)
    if text is not None:
        (folder / "absint.toml").write_text(text, encoding="utf-8")
    for name in [name for name in os.environ if name.startswith("ABSINT_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder / below)
    return folder


def values(name: str = "verify", choice: Choice | None = None, /, **given: object) -> dict[str, object]:
    """What the options of an analysis are, where the command line states `given`."""
    return settle(name, given, choice or Choice()).given
