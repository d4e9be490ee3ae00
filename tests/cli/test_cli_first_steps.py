"""What people meet who use absint for the first time: slips that are named for what they are, and advice that leads somewhere."""

from __future__ import annotations

import numpy as np
import pytest

from absint import samples
from absint.analyses.query.instance_list import read_list
from absint.engine.domain import DOMAINS
from absint.errors import InputError
from absint.search.names import class_of, method_names

RELU = str(samples.network_path("mnist_relu_3x50"))
QUICK = ("--domain", "box", "--attack", "none", "--eps", "0.0001", "--index", "0")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.mark.parametrize(("asked", "meant"), [("IBP", "box"), ("crown", "deeppoly"), ("DeepZ", "zonotope"), ("alpha_crown", "alpha"),
                                              ("Beta-CROWN", "bab"), ("mip", "milp"), ("fast-lin", "parallel"), ("zonotop", "zonotope")])
def test_what_papers_call_a_domain_leads_to_its_name(cli, asked, meant):
    assert f"hint: did you mean '{meant}'?" in cli("verify", RELU, "--domain", asked).err


def test_a_synonym_is_no_name_and_belongs_to_one():
    stated = [word for name in method_names() for word in vars(class_of(name)).get("synonyms", ())]
    assert len(stated) == len(set(stated)) > 10
    assert not {*stated} & {*method_names()}


def test_a_plug_in_that_cannot_be_loaded_does_not_take_the_advice_away(cli, monkeypatch):
    monkeypatch.setitem(DOMAINS._entries, "broken", object())
    assert "did you mean 'box'?" in cli("verify", RELU, "--domain", "ibp").err


def test_the_command_that_repeats_a_run_is_the_one_that_was_typed(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--no-config" not in cli("verify", RELU, *QUICK).out
    (tmp_path / "absint.toml").write_text('domain = "box"\n')
    assert cli("verify", RELU, *QUICK).out.count("--no-config") == 1


@pytest.mark.parametrize("name", ["net.onnx", "net.nnet"])
def test_a_pointer_instead_of_a_network_is_said(cli, tmp_path, name):
    (tmp_path / name).write_bytes(LFS)
    ran = cli("inspect", tmp_path / name)
    assert ran.code == 3
    assert "a pointer of Git LFS" in ran.err
    assert "git lfs pull" in ran.err


@pytest.mark.parametrize("name", ["data.npz", "data.csv", "data.idx", "data.npy"])
def test_a_page_instead_of_data_is_said(cli, tmp_path, name):
    (tmp_path / name).write_text("\n<!DOCTYPE HTML>\n<html>\n")
    assert "error[E-DATA-FORMAT]" in (said := cli("verify", RELU, "--data", tmp_path / name).err)
    assert "a web page" in said


def test_a_pointer_instead_of_a_query_is_said(cli, tmp_path):
    (tmp_path / "q.vnnlib").write_bytes(LFS)
    assert "git lfs pull" in cli("query", tmp_path / "q.vnnlib", "--network", RELU).err


@pytest.mark.parametrize(("given", "said"), [
    ("net", "did you mean {}/net.onnx?"), ("net.onx", "did you mean {}/net.onnx?"), ("nowhere/net.onnx", "there is no folder {}/nowhere"),
    ("other.onnx", "check the path of the model"), ("", "name the file in it")])
def test_a_network_that_is_not_there(cli, tmp_path, given, said):
    (tmp_path / "net.onnx").write_bytes(b"x")
    assert said.format(tmp_path) in cli("verify", tmp_path / given).err


def test_a_link_is_no_path(cli):
    assert "download it" in cli("verify", "https://example.com/net.onnx").err
    assert "download it" in cli("verify", RELU, "--data", "https://example.com/d.npz").err


def test_options_are_named_in_full(cli):
    assert "error[E-NORM] --norm:" in cli("verify", RELU, "--norm", "3", *QUICK).err
    assert "error[E-DTYPE] --dtype:" in cli("verify", RELU, "--dtype", "half", *QUICK).err
    assert "error[E-DTYPE] --dtype:" in cli("bounds", RELU, "--dtype", "half", "--index", "0").err


def test_a_range_of_radii_with_an_end_beyond_every_float_is_refused(cli):
    ran = cli("sweep", RELU, "--eps", "0.01:1e400:3", "--index", "0", "--domain", "box")
    assert ran.code == 2
    assert "error[E-EPS]" in ran.err


def test_too_few_inputs_explain_nothing(cli, tmp_path):
    data = samples.data("mnist")
    shifted = {"x": data.inputs[:2], "y": (data.labels[:2] + 1) % 10}
    np.savez(tmp_path / "two.npz", **shifted)
    assert "labels seem" not in cli("verify", RELU, "--data", tmp_path / "two.npz", *QUICK).err


def test_a_pack_is_sent_to_its_own_command(cli, tmp_path):
    (tmp_path / "p.zip").write_bytes(b"PK")
    assert f"absint report --check {tmp_path}/p.zip" in cli("report", tmp_path / "p.zip").err
    assert f"absint report --check {tmp_path}/p.zip" in cli("report", tmp_path / "p.zip", "--check").err


def test_a_list_of_queries_may_name_its_columns(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("onnx,vnnlib,timeout\na.onnx,q.vnnlib,9\n")
    assert [(line.onnx, line.index) for line in read_list(path)] == [("a.onnx", 0)]
    path.write_text("onnx,vnnlib,timeout\n")
    with pytest.raises(InputError, match="line 1: onnx"):
        read_list(path)


@pytest.mark.parametrize(("words", "hint"), [
    ("verify --network NET --data d.npz", "absint verify NET --data d.npz"),
    ("verify q.vnnlib --onnx NET", "absint query q.vnnlib --network NET"),
    ("verify --network NET --property q.vnnlib", "absint query q.vnnlib --network NET")])
def test_a_network_behind_an_option(cli, words, hint):
    assert hint.replace("NET", RELU) in cli(*words.replace("NET", RELU).split()).err
