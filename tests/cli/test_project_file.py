"""`absint.toml`: which value counts, what a key may hold, and what is refused. Nothing is run here: `settle` says what would be."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest
from places import ROOT
from projects import stand, values

from absint.cli.project_file import found_file, read
from absint.cli.settings import Choice, settle
from absint.contract.analysis import ANALYSES
from absint.contract.options import options_of
from absint.errors import AbsintError, InputError, UsageError

# Who may state a radius, the weakest first.
SOURCES = ("default", "file", "table", "profile", "profile's table", "variable", "command's variable", "command line")
NIGHTLY = Choice(profile="nightly")


def text_of(said: set[str]) -> str:
    """A file in which each of these says its own name."""
    parts = {"file": 'eps = "file"', "table": '[verify]\neps = "table"', "profile": '[profile.nightly]\neps = "profile"',
             "profile's table": '[profile.nightly.verify]\neps = "profile\'s table"'}
    return "\n".join(text for source, text in parts.items() if source in said) + "\n[profile.nightly.radius]\n"


def radius_of(said: set[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    variables = {"variable": "ABSINT_EPS", "command's variable": "ABSINT_VERIFY_EPS"}
    stand(folder, text_of(said), monkeypatch, **{variables[one]: one for one in said & variables.keys()})
    return values("verify", NIGHTLY, **({"eps": "command line"} if "command line" in said else {})).get("eps", "default")


@pytest.mark.parametrize(("weaker", "stronger"), list(combinations(SOURCES, 2)))
def test_the_stronger_of_two_says_it(weaker, stronger, tmp_path, monkeypatch):
    assert radius_of({weaker, stronger}, tmp_path, monkeypatch) == stronger


def test_a_table_of_a_group_stands_between(tmp_path, monkeypatch):
    stand(tmp_path, "seed = 1\ndraws = 5\n[global]\nseed = 2\nbatch = 7\n[global.robustness]\nseed = 3\n", monkeypatch)
    assert values("global.robustness") == {"seed": 3, "draws": 5, "batch": 7}
    assert values("global.correctness") == {"seed": 2, "draws": 5, "batch": 7}
    assert "batch" not in values("verify")


def test_files_are_relative_to_the_project_file_and_variables_to_the_caller(tmp_path, monkeypatch):
    stand(tmp_path, 'net = "n.onnx"\njournal = "/abs/j"\noutput-range = "limits.csv"\n[train]\nmodel = "m.py:build"\n'
          '[global]\ngenerator = ["8=g.onnx"]\n[query]\nnetwork = ["N=q.onnx"]\n', monkeypatch, "a/b", ABSINT_DATA="d.npz")
    above = Path("..", "..")
    assert values() == {"net": above / "n.onnx", "journal": Path("/abs/j"), "output_range": "../../limits.csv", "data": Path("d.npz")}
    assert values("train")["model"] == "../../m.py:build"
    assert values("global.robustness")["generator"] == ("8=../../g.onnx",)
    assert values("query", Choice(Path("../../absint.toml")))["network"] == ("N=../../q.onnx",)


def test_what_is_no_file_stays_as_it_is(tmp_path, monkeypatch):
    stand(tmp_path, 'output-range = "-1,1e3"\n[train]\nmodel = "small"\n', monkeypatch, "a")
    assert values()["output_range"] == "-1,1e3"
    assert values("train")["model"] == "small"


def test_every_option_that_may_be_a_file_is_known():
    """One whose help names a file, and that is text on the command line, says which part of it is the file's name."""
    speaking = {(name, one.name) for name in ANALYSES for one in options_of(ANALYSES.get(name).Options)
                if one.words.command and one.kind is str and any(word in one.words.help for word in (".onnx", ".py", "or a file"))}
    patterned = {(name, one.name) for name in ANALYSES for one in options_of(ANALYSES.get(name).Options) if one.words.file}
    assert speaking <= patterned


