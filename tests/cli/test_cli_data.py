"""Data as users have it, from the command line: folders of classes, random samples, slips in reading that the program explains."""

from __future__ import annotations

import numpy as np
import pytest

from absint import samples

QUICK = ("--domain", "box", "--attack", "none", "--eps", "0.0001")
RELU = str(samples.network_path("mnist_relu_3x50"))


@pytest.fixture
def verify(cli):
    return lambda *words: cli("verify", RELU, *QUICK, *words)


def test_class_folders_of_one_part_are_read_and_take_turns(verify, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="extra images")
    data = samples.data("mnist")
    for k in range(12):
        place = tmp_path / str(data.labels[k]) / f"{k:02}.png"
        place.parent.mkdir(exist_ok=True)
        image.fromarray((data.inputs[k] * 255).round().astype(np.uint8)).save(place)
    ran = verify("--data", tmp_path, "--index", "0:4")
    assert "4 of 4 correctly classified" in ran.out, ran.err
    labels = [line.split()[1] for line in ran.out.splitlines()[1:5]]
    assert len(set(labels)) == 4
    assert "take turns" in ran.err
    ran = verify("--data", tmp_path, "--scale", "1")
    assert "E-DATA-RANGE" in ran.err
    assert "--scale 1/255" in ran.err


def test_a_sample_says_which_inputs_it_drew(verify):
    ran = verify("--sample", "3", "--seed", "7")
    said = ran.err.partition("--index ")[2].split()[0]
    assert len(said.split(",")) == 3
    assert verify("--index", said).out.splitlines()[1][:20] == ran.out.splitlines()[1][:20]
    assert verify("--index", "10:40", "--sample", "3", "--seed", "7").err.partition("--index ")[2].split()[0] != said
    for words in (("--sample", "0"), ("--sample", "101"), ("--sample", "2", "--seed", "-1")):
        assert "error[E-SAMPLE]" in verify(*words).err


def test_usual_slips_are_named(verify, tmp_path):
    data = samples.data("mnist")
    low = data.labels < 9
    np.savez(tmp_path / "one.npz", x=data.inputs[low], y=data.labels[low] + 1)
    assert "labels seem to count from 1" in verify("--data", tmp_path / "one.npz", "--index", "0:2").err
    np.savez(tmp_path / "dark.npz", x=data.inputs / 255, y=data.labels)
    assert "--scale" in verify("--data", tmp_path / "dark.npz", "--index", "0:2").err
    np.savez(tmp_path / "noise.npz", x=np.random.default_rng(1).random((50, 28, 28)), y=np.arange(50) % 10)
    said = verify("--data", tmp_path / "noise.npz", "--index", "0:2").err
    assert "try --mean and --std" in said
    assert "--labels" in said


def test_a_radius_as_wide_as_the_data_is_doubted(cli):
    ran = cli("verify", RELU, "--eps", "8", "--index", "0", "--domain", "box", "--attack", "none")
    assert "did you mean 8/255?" in ran.err


def test_a_picture_without_a_label_needs_one_only_where_classes_are_asked_for(cli, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="extra images")
    image.fromarray((samples.data("mnist").inputs[0] * 255).round().astype(np.uint8)).save(tmp_path / "7.png")
    assert "--label N" in cli("verify", RELU, *QUICK, "--data", tmp_path / "7.png").err
    assert cli("verify", RELU, *QUICK, "--data", tmp_path / "7.png", "--label", "7").code == 0
    assert cli("verify", RELU, *QUICK, "--data", tmp_path / "7.png", "--output-range", "-1e6,1e6").code == 0
    assert cli("bounds", RELU, "--domain", "box", "--data", tmp_path / "7.png").code == 0
