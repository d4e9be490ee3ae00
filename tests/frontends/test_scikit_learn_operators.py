"""Operators of ai.onnx.ml: every rule against onnxruntime, the cases that its kernels decide, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto
from onnx_models import compare, node, stored, weights
from several_inputs import classifier, ml, model

import absint
from absint.errors import AbsintError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.import_check import check_import
from absint.model.ops.norms import DividedByNorm
from absint.model.reference import runtime
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics

ONE, TWO = [[0.5, -0.25, 1.0]], [[-0.5, 0.25, 1.0], [0.5, -0.25, 1.0]]
THREE = [*TWO, [1.0, 1.0, -1.0]]
X = np.array([[1.0, 2.0, -0.5], [-1.0, 0.5, 0.25], [0.0, 0.0, 0.0], [3.0, -2.0, 1.0]])


def read(folder, made):
    return OnnxFrontEnd().read(stored(folder, made))


def one(op_type, *, features=3, **attributes):
    return model([ml(op_type, "x", "y", **attributes)], {"x": ["N", features]}, {"y": 0})


MODELS = {
    "scaler by feature": one("Scaler", offset=[0.5, 0.25, -1.0], scale=[2.0, 3.0, 0.1]),
    "scaler of one number": one("Scaler", offset=[0.5], scale=[2.0]),
    "binarizer": one("Binarizer", threshold=0.3),
    "imputer of nan": one("Imputer", imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan")),
    "regressor": one("LinearRegressor", coefficients=[0.1, 0.2, 0.3], intercepts=[0.5]),
    "regressor without intercepts": one("LinearRegressor", coefficients=[0.1, 0.2, 0.3], targets=1),
    "regressor of two targets": one("LinearRegressor", coefficients=[0.1, 0.2, 0.3, 1.0, -1.0, 2.0], intercepts=[0.5, 0.25], targets=2),
    **{f"regressor, {post}": one("LinearRegressor", coefficients=[0.1, 0.2, 0.3, 1.0, -1.0, 2.0], intercepts=[0.5, 0.25], targets=2,
                                 post_transform=post) for post in ("SOFTMAX", "LOGISTIC")},
    **{f"classifier of {len(rows)} rows, {post}": classifier(rows, [0.125, -0.25, 0.5][: len(rows)], post)
       for rows in (ONE, TWO, THREE) for post in ("NONE", "LOGISTIC", "SOFTMAX")},
    "classifier of one row, zero as softmax": classifier(ONE, [0.125], "SOFTMAX_ZERO"),
    "classifier of three rows, zero as softmax": classifier(THREE, [0.125, -0.25, 0.5], "SOFTMAX_ZERO"),
    "classifier of one row and words": classifier(ONE, [0.125], "LOGISTIC", {"classlabels_strings": ["no", "yes"]}),
    "classifier of one row without names": classifier(ONE, [0.125], "LOGISTIC", {}),
    "probabilities normalised once more": classifier(THREE, [0.125, -0.25, 0.5], "SOFTMAX", norm="L1"),
    "extractor": model([ml("ArrayFeatureExtractor", "x i", "y")], {"x": ["N", 3]}, {"y": 0}, {"i": np.array([2, 0, 2])}),
    "vectorizer": model([ml("FeatureVectorizer", "x x", "y", inputdimensions=[3, 3])], {"x": ["N", 3]}, {"y": 0}),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_rule_agrees_with_onnxruntime(name, tmp_path):
    graph = read(tmp_path, MODELS[name])
    assert graph.source.node_check.nodes == graph.source.node_check.total
    compare(graph)


@pytest.mark.parametrize("norm", ["L1", "L2", "MAX"])
def test_rows_divided_by_their_norms(norm, tmp_path):
    """At a row of zeros runtimes give zeros, and so does the graph."""
    graph = read(tmp_path, one("Normalizer", norm=norm))
    theirs = runtime(graph.source).run(X)
    np.testing.assert_allclose(graph(torch.as_tensor(X)).numpy(), theirs, rtol=1e-6)
    check_import(graph, 0.5, 2.0)


@pytest.mark.parametrize(("p", "axis"), [(1, 1), (2, 1), (1, 2), (2, -1)])
def test_lp_normalisation(p, axis, tmp_path):
    graph = read(tmp_path, model([node("LpNormalization", "x", "y", p=p, axis=axis)], {"x": ["N", 3, 4]}, {"y": 0}))
    check_import(graph, 0.5, 2.0)


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_the_enclosure_of_a_normed_row_holds_vertices_and_samples(norm):
    draw = torch.Generator().manual_seed(5)
    low = torch.randn(200, 3, generator=draw, dtype=torch.float64)
    high = low + torch.rand(200, 3, generator=draw, dtype=torch.float64) * 2
    op, num = DividedByNorm(norm), Numerics(torch.float64, torch.float64)
    found = op.enclosure((Interval(low, high),), num)
    corners = [torch.tensor([(k >> j) & 1 for j in range(3)], dtype=torch.float64) for k in range(8)]
    shares = corners + [torch.rand(200, 3, generator=draw, dtype=torch.float64) for _ in range(20)]
    for share in shares:
        value = op.forward(low + (high - low) * share)
        assert bool((found.lower <= value + 1e-15).all() and (value - 1e-15 <= found.upper).all())
    zeros = torch.zeros(1, 3, dtype=torch.float64)
    around = op.enclosure((Interval(zeros - 1, zeros + 1),), num)
    assert bool((around.lower <= 0).all() and (around.upper >= 0).all())


def binary_scores(folder):
    """One row s for two classes: (1 - s, s), and (sigmoid(-s), sigmoid(s)) by LOGISTIC: the second class is the row's own."""
    s = X @ np.array(ONE[0]) + 0.125
    for post, truth in (("NONE", np.stack([1 - s, s], 1)), ("LOGISTIC", np.stack([1 / (1 + np.exp(s)), 1 / (1 + np.exp(-s))], 1))):
        graph = OnnxFrontEnd().read(stored(folder, classifier(ONE, [0.125], post)), check=False)
        np.testing.assert_allclose(graph(torch.as_tensor(X)).numpy(), truth, rtol=1e-12)