def test_values_read_as_the_options_read_their_words(tmp_path, monkeypatch):
    stand(tmp_path, "eps = 0.1000000000000000055\nmean = [0.1, 1, 0.3]\nclip = [0, 1]\nindex = [3, 5]\ntimeout = 6_0.5\nbatch = 8\n"
          'rescale = true\nno-rounding = true\ncompose = "g.onnx"\ntimeout_lp = 2\n[bounds]\nall = true\nrounding = false\n'
          '[errors]\ndomains = ["box", "deeppoly"]\n', monkeypatch)
    assert values() == {
        "eps": "0.1000000000000000055", "mean": "0.1,1,0.3", "clip": "0,1", "index": "3,5", "timeout": "60.5", "batch": 8, "rescale": True,
        "rounding": False, "compose": (Path("g.onnx"),), "timeout_lp": 2.0}
    assert values("bounds")["every"] is True
    assert values("bounds")["rounding"] is False
    assert values("errors")["domains"] == "box,deeppoly"


def test_variables_read_as_the_options_read_their_words(tmp_path, monkeypatch):
    stand(tmp_path, None, monkeypatch, ABSINT_BATCH="8", ABSINT_RESCALE="yes", ABSINT_NO_ROUNDING="0", ABSINT_TENSOR="a b",
          ABSINT_PLUGIN=f"x.py{os.pathsep}y.py", ABSINT_EPS="", ABSINT_TABOO_CERTIFY_RADIUS="on")
    assert values("bounds") == {"batch": 8, "rescale": True, "rounding": True, "tensor": ("a", "b"), "plugin": (Path("x.py"), Path("y.py"))}
    assert values("taboo.certify")["radius"] is True


def test_variables_of_a_wrong_kind_are_told_together(tmp_path, monkeypatch):
    stand(tmp_path, None, monkeypatch, ABSINT_BATCH="many", ABSINT_RESCALE="perhaps")
    with pytest.raises(UsageError, match="E-CONFIG-VARIABLE") as caught:
        values()
    assert caught.value.details == ("ABSINT_RESCALE is 'perhaps'; it takes 1 or 0", "ABSINT_BATCH is 'many'; it takes a whole number")


BAD = """\
epz = 1
batch = "many"
debug = true
json = true
text = \"\"\"
norm = 3
\"\"\"
mean = [
  0.1,
  true,
]
[verify]
draws = 3
as-is = "yes"
rescale = true
no-rescale = true
[verify.box]
[radiuss]
upper = 1
[profile.x]
data = ["a", "b"]
total-timeout = 1
total_timeout = 2
"""


def test_every_fault_is_told_with_its_line(tmp_path, monkeypatch):
    stand(tmp_path, BAD, monkeypatch)
    with pytest.raises(InputError, match="E-CONFIG") as caught:
        values("radius")
    said = "\n".join(caught.value.details)
    for line, words in ((1, "epz is no option: did you mean eps"), (2, "batch is 'many'; it takes a whole number"),
                        (3, "debug is for the command line alone"), (4, "json is no option"), (5, "text is no option"), (8, "mean is"),
                        (13, "absint verify has no draws; absint global"),
                        (14, "as-is is 'yes'; it takes true or false"), (16, "no-rescale and rescale are one option"),
                        (17, "[verify.box] is no command"), (18, "[radiuss] is no command: did you mean radius"), (21, "data is"),
                        (23, "total_timeout and total-timeout are one option")):
        assert f"absint.toml:{line}: {words}" in said, said
    assert len(caught.value.details) == 13


def test_what_fits_another_command_alone_is_told_where_it_does_not(tmp_path, monkeypatch):
    """`radius` is a number of one command and a switch of another: at the top it cannot be both."""
    stand(tmp_path, "radius = 2.0\n", monkeypatch)
    assert values("clever") == {"radius": 2.0}
    with pytest.raises(InputError, match="E-CONFIG") as caught:
        values("taboo.certify")
    assert caught.value.details == ("absint.toml:1: radius of absint taboo certify takes true or false",)


@pytest.mark.parametrize(("text", "code"), [
    ("eps = ", "E-CONFIG"), ("eps = 1\neps = 2", "E-CONFIG"), ("a = " + "[" * 5000, "E-CONFIG"), ("profile = 3", "E-CONFIG"),
    ("[[verify]]\neps = 1", "E-CONFIG"), ("n = 1" + "0" * 5000, "E-CONFIG"),
])
def test_what_is_no_project_file_is_one_error(text, code, tmp_path, monkeypatch):
    stand(tmp_path, text, monkeypatch)
    with pytest.raises(AbsintError) as caught:
        values()
    assert caught.value.code == code


