"""Every network beside this checkout (all VNN-COMP categories) imports and agrees with onnxruntime within 1e-5 of the scale."""

from __future__ import annotations

import pytest
from places import SHARED

from absint.model.frontend import load_model
from absint.model.import_check import check_import

FOLDER = SHARED
CATEGORIES = sorted(FOLDER.glob("vnncomp/*/onnx"))
NETS = sorted({*FOLDER.glob("vnncomp/**/*.onnx*"), *FOLDER.glob("nets/**/*.onnx*")})


@pytest.mark.skipif(not NETS, reason="the VNN-COMP networks are not beside this checkout")
def test_the_collection_is_complete():
    assert len(CATEGORIES) == 14
    assert all(any(net.is_relative_to(folder) for net in NETS) for folder in CATEGORIES)


@pytest.mark.parametrize("net", NETS, ids=[f"{n.parts[-3]}/{n.name}" for n in NETS])
@pytest.mark.parametrize("fold", [True, False], ids=["folded", "plain"])
def test_network_agrees_with_onnxruntime(net, fold):
    graph = load_model(net, fold=fold, check=False)
    assert check_import(graph) <= 1e-5
    assert check_import(graph, -1.0, 2.0, seed=1) <= 1e-4
