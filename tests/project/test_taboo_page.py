"""The page on taboo traps: its commands can be typed, and its messages are those that there are."""

from __future__ import annotations

import re
import shlex

from places import ROOT

from absint.cli.derived import all_options
from absint.contract.analysis import analysis_of

PAGE = (ROOT / "docs/taboo.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0] for block in re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()
            if line.startswith("absint taboo")]
CODE = re.compile(r"\b[EW]-TABOO(?:-[A-Z]+)+")


def words(name):
    """Of a command."""
    return {option.word for option in all_options(analysis_of(name))}


def test_every_word_of_its_commands_is_an_option():
    assert {shlex.split(line)[2] for line in COMMANDS} == {"calibrate", "detect", "certify", "evaluate"}
    for line in COMMANDS:
        _, group, name, *rest = shlex.split(line)
        assert {word for word in rest if word.startswith("--")} <= words(f"{group}.{name}"), line


def test_words_in_its_text_are_options_of_some_command():
    known = {word for name in ("calibrate", "detect", "certify", "evaluate") for word in words(f"taboo.{name}")}
    said = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert said <= known | {"--mean", "--std"}
    assert len(said) > 10


def test_its_messages_are_those_of_the_source():
    """Short forms such as `-FORMAT` stand for the code before with another end."""
    rows = re.findall(r"^\| ([EW]-.*?) \|", PAGE, flags=re.M)
    listed = set()
    for row in rows:
        first, *others = row.split(", ")
        stem = "-".join(first.split("-")[:2])
        listed |= {first, *(f"{stem}{other}" for other in others)}
    sources = [*(ROOT / "absint/analyses/taboo").glob("*.py"), ROOT / "absint/model/watched.py", *(ROOT / "absint/model").glob("alarm*.py")]
    raised = {code for path in sources for code in CODE.findall(path.read_text(encoding="utf-8"))}
    assert raised - {"E-TABOO"} <= listed
    assert {code for code in listed if "-TABOO-" in code} <= raised
