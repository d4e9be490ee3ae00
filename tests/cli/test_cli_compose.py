"""`--compose`: every analysis of a network takes networks in a row, says which, and refuses what does not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from onnx_models import node
from places import ROOT
from rows_of_networks import CLASSES, classifier, files, generator, latents, output

import absint
from absint.domain import DOMAINS

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """G.onnx, C.onnx, and latents with the classes that the two files say."""
    g, c = files(tmp_path)
    z = latents(6)
    labels = output(c, (output(g, z) + 1) / 2).argmax(1)
    np.savez(tmp_path / "latents.npz", inputs=z, labels=labels)
    return tmp_path


@pytest.fixture
def run(cli, folder):
    """A command on them, quietly."""

    def call(name, *arguments, first="G.onnx", how=("--rescale",), data=True, clip=("--clip", "none")):
        given = ("--data", folder / "latents.npz", *clip) if data else ()
        return cli(*name.split(), "--compose", folder / first, *how, folder / "C.onnx", "--quiet", *given, *arguments)

    return call


@pytest.mark.parametrize("domain", sorted(DOMAINS.names()))
def test_every_domain_proves_what_holds_of_both(run, folder, domain: str) -> None:
    done = run("verify", "--eps", "0.001", "--domain", domain, "--format", "jsonl")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["verdict"] for row in rows].count("verified") >= 5
    random = np.random.default_rng(5)
    for row in rows:
        if row["verdict"] == "verified":
            near = latents(6)[row["index"]] + random.uniform(-0.001, 0.001, (200, 4)).astype(np.float32)
            assert (output(folder / "C.onnx", (output(folder / "G.onnx", near) + 1) / 2).argmax(1) == row["label"]).all()


@pytest.mark.parametrize(("norm", "form"), [("linf", "text"), ("l2", "json"), ("l1", "jsonl"), ("linf", "csv")])
def test_every_norm_and_format(run, norm: str, form: str) -> None:
    done = run("verify", "--eps", "0.01", "--norm", norm, "--format", form, "--index", "0:2")
    assert done.code in (0, 1)
    assert "verified" in done.out


def test_reports_name_both_files_and_how_they_meet(run, folder) -> None:
    shas = [absint.load(folder / name).source.sha256 for name in ("G.onnx", "C.onnx")]
    model = json.loads(run("verify", "--format", "json").out)["header"]["model"]
    assert [(Path(one["path"]).name, one["sha256"]) for one in model["networks"]] == list(zip(("G.onnx", "C.onnx"), shas, strict=True))
    assert model["sha256"] not in (*shas, "")
    assert model["input_shape"] == [4]
    assert any("[-1, 1]" in note and "[0, 1]" in note for note in model["notes"])
    text = run("verify").out
    assert all(f"sha256 {sha[:12]}" in text for sha in shas)
    assert "--compose" in text
    assert "left as they are" in run("verify", how=("--as-is",)).out


COMMANDS = {
    "radius": ["--index", "0:2", "--upper", "0.5", "--tolerance", "0.05"],
    "bounds": ["--eps", "0.01", "--tensor", "s", "--tensor", "then/h", "--tensor", "h"],
    "errors": ["--eps", "0.01", "--domains", "box", "--attack-steps", "2", "--restarts", "1"],
    "clever": ["--index", "0:1", "--radius", "0.5", "--batches", "10", "--samples", "10"],
    "inspect": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_analysis_takes_them(run, command: str) -> None:
    done = run(command, *COMMANDS[command], data=command != "inspect")
    assert done.code in (0, 1), done.err
    assert "C.onnx" in done.out
    refused = run(command, *COMMANDS[command], how=(), data=command != "inspect")
    assert refused.code == 3
    assert "E-COMPOSE-RANGE" in refused.err


def test_bounds_hold_for_what_the_files_compute(run, folder) -> None:
    done = run("bounds", "--eps", "0.5", "--index", "0", "--tensor", "then/s", "--format", "json", "--domain", "box,zonotope,deeppoly")
    near = latents(6)[:1] + np.random.default_rng(0).uniform(-0.5, 0.5, (500, 4)).astype(np.float32)
    values = output(folder / "C.onnx", (output(folder / "G.onnx", near) + 1) / 2)
    records = json.loads(done.out)["bounds"]
    assert {record["domain"] for record in records} == {"box", "zonotope", "deeppoly"}
    for record in records:
        assert (np.array(record["lower"]) <= values.min(0) + 1e-5).all()
        assert (np.array(record["upper"]) >= values.max(0) - 1e-5).all()


def test_counterexamples_are_those_of_both_files(run, folder, tmp_path: Path) -> None:
    done = run("verify", "--eps", "2", "--witness", tmp_path / "found")
    assert done.code == 1
    facts = [json.loads(path.read_text()) for path in sorted((tmp_path / "found").glob("*.json"))]
    assert facts
    for one in facts:
        assert one["replayed"]
        assert [Path(part["path"]).name for part in one["model"]["networks"]] == ["G.onnx", "C.onnx"]
        with np.load(tmp_path / "found" / f"witness_{one['index']:05d}.npz") as arrays:
            point = arrays["input"][None].astype(np.float32)
            assert np.array_equal(output(folder / "C.onnx", (output(folder / "G.onnx", point) + 1) / 2)[0], arrays["output"])


def test_a_worker_reads_them_itself(run) -> None:
    here = run("verify", "--index", "0:1", "--eps", "0.001", "--format", "jsonl")
    there = run("verify", "--index", "0:1", "--eps", "0.001", "--format", "jsonl", "--executor", "processes")
    assert json.loads(here.out)["verdict"] == json.loads(there.out)["verdict"] == "verified"


# ---- journals -------------------------------------------------------------------------------------------------------------


def test_a_journal_is_bound_to_both_files_and_to_what_lies_between(run, folder, tmp_path: Path) -> None:
    journal = ("--journal", tmp_path / "j.jsonl")
    assert run("verify", *journal).code == 0
    assert run("verify", *journal, "--resume").code == 0
    for how in (("--as-is",), ("--rescale", "--classifier-range", "0,2")):
        assert "E-JOURNAL" in run("verify", *journal, "--resume", how=how).err
    files(folder, generator(b=np.ones(5, np.float32)))
    assert "E-JOURNAL" in run("verify", *journal, "--resume").err
    files(folder)
    assert run("verify", *journal, "--resume").code == 0
    files(folder, None, classifier(b=np.ones(8, np.float32)))
    assert "E-JOURNAL" in run("verify", *journal, "--resume").err


def test_a_python_journal_is_bound_to_what_stands_before_a_part(folder, tmp_path: Path) -> None:
    from absint.errors import AbsintError

    g, c = folder / "G.onnx", folder / "C.onnx"
    settings = {"clip": None, "eps": 0.001, "journal": tmp_path / "j.jsonl", "rescale": True}
    z, labels = latents(2), [0, 0]
    absint.verify(c, z, labels, compose=absint.load(g), **settings)
    absint.verify(c, z, labels, compose=absint.load(g), resume=True, **settings)
    with pytest.raises(AbsintError) as caught:
        absint.verify(c, z, labels, compose=absint.load(g, mean=0.5), resume=True, **settings)
    assert caught.value.code.startswith("E-JOURNAL")


# ---- Python -----------------------------------------------------------------------------------------------------------------


def test_graphs_files_and_modules_in_python(folder) -> None:
    g, c = folder / "G.onnx", folder / "C.onnx"
    with np.load(folder / "latents.npz") as arrays:
        z, labels = arrays["inputs"], arrays["labels"]
    settings = {"clip": None, "eps": 0.001}
    one = absint.verify(absint.load(g).then(absint.load(c), rescale=True), z, labels, **settings)
    two = absint.verify(c, z, labels, compose=g, rescale=True, **settings)
    three = absint.verify(absint.load(c), z, labels, compose=[absint.load(g)], rescale=True, **settings)
    assert [r.verdict for r in one] == [r.verdict for r in two] == [r.verdict for r in three]
    assert absint.radius(c, z[:1], compose=g, rescale=True, clip=None, upper=0.1)[0].certified >= 0


def test_the_program_of_the_page_runs(folder, monkeypatch, capsys) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "composition.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(compile(program, "composition.md", "exec"), names)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [row.verdict.value for row in names["same"]]


# ---- refusals -----------------------------------------------------------------------------------------------------------------


def test_a_range_that_does_not_fit_and_both_ways_out(run) -> None:
    refused = run("verify", how=())
    assert refused.code == 3
    assert all(word in refused.err for word in ("E-COMPOSE-RANGE", "--rescale", "--as-is", "[-1, 1]", "[0, 1]"))
    assert run("verify").code == 0
    assert run("verify", how=("--as-is",)).code in (0, 1)
    assert run("verify", how=("--classifier-range=-1,1",)).code in (0, 1)
    assert run("verify", how=("--classifier-range", "none")).code in (0, 1)


@pytest.mark.parametrize(("how", "code"), [
    (("--rescale", "--as-is"), "E-USAGE"), (("--rescale", "--classifier-range", "none"), "E-USAGE"),
    (("--rescale", "--classifier-range", "1,1"), "E-USAGE"), (("--classifier-range", "a"), "E-CLIP"),
])
def test_words_that_do_not_go_together(run, how: tuple[str, ...], code: str) -> None:
    done = run("verify", how=how)
    assert done.code == 2
    assert code in done.err


@pytest.mark.parametrize("word", ["--rescale", "--as-is"])
@pytest.mark.parametrize("command", ["verify", "inspect", "bounds", "clever"])
def test_ways_to_meet_need_a_network_before(cli, folder, command: str, word: str) -> None:
    done = cli(command, folder / "C.onnx", word, "--quiet")
    assert done.code == 2
    assert "--compose" in done.err


def test_without_data_nothing_is_assumed_of_latents(run) -> None:
    done = run("verify", data=False)
    assert done.code == 3
    assert "E-DATA-NONE" in done.err
    assert "standard_normal((25, 4))" in done.err
    assert "--clip none" in done.err


def test_latents_outside_of_the_range_of_images(run) -> None:
    done = run("verify", clip=())
    assert done.code == 3
    assert "E-DATA-RANGE" in done.err
    assert "--clip" in done.err


def test_latents_of_another_size(run, folder) -> None:
    np.savez(folder / "latents.npz", inputs=latents(3, latent=5), labels=[0, 1, 2])
    done = run("verify")
    assert done.code == 3
    assert "E-DATA-SHAPE" in done.err


def test_networks_that_do_not_meet(run, cli, folder) -> None:
    done = run("verify", first="C.onnx", how=("--as-is",))
    assert done.code == 3
    assert "E-SHAPE" in done.err
    done = run("verify", first="none.onnx")
    assert done.code == 3
    assert "E-MODEL-MISSING" in done.err


def test_a_generator_is_never_written_over(run, folder) -> None:
    before = (folder / "G.onnx").read_bytes()
    for option in ("--out", "--journal"):
        done = run("verify", option, folder / "G.onnx")
        assert done.code == 2
        assert "E-OUT" in done.err
    assert (folder / "G.onnx").read_bytes() == before


def test_an_argmax_is_said_and_the_scores_are_asked_about(run, folder) -> None:
    files(folder, None, classifier(node("ArgMax", "s", "y", axis=1, keepdims=0)))
    done = run("verify", "--eps", "0.001", "--format", "json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["header"]["model"]["outputs"] == CLASSES
    assert "E-MODEL-ARGMAX" in done.err