def test_bytes_that_are_no_text(tmp_path, monkeypatch):
    stand(tmp_path, None, monkeypatch)
    Path("absint.toml").write_bytes(b"eps = '\xff'")
    with pytest.raises(InputError, match="not UTF-8"):
        values()
    Path("absint.toml").write_bytes(b"\xef\xbb\xbfeps = 1\r\n")
    assert values() == {"eps": "1"}


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    stand(tmp_path, None, monkeypatch)
    for choice in (Choice(Path("nowhere.toml")), Choice(Path())):
        with pytest.raises(InputError, match="E-CONFIG-FILE"):
            values("verify", choice)
    monkeypatch.setenv("ABSINT_CONFIG", "nowhere.toml")
    with pytest.raises(InputError, match="E-CONFIG-FILE"):
        values()


def test_profiles_that_are_not_there(tmp_path, monkeypatch):
    stand(tmp_path, None, monkeypatch)
    with pytest.raises(UsageError, match="E-CONFIG-PROFILE"):
        values("verify", NIGHTLY)
    stand(tmp_path, "[profile.daily]\neps = 1", monkeypatch)
    with pytest.raises(UsageError, match="it has daily"):
        values("verify", NIGHTLY)
    monkeypatch.setenv("ABSINT_PROFILE", "daily")
    assert values() == {"eps": "1"}


# ---- which file ------------------------------------------------------------------------------------------------------------


def test_the_nearest_file_counts_and_no_further_than_the_repository(tmp_path, monkeypatch):
    stand(tmp_path, "eps = 1", monkeypatch, "a/b")
    assert values() == {"eps": "1"}
    (tmp_path / "a" / "absint.toml").write_text("eps = 2")
    assert values() == {"eps": "2"}
    (tmp_path / "a" / "b" / ".git").touch()
    assert values() == {}


def test_without_both_only_the_command_line_counts(tmp_path, monkeypatch):
    stand(tmp_path, "eps = 1\nclip = 'none'", monkeypatch, ABSINT_NORM="l2")
    assert values("verify", Choice(none=True), eps="3") == {"eps": "3"}
    stand(tmp_path, "epz = 2", monkeypatch, ABSINT_BATCH="many")
    assert values("verify", Choice(none=True), eps="3") == {"eps": "3"}
    with pytest.raises(UsageError, match="exclude each other"):
        values("verify", Choice(Path("absint.toml"), none=True))


def test_a_strangers_file_above_is_not_read(tmp_path, monkeypatch, capsys):
    """Who may write into a folder above, such as /tmp, says nothing about what others verify there."""
    stand(tmp_path, "eps = 1", monkeypatch, "mine")
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert found_file() == Path("../absint.toml")       # the working folder is the same stranger's
    real = os.stat
    theirs = {"mine": owner + 1}
    monkeypatch.setattr(os, "stat", lambda path, **words: Owned(real(path, **words), theirs.get(Path(path).name, owner + 2)))
    assert found_file() is None
    assert "belongs to another user" in capsys.readouterr().err
    assert values("verify", Choice(Path("../absint.toml"))) == {"eps": "1"}


class Owned:
    """A file's state with another owner."""

    def __init__(self, state, owner):
        self.state, self.st_uid = state, owner

    def __getattr__(self, name):
        return getattr(self.state, name)


# ---- what excludes what ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "given", "left"), [
    ("eps = 1\nnorm = 'l2'", {"patch": "3x3"}, {"patch": "3x3"}),
    ("patch = '3x3'\nnorm = 'l2'", {"eps": "1"}, {"eps": "1", "norm": "l2"}),     # a radius beside a patch would be passed over
    ("eps = 1\ndata = 'd'\nlabels = 'l'\nindex = 3\nclip = 'none'", {"box": Path("b")}, {"box": Path("b")}),
    ("data = 'd'\nlabels = 'l'\nscale = 2\nmean = 1", {"data": Path("e")}, {"data": Path("e"), "mean": "1"}),
    ("output-range = '0,1'", {"target": 3}, {"target": 3}),
    ("label = 3\ntarget = 4", {"output_range": "0,1"}, {"output_range": "0,1"}),
    ("as-is = true", {"rescale": True}, {"rescale": True}),
    ("as-is = true", {"rescale": False}, {"as_is": True, "rescale": False}),      # switched back, nothing is asked for
])
def test_what_is_excluded_by_a_stronger_source_is_set_aside(file, given, left, tmp_path, monkeypatch):
    stand(tmp_path, file, monkeypatch)
    assert values("verify", **given) == left


