"""Every advice is followed: a bad command, the advice that it prints, and the command that follows it literally.

What follows the advice succeeds, or meets another error that the table names: no advice leads in a circle. An advice of the source
that no row of the tables follows stands in `hints_not_followed.txt`, with nothing else: a new one belongs into a table. What no test can
bring about stands there, too, under the reason why.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import typer.main
from hint_a_data import FILES, FOLDERS
from hint_a_networks import ATTACKS, DOMAINS_ASKED, INPUTS, OPERATORS
from hint_a_runs import PACKS, RULES, STRANGERS, TRAINED
from hint_b_commands import B_COMMANDS, b_files
from hint_b_data import DATA
from hint_b_graphs import GRAPHS, PARAMETERS, QUERIED, SOLVED, WATCHED
from hint_b_networks import MODELS, TORCH
from hint_b_plugins import PLUGGED, PLUGINS
from hint_b_plugins import TRAINED as TRAINED_B
from hint_b_runs import EXECUTED, INITIATED, KEPT
from hint_calls import LIVE, LiveCase
from hint_cases import CASES, Case
from hint_commands import COMMANDS
from hint_files import made
from hint_files_read import DATA_FILES, NETWORKS
from hint_more_commands import MORE
from hint_newcomers import FIRST_COMMANDS, PATHS, TABLES
from hint_python import PYTHON
from hint_runs import RUNS
from hint_scores import SCORES
from hint_slips import SLIPS
from hint_training import TRAINING
from hints import Hint, all_hints, hints_of

import absint.cli.main as command_line
from absint.contract.analysis import ANALYSES
from absint.errors import AbsintError

_LEFT = Path(__file__).with_name("hints_not_followed.txt")
_CASES = (*CASES, *COMMANDS, *MORE, *RUNS, *SCORES, *SLIPS, *B_COMMANDS, *PLUGGED, *FIRST_COMMANDS)
_LIVE = (*LIVE, *TRAINING, *PYTHON, *DATA_FILES, *NETWORKS, *FOLDERS, *FILES, *OPERATORS, *INPUTS, *ATTACKS, *DOMAINS_ASKED, *PACKS,
         *TRAINED, *RULES, *STRANGERS, *DATA, *EXECUTED, *GRAPHS, *INITIATED, *KEPT, *MODELS, *PARAMETERS, *PLUGINS, *QUERIED, *SOLVED,
         *TORCH, *TRAINED_B, *WATCHED, *TABLES, *PATHS)
_QUIET = ("verify", "query", "radius", "bounds", "clever", "errors", "global", "taboo", "train", "validate", "inspect")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hints")
    paths = made(folder)
    return paths | {word: str(path) for word, path in b_files(folder, paths).items()}


@pytest.fixture(scope="module")
def once():
    """Outcomes of commands that write nothing, and that many rows end in."""
    return {}


@cache
def _made(everything, only, names):
    """The commands of so many analyses: making them takes longer than what most rows do with them."""
    return typer.main.get_command(command_line.build(everything=everything, only=only))


@pytest.fixture
def made_once(monkeypatch):
    before = command_line.build

    def build(*, everything=False, only=""):
        with monkeypatch.context() as outer:
            outer.setattr(command_line, "build", before)
            return _made(everything, only, tuple(sorted(ANALYSES)))

    monkeypatch.setattr(command_line, "build", build)


@pytest.fixture
def run(cli, words, tmp_path, once, made_once):
    known = re.compile(r"\b(" + "|".join(sorted(words, key=len, reverse=True)) + r")\b")

    def command(text):
        if "TMP" not in text and text in once:
            return once[text]
        arguments = [known.sub(lambda found: words[found[0]], word).replace("TMP", str(tmp_path)) for word in text.split()]
        once[text] = cli(*arguments, *(["--quiet"] if arguments[1:] and arguments[0] in _QUIET else []))
        return once[text]

    return command


def _said(text):
    """The code of an error, and its advice: of the whole, and at the end of each line about a node."""
    code = re.search(r"error\[(E-[A-Z0-9-]+)\]", text)
    after = text[code.start():] if code else ""
    advice = re.findall(r"^  hint: (.*)", after, re.MULTILINE) + re.findall(r"^  node .*?; (.*)", after, re.MULTILINE)
    return (code[1] if code else None), advice


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.bad or "nothing")
def test_the_advice_works(run, case: Case):
    code, advice = _said(run(case.bad).err)
    assert code == case.code
    for template in case.hints:
        assert any(Hint(case.code, template).fits(code, text) for text in advice), advice
    followed = run(case.good)
    if case.then is None:
        assert followed.code in (0, 1), followed.err
    else:
        assert _said(followed.err)[0] == case.then != case.code


@pytest.mark.parametrize("case", _LIVE, ids=lambda case: f"{case.code} {case.hints[0][:50]}")
@pytest.mark.usefixtures("exporter")
def test_the_advice_works_in_python(words, case: LiveCase):
    with pytest.raises(AbsintError) as caught:
        case.bad(words)
    assert caught.value.code == case.code
    advice = _said(caught.value.render())[1]
    assert any(Hint(case.code, template).fits(case.code, text) for template in case.hints for text in advice), advice
    case.good(words)


def _parts():
    """The list: what waits for a test; reason -> what no test brings about."""
    waiting, *others = re.split(r"^# ", _LEFT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    reasons = {part.splitlines()[0]: part.splitlines()[1:] for part in others}
    return waiting.splitlines(), reasons


def _left():
    waiting, reasons = _parts()
    return [line for lines in (waiting, *reasons.values()) for line in lines if line]


def _followed():
    rows = [(case.code, template) for case in (*_CASES, *_LIVE) for template in case.hints]
    return [hint for hint in all_hints() if any(hint.template == template and hint.code in (code, "?") for code, template in rows)]


def test_no_advice_is_new_and_not_followed():
    followed, left = set(_followed()), set(_left())
    new = [str(hint) for hint in all_hints() if hint not in followed and str(hint) not in left]
    assert not new, "follow each in tests/support/hint_cases.py"


def test_what_is_listed_as_not_followed_exists_and_is_not():
    known, followed = {str(hint) for hint in all_hints()}, {str(hint) for hint in _followed()}
    assert not [line for line in _left() if line not in known], "no code prints these any more"
    assert not [line for line in _left() if line in followed], "these are followed"
    assert len(_left()) == len(set(_left()))
    waiting, reasons = _parts()
    assert all(reasons.values())
    assert all([line for line in lines if line] == sorted(filter(None, lines)) for lines in (waiting, *reasons.values()))


def test_every_row_follows_an_advice_of_the_source():
    known = {(hint.code, hint.template) for hint in all_hints()}
    assert not [case for case in (*_CASES, *_LIVE) for template in case.hints if not {(case.code, template), ("?", template)} & known]


def test_an_advice_is_found_however_it_is_written():
    text = '''
_ALL = "do this"
def one(x):
    raise UsageError("E-ONE", f"{x}", hint=_ALL)
def two(x):
    hint = "left" if x else f"right {x}"
    raise UsageError("E-TWO", "what", where="there", hint=hint + ", then stop")
def three(source):
    raise source.fail(1, "E-THREE", "what", "mend it")
    raise NodeProblemError("why", "mend that")
'''
    assert {str(hint) for hint in hints_of(text)} == {
        "E-ONE\tdo this", "E-TWO\tleft, then stop", "E-TWO\tright {}, then stop", "E-THREE\tmend it", "?\tmend that"}
