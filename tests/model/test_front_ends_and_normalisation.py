"""Choosing a front end by suffix, and normalisation in front of a graph."""

from __future__ import annotations

import gzip
from functools import partial

import numpy as np
import pytest
import torch
from onnx_models import dense_model, imported, node, stored

from absint.errors import InputError, UsageError
from absint.model.frontend import FRONTENDS, load_model, normalised
from absint.model.import_check import check_import
from absint.model.reference import runtime


@pytest.fixture
def read(tmp_path):
    return partial(imported, tmp_path)


@pytest.fixture
def save(tmp_path):
    return partial(stored, tmp_path)


def test_load_model_chooses_by_suffix(save):
    data = dense_model().SerializeToString()
    plain, zipped = load_model(save(data)), load_model(save(gzip.compress(data), "NET.ONNX.GZ"))
    assert plain.source.model == zipped.source.model
    assert plain.source.sha256 != zipped.source.sha256
    assert "onnx" in FRONTENDS.names()


def test_unknown_suffix(tmp_path):
    (tmp_path / "net.unheard-of").write_bytes(b"?")
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "net.unheard-of")
    assert caught.value.code == "E-MODEL-FORMAT"
    assert ".onnx.gz" in caught.value.render()


@pytest.mark.parametrize(("shape", "mean", "std"), [
    ([1, 3, 2, 2], [0.1, 0.2, 0.3], ["0.5", "0.25", "0.3"]), ([1, 4, 4, 3], [0.1, 0.2, 0.3], 2.0), ([1, 1, 2, 2], "0.1307", "0.3081"),
    ([1, 5], [0.1, 0.2, 0.3, 0.4, 0.5], None), ([1, 2, 3], None, list(range(1, 7))),
])
def test_normalisation_is_part_of_the_graph_and_of_the_replay(read, shape, mean, std):
    inner = read([node("Flatten", "x", "f"), node("Relu", "f", "y")], shape)
    graph = normalised(inner, mean, std)
    x = np.random.default_rng(0).random((4, *shape[1:]))
    m, s = (np.asarray(d if v is None else v, dtype=float) for v, d in ((mean, 0.0), (std, 1.0)))
    m, s = (v.reshape(-1, 1, 1) if v.shape == (3,) and shape[1] == 3 else v.reshape(shape[1:]) if v.size > 3 else v for v in (m, s))
    expected = np.maximum((x - m) / s, 0).reshape(4, -1)
    np.testing.assert_allclose(graph(torch.as_tensor(x)).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(runtime(graph.source).run(x), expected, rtol=1e-5, atol=1e-6)
    assert check_import(graph) < 1e-6
    assert graph["x"].shape == inner.input.shape
    assert graph.input.name == "x/raw"
    assert check_import(normalised(graph, 0.5, 2.0)) < 1e-6


def test_decimals_of_the_normalisation_are_exact_or_bounded(read):
    from fractions import Fraction

    inner = read([node("Relu", "x", "y")], [1, 2])
    shift = normalised(inner, "0.1307", "0.3081").nodes[1].op
    assert abs(Fraction(float(shift.shift)) + Fraction("0.1307")) <= Fraction(float(shift.shift_error))
    assert normalised(inner, 0.1307, 1).nodes[1].op.shift_error is None


@pytest.mark.parametrize(("mean", "std"), [
    ([0, 0], 1), (0, 0), (0, -1), ("a", 1), (float("nan"), 1), ([], 1), (0, [1, 1, 1, 0]), (0, 1e-320),
])
def test_bad_normalisation(read, mean, std):
    with pytest.raises(UsageError, match="E-NORMALISE"):
        normalised(read([node("Relu", "x", "y")], [1, 4]), mean, std)