def test_a_table_sets_aside_what_stands_at_the_top(tmp_path, monkeypatch):
    stand(tmp_path, "eps = 1\n[profile.light]\nbrightness = 0.1\n", monkeypatch)
    found = settle("verify", {}, Choice(profile="light"))
    assert found.given == {"brightness": "0.1"}
    assert found.aside == {"eps": "brightness"}
    assert "set aside: eps for brightness" in found.note()
    assert settle("verify", {"eps": "2"}, Choice(profile="light")).given == {"eps": "2"}


def test_exclusions_name_options_that_there_are():
    names = {one.name for name in ANALYSES for one in options_of(ANALYSES.get(name).Options)}
    assert {other for name in ANALYSES for one in options_of(ANALYSES.get(name).Options) for other in one.words.instead} <= names


# ---- a standard's interface ---------------------------------------------------------------------------------------------------


def test_a_query_is_the_same_question_wherever_it_is_asked(tmp_path, monkeypatch):
    stand(tmp_path, "timeout = 1\ndomain = 'box'\n[query]\nattack = 'none'\n", monkeypatch, ABSINT_QUERY_TIMEOUT="2")
    asked = {"query": Path("q.vnnlib"), "network": ("n.onnx",)}
    assert values("query", **asked) == asked
    assert values("query", Choice(Path("absint.toml")), **asked) == {**asked, "timeout": "2", "domain": "box", "attack": "none"}
    with pytest.raises(UsageError, match="E-CONFIG-PROFILE"):
        values("query", NIGHTLY, **asked)


# ---- the page ------------------------------------------------------------------------------------------------------------------


def test_lines_are_those_of_an_editor(tmp_path):
    file = tmp_path / "absint.toml"
    file.write_text('a.b = 1\n\n[c]\nd = """\n[e]\n"""\nf = [\n 1,\n]\n["g h".i]\nj = {k = 1}\n')
    assert {".".join(way): line for way, line in read(file).lines.items()} == {
        "a": 1, "a.b": 1, "c": 3, "c.d": 4, "c.f": 7, "g h": 10, "g h.i": 10, "g h.i.j": 11, "g h.i.j.k": 11}


def test_the_pages_example_is_a_project_file(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "project-file.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    stand(tmp_path, example, monkeypatch)
    assert values()["net"] == Path("net.onnx")
    assert values("verify", NIGHTLY)["timeout"] == "600"
    assert values("taboo.certify")["eps"] == "1/255"
    light = values("verify", Choice(profile="light"))
    assert "eps" not in light
    assert light["brightness"] == "0.1"


def test_the_repeated_command_has_options_before_what_is_none(tmp_path, monkeypatch):
    stand(tmp_path, "eps = 1\ndata = '-d.npz'\nno-rounding = true\nplugin = ['a.py', 'b c.py']", monkeypatch, ABSINT_NORM="l2")
    words = ["verify", "--config", "absint.toml", "--profile=x", "--", "-n.onnx"]
    assert settle("verify", {"net": Path("-n.onnx")}, Choice()).line(words) == (
        "absint verify --eps 1 --data ./-d.npz --no-rounding --plugin a.py --plugin 'b c.py' --norm l2 --no-config -- -n.onnx")
    assert settle("verify", {}, Choice(none=True)).line(["verify", "--no-config"]) == "absint verify --no-config"
    stand(tmp_path, "[radius]\nupper = 1", monkeypatch)
    assert settle("verify", {"eps": "1"}, Choice()).line(["verify", "--eps", "1"]) == "absint verify --eps 1 --no-config"
    monkeypatch.chdir(tmp_path.anchor)      # a file may lie wherever the command is given again
    assert settle("verify", {"eps": "1"}, Choice()).line(["verify", "--eps", "1"]) == "absint verify --eps 1"
    assert settle("query", {}, Choice()).line(["query", "q.vnnlib"]) == "absint query q.vnnlib"
