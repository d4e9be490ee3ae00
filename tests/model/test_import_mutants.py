"""Misread nodes die at import, by the check of single nodes: on these nets the check of the whole network is content."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mutants.imports import MUTANTS, corner

from absint.errors import UnsupportedError
from absint.frontends import onnx_functions, onnx_reader
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model import node_check
from absint.model.op import OPS
from absint.model.reference import runtime


@pytest.fixture(autouse=True)
def _nothing_remembered():
    node_check.forget()
    yield
    node_check.forget()


def plant(monkeypatch, misread):
    OPS.get(misread.op_type)  # loads the built-in rules
    real = OPS._entries[misread.op_type]
    monkeypatch.setitem(OPS._entries, misread.op_type, lambda node: real(misread.rewrite(node)))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_misread_node_dies_at_import(name, monkeypatch, tmp_path):
    misread = MUTANTS[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(misread.model().SerializeToString())
    graph = OnnxFrontEnd().read(path)
    assert graph.source.node_check.nodes == graph.source.node_check.total == 5 + len(misread.after)
    plant(monkeypatch, misread)
    node_check.forget()
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH") as caught:
        OnnxFrontEnd().read(path, check=False)
    assert len(caught.value.details) == 1
    assert misread.op_type in caught.value.details[0]
    if misread.everywhere:
        return
    # Without it the import passes, though the graph is another function.
    monkeypatch.setattr(onnx_reader, "check_nodes", lambda nodes, source: None)
    wrong = OnnxFrontEnd().read(path)
    x = corner().reshape(1, *wrong.input.shape)
    theirs = runtime(wrong.source).run(x)
    assert np.abs(wrong(torch.as_tensor(x)).numpy().reshape(theirs.shape) - theirs).max() > 1e-2


def test_a_lost_default_of_a_function_dies_at_import(monkeypatch, tmp_path):
    from onnx import helper

    misread = MUTANTS["leaky alpha dropped"]
    model = misread.model()
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=1)
    versions = [helper.make_opsetid("", 13)]
    default = helper.make_attribute("slope", -10.0)
    model.functions.append(helper.make_function("loc", "F", ["a"], ["b"], [leaky], versions, attribute_protos=[default]))
    model.opset_import.append(helper.make_opsetid("loc", 1))
    model.graph.node[-1].CopyFrom(helper.make_node("F", ["z"], ["y"], domain="loc"))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    OnnxFrontEnd().read(path)
    node_check.forget()
    monkeypatch.setattr(onnx_functions._Expansion, "_given", lambda self, call, function: {a.name: a for a in call.attribute})
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH") as caught:
        OnnxFrontEnd().read(path)
    assert "node 4 'y' F" in caught.value.details[0]
