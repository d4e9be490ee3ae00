"""Domains with a solver on the command line: their options, what rests on a solver's word, and what solvers reported."""

from __future__ import annotations

import csv
import io
import json

import pytest
from conftest import RELU
from test_cli_query import BOX, DECLARED, UNSAFE

from absint.solvers import choice, highs

pytestmark = pytest.mark.usefixtures("warm")

# Decides nothing itself; of every second instance, and of one that is asked alone, a solver says that all is well.
WORD = """
    from dataclasses import dataclass
    import torch
    from absint.domain import Interval, Traits
    from absint.domains.box import Box
    from absint.strategy import Refutation, Stage, Strategy, register_strategy

    class Blind(Box):
        stated = Traits(mixed=False, alone=True)       # what it leaves open, the engine's own box leaves open, too

        def bounds(self, element, rows, ctx, sense):
            found = super().bounds(element, rows, ctx, sense)
            return Interval(torch.full_like(found.lower, -1.0).minimum(found.lower), found.upper)

    @register_strategy("word")
    @dataclass(frozen=True)
    class Word(Strategy):
        say: bool = True

        def stages(self):
            return (Stage(Blind(), self.said, "word"),)

        def said(self, ctx, spec, refuted):
            claimed = torch.full(refuted.shape, -1.0, dtype=torch.float64)
            claimed[::2] = 0.5 if self.say else -1.0
            said = ("E-SOLVER-HANG: the solver 'x' did not end; highs takes over", "E-SOLVER-NAN: no numbers")
            notes = tuple((k, text) for k in range(len(refuted)) for text in said)
            return Refutation(torch.full_like(claimed, -1.0), claimed, notes=notes)
"""
# A back end that is there and fails at once.
CRASHING = """
    from absint.solvers import Presence, Solver, SolverError, register_solver

    @register_solver("crashing")
    class Crashing(Solver):
        def check(self):
            return Presence(True, "crashing 1.0")

        def start(self, model):
            raise SolverError("E-SOLVER-CRASH", "the solver 'crashing' ended by itself")
"""
OPEN = ["--eps", "0.035", "--attack", "none"]    # instance 15 of the bundled sample needs more than DeepPoly


@pytest.fixture
def word(verify, plugin):
    file = plugin("word", WORD)

    def run(*arguments):
        domain = () if "--domain" in arguments else ("--domain", "word")
        return verify("--plugin", file, *domain, "--attack", "none", "--dtype", "float64", *arguments)

    return run


def rows(done):
    return {row["index"]: row for row in map(json.loads, done.out.splitlines())}


# ---- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "shown"), [
    (["--domain", "refine", "--base", "zonotope", "--solver", "scipy", "--neurons", "7", "--timeout-lp", "2", "--timeout-milp", "0.5"],
     {"base": "zonotope", "solver": "scipy", "neurons": 7, "timeout_lp": 2.0, "timeout_milp": 0.5}),
    (["--domain", "exact:base=box,timeout_lp=3", "--base", "zonotope"], {"base": "zonotope", "timeout_lp": 3.0, "solver": "auto"}),
    (["--domain", "refine", "--timeout-milp", "0", "--neurons", "0"], {"timeout_milp": 0.0, "neurons": 0, "base": "deeppoly"}),
])
def test_options_of_the_domain_have_words_of_their_own(verify, options, shown):
    done = verify("--index", "0", "--format", "json", *options)
    assert done.code == 0, done.err
    assert json.loads(done.out)["header"]["domain"]["options"].items() >= shown.items()


@pytest.mark.parametrize("domain", ["zonotope", "box", "auto"])
@pytest.mark.parametrize(("option", "value", "having"), [
    ("--base", "box", "exact, milp, refine"), ("--solver", "highs", "exact, milp, refine"), ("--neurons", "3", "refine"),
    ("--timeout-lp", "1", "exact, milp, refine"), ("--timeout-milp", "1", "milp, refine"),
])
def test_a_domain_without_the_option_is_told_those_that_have_it(verify, domain, option, value, having):
    error = verify("--domain", domain, option, value).fails(2, "E-DOMAIN-OPTION]").err
    assert f"error[E-DOMAIN-OPTION] {option}: domain '{domain}' has no " in error
    named = error.partition("domains that have one: ")[2].strip().split(", ")
    assert set(having.split(", ")) <= set(named)
    assert domain not in named


@pytest.mark.parametrize("words", [
    ["--timeout-lp", "nan"], ["--timeout-lp=-1"], ["--timeout-lp", "0"], ["--timeout-milp=-1"], ["--timeout-milp", "nan"], ["--base", ""],
    ["--solver", "highs,base=box"],
])
def test_values_without_sense(verify, words):
    verify("--domain", "milp", *words).fails(2, "E-DOMAIN-OPTION]")


