"""CONTRIBUTING.md tells what is there: its layout is the tree's, and its limits are those that the tests hold."""

from __future__ import annotations

import re

from places import ROOT
from test_arrows import FACES
from test_form import LONGEST_FILE, LONGEST_FUNCTION

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def told() -> dict[str, set[str]]:
    """Folder -> the folders and modules that the layout names in it, by indentation."""
    (block,) = re.findall(r"## Layout\n.*?```text\n(.*?)```", PAGE, flags=re.DOTALL)
    found: dict[str, set[str]] = {"": set()}
    way: list[str] = []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].split()
        way[depth:] = [names[0].rstrip("/")]
        found.setdefault("/".join(way[:depth]), set()).update(name.rstrip("/") for name in names)
        if names[0].endswith("/"):
            found.setdefault("/".join(way), set())
    return found


def rooms(folder: str) -> set[str]:
    """What a reader sees in a folder: folders with Python in them, and modules."""
    here = ROOT / folder
    inside = {p.name for p in here.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    return (inside | {p.stem for p in here.glob("*.py")}) - {"__init__", "__main__", "__pycache__"}


def test_every_room_of_the_engine_is_told_and_there() -> None:
    assert told()["absint"] == rooms("absint") - FACES


def test_every_folder_is_told_and_there() -> None:
    there = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name not in ("build", "dist")}
    assert told()[""] == {name for name in there if not name.endswith(".egg-info")}


def test_deeper_rooms_are_there() -> None:
    for folder, names in told().items():
        assert all((ROOT / folder / name).is_dir() or (ROOT / folder / f"{name}.py").is_file() for name in names), folder


def test_the_limits_are_those_of_the_tests() -> None:
    assert f"Files under {LONGEST_FILE} lines, functions under {LONGEST_FUNCTION}" in PAGE
