"""Files that end in a label: who chooses it is found behind casts, look-ups and encoders, and what is analysed is said."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from onnx_models import node, stored, weights
from several_inputs import ml, model

from absint.errors import AbsintError
from absint.frontends.onnx_reader import OnnxFrontEnd

W, X = weights(4, 3), weights(6, 4, seed=2)
SCORES = node("MatMul", "x w", "s")
WORDS = {"classes_strings": ["cat", "dog", "eel"]}


def made(nodes, outputs, **constants):
    return model(nodes, {"x": ["N", 4]}, outputs, {"w": W, **constants})


def read(folder, found, **options):
    return OnnxFrontEnd().read(stored(folder, found), **options)


def classified(*behind, choice="ArgMax", outputs=None, **constants):
    return made([SCORES, node(choice, "s", "i", axis=1, keepdims=0), *behind], outputs or {"y": TensorProto.INT64}, **constants)


ENDS = {
    "a cast": classified(node("Cast", "i", "y", to=1), outputs={"y": 1}),
    "two casts": classified(node("Cast", "i", "c", to=6), node("Cast", "c", "y", to=7)),
    "names looked up": classified(ml("ArrayFeatureExtractor", "n i", "l"), node("Reshape", "l k", "y"),
                                  n=np.array([7, 3, 5]), k=np.array([-1])),
    "a gather of names": classified(node("Gather", "n i", "y"), n=np.array([7, 3, 5])),
    "words": classified(ml("LabelEncoder", "i", "y", **WORDS), outputs={"y": TensorProto.STRING}),
    "the least": classified(node("Cast", "i", "y", to=6), choice="ArgMin", outputs={"y": TensorProto.INT32}),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_chooses_the_label_is_analysed(name, tmp_path):
    """The greatest score that is analysed is the one that onnxruntime's label stands for, everywhere."""
    graph = read(tmp_path, ENDS[name])
    labels = onnxruntime.InferenceSession(ENDS[name].SerializeToString()).run(None, {"x": X})[0]
    chosen = graph(torch.as_tensor(X).double()).argmax(-1).numpy()
    pairs = set(zip(labels.ravel().tolist(), chosen.tolist(), strict=True))
    assert len(pairs) == len(set(chosen)) == len(set(labels.ravel()))
    assert [text.partition(":")[0] for text in graph.source.caveats] == ["E-MODEL-LABEL", "E-MODEL-ARGMAX"]


def linear(outputs, *behind):
    given = {"coefficients": W.T.ravel().tolist(), "intercepts": [0.0, 0.1, 0.2], "classlabels_ints": [4, 5, 6]}
    return made([ml("LinearClassifier", "x", "l s", **given), *behind], outputs)


def test_the_label_of_a_classifier_alone(tmp_path):
    graph = read(tmp_path, linear({"y": TensorProto.INT64}, node("Cast", "l", "y", to=7)))
    np.testing.assert_allclose(graph(torch.as_tensor(X).double()), X.astype(float) @ W.astype(float) + np.float32([0, 0.1, 0.2]), rtol=1e-6)
    assert [text.partition(":")[0] for text in graph.source.caveats] == ["E-MODEL-LABEL"]


def test_a_direct_end_is_as_ever(tmp_path):
    graph = read(tmp_path, made([SCORES, node("ArgMax", "s", "y", axis=1)], {"y": TensorProto.INT64}))
    assert [text.partition(":")[0] for text in graph.source.caveats] == ["E-MODEL-ARGMAX"]


def distances():
    """As of clusters: scores, and the label of the least of them."""
    return classified(node("Sqrt", "p", "d"), node("Mul", "s s", "p"), choice="ArgMin", outputs={"i": TensorProto.INT64, "d": 1})


def test_a_label_of_the_least_number_beside_scores_is_said(tmp_path):
    said = [text for text in read(tmp_path, distances()).source.caveats if text.startswith("E-MODEL-LABEL")]
    assert ["--output i" in text for text in said] == [True]
    graph = read(tmp_path, distances(), output="i")
    assert torch.equal(graph(torch.as_tensor(X).double()).argmax(-1), torch.as_tensor((X.astype(float) @ W.astype(float)).argmin(-1)))


def test_what_reads_a_choice_and_computes_is_no_label(tmp_path):
    with pytest.raises(AbsintError) as caught:
        read(tmp_path, classified(node("Cast", "i", "c", to=1), node("Relu", "c", "y"), outputs={"y": 1}))
    assert caught.value.code == "E-OP-UNSUPPORTED"
    assert "--output NAME" in caught.value.details[0]


def test_what_a_choice_picks_out_of_computed_numbers_is_no_label(tmp_path):
    """The greatest score itself, for one, or a number of the input."""
    for table in "sx":
        with pytest.raises(AbsintError) as caught:
            read(tmp_path, classified(ml("ArrayFeatureExtractor", f"{table} i", "y"), outputs={"y": 1}))
        assert caught.value.code == "E-OP-UNSUPPORTED"


def test_columns_and_sequences_are_told_apart(tmp_path):
    """Scores in columns, as by zipmap='columns', and in a sequence, as of several classifiers: the tensor that holds all is named."""
    ends = [node("Slice", f"s a{k} a{k + 1} o", f"c{k}") for k in range(2)] + [node("Identity", "c0", "i0"), node("Reshape", "c1 r", "i1")]
    numbers = {"o": np.array([1]), "r": np.array([-1]), **{f"a{k}": np.array([k]) for k in range(3)}}
    columns = made([SCORES, *ends], {"i0": 1, "i1": 1}, **numbers)
    sequence = made([SCORES, node("Relu", "s", "t"), node("SequenceConstruct", "s t", "q")], {"t": 1, "v": 1, "q": 0})
    sequence.graph.node.append(node("Neg", "t", "v"))
    for found, text in ((columns, "'i0', 'i1' are parts of 's'"), (sequence, "'q' is a sequence of 's', 't'")):
        with pytest.raises(AbsintError) as caught:
            read(tmp_path, found)
        assert caught.value.code == "E-MODEL-OUTPUTS"
        assert text in caught.value.details
        assert read(tmp_path, found, output="s").output.shape == (3,)
