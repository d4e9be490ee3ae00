"""Small networks with several inputs or outputs, and what scikit-learn's converters write."""

from __future__ import annotations

from functools import cache

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx_models import node, weights

ML = "ai.onnx.ml"


def model(nodes, inputs, outputs, constants=None, *, dtype=TensorProto.FLOAT):
    """inputs: name -> shape.  outputs: name -> element type, 0 for one that is left open, None for what is no tensor."""
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()]
    results = [helper.make_tensor_value_info(name, kind, None) if kind else helper.make_empty_tensor_value_info(name)
               for name, kind in outputs.items()]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", given, results, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(ML, 1)], ir_version=8)


@cache
def two_inputs(batch="N"):
    """y = relu(state W - flat(image) V) U: the two inputs have unlike parts in it. state (2,), image (3, 2)."""
    nodes = [node("MatMul", "state W", "s"), node("Flatten", "image", "f", axis=1), node("MatMul", "f V", "i"),
             node("Sub", "s i", "d"), node("Relu", "d", "h"), node("MatMul", "h U", "y")]
    constants = {"W": weights(2, 4), "V": weights(6, 4, seed=8), "U": weights(4, 3)}
    return model(nodes, {"state": [batch, 2], "image": [batch, 3, 2]}, {"y": TensorProto.FLOAT}, constants).SerializeToString()


def two_inputs_by_hand(state, image):
    """The same in numpy, float64."""
    hidden = np.maximum(state @ weights(2, 4).astype(float) - image.reshape(len(image), 6) @ weights(6, 4, seed=8).astype(float), 0)
    return hidden @ weights(4, 3).astype(float)


@cache
def two_outputs(label=False):
    """first = relu(x W), second = first V, both float; with a label, of whole numbers, too."""
    nodes = [node("MatMul", "x W", "p"), node("Relu", "p", "first"), node("MatMul", "first V", "second")]
    outputs = {"first": TensorProto.FLOAT, "second": TensorProto.FLOAT}
    if label:
        nodes.append(node("ArgMax", "second", "label", axis=1, keepdims=0))
        outputs = {"label": TensorProto.INT64, "second": 0}
    return model(nodes, {"x": ["N", 3]}, outputs, {"W": weights(3, 4), "V": weights(4, 2)}).SerializeToString()


def ml(op_type, inputs, outputs, **attributes):
    return helper.make_node(op_type, inputs.split(), outputs.split(), domain=ML, **attributes)


def classifier(rows, intercepts, post="NONE", labels=None, features=3, norm=None, zipmap=False, **more):
    """LinearClassifier on x; its scores behind a Normalizer, or in a map by class."""
    names = {"classlabels_ints": list(range(max(2, len(intercepts))))} if labels is None else labels
    given = {"coefficients": [float(v) for row in rows for v in row], "intercepts": [float(v) for v in intercepts], "post_transform": post}
    nodes = [ml("LinearClassifier", "x", "label s" if norm or zipmap else "label y", **given, **names, **more)]
    last = "s"
    if norm:
        nodes.append(ml("Normalizer", "s", "n" if zipmap else "y", norm=norm))
        last = "n"
    if zipmap:
        nodes.append(ml("ZipMap", last, "y", classlabels_strings=["cat", "dog", "eel"][: max(2, len(intercepts))]))
    return model(nodes, {"x": ["N", features]}, {"label": TensorProto.INT64, "y": 0})


def acas(mean=(0.5, -1.0), span=(2.0, 4.0), low=(-1.0, -2.0), high=(1.0, 2.0), outer=(7.0, 3.0)):
    """A .nnet file of two inputs, three neurons and two outputs; outer: mean and range of the outputs."""
    lines = ["// a network", "// made for tests", "2,2,2,3,", "2,3,2,", "0,",
             ",".join(map(str, low)) + ",", ",".join(map(str, high)), ",".join(map(str, (*mean, outer[0]))) + ",",
             ",".join(map(str, (*span, outer[1]))) + ",",
             "0.5,-0.25,", "1.5,0.75,", "-0.5,1.0,", "0.125,", "-0.25,", "0.5,",
             "1.0,-1.0,0.5,", "0.25,0.5,-2.0,", "0.75,", "-0.125,"]
    return "\n".join(lines) + "\n"


def acas_by_hand(x, mean=(0.5, -1.0), span=(2.0, 4.0), low=(-1.0, -2.0), high=(1.0, 2.0), outer=(7.0, 3.0)):
    """What `NNet.evaluate_network` of the format's own repository computes, entry by entry as there."""
    first, second = ([0.5, -0.25], [1.5, 0.75], [-0.5, 1.0]), ([1.0, -1.0, 0.5], [0.25, 0.5, -2.0])
    values = []
    for k in range(2):
        inside = low[k] if x[k] < low[k] else high[k] if x[k] > high[k] else x[k]
        values.append((inside - mean[k]) / span[k])
    hidden = [max(sum(w * v for w, v in zip(row, values, strict=True)) + b, 0) for row, b in zip(first, (0.125, -0.25, 0.5), strict=True)]
    outputs = [sum(w * v for w, v in zip(row, hidden, strict=True)) + b for row, b in zip(second, (0.75, -0.125), strict=True)]
    return [value * outer[1] + outer[0] for value in outputs]
