"""Support vector machines of ai.onnx.ml: every kernel against onnxruntime, and against sums worked out here; what is said and refused."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from onnx_models import compare, node, stored, weights
from several_inputs import ml, model

import absint
from absint.errors import AbsintError
from absint.frontends.onnx_reader import OnnxFrontEnd

KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
PARAMETERS = [0.25, 0.5, 3.0]     # gamma, shift, degree
X = weights(4, 3, seed=11).astype(np.float64)


def kernel(kind, x, vectors):
    gamma, shift, degree = PARAMETERS
    product = x @ vectors.T
    squares = ((x[:, None] - vectors) ** 2).sum(-1)
    return {"LINEAR": product, "POLY": (gamma * product + shift) ** degree, "RBF": np.exp(-gamma * squares),
            "SIGMOID": np.tanh(gamma * product + shift)}[kind]


def stated(given):
    """Attributes without empty lists, which files leave out."""
    return {name: value for name, value in given.items() if value != []}


def regressor(kind="LINEAR", vectors=4, batch="N", **more):
    given = {"coefficients": weights(vectors or 3).tolist(), "rho": [0.375], "kernel_type": kind, "kernel_params": PARAMETERS,
             "n_supports": vectors, "support_vectors": weights(vectors, 3).ravel().tolist(), "post_transform": "NONE"} | more
    return model([ml("SVMRegressor", "x", "y", **stated(given))], {"x": [batch, 3]}, {"y": 0})


def classifier(sizes, kind="LINEAR", behind=(), **more):
    """Scores of a machine with so many vectors a class; behind: nodes from 's' to 'y'."""
    classes, total = len(sizes), sum(sizes)
    given = {"coefficients": weights(classes - 1, total).ravel().tolist(), "rho": weights(classes * (classes - 1) // 2, seed=3).tolist(),
             "kernel_type": kind, "kernel_params": PARAMETERS, "vectors_per_class": list(sizes), "post_transform": "NONE",
             "support_vectors": weights(total, 3).ravel().tolist(), "classlabels_ints": list(range(classes))} | more
    nodes = [ml("SVMClassifier", "x", "label s" if behind else "label y", **stated(given)), *behind]
    return model(nodes, {"x": ["N", 3]}, {"label": TensorProto.INT64, "y": 0})


def read(folder, made):
    return OnnxFrontEnd().read(stored(folder, made))


def values(folder, made):
    graph = read(folder, made)
    assert graph.source.node_check.nodes == graph.source.node_check.total
    compare(graph)
    return graph(torch.as_tensor(X)).numpy()


@pytest.mark.parametrize("kind", KERNELS)
def test_regressors_of_every_kernel(kind, tmp_path):
    truth = kernel(kind, X, weights(4, 3).astype(float)) @ weights(4).astype(float) + 0.375
    np.testing.assert_allclose(values(tmp_path, regressor(kind))[:, 0], truth, rtol=1e-12)


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("sizes", [(2, 3), (2, 1, 3)])
def test_scores_of_pairs_of_every_kernel(kind, sizes, tmp_path):
    """Of a before b: b's row of coefficients times a's vectors, and a's times b's, where a class has no row of its own against itself."""
    classes, total = len(sizes), sum(sizes)
    rows, rho = weights(classes - 1, total).astype(float), weights(classes * (classes - 1) // 2, seed=3).astype(float)
    by_vector = kernel(kind, X, weights(total, 3).astype(float))
    own, truth = np.repeat(np.arange(classes), sizes), []
    for a in range(classes):
        for b in range(a + 1, classes):
            truth.append(by_vector[:, own == a] @ rows[b - 1, own == a] + by_vector[:, own == b] @ rows[a, own == b] + rho[len(truth)])
    truth = np.stack([-truth[0], truth[0]] if classes == 2 else truth, 1)
    np.testing.assert_allclose(values(tmp_path, classifier(sizes, kind)), truth, rtol=1e-12)


OTHERS = {
    "no vectors": regressor(vectors=0),
    "one class": regressor("RBF", one_class=1),
    "a square": regressor("POLY", kernel_params=[0.5, -0.25, 2.0]),
    "a first power": regressor("POLY", kernel_params=[0.5, -0.25, 1.0]),
    "rows of a class": classifier((0, 0), coefficients=weights(2, 3).ravel().tolist(), vectors_per_class=[], rho=[0.5]),
    "shares by class": classifier((0, 0, 0), coefficients=weights(3, 3).ravel().tolist(), vectors_per_class=[], rho=[0.5],
                                  post_transform="SOFTMAX"),
    "words": classifier((1, 2), classlabels_ints=[], classlabels_strings=["no", "yes"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_machines_agree_with_onnxruntime(name, tmp_path):
    values(tmp_path, OTHERS[name])


@pytest.mark.parametrize("kind", ["LINEAR", "RBF"])
def test_all_rows_of_a_fixed_batch(kind, tmp_path):
    graph = read(tmp_path, regressor(kind, batch=4))
    alone = read(tmp_path, regressor(kind))
    np.testing.assert_allclose(graph(torch.as_tensor(X)[None]).reshape(4), alone(torch.as_tensor(X)).reshape(4), rtol=1e-12)


def caveats(folder, made):
    return [text.partition(":")[0] for text in read(folder, made).source.caveats if not text.startswith("E-MODEL-OUTPUTS")]


def test_a_label_that_is_not_the_greater_score_is_said(tmp_path):
    """As onnxruntime has it: the first class where s > 0, of the scores (-s, s), which skl2onnx turns where raw scores are asked for."""
    turned = [node("Cast", "s", "c", to=1), node("Mul", "c m", "y")]
    model_turned = classifier((2, 3), behind=turned)
    model_turned.graph.initializer.extend(model([], {}, {}, {"m": np.float32([-1])}).graph.initializer)
    labels = {}
    for name, made in (("plain", classifier((2, 3))), ("turned", model_turned)):
        session = onnxruntime.InferenceSession(made.SerializeToString())
        label, scores = session.run(None, {"x": X.astype(np.float32)})
        labels[name] = bool((label == scores.argmax(1)).all())
    assert labels == {"plain": False, "turned": True}
    assert caveats(tmp_path, classifier((2, 3))) == ["E-MODEL-LABEL"]
    assert caveats(tmp_path, model_turned) == []


def test_scores_of_pairs_are_said_to_be_no_classes(tmp_path):
    assert caveats(tmp_path, classifier((2, 1, 3))) == ["E-MODEL-PAIRS"]
    assert caveats(tmp_path, classifier((2, 1, 3), behind=[node("Cast", "s", "y", to=1)])) == ["E-MODEL-PAIRS"]
    assert caveats(tmp_path, classifier((2, 1, 3), behind=[node("Relu", "s", "y")])) == []


def test_a_machine_is_verified_and_refuted(tmp_path):
    graph = read(tmp_path, classifier((2, 3), "RBF"))
    near, far = (absint.verify(graph, X[:1], None, eps, clip=None, domain="box")[0] for eps in (1e-3, 4.0))
    assert near.verdict is absint.Verdict.VERIFIED
    assert far.verdict is absint.Verdict.FALSIFIED


def test_bounds_hold_samples(tmp_path):
    graph = read(tmp_path, classifier((2, 1, 3), "RBF"))
    found = absint.bounds(graph, X[:1], 0.5, clip=None, domain="deeppoly")[graph.output.name]
    draw = np.random.default_rng(2)
    inside = X[:1] + draw.choice([-0.5, 0.5, 0.0, 0.25], size=(400, 3))
    scores = graph(torch.as_tensor(inside)).numpy()
    assert (found.lower.ravel() <= scores).all()
    assert (scores <= found.upper.ravel()).all()
    assert (found.upper - found.lower < 20).all()


REFUSED = {
    "probabilities": (classifier((1, 2), prob_a=[-1.0], prob_b=[0.0]), "probability=False"),
    "a half power": (regressor("POLY", kernel_params=[0.5, 0.0, 0.5]), "degree"),
    "another transform": (classifier((1, 2), post_transform="LOGISTIC"), "use NONE"),
    "too few coefficients": (regressor(coefficients=[1.0]), "do not fit"),
    "too few rows": (classifier((1, 2, 1), coefficients=[1.0] * 4), "do not fit"),
    "too few numbers": (regressor(support_vectors=[1.0] * 3), "support vectors"),
    "too few offsets": (classifier((1, 2, 1), rho=[0.5]), "rho"),
    "another number of classes": (classifier((1, 2), classlabels_ints=[0, 1, 2]), "classes"),
    "no parameters": (regressor("RBF", kernel_params=[0.5]), "kernel_params"),
    "its label": (model([*classifier((1, 2)).graph.node, node("Cast", "label", "f", to=1), node("Relu", "f", "z")], {"x": ["N", 3]},
                        {"z": 0}), "--output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, tmp_path):
    made, text = REFUSED[case]
    with pytest.raises(AbsintError) as caught:
        read(tmp_path, made)
    assert caught.value.code == "E-OP-UNSUPPORTED"
    assert text in caught.value.details[0]


def test_double_numbers_that_are_rounded_inside_are_refused(tmp_path):
    made = classifier((2, 3))
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(AbsintError) as caught:
        read(tmp_path, made)
    assert "astype('float32')" in caught.value.details[0]