def test_numbers_in_the_domains_text_are_numbers(verify):
    verify("--domain", "milp:timeout_lp=nan").fails(2, "E-DOMAIN-OPTION]")
    verify("--domain", "refine", "--neurons=-1").fails(2, "E-DOMAIN-OPTION]")
    verify("--domain", "refine", "--base", "boxx").fails(2, "E-DOMAIN-UNKNOWN]")


# ---- solvers that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "code", "error"), [
    ("gurobbi", 2, "E-SOLVER-UNKNOWN"), ("pulp:CPLEX_CMD", 5, "E-SOLVER-"), ("pulp:NOTHING", 5, "E-SOLVER-"),
    ("highs:x", 5, "E-SOLVER-MISSING"),
])
def test_a_solver_that_cannot_be_used(cli, verify, small_net, tmp_path, solver, code, error):
    choice._presence.cache_clear()
    verify("--domain", "exact", "--solver", solver, net=RELU).fails(code, error)
    verify("--domain", f"exact:solver={solver}", net=RELU).fails(code, error)
    cli("radius", RELU, "--quiet", "--exact", "--solver", solver).fails(code, error)
    query = tmp_path / "q.vnnlib"
    query.write_text(DECLARED + BOX + UNSAFE["unsat"])
    cli("verify", query, "--network", small_net, "--quiet", "--domain", "milp", "--solver", solver).fails(code, error)


def test_gurobi_without_its_package(verify, monkeypatch):
    choice._presence.cache_clear()
    real = highs.version
    monkeypatch.setattr(highs, "version", lambda name: real("not installed: " + name if name == "gurobipy" else name))
    error = verify("--domain", "exact", "--solver", "gurobi", net=RELU).fails(5, "E-SOLVER-MISSING]").err
    assert "pip install" in error
    assert verify("--index", "0", "--domain", "exact", net=RELU).code == 0, "auto does without"
    choice._presence.cache_clear()


def test_a_fall_back_is_told_once(verify, plugin):
    options = ["--plugin", plugin("crashing", CRASHING), "--domain", "exact", "--solver", "crashing", "--index", "15,18", "--batch", "1",
               *OPEN]
    done = verify(*options, net=RELU)
    assert done.code == 0, "highs took over"
    assert done.out.count("E-SOLVER-CRASH") == 1
    assert "(2 instances)" in next(line for line in done.out.splitlines() if "E-SOLVER-CRASH" in line)
    document = json.loads(verify(*options, "--format", "json", net=RELU).out)
    assert json.dumps(document).count("E-SOLVER-CRASH") == 1
    (note,) = document["summary"]["notes"]
    assert note["instances"] == [15, 18]
    assert [row["detail"] for row in document["instances"]] == [None, None]
    lines = rows(verify(*options, "--format", "jsonl", net=RELU))
    assert all("E-SOLVER-CRASH: " in note for row in lines.values() for note in row["notes"]), "rows that stand alone say it themselves"
    assert all(len(row["notes"]) == 1 for row in lines.values())


def test_many_notes_are_cut_short_in_the_text(verify, plugin, monkeypatch):
    from absint.analyses.verify import counts

    monkeypatch.setattr(counts, "MOST_NOTES", 1)
    done = verify("--plugin", plugin("word", WORD), "--domain", "word", "--index", "0:2", "--eps", "0.2", "--attack", "none")
    assert done.out.count("note ") == 2
    assert "1 others" in done.out


# ---- a solver's word ---------------------------------------------------------------------------------------------------


def test_a_word_is_unknown_unless_accepted(word):
    done = word("--index", "0:4", "--format", "jsonl")
    assert done.code == 1
    found = rows(done)
    assert [found[k]["verdict"] for k in range(4)] == ["unknown"] * 4
    assert [found[k]["reason"] for k in range(4)] == ["solver", "imprecise"] * 2
    assert {row["assurance"] for row in found.values()} == {"none"}
    assert "solver 2" in word("--index", "0:4").out


def test_an_accepted_word_is_verified_and_counted_apart(word):
    options = ["--index", "0:4", "--accept-solver"]
    found = rows(word(*options, "--format", "jsonl"))
    assert [found[k]["verdict"] for k in range(4)] == ["verified", "unknown"] * 2
    assert [found[k]["assurance"] for k in range(4)] == ["solver", "none"] * 2
    table = list(csv.DictReader(io.StringIO(word(*options, "--format", "csv").out)))
    assert [row["assurance"] for row in sorted(table, key=lambda row: row["index"])] == ["solver", "none"] * 2
    done = word(*options, "--format", "json")
    document = json.loads(done.out)
    assert document["summary"]["counts"]["verified"] == document["summary"]["verified_on_solver"] == 2
    assert document["header"]["numerics"]["accept_solver"] is True
    assert any("nobody has proved" in line for line in document["header"]["assumptions"])
    assert "warning: 2 verified, 2 of them on a solver's word" in done.err, "also with --quiet"
    assert "2 of 4 correctly classified instances verified (50.0 %), 2 of them on a solver's word" in word(*options).out


