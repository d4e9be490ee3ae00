"""What trains generators: the same at any kill, gated, written as ONNX that absint reads, refused in words."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from places import ROOT
from torch import nn

import absint
from absint import samples
from absint.errors import InputError

MODULES = ("resumable", "generator_data", "generator_nets", "generator_gate", "generator_recipes", "train_generators")


@pytest.fixture
def training(monkeypatch):
    """The modules by name, imported afresh, and torch's threads and switches as they were."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    with torch.random.fork_rng(devices=[]):
        yield {name: importlib.import_module(name) for name in MODULES}
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path):
    """Where --data points: IDX files of the bundled images to train on."""
    place = tmp_path / "data" / "mnist"
    place.mkdir(parents=True)
    with np.load(Path(samples.__file__).parent / "mnist_train.npz") as kept:
        for stem, part in (("train", "train"), ("t10k", "test")):
            for kind, values in (("images-idx3", kept[f"x_{part}"]), ("labels-idx1", kept[f"y_{part}"])):
                head = struct.pack(f">{1 + values.ndim}I", 2048 + values.ndim, *values.shape)
                (place / f"{stem}-{kind}-ubyte").write_bytes(head + values.tobytes())
    return tmp_path / "data"


@pytest.fixture
def run(training, folder, tmp_path, monkeypatch, capsys):
    """The script on small recipes: exit code, what it said, the folder of what it wrote."""
    recipes, nets, main = (training[name] for name in ("generator_recipes", "generator_nets", "train_generators"))
    little = {"sizes": (3, 48, 784), "judged": (784, 48, 1), "batch": 32, "rate": 2e-3}
    made = {
        "one": recipes.Gan("a generator", "mnist", 1, epochs=40, **little),
        "untrained": recipes.Gan("a generator of noise", "mnist", 1, epochs=0, **little),
        "classifier": recipes.Classifier("a classifier", "mnist", lambda: nets.dense_classifier((784, 16, 10)), batch=64),
    }
    judge = recipes.Classifier("a judge", "mnist", lambda: nets.dense_classifier((784, 32, 10)), epochs=2, batch=64)
    monkeypatch.setitem(recipes.JUDGES, "judge-mnist", judge)
    monkeypatch.setattr(main, "RECIPES", made)

    def called(*words):
        code = main.main(["--data", str(folder), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), *words])
        said = capsys.readouterr()
        return code, said.out + said.err, tmp_path / "out"

    return called


def small(training, folder, seed=1, batch=16):
    recipes, main = training["generator_recipes"], training["train_generators"]
    images = main.Visit(folder, folder, seed).images("mnist")
    recipe = recipes.Gan("a generator", "mnist", 8, epochs=1, batch=batch, sizes=(3, 8, 784), judged=(784, 8, 1))
    return recipe.training("small", images, seed)


def weights(one):
    return torch.cat([value.flatten() for net in one.nets.values() for value in net.state_dict().values()])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [0, 1, 17])
def test_a_kill_changes_nothing(training, folder, tmp_path, at):
    """Draws, dropout, order of images and Adam's moments go on as if nothing had been."""
    whole = small(training, folder)
    whole.run(tmp_path / "whole.pt", 10, lambda line: None)
    cut, step = small(training, folder), None
    assert whole.steps > 18
    step = cut.step

    def killed(number):
        losses = step(number)      # weights of this step are lost with the process
        if number == at:
            raise Killed
        return losses

    cut.step = killed
    with pytest.raises(Killed):
        cut.run(tmp_path / "cut.pt", 10, lambda line: None, save_seconds=-1.0)
    torch.set_rng_state(torch.Generator().manual_seed(99).get_state())      # as another process has it
    again, said = small(training, folder), []
    again.run(tmp_path / "cut.pt", 10, said.append)
    assert bool(at) == any("going on after step" in line for line in said)
    assert torch.equal(weights(again), weights(whole))
    assert not torch.equal(weights(again), weights(small(training, folder)))


def test_another_seed_is_another_network(training, folder, tmp_path):
    one, other = (small(training, folder, seed) for seed in (1, 2))
    for number, each in enumerate((one, other)):
        each.run(tmp_path / f"{number}.pt", 10, lambda line: None)
    assert not torch.equal(weights(one), weights(other))


def test_checkpoints_of_other_runs_are_refused(training, folder, tmp_path):
    path = tmp_path / "kept.pt"
    small(training, folder).run(path, 10, lambda line: None)
    with pytest.raises(InputError) as raised:
        small(training, folder, batch=17).run(path, 10, lambda line: None)
    assert raised.value.code == "E-CHECKPOINT-OTHER"
    assert any("batch: 16 there, 17 here" in line for line in raised.value.details)
    path.write_bytes(b"\x80\x02no checkpoint")
    with pytest.raises(InputError) as raised:
        small(training, folder).run(path, 10, lambda line: None)
    assert raised.value.code == "E-CHECKPOINT-FORMAT"


