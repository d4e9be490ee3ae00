"""A sweep as a file: every option under its name, paths beside the file, and every slip told at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reported_runs import made

from absint.analyses.sweep.file import files_in, stated_in, with_file
from absint.analyses.sweep.options import SweepOptions
from absint.contract.options import OUTPUT, options_of
from absint.errors import InputError, UsageError


def written(folder: Path, text: str) -> SweepOptions:
    (folder / "sweep.toml").write_text(text, encoding="utf-8")
    return SweepOptions(net=(folder / "sweep.toml",))


def test_lists_and_single_values(tmp_path: Path) -> None:
    found = with_file(written(tmp_path, """
nets = ["a.onnx", "/elsewhere/b.onnx"]
data = "images/mnist.npz"
eps = [0.010000000000000000001, "2/255", 1]
domains = ["box", "zonotope:max_generators=9"]
norm = "l2"
seeds = [1, 2]
sample = 5
clip = [0, 1]
mean = [0.1, 0.2]
total-timeout = 60
timeout = "none"
normalisation = false
attack = "none"
"""))
    assert found.net == (tmp_path / "a.onnx", Path("/elsewhere/b.onnx"))
    assert found.data == tmp_path / "images/mnist.npz"
    assert found.eps == ("0.010000000000000000001", "2/255", "1")
    assert found.domain == ("box", "zonotope:max_generators=9")
    assert (found.norm, found.seed, found.sample) == (("l2",), (1, 2), 5)
    assert (found.clip, found.mean, found.total_timeout, found.timeout) == ("0,1", "0.1,0.2", "60", "none")
    assert found.normalisation is False
    assert found.attack == "none"


def test_what_the_command_says_goes_first(tmp_path: Path) -> None:
    stated = written(tmp_path, 'nets = "a.onnx"\neps = 0.1\ndomains = "box"\nsample = 3')
    found = with_file(SweepOptions(net=stated.net, eps=("0.2",), sample=7))
    assert (found.eps, found.domain, found.sample) == (("0.2",), ("box",), 7)


def test_a_file_beside_it_may_hold_limits(tmp_path: Path) -> None:
    (tmp_path / "limits.csv").write_text("0,1\n")
    assert with_file(written(tmp_path, 'output_range = "limits.csv"')).output_range == tmp_path / "limits.csv"
    assert with_file(written(tmp_path, "output_range = [0, 1]")).output_range == "0,1"


def test_files_that_it_names_are_known(tmp_path: Path) -> None:
    found = files_in(written(tmp_path, 'nets = ["a.onnx", "b.onnx"]\ndata = "d.npz"'))
    assert set(found.values()) == {tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "d.npz"}


def test_the_data_of_a_file_are_not_written_over(tmp_path: Path, cli) -> None:
    (tmp_path / "d.csv").write_text("0,1\n")
    options = written(tmp_path, 'data = "d.csv"')
    cli("sweep", options.net[0], "--out", tmp_path / "d.csv").fails(2, "E-OUT")
    assert (tmp_path / "d.csv").read_text() == "0,1\n"


def test_every_slip_is_told_at_once(tmp_path: Path) -> None:
    written(tmp_path, 'net = "a"\nnets = ["b"]\nepsilon = 3\nsample = "many"\nseeds = [true]\nnormalisation = 1\nlabels = [1, {}]\n'
                      'out = "x.json"')
    with pytest.raises(InputError) as found:
        stated_in(tmp_path / "sweep.toml")
    assert found.value.code == "E-SWEEP-FILE"
    said = "\n".join(found.value.details)
    assert "there is no key 'epsilon': did you mean eps" in said
    assert "there is no key 'out'" in said
    assert "'nets' is stated twice" in said
    assert [word in said for word in ("sample = 'many'", "seeds = [True]", "normalisation = 1", "labels = ")] == [True] * 4
    assert len(found.value.details) == 7


@pytest.mark.parametrize(("text", "said"), [
    ('nets = ["a.onnx", "absint.toml"]', "a network is meant, not another file of options"),
    ('[sweep]\neps = "0.1"', "[sweep] is a table, which project files have: absint sweep --config "),
])
def test_a_file_of_options_is_no_network_and_a_project_file_no_sweep(tmp_path: Path, text: str, said: str) -> None:
    written(tmp_path, text)
    with pytest.raises(InputError) as found:
        stated_in(tmp_path / "sweep.toml")
    assert found.value.code == "E-SWEEP-FILE"
    assert said in found.value.details[0]


def test_a_project_file_names_a_file_that_states_the_sweep(tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the project file; what that states of a sweep itself goes before it, as the command line does."""
    (tmp_path / "below").mkdir()
    (tmp_path / "x.toml").write_text(f'nets = ["{made().net}"]\ndata = "{made().data}"\neps = ["0.1"]\ndomains = ["box"]\n')
    (tmp_path / "absint.toml").write_text('[sweep]\nnet = "x.toml"\neps = "0.2"\n')
    monkeypatch.chdir(tmp_path / "below")
    done = cli("sweep", "--quiet", "--format", "json")
    assert done.code == 0, done.err
    assert {(row["net"], row["eps"]) for row in json.loads(done.out)["verdicts"]} == {("net.onnx", "0.2")}
    (tmp_path / "absint.toml").write_text('[sweep]\nnet = "absint.toml"\n')
    cli("sweep").fails(3, "E-SWEEP-FILE]")


@pytest.mark.parametrize("content", [b"eps = [", b"\xff", b"a.b.c = 1\na.b = 2", b"x = " + b"[" * 5000])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sweep.toml").write_bytes(content)
    with pytest.raises(InputError, match="E-SWEEP-FILE"):
        stated_in(tmp_path / "sweep.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "sweep.toml", tmp_path / "folder.toml"):
        (tmp_path / "folder.toml").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="cannot be read"):
            stated_in(path)


def test_a_file_stands_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names its networks itself"):
        with_file(SweepOptions(net=(Path("a.onnx"), tmp_path / "sweep.toml")))


def test_every_option_of_the_question_has_a_key(tmp_path: Path) -> None:
    with pytest.raises(InputError) as found:
        stated_in(_file(tmp_path, "nonsense = 1"))
    keys = found.value.hint.removeprefix("known keys: ").split(", ")
    wanted = {one.name for one in options_of(SweepOptions) if one.words.command and one.words.group != OUTPUT} - {"plugin"}
    assert set(keys) == wanted - {"net", "domain", "norm", "seed"} | {"nets", "domains", "norms", "seeds"}


def _file(folder: Path, text: str) -> Path:
    return Path(written(folder, text).net[0])
