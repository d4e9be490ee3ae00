"""Which output of a file is analysed, what is said of the others, and that the reference compares the very same one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx_models import compare, dense_model, node, stored, weights
from several_inputs import classifier, model, two_outputs

import absint
from absint.errors import AbsintError, InputError, UsageError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.content_digest import graph_digest
from absint.model.graph import chain

X = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]])


def first(x):
    return np.maximum(x @ weights(3, 4).astype(float), 0)


def the_chosen_one(folder):
    path = stored(folder, two_outputs())
    for name, truth in (("first", first(X)), ("second", first(X) @ weights(4, 2).astype(float)), ("p", X @ weights(3, 4).astype(float))):
        graph = OnnxFrontEnd().read(path, output=name)
        np.testing.assert_allclose(graph(torch.as_tensor(X)).numpy(), truth, rtol=1e-9)


def test_each_output_and_a_tensor_inside(tmp_path):
    the_chosen_one(tmp_path)
    for name in ("first", "second", "p"):
        graph = absint.load(tmp_path / "net.onnx", output=name)
        compare(graph)
        (caveat,) = graph.source.caveats
        assert caveat.startswith("E-MODEL-OUTPUTS")
        assert f"'{name}'" in caveat
        assert all(f"'{other}'" in caveat for other in {"first", "second"} - {name})


def test_a_choice_that_nobody_made_is_asked_for(tmp_path):
    with pytest.raises(InputError) as caught:
        absint.load(stored(tmp_path, two_outputs()))
    assert caught.value.code == "E-MODEL-OUTPUTS"
    assert [line.split()[0] for line in caught.value.details] == ["'first'", "'second'"]
    assert "--output" in caught.value.hint


def test_a_name_that_is_none(tmp_path):
    for model_of in (two_outputs(), dense_model()):
        with pytest.raises(UsageError) as caught:
            absint.load(stored(tmp_path, model_of), output="third")
        assert caught.value.code == "E-MODEL-OUTPUT"
        assert any("tensors inside" in line for line in caught.value.details)


def test_the_only_output_of_scores_beside_a_label(tmp_path):
    graph = absint.load(stored(tmp_path, two_outputs(label=True)))
    np.testing.assert_allclose(graph(torch.as_tensor(X)).numpy(), first(X) @ weights(4, 2).astype(float), rtol=1e-9)
    assert "'label' INT64" in graph.source.caveats[0]
    index = absint.load(tmp_path / "net.onnx", output="label")
    assert index.source.chooses is not None
    assert any(caveat.startswith("E-MODEL-ARGMAX") for caveat in index.source.caveats)


def test_a_map_by_class_is_the_numbers_it_holds(tmp_path):
    path = stored(tmp_path, classifier([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 0.0], zipmap=True))
    for output in (None, "y", "s"):
        graph = absint.load(path, output=output)
        np.testing.assert_allclose(graph(torch.as_tensor(X)).numpy(), X)
        assert graph.source.caveats[0].startswith("E-MODEL-ZIPMAP")


def test_the_only_output_by_its_name_is_the_file(tmp_path):
    path = stored(tmp_path, dense_model())
    assert absint.load(path, output="y").source.caveats == ()


def test_hashes_know_the_choice(tmp_path):
    path = stored(tmp_path, two_outputs())
    graphs = [absint.load(path, output=name) for name in ("first", "second")]
    assert graphs[0].source.sha256 == graphs[1].source.sha256
    assert graph_digest(graphs[0]) != graph_digest(graphs[1])
    whole = absint.load(stored(tmp_path, dense_model(), "dense.onnx"))
    cut = absint.load(whole, output="h")
    assert graph_digest(whole) == whole.source.sha256
    assert len({graph_digest(whole), graph_digest(cut), graph_digest(absint.load(whole, output="r"))}) == 3
    chains = [chain(absint.load(stored(tmp_path, small(), "small.onnx")), graph) for graph in graphs]
    assert graph_digest(chains[0]) != graph_digest(chains[1])


def small():
    return model([node("MatMul", "z A", "x")], {"z": ["N", 2]}, {"x": 0}, {"A": weights(2, 3)})


def test_a_journal_of_another_output_is_another_runs(tmp_path):
    net, journal = stored(tmp_path, two_outputs()), tmp_path / "run.jsonl"
    absint.verify(net, X, [0, 0], 0.01, output="second", journal=journal, clip=None)
    again = absint.verify(net, X, [0, 0], 0.01, output="second", journal=journal, resume=True, clip=None)
    assert len(again) == 2
    with pytest.raises(AbsintError) as caught:
        absint.verify(net, X, [0, 0], 0.01, output="first", journal=journal, resume=True, clip=None)
    assert "JOURNAL" in caught.value.code


def test_every_answer_says_what_is_left_out(tmp_path, capsys):
    from absint.cli.main import main

    net, data = stored(tmp_path, two_outputs()), tmp_path / "x.npz"
    np.savez(data, x=X, labels=np.array([0, 0]))
    commands = (["bounds", str(net), "--data", str(data), "--eps", "0.01", "--clip", "none"],
                ["verify", str(net), "--data", str(data), "--eps", "0.01", "--clip", "none"], ["inspect", str(net)])
    for command in commands:
        code = main([*command, "--output", "second", "--quiet"] if command[0] != "inspect" else [*command, "--output", "second"])
        said = capsys.readouterr()
        assert code in (0, 1)
        assert "not analysed: 'first'" in said.out + said.err


def test_the_last_of_several_networks_is_cut(tmp_path):
    net, before = stored(tmp_path, two_outputs()), stored(tmp_path, small(), "small.onnx")
    graph = absint.load(net, compose=before, as_is=True, output="first")
    z = np.array([[0.25, -1.0]])
    np.testing.assert_allclose(graph(torch.as_tensor(z)).numpy(), first(z @ weights(2, 3).astype(float)), rtol=1e-9)
