"""Commands in a folder with `absint.toml`: what is analysed, what is said of it, and `absint config` and `absint init`."""

from __future__ import annotations

import json
import shlex
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import gemm
from places import ROOT
from projects import stand, values

import absint
from absint.cli.main import main

WEIGHT = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)     # y = (x0, x1)
INPUTS = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 1.0], [0.5, 0.4, 0.0]], dtype=np.float32)
LABELS = np.array([0, 1, 1])        # it is wrong about the last one
PROJECT = 'net = "net.onnx"\ndata = "data.npz"\neps = 0.1\n[verify]\ndomain = "box"\nattack = "none"\n'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function: stand in a project whose file says so, or below."""

    def made(text=PROJECT, below="", **variables):
        folder = stand(tmp_path / "project", text, monkeypatch, below, **variables)
        gemm(folder / "net.onnx", WEIGHT)
        np.savez(folder / "data.npz", images=INPUTS, labels=LABELS)
        return folder

    return made


def report(cli, *words):
    done = cli(*words, *([] if "--format" in words else ["--format", "json"]))
    assert done.code in (0, 1), done.err
    return json.loads(done.out), done.err


def test_a_command_without_words_asks_the_projects_question(cli, project, monkeypatch):
    folder = project(below="results", ABSINT_INDEX="0:2")
    found, said = report(cli, "verify")
    assert [row["verdict"] for row in found["instances"]] == ["verified", "verified"]
    assert said.startswith("../absint.toml: net=../net.onnx, data=../data.npz, eps=0.1, ")
    assert "environment: ABSINT_INDEX=0:2" in said
    header = found["header"]
    assert header["model"]["path"] == "../net.onnx"
    assert header["config"]["origins"]["eps"] == "../absint.toml:3"
    assert header["config"]["origins"]["index"] == "ABSINT_INDEX"
    # The command repeats it whatever the file says by then.
    monkeypatch.delenv("ABSINT_INDEX")
    (folder / "absint.toml").write_text('eps = 0.9\nindex = 2\nclip = "none"')
    again, silence = report(cli, *shlex.split(header["command"])[1:])
    assert [(row["index"], row["verdict"], row["margin"]) for row in again["instances"]] == [
        (row["index"], row["verdict"], row["margin"]) for row in found["instances"]]
    assert again["header"]["property"] == header["property"]
    assert "absint.toml" not in silence
    assert "config" not in again["header"]


def test_where_options_come_from_is_said_however_quiet(cli, project):
    project()
    assert cli("verify", "--quiet", "--index", "0").err == (
        "absint.toml: net=net.onnx, data=data.npz, eps=0.1, domain=box, attack=none\n")
    text = cli("verify", "--quiet", "--index", "0").out
    assert "options   net (absint.toml:1), data (absint.toml:2)" in text
    assert "command   absint verify --quiet --index 0 net.onnx --data data.npz --eps 0.1 --domain box --attack none --no-config" in text


def test_a_journal_is_bound_to_values_not_to_who_states_them(cli, project):
    project()
    assert cli("verify", "--index", "0", "--journal", "j").code == 0
    words = "verify net.onnx --data data.npz --domain box --attack none --index 0 --journal j --resume --no-config"
    assert cli(*words.split(), "--eps", "0.1").code == 0
    cli(*words.split(), "--eps", "0.2").fails(3, "E-JOURNAL-MISMATCH]")


def test_an_error_says_who_stated_the_value(cli, project):
    project('net = "net.onnx"\ndata = "data.npz"\neps = "small"\n')
    assert "  eps is stated by absint.toml:3\n" in cli("verify").fails(2, "E-EPS]").err
    assert "stated by" not in cli("verify", "--eps", "tiny").fails(2, "E-EPS]").err
    project('net = "nowhere.onnx"\n')
    assert "  net is stated by absint.toml:1\n" in cli("verify").fails(3, "E-MODEL-MISSING]").err


def test_the_project_file_is_not_written_over(cli, project):
    project()
    cli("verify", "--out", "absint.toml").fails(2, "E-OUT]")
    cli("verify", "--journal", "../project/absint.toml").fails(2, "E-OUT]")
    assert Path("absint.toml").read_text() == PROJECT


def test_a_flag_of_the_file_is_taken_back(cli, project):
    project('net = "net.onnx"\ndata = "data.npz"\nno-rounding = true\ndomain = "box"\n')
    assert report(cli, "verify", "--index", "0", "--attack", "none")[0]["instances"][0]["verdict"] == "likely"
    assert report(cli, "verify", "--index", "0", "--rounding")[0]["instances"][0]["verdict"] == "verified"
    cli("verify", "--rounding", "--no-rounding").fails(2, "E-USAGE]")


QUERY = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "X_2", "Y_0", "Y_1")) + "".join(
    f"(assert (>= X_{k} 0.0))\n(assert (<= X_{k} 1.0))\n" for k in range(3)) + "(assert (<= Y_0 -0.5))\n"


def test_a_stray_file_changes_no_answer_to_a_query(cli, project):
    """The first line of stdout is prescribed: a folder must not decide it."""
    project('epz = 1\ntimeout = 0.000001\nformat = "json"\n', ABSINT_TIMEOUT="0.000001", ABSINT_FORMAT="json")
    Path("q.vnnlib").write_text(QUERY)
    for words in (["verify", "q.vnnlib"], ["query", "q.vnnlib"]):
        done = cli(*words, "--network", "net.onnx")
        assert (done.code, done.out.splitlines()[0]) == (0, "unsat")
        assert "absint.toml" not in done.err
    cli("verify", "q.vnnlib", "--network", "net.onnx", "--config", "absint.toml").fails(3, "E-CONFIG]")


def test_a_query_is_not_made_of_what_a_file_says(cli, project):
    """`network` of queries does not turn `verify` on a network into one, nor does the environment."""
    project(PROJECT + "[query]\nnetwork = 'net.onnx'\n", ABSINT_NETWORK="net.onnx", ABSINT_INSTANCES="list.csv")
    assert cli("verify", "--index", "0").code == 0


def test_python_reads_no_project_file(project):
    folder = project("epz = 1\n", ABSINT_EPS="nonsense")
    found = absint.verify(str(folder / "net.onnx"), INPUTS[:1], eps="0.1", domain="box")
    assert found[0].verdict.value == "verified"


def test_a_plugin_of_the_file_brings_its_command_and_its_table(cli, project):
    noise = ROOT / "tests" / "plugins" / "files" / "noise.py"
    project(f'plugin = "noise.py"\n{PROJECT}[noise]\nsigma = 0.01\n')
    shutil.copy(noise, "noise.py")
    assert "0.01" in cli("config", "noise").out
    assert "noise.py" in cli("noise", "--quiet").err
    assert cli("verify", "--index", "0").code == 0


def test_a_misspelt_variable_is_warned_of(cli, project):
    project(ABSINT_DOMIAN="zonotope", ABSINT_SOMETHING_ELSE="x")
    said = cli("verify", "--index", "0").err
    assert "warning[W-CONFIG-VARIABLE] ABSINT_DOMIAN: did you mean ABSINT_DOMAIN?" in said
    assert "SOMETHING" not in said
    Path("absint.toml").unlink()
    assert "did you mean" in cli("verify").err
    assert "did you mean" not in cli("verify", "--no-config").err


# ---- absint config -----------------------------------------------------------------------------------------------------------


def test_config_shows_every_option_and_its_origin(cli, project):
    project(ABSINT_TIMEOUT="5")
    found = json.loads(cli("config", "verify", "--format", "json", "--eps", "0.2", "--no-rescale").out)
    options = {row["option"]: (row["value"], row["origin"], row["source"]) for row in found["options"]}
    assert options["eps"] == ("0.2", "command line", "command line")
    assert options["rescale"] == (False, "command line", "command line")
    assert options["timeout"] == ("5", "ABSINT_TIMEOUT", "environment")
    assert options["domain"] == ("box", "absint.toml:5", "file")
    assert options["data"] == ("data.npz", "absint.toml:2", "file")
    assert options["norm"] == ("linf", "default", "default")
    assert found["file"] == "absint.toml"
    text = cli("config", "verify", "--patch", "3x3").out
    assert "eps is set aside for patch" in text
    assert [line.split() for line in text.splitlines() if line.startswith("domain ")] == [["domain", "box", "absint.toml:5"]]


def test_config_of_a_command_of_a_group(cli, project):
    project("[taboo.certify]\neps = 0.2\n")
    for words in (["taboo", "certify"], ["taboo.certify"]):
        rows = json.loads(cli("config", *words, "--format", "json").out)["options"]
        assert next(row for row in rows if row["option"] == "eps")["origin"] == "absint.toml:2"


def test_config_alone_shows_what_is_stated(cli, project):
    project(PROJECT + "[profile.long]\ntimeout = 9\n[taboo.calibrate]\nkeys = 'k.txt'\n", ABSINT_VERIFY_EPS="0.3")
    found = json.loads(cli("config", "--format", "json").out)
    rows = [(row["table"], row["option"], row["value"], row["origin"]) for row in found["values"]]
    assert ("verify", "domain", "box", "absint.toml:5") in rows
    assert ("profile.long", "timeout", 9, "absint.toml:8") in rows
    assert ("verify", "eps", "0.3", "ABSINT_VERIFY_EPS") in rows
    assert ("taboo.calibrate", "keys", "(secret)", "absint.toml:10") in rows
    assert found["profiles"] == ["long"]
    assert "every command" in cli("config").out
    assert "init" in cli("config", "--no-config").out


def test_config_of_what_takes_none(cli, project):
    project()
    for words in (["doctor"], ["verfy"], ["--eps", "1"]):
        cli("config", *words).fails(2, "E-USAGE]")
    cli("config", "verify", "--format", "xml").fails(2, "E-FORMAT-UNKNOWN]")
    cli("config", "verify", "--epz", "1").fails(2, "E-USAGE]")


def test_config_answers_where_a_run_would_fail(cli, project):
    project('net = "nowhere.onnx"\neps = "small"\n')
    assert cli("config", "verify").code == 0


# ---- absint init --------------------------------------------------------------------------------------------------------------


def test_init_writes_what_it_found_and_the_file_is_read(cli, project):
    project(None)
    done = cli("init", "--mean", "0.5", "--std", "0.5", "--plugin", str(ROOT / "tests/plugins/files/noise.py"))
    assert done.code == 0, done.err
    assert "right about 2 of the first 3" in done.out
    stated = tomllib.loads(Path("absint.toml").read_text())
    assert {name: stated[name] for name in ("net", "data", "mean", "std")} == {
        "net": "net.onnx", "data": "data.npz", "mean": "0.5", "std": "0.5"}
    assert "mean=0.5" in cli("verify", "--domain", "box", "--quiet").err
    cli("init").fails(2, "E-INIT-EXISTS]")
    assert cli("init", "--force").code == 0
    assert "mean" not in tomllib.loads(Path("absint.toml").read_text())


def test_what_init_leaves_as_comments_is_right_when_it_is_none(cli, project, monkeypatch):
    project(None)
    assert cli("init").code == 0
    text = Path("absint.toml").read_text()
    head, line, rest = text.partition("net = ")
    Path("absint.toml").write_text(head + line + rest.replace("\n# ", "\n"))
    assert values()["timeout"] == "60"
    assert values("radius")["upper"] == "0.1"


def test_init_chooses_only_where_there_is_no_choice(cli, project):
    folder = project(None)
    shutil.copy("data.npz", "more.npz")
    assert "  data.npz\n  more.npz\n" in cli("init").fails(3, "E-INIT-DATA]").err
    assert cli("init", "--data", "more.npz").code == 0
    shutil.move("more.npz", "x_test.npz")
    assert cli("init", "--force").code == 0
    assert tomllib.loads(Path("absint.toml").read_text())["data"] == "x_test.npz"
    shutil.copy("net.onnx", "other.onnx")
    assert "other.onnx" in cli("init", "--force").fails(3, "E-INIT-NET]").err
    assert cli("init", "--force", "--net", "net.onnx").code == 0
    for file in folder.glob("*.onnx"):
        file.unlink()
    cli("init", "--force").fails(3, "E-INIT-NET]")


def test_init_refuses_what_does_not_fit_and_writes_nothing(cli, project):
    project(None)
    np.savez("data.npz", images=np.ones((3, 5), dtype=np.float32), labels=LABELS)
    assert main(["init"]) == 3
    cli("init", "--net", "nowhere.onnx").fails(3, "E-MODEL-MISSING]")
    assert not Path("absint.toml").exists()


def test_init_without_data_says_so(cli, project):
    project(None)
    Path("data.npz").unlink()
    assert "no data here" in cli("init").out
    assert values() == {"net": Path("net.onnx")}


def test_init_doubts_a_network_that_is_mostly_wrong(cli, project):
    project(None)
    np.savez("data.npz", images=INPUTS, labels=1 - LABELS)
    assert "wrong about most" in cli("init").err


def test_a_file_that_states_a_sweep_is_overruled_by_no_file_that_lies_around(cli, project, monkeypatch):
    folder = project('data = "other.npz"\neps = 0.5\ndomain = "zonotope"\nindex = "0:1"\n', ABSINT_EPS="0.4")
    (folder / "sweep.toml").write_text(
        'nets = ["net.onnx"]\ndata = "data.npz"\neps = [0.1, 0.2]\ndomains = "box"\nattack = "none"\n')
    found, said = report(cli, "sweep", "sweep.toml")
    assert {(row["index"], row["eps"], row["domain"]) for row in found["verdicts"]} == {
        (index, eps, "box") for index in range(3) for eps in ("0.1", "0.2")}
    assert "absint.toml" not in said
    # Networks that are named by themselves are asked about as the project says.
    assert cli("config", "sweep", "net.onnx", "--format", "json").out.count("ABSINT_EPS") == 1
    refused = cli("sweep", "sweep.toml", "--profile", "light")
    assert (refused.code, "E-CONFIG-PROFILE" in refused.err) == (2, True)
