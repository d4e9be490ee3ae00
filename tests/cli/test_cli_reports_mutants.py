"""Every report, merge or check that believes too much is noticed by the tests named for it, which pass in their own files."""

from __future__ import annotations

from inspect import signature

import pytest
import test_cli_earlier_results
import test_cli_merge
import test_cli_pack_members
import test_cli_pack_questions
import test_cli_pack_replays
import test_cli_packs
import test_cli_report
import test_cli_widths
from mutants import journals, pack_replays, widths
from mutants.planting import assert_killed
from reported_runs import made

FILES = (test_cli_earlier_results, test_cli_merge, test_cli_pack_members, test_cli_pack_questions, test_cli_pack_replays, test_cli_packs,
         test_cli_report, test_cli_widths)
MUTANTS = {**journals.MUTANTS, **pack_replays.MUTANTS, **widths.MUTANTS}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch, tmp_path, cli):
    made()      # before anything is wrong
    for _, *words in MUTANTS[name][1]:
        if words and words[0] in test_cli_pack_replays.KINDS:
            test_cli_pack_replays.pack_of(words[0])

    def run(killer):
        test = next(getattr(file, killer[0]) for file in FILES if hasattr(file, killer[0]))
        words = list(killer[1:])
        given = {"cli": lambda: cli, "tmp_path": lambda: tmp_path, "monkeypatch": lambda: monkeypatch,
                 "old": lambda: old(tmp_path), "pack": lambda: packed(tmp_path), "parts": lambda: parts(tmp_path)}
        test(**{one: given[one]() if one in given else chosen(words.pop(0)) for one in signature(test).parameters})

    assert_killed(MUTANTS[name], run, monkeypatch)


def chosen(word):
    """A function of the tests, by name, or the word itself."""
    return getattr(test_cli_packs, word, word) if isinstance(word, str) else word


def packed(folder):
    path = folder / "run.zip"
    path.write_bytes(made().pack)
    return path


def old(folder):
    path = folder / "r.xml"
    path.write_bytes(test_cli_earlier_results.OLD)
    return path


def parts(folder):
    return test_cli_merge.part(folder / "a.jsonl", {0, 1, 2}), test_cli_merge.part(folder / "b.jsonl", {2, 3, 5})