def test_the_sign_of_one_row_for_two_classes(tmp_path):
    binary_scores(tmp_path)


def test_a_label_that_is_not_the_greater_score_is_said(tmp_path):
    """onnxruntime's own label is the second class from s > 0 on, its greater score is the second from s > 1/2 on."""
    graph = read(tmp_path, classifier(ONE, [0.125]))
    assert any(caveat.startswith("E-MODEL-LABEL") for caveat in graph.source.caveats)
    for other in (classifier(ONE, [0.125], "LOGISTIC"), classifier(TWO, [0.125, 0.5])):
        assert not any(caveat.startswith("E-MODEL-LABEL") for caveat in read(tmp_path, other).source.caveats)


def test_zero_to_a_softmax_of_zero_proves_nothing(tmp_path):
    """Scores of at most 1e-7 get no share: a region around zero has no bounds, one away from it has."""
    graph = read(tmp_path, classifier([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0.0, 5.0], "SOFTMAX_ZERO"))
    check_import(graph)
    near, far = (absint.verify(graph, np.array([[at, 2.0, 0.0]]), [1], 0.1, clip=None, attack=None, timeout=5) for at in (0.0, 1.0))
    assert near[0].verdict is not absint.Verdict.VERIFIED
    assert far[0].verdict is absint.Verdict.VERIFIED


def test_classifiers_are_verified(tmp_path):
    graph = read(tmp_path, classifier(THREE, [0.125, -0.25, 0.5], "SOFTMAX", norm="L1", zipmap=True))
    results = absint.verify(graph, np.array([[3.0, -2.0, 1.0], [1.0, 2.0, -0.5]]), None, 0.01, clip=None)
    assert [one.verdict for one in results] == [absint.Verdict.VERIFIED] * 2
    (caveat, ignored) = graph.source.caveats
    assert caveat.startswith("E-MODEL-ZIPMAP")
    assert "cat, dog, eel" in caveat
    assert "'label' INT64" in ignored


def test_doubles_become_single_numbers(tmp_path):
    made = model([ml("Scaler", "x", "y", offset=[0.5], scale=[0.1])], {"x": ["N", 3]}, {"y": TensorProto.FLOAT}, dtype=TensorProto.DOUBLE)
    graph = read(tmp_path, made)
    assert not graph.source.float32_executions
    check_import(graph)


REFUSED = {
    "trees": (one("TreeEnsembleRegressor", n_targets=1), "decision trees"),
    "an encoder": (one("OneHotEncoder", cats_int64s=[1, 2]), "encodes"),
    "what nobody knows": (one("Mystery"), "no entry"),
    "probit": (classifier(THREE, [0.0, 0.0, 0.0], "PROBIT"), "PROBIT"),
    "coefficients of another size": (classifier(TWO, [0.0, 0.0, 0.0]), "do not fit"),
    "an imputer of a number": (one("Imputer", imputed_value_floats=[1.0], replaced_value_float=0.0), "missing"),
    "a scaler of another size": (one("Scaler", offset=[0.0, 1.0], scale=[1.0]), "do not fit"),
    "a label": (model([ml("LinearClassifier", "x", "l s", coefficients=[1.0] * 6, intercepts=[0.0, 1.0], classlabels_ints=[0, 1]),
                       node("Cast", "l", "f", to=1), node("Relu", "f", "y")], {"x": ["N", 3]}, {"y": 0}), "--output"),
    "a place beyond": (model([ml("ArrayFeatureExtractor", "x i", "y")], {"x": ["N", 3]}, {"y": 0}, {"i": np.array([3])}), "beyond"),
    "images": (model([ml("Normalizer", "x", "y", norm="L1")], {"x": ["N", 3, 2]}, {"y": 0}), "rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_network_is_refused_with_one_message(case, tmp_path):
    made, text = REFUSED[case]
    with pytest.raises(AbsintError) as caught:
        read(tmp_path, made)
    assert caught.value.code == "E-OP-UNSUPPORTED"
    assert len(caught.value.details) == 1
    assert text in caught.value.details[0]


def test_a_pipeline_of_columns(tmp_path):
    """What a pipeline on a data frame becomes: one input a column, scaled apart, joined, classified."""
    nodes = [node("Concat", "age height", "ab", axis=1), ml("Scaler", "ab", "s", offset=[40.0, 170.0], scale=[0.05, 0.1]),
             node("Concat", "s weight", "x", axis=1), *classifier(THREE, [0.1, 0.2, 0.3], "SOFTMAX").graph.node]
    made = model(nodes, {"age": ["N", 1], "height": ["N", 1], "weight": ["N", 1]}, {"label": TensorProto.INT64, "y": 0})
    graph = read(tmp_path, made)
    assert list(graph.source.named_inputs) == ["age", "height", "weight"]
    data = {"weight": weights(2, 1), "age": 40 + weights(2, 1), "height": 170 + weights(2, 1)}
    found = absint.verify(graph, data, None, 0.001, clip=None)
    assert {one.verdict for one in found} == {absint.Verdict.VERIFIED}


