"""Every advice is followed: a bad command, the advice that it prints, and the command that follows it literally.

What follows the advice succeeds, or meets another error that the table names: no advice leads in a circle. An advice of the source
that no row of the table follows stands in `hints_not_followed.txt`, with nothing else: a new one belongs into the table.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from absint.errors import AbsintError
from tests.support.hint_calls import LIVE, LiveCase
from tests.support.hint_cases import CASES, Case
from tests.support.hint_files import made
from tests.support.hints import Hint, all_hints, hints_of

_LEFT = Path(__file__).with_name("hints_not_followed.txt")
_QUIET = ("verify", "query", "radius", "bounds", "clever")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return made(tmp_path_factory.mktemp("hints"))


@pytest.fixture(scope="module")
def once():
    """Outcomes of commands that write nothing, and that many rows end in."""
    return {}


@pytest.fixture
def run(cli, words, tmp_path, once):
    known = re.compile(r"\b(" + "|".join(sorted(words, key=len, reverse=True)) + r")\b")

    def command(text):
        if "TMP" not in text and text in once:
            return once[text]
        arguments = [known.sub(lambda found: words[found[0]], word).replace("TMP", str(tmp_path)) for word in text.split()]
        once[text] = cli(*arguments, *(["--quiet"] if arguments[:1] and arguments[0] in _QUIET else []))
        return once[text]

    return command


def _said(text):
    """The code of an error, and its advice: of the whole, and at the end of each line about a node."""
    code = re.search(r"error\[(E-[A-Z0-9-]+)\]", text)
    after = text[code.start():] if code else ""
    advice = re.findall(r"^  hint: (.*)", after, re.MULTILINE) + re.findall(r"^  node .*?; (.*)", after, re.MULTILINE)
    return (code[1] if code else None), advice


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.bad or "nothing")
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


@pytest.mark.parametrize("case", LIVE, ids=lambda case: case.bad.__name__)
def test_the_advice_works_in_python(words, case: LiveCase):
    with pytest.raises(AbsintError) as caught:
        case.bad(words)
    assert caught.value.code == case.code
    assert any(Hint(case.code, template).fits(case.code, caught.value.hint) for template in case.hints), caught.value.hint
    case.good(words)


def _left():
    return _LEFT.read_text(encoding="utf-8").splitlines()


def _followed():
    rows = [(case.code, template) for case in (*CASES, *LIVE) for template in case.hints]
    return [hint for hint in all_hints() if any(hint.template == template and hint.code in (code, "?") for code, template in rows)]


def test_no_advice_is_new_and_not_followed():
    followed, left = set(_followed()), set(_left())
    new = [str(hint) for hint in all_hints() if hint not in followed and str(hint) not in left]
    assert not new, "follow each in tests/support/hint_cases.py"


def test_what_is_listed_as_not_followed_exists_and_is_not():
    known, followed = {str(hint) for hint in all_hints()}, {str(hint) for hint in _followed()}
    assert not [line for line in _left() if line not in known], "no code prints these any more"
    assert not [line for line in _left() if line in followed], "these are followed"
    assert _left() == sorted(set(_left()))


def test_every_row_follows_an_advice_of_the_source():
    known = {(hint.code, hint.template) for hint in all_hints()}
    assert not [case for case in (*CASES, *LIVE) for template in case.hints if not {(case.code, template), ("?", template)} & known]


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