def test_a_generator_of_one_image_is_collapsed_and_noise_is_unrecognised(training):
    gate = training["generator_gate"]
    data = samples.data("mnist")
    real = torch.from_numpy(data.inputs[data.labels == 7][:, None]).float()
    judge = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.zeros_(judge[1].weight)
    judge[1].bias.data = torch.eye(10)[7]       # sees a 7 in anything
    alike = gate.quality(real[:1].expand(1000, -1, -1, -1), real, judge, 7)
    assert alike == gate.Quality(1.0, 0.0)
    with pytest.raises(InputError) as raised:
        gate.check(alike, 7, "alike")
    assert raised.value.code == "E-GENERATOR-COLLAPSED"
    good = gate.quality(real, real, judge, 7)
    assert good == gate.Quality(1.0, 1.0)
    gate.check(good, 7, "real")
    with pytest.raises(InputError) as raised:
        gate.check(gate.quality(real, real, judge, 3), 3, "sevens")
    assert raised.value.code == "E-GENERATOR-UNRECOGNISED"
    for quality in (gate.Quality(1.0, float("nan")), gate.Quality(float("nan"), 1.0)):
        with pytest.raises(InputError):
            gate.check(quality, 7, "no numbers")
    half = gate.quality(real * 0.5, real, judge, 7)      # a quarter of the variance
    assert half.variance == pytest.approx(0.25)


def test_what_is_written_is_what_is_said(run):
    code, said, out = run("--only", "one,classifier")
    assert code == 0, said
    entries = json.loads((out / "provenance.json").read_text())["networks"]
    assert set(entries) == {"one.onnx", "classifier.onnx"}
    assert entries["one.onnx"]["recognised"] >= 0.9
    assert entries["one.onnx"]["variance"] >= 0.5
    assert entries["classifier.onnx"]["test_accuracy"] > 0.8
    for name, entry in entries.items():
        assert entry["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
    latents = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    (drawn,) = onnxruntime.InferenceSession(out / "one.onnx").run(["images"], {"input": latents})
    assert drawn.shape == (5, 1, 28, 28)
    assert -1 - 1e-6 <= drawn.min() < -0.9 < 0 < drawn.max() <= 1 + 1e-6
    graph = absint.load(out / "one.onnx")
    assert (graph.input.shape, graph.output.shape) == ((3,), (1, 28, 28))
    assert np.allclose(graph(torch.from_numpy(latents).double()).numpy(), drawn, atol=1e-5)
    assert absint.load(out / "classifier.onnx").input.shape == graph.output.shape


def test_what_the_gate_refuses_is_not_written_and_the_rest_is(run):
    code, said, out = run("--only", "untrained,classifier")
    assert code == 3
    assert "error[E-GENERATOR-COLLAPSED] untrained:" in said
    assert sorted(path.name for path in out.iterdir()) == ["classifier.onnx", "provenance.json"]
    assert "Traceback" not in said


def test_names_and_data_that_are_not_there(run, folder):
    code, said, _ = run("--only", "eight")
    assert code == 2
    assert "error[E-GENERATOR-NAME] --only: there is no eight" in said
    shutil.rmtree(folder / "mnist")
    code, said, _ = run("--only", "classifier")
    assert code == 3
    assert "error[E-DATA" in said


def test_augmented_images(training):
    data = training["generator_data"]
    square = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    square[:, :, 8:20, 10:18] = 200
    four = data.augmented(data.Images(square, torch.arange(64) % 10), 5)
    assert torch.equal(four.labels, (torch.arange(64) % 10).repeat(4))
    assert torch.equal(four.values[:64], square)
    turned, sheared, moved = (part.double() for part in four.values[64:].split(64))
    mass = square.double().sum((1, 2, 3))
    for part in (turned, sheared, moved):
        assert (part != square).flatten(1).any(1).float().mean() > 0.9
        assert ((part.sum((1, 2, 3)) / mass - 1).abs() < 0.15).all()
    rows = torch.arange(28.0)
    middle = (moved.sum((1, 3)) @ rows.double()) / mass - 13.5
    assert 4 < middle.abs().max() <= 5.7        # a fifth of 28 is 5.6
    centre = (turned.sum((1, 3)) @ rows.double()) / turned.sum((1, 2, 3)) - 13.5
    assert centre.abs().max() < 0.1
    assert torch.equal(data.augmented(data.Images(square, four.labels[:64]), 5).values, four.values)
    assert not torch.equal(data.augmented(data.Images(square, four.labels[:64]), 6).values, four.values)


def test_halves_share_no_image(training):
    data = training["generator_data"]
    values = torch.arange(11, dtype=torch.uint8).reshape(11, 1, 1, 1).expand(-1, 1, 28, 28)
    one, other = (data.chosen(data.Images(values, torch.arange(11) % 2), 1, part, 0) for part in ("first-half", "second-half"))
    assert [*one.values[:, 0, 0, 0].tolist(), *other.values[:, 0, 0, 0].tolist()] == [1, 3, 5, 7, 9]


def test_published_forms_and_rates(training):
    """S3.2: sizes, rates, labels, first weights; no recipe is another programme's."""
    recipes, nets = training["generator_recipes"], training["generator_nets"]
    gan = recipes.RECIPES["G8"]
    assert (gan.sizes, gan.judged) == ((10, 256, 512, 1024, 784), (784, 1024, 512, 256, 1))
    assert (gan.batch, gan.rate, gan.first, gan.dropout, gan.epochs, recipes.REAL) == (128, 2e-4, 0.5, 0.3, 100, 0.9)
    drawing, small = nets.generator(gan.sizes), recipes.RECIPES["C-small"].build()
    first = drawing[0].weight
    assert first.std().item() == pytest.approx(0.02, rel=0.1)
    assert [type(layer).__name__ for layer in drawing] == ["Linear", "LeakyReLU"] * 3 + ["Linear", "Tanh", "Unflatten"]
    assert sum(value.numel() for value in small.parameters()) == 320 + 9248 + 18496 + 36928 + 25600 * 200 + 200 + 201 * 200 + 201 * 10
    assert [type(layer).__name__ for layer in nets.exported(small)].count("Dropout") == 0