def test_the_exit_code_counts_accepted_words(word):
    assert word("--index", "0", "--accept-solver").code == 0
    assert word("--index", "0").code == 1
    assert word("--index", "0", "--accept-solver", "--no-rounding").code == 1


def test_sound_runs_say_nothing_of_words(verify):
    done = verify("--index", "0:2", "--accept-solver")
    assert done.code == 0
    assert "word" not in done.out.replace("absint verify", "")
    assert done.err == ""


def test_the_journal_keeps_what_a_verdict_rests_on(word, tmp_path):
    journal = tmp_path / "j"
    options = ["--index", "0:4", "--accept-solver", "--format", "jsonl", "--journal", journal]
    first = word(*options)
    again = word(*options, "--resume")
    assert rows(again) == rows(first)
    assert "2 of them on a solver's word" in again.err
    for change in ([], ["--accept-solver", "--domain", "word:say=false"]):
        error = word("--index", "0:4", "--journal", journal, "--resume", *change).fails(3, "E-JOURNAL-MISMATCH]").err
        assert ("accept_solver: journal true, now false" in error) == (not change)


# ---- queries -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(cli, small_net, plugin, tmp_path):
    """Ask the word about the small network."""
    file = plugin("word", WORD)

    def run(text, *options):
        query = tmp_path / "q.vnnlib"
        query.write_text(text)
        return cli("verify", query, "--network", small_net, "--plugin", file, "--domain", "word", "--attack", "none", "--dtype", "float64",
                   *options)

    return run


def test_a_query_is_unsat_on_a_word_only_where_that_is_accepted(ask):
    done = ask(DECLARED + BOX + UNSAFE["unsat"])
    assert done.out == "unknown\n"
    assert "--accept-solver" in done.err
    done = ask(DECLARED + BOX + UNSAFE["unsat"], "--accept-solver", "--quiet")
    assert (done.code, done.out) == (0, "unsat\n")
    assert done.err == "warning: unsat on a solver's word, which nobody has proved (--accept-solver)\n"
    document = json.loads(ask(DECLARED + BOX + UNSAFE["unsat"], "--accept-solver", "--format", "json").out)
    assert (document["answer"], document["assurance"], document["reason"]) == ("unsat", "solver", "solver")
    assert json.dumps(document).count("E-SOLVER-HANG: ") == 1


def test_one_open_part_leaves_a_query_unknown(ask):
    """Two boxes in a batch: of the second one nothing is said."""
    two = DECLARED + "".join(f"(assert (>= X_{k} 0))(assert (<= X_{k} 1))\n" for k in (1, 2))
    two += "(assert (or (and (>= X_0 0) (<= X_0 0.5)) (and (>= X_0 0.5) (<= X_0 1))))" + UNSAFE["unsat"]
    document = json.loads(ask(two, "--accept-solver", "--format", "json").out)
    assert [row["assurance"] for row in sorted(document["instances"], key=lambda row: row["index"])] == ["solver", "none"]
    assert (document["answer"], document["assurance"]) == ("unknown", "none")


def test_sound_answers_are_called_sound(cli, small_net, tmp_path):
    query = tmp_path / "q.vnnlib"
    for answer, assurance in (("unsat", "sound"), ("sat", "replayed"), ("unknown", "none")):
        query.write_text(DECLARED + BOX + UNSAFE[answer])
        done = cli("verify", query, "--network", small_net, "--domain", "zonotope", "--format", "json", "--accept-solver")
        document = json.loads(done.out)
        assert (document["answer"], document["assurance"]) == (answer, assurance)
        assert "word" not in done.err


def test_a_list_of_queries_is_given_the_same_options(cli, small_net, plugin, tmp_path):
    (tmp_path / "q.vnnlib").write_text(DECLARED + BOX + UNSAFE["unsat"])
    listed, journal = tmp_path / "list.csv", tmp_path / "j"
    listed.write_text(f"{small_net},q.vnnlib,60\n")
    options = ["verify", "--instances", listed, "--plugin", plugin("word", WORD), "--domain", "word", "--attack", "none",
               "--dtype", "float64"]
    assert next(csv.DictReader(io.StringIO(cli(*options).out)))["verdict"] == "unknown"
    done = cli(*options, "--accept-solver", "--journal", journal)
    row = next(csv.DictReader(io.StringIO(done.out)))
    assert (row["verdict"], row["reason"]) == ("unsat", "solver")
    assert "warning: 1 of the unsat answers on a solver's word" in done.err
    assert done.err.count("E-SOLVER-HANG: ") == 1
    kept = json.loads(journal.read_text().splitlines()[1])
    assert (kept["verdict"], kept["assurance"]) == ("unsat", "solver")
    cli(*options, "--journal", journal, "--resume").fails(3, "E-JOURNAL-MISMATCH]")
    done = cli(*options[:3], "--domain", "refine", "--base", "zonotope", "--solver", "scipy", "--neurons", "2", "--timeout-lp", "9",
               "--timeout-milp", "1")
    assert next(csv.DictReader(io.StringIO(done.out)))["verdict"] == "unsat", done.err
