"""Options, pages, functions and packages that an advice names are there: an option on the command that gives the advice."""

from __future__ import annotations

import importlib
import re
import tomllib

import pytest
from hints import ROOT, hints_by_file, hints_of

_FOREIGN = {"--tflite", "--graphdef", "--inputs", "--outputs", "--head"}     # of tf2onnx and ray, in advice that spells out their commands
_ALL = {"--help", "--help-all", "--version"}
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_ROOMS = {"global_robustness": ("global",), "query": ("query", "verify"), "verify": ("verify", "query")}      # room -> its commands


def _commands() -> dict[str, set[str]]:
    """Command -> its options, as the page of the command line says, which a test holds to the code."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    parts = re.split(r"^## absint (.+)$", text, flags=re.MULTILINE)
    return {name: set(re.findall(r"`(--[a-z0-9-]+)", part)) for name, part in zip(parts[1::2], parts[2::2], strict=True)}


COMMANDS = _commands()


def _offered(file: str) -> set[str]:
    """By the commands that print the advice of this file: those of its analysis; for every other file, by any."""
    room = re.match(r"absint/analyses/(\w+)/", file)
    heads = _ROOMS.get(room[1], (room[1],)) if room else ()
    words = [options for name, options in COMMANDS.items() if not heads or name.split()[0] in heads]
    assert words, file
    return set.union(*words, _ALL)


def _unknown(file: str, text: str) -> list[str]:
    """Options that no such command has; those of a command that is spelt out, of that one."""
    missing = []
    for part in re.split(r"(?=\babsint [a-z])|; ", text):
        named = re.match(r"absint ((?:global|taboo|validate) [a-z]+|[a-z]+)", part)
        known = COMMANDS.get(named[1], set()) | _ALL if named and named[1] in COMMANDS else _offered(file)
        missing += [word for word in _OPTION.findall(part) if word not in known | _FOREIGN]
    return missing


def test_every_option_is_there():
    assert not [(file, str(hint), missing) for file, found in hints_by_file().items() for hint in found
                if (missing := _unknown(file, hint.template))]


@pytest.mark.parametrize(("file", "text"), [
    ("absint/analyses/radius/analysis.py", "leave --accept-solver away"), ("absint/runs/inputs.py", "add --dota FILE"),
    ("absint/analyses/train/task.py", "--mean none --sdt none"), ("absint/errors.py", "absint taboo detect NET --eps 0.1"),
])
def test_an_option_that_is_not_there_is_found(file, text):
    assert _unknown(file, text)


def test_every_page_is_there():
    assert not [str(hint) for found in hints_by_file().values() for hint in found for page in re.findall(r"docs/[\w./-]+", hint.template)
                if not (ROOT / page.rstrip(".")).is_file()]


def test_every_command_is_there():
    words = {name for command in COMMANDS for name in (command, command.split()[0])}
    verbs = {"answers", "does", "handles", "resizes", "never", "chooses", "proves"}      # what absint itself does
    commands = [(str(hint), name) for found in hints_by_file().values() for hint in found
                for name in re.findall(r"(?:^|[:;,] )absint ((?:global|taboo|validate) [a-z]+|[a-z]+)(?= |$)", hint.template)]
    assert len(commands) > 5
    assert not [(text, name) for text, name in commands if name not in words | verbs]


def test_every_function_of_absint_is_there():
    names = {name for found in hints_by_file().values() for hint in found for name in re.findall(r"\babsint(?:\.\w+)+", hint.template)}
    assert "absint.load" in names
    for name in names:
        parts = name.split(".")
        for cut in range(len(parts), 0, -1):        # a module may be all that is named
            try:
                found = importlib.import_module(".".join(parts[:cut]))
                break
            except ImportError:
                continue
        for part in parts[cut:]:
            found = getattr(found, part)


def test_every_extra_is_declared():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    extras = {name for found in hints_by_file().values() for hint in found for name in re.findall(r"absint\[([\w-]+)\]", hint.template)}
    assert extras
    assert extras <= set(known)


def test_no_advice_runs_on():
    """One line on a terminal of 100 columns is a glance; three are read by nobody."""
    long = [str(hint) for found in hints_by_file().values() for hint in found if len(hint.template) > 240]
    assert not long


def test_advice_is_in_the_users_words():
    """Names of our own modules and half-sentences of one word that name no value."""
    inner = re.compile(r"\b(?:ctx|numerics|traits|dataclass|NodeProblemError|InternalError|_[a-z]+\w*)\b")
    assert not [str(hint) for found in hints_by_file().values() for hint in found if inner.search(hint.template.replace("return_inverse",
                                                                                                                        ""))]


def test_advice_is_read_from_helpers_of_every_shape():
    text = 'def one(source):\n    raise source.fail("E-ONE", "what", "mend it")\n'
    assert [str(hint) for hint in hints_of(text)] == ["E-ONE\tmend it"]
