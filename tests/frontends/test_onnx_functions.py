"""Local functions of an ONNX model: their attributes, defaults and names, as onnxruntime reads them; one message for what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from absint.errors import InputError, UnsupportedError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.reference import runtime

STANDARD = ("", 17)
OWN = ("loc", 1)
KINDS = {float: AttributeProto.FLOAT, int: AttributeProto.INT, str: AttributeProto.STRING}


def reference(node, **names):
    """The node with attributes that take their value from the function's attribute of the given name and type."""
    for name, (source, kind) in names.items():
        node.attribute.add(name=name, ref_attr_name=source, type=kind)
    return node


def function(name, nodes, *, declared=(), versions=(STANDARD, OWN), inputs=("a",), outputs=("b",), overload="", **defaults):
    made = helper.make_function(
        "loc", name, list(inputs), list(outputs), nodes, [helper.make_opsetid(*v) for v in versions], list(declared),
        attribute_protos=[helper.make_attribute(k, v) for k, v in defaults.items()])
    made.overload = overload
    return made


def call(name, inputs="x", outputs="y", *, overload="", **attributes):
    made = helper.make_node(name, inputs.split(), outputs.split(), domain="loc", **attributes)
    made.overload = overload
    return made


def model(nodes, functions, shape=(1, 4), constants=None, opset=17):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("loc", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)


@pytest.fixture
def read(tmp_path):
    def run(*args, check=True, **keywords):
        path = tmp_path / "net.onnx"
        path.write_bytes(model(*args, **keywords).SerializeToString())
        return OnnxFrontEnd().read(path, check=check, check_range=(-2.0, 2.0))

    return run


def agrees(graph):
    x = np.random.default_rng(0).uniform(-3, 3, (5, *graph.input.shape)).astype(np.float32)
    theirs = runtime(graph.source).run(x)
    np.testing.assert_allclose(graph(torch.as_tensor(x).double()).numpy().reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-5)
    return theirs


LEAKY = reference(helper.make_node("LeakyRelu", ["a"], ["b"]), alpha=("slope", AttributeProto.FLOAT))


def kind_of(value):
    return helper.make_attribute("any", value).type


# (operator, its operands, the attribute and its default in the function, another value given by the call, other attributes, input)
ATTRIBUTES = [
    ("LeakyRelu", "a", "alpha", -10.0, 0.3, {}, (1, 4)), ("Elu", "a", "alpha", 3.0, 0.3, {}, (1, 4)),
    ("Celu", "a", "alpha", 3.0, 0.3, {}, (1, 4)), ("Selu", "a", "gamma", 3.0, 1.5, {}, (1, 4)),
    ("ThresholdedRelu", "a", "alpha", 0.5, 1.5, {}, (1, 4)), ("HardSigmoid", "a", "alpha", 0.5, 0.1, {}, (1, 4)),
    ("Softmax", "a", "axis", 1, 2, {}, (1, 3, 3)), ("LogSoftmax", "a", "axis", 1, 2, {}, (1, 3, 3)),
    ("Flatten", "a", "axis", 1, 2, {}, (1, 2, 3)), ("Transpose", "a", "perm", [0, 2, 3, 1], [0, 1, 3, 2], {}, (1, 2, 2, 2)),
    ("ReduceMean", "a", "axes", [1], [2], {"keepdims": 0}, (1, 3, 3)), ("Gather", "a i", "axis", 1, 2, {}, (1, 3, 3)),
    ("MaxPool", "a", "pads", [0, 0, 1, 1], [1, 1, 0, 0], {"kernel_shape": [2, 2], "strides": [2, 2]}, (1, 1, 3, 3)),
    ("AveragePool", "a", "count_include_pad", 1, 0, {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, (1, 1, 3, 3)),
    ("Conv", "a k", "pads", [0, 0, 1, 1], [1, 1, 0, 0], {}, (1, 1, 3, 3)),
    ("Conv", "a k", "auto_pad", "SAME_UPPER", "SAME_LOWER", {}, (1, 1, 3, 3)),
    ("ConvTranspose", "a k", "strides", [2, 2], [1, 1], {}, (1, 1, 3, 3)), ("Gemm", "a q", "transB", 1, 0, {}, (1, 3)),
    ("DepthToSpace", "a", "mode", "CRD", "DCR", {"blocksize": 2}, (1, 8, 1, 1)), ("Concat", "a a", "axis", 2, 1, {}, (1, 2, 2)),
    ("LayerNormalization", "a q0 q0", "epsilon", 0.5, 2.0, {"axis": -1}, (1, 3)), ("Gelu", "a", "approximate", "tanh", "none", {}, (1, 4)),
    ("CumSum", "a one", "reverse", 1, 0, {}, (1, 3)), ("Resize", "a none scales", "coordinate_transformation_mode", "asymmetric",
                                                      "align_corners", {"mode": "linear"}, (1, 1, 3, 3)),
]
CONSTANTS = {
    "i": np.array([2, 0]), "k": np.array([[[[1, 2], [3, 5]]]], np.float32), "q": np.arange(9, dtype=np.float32).reshape(3, 3),
    "q0": np.array([1, 2, 4], np.float32), "one": np.array(1), "none": np.zeros(0, np.float32),
    "scales": np.array([1, 1, 2, 2], np.float32),
}


@pytest.mark.parametrize("case", ATTRIBUTES, ids=lambda case: f"{case[0]}.{case[2]}")
def test_an_attribute_is_the_calls_or_the_functions_default(read, case):
    op_type, operands, name, default, other, rest, shape = case
    names = operands.split()
    constants = {n: CONSTANTS[n] for n in names if n != "a"}
    opset = 20 if op_type == "Gelu" else 17

    def plain(value):
        node = helper.make_node(op_type, ["x" if n == "a" else n for n in names], ["y"], **{name: value}, **rest)
        return read([node], [], shape, constants, opset)

    body = reference(helper.make_node(op_type, names, ["b"], **rest), **{name: ("given", kind_of(default))})
    formal = list(dict.fromkeys(names))
    actual = " ".join("x" if n == "a" else n for n in formal)
    loc = function("F", [body], inputs=formal, versions=(("", opset), OWN), given=default)
    first = agrees(read([call("F", actual)], [loc], shape, constants, opset))
    second = agrees(read([call("F", actual, given=other)], [loc], shape, constants, opset))
    np.testing.assert_array_equal(first, agrees(plain(default)))
    np.testing.assert_array_equal(second, agrees(plain(other)))
    assert first.shape != second.shape or not np.allclose(first, second)


def test_an_absent_attribute_without_default_is_the_operators_own(read):
    loc = function("F", [LEAKY], declared=["slope"])
    graph = read([call("F")], [loc])
    assert float(graph(torch.full((1, 4), -1.0, dtype=torch.float64))[0, 0]) == float(np.float32(-0.01))
    agrees(graph)


@pytest.mark.parametrize(("outer", "given", "slope"), [({"deep": -3.0}, {}, -3.0), ({"deep": -3.0}, {"deep": 5.0}, 5.0), ({}, {}, -10.0)])
def test_nested_functions_hand_attributes_down(read, outer, given, slope):
    inner = function("F", [LEAKY], slope=-10.0)
    body = reference(call("F", "a", "b"), slope=("deep", AttributeProto.FLOAT))
    loc = function("G", [body], declared=[] if outer else ["deep"], **outer)
    graph = read([call("G", **given)], [inner, loc])
    assert float(graph(torch.full((1, 4), -1.0, dtype=torch.float64))[0, 0]) == -slope
    agrees(graph)


def test_overloads_are_told_apart(read):
    loc = [function("F", [LEAKY], overload=name, slope=slope) for name, slope in (("one", -1.0), ("two", -2.0))]
    graph = read([call("F", "x", "h", overload="two"), call("F", "h", "y", overload="one")], loc)
    agrees(graph)
    assert float(graph(torch.full((1, 4), -1.0, dtype=torch.float64))[0, 0]) == 2.0


def test_the_same_function_twice_keeps_its_inner_tensors_apart(read):
    nodes = [helper.make_node("Relu", ["a"], ["t"], "inner"), helper.make_node("Neg", ["t"], ["b"])]
    extra = helper.make_node("Add", ["p", "q"], ["y"])
    graph = read([call("F", "x", "p"), call("F", "p", "q"), extra], [function("F", nodes)])
    agrees(graph)
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)


def test_operands_that_a_call_leaves_out_are_absent(read):
    loc = function("F", [helper.make_node("Clip", ["a", "low", "high"], ["b"])], inputs=("a", "low", "high"))
    graph = read([call("F", "x zero")], [loc], constants={"zero": np.array(0.0, np.float32)})
    agrees(graph)


def test_a_call_counts_as_one_node_of_the_file(read):
    loc = function("F", [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Tanh", ["t"], ["b"])])
    graph = read([call("F", "x", "h"), helper.make_node("Neg", ["h"], ["y"])], [loc])
    assert (graph.source.node_check.nodes, graph.source.node_check.total) == (2, 2)


def test_an_older_version_with_the_same_signature_is_fine(read):
    agrees(read([call("F")], [function("F", [LEAKY], versions=(("", 15), OWN), slope=-2.0)]))


def recursive(*names):
    return [function(a, [call(b, "a", "b")]) for a, b in zip(names, (*names[1:], names[0]), strict=True)]


def doubling(depth):
    """Functions that would expand into 2^depth nodes."""
    made = [function("F0", [helper.make_node("Relu", ["a"], ["b"])])]
    return made + [function(f"F{k}", [call(f"F{k - 1}", "a", "t"), call(f"F{k - 1}", "t", "b")]) for k in range(1, depth)]


WRONG = {
    "calls itself": ([call("F")], recursive("F"), "call themselves"),
    "mutual recursion": ([call("F")], recursive("F", "G", "H"), "'loc.F' -> 'loc.G' -> 'loc.H' -> 'loc.F'"),
    "unused recursion": ([helper.make_node("Relu", ["x"], ["y"])], recursive("F", "G"), "call themselves"),
    "unknown attribute of a call": ([call("F", zap=1.0)], [function("F", [LEAKY], slope=1.0)], "declares no attribute 'zap'"),
    "undeclared attribute in a body": ([call("F")], [function("F", [LEAKY])], "an attribute 'slope' that the function doesn't declare"),
    "another type than the default": ([call("F", slope=3)], [function("F", [LEAKY], slope=1.0)], "another type than its default"),
    "another type than the body takes": ([call("F")], [function("F", [LEAKY], slope=3)], "for another type than it has"),
    "defined twice": ([call("F")], [function("F", [LEAKY], slope=1.0)] * 2, "defined twice"),
    "too many operands": ([call("F", "x x")], [function("F", [LEAKY], slope=1.0)], "2 operands and 1 results"),
    "grows without measure": ([call("F39")], doubling(40), "expands into"),
    "another meaning": ([call("F")], [function("F", [helper.make_node("Softmax", ["a"], ["b"])], versions=(("", 12), OWN))],
                        "written for opset 12, where it means something else than in the model's 17"),
    "no version": ([call("F")], [function("F", [LEAKY], versions=(OWN,), slope=1.0)], "names no version"),
    "a reference outside": ([reference(helper.make_node("LeakyRelu", ["x"], ["y"]), alpha=("slope", AttributeProto.FLOAT))],
                            [function("F", [LEAKY], slope=1.0)], "stands in no function"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_coded_message(read, name):
    nodes, functions, text = WRONG[name]
    with pytest.raises(InputError) as caught:
        read(nodes, functions)
    assert caught.value.code == "E-MODEL-FUNCTION"
    assert any(text in line for line in caught.value.details), caught.value.details


def test_a_function_may_not_pose_as_a_standard_operator(read):
    posing = function("Relu", [helper.make_node("Neg", ["a"], ["b"])])
    posing.domain = ""
    with pytest.raises(InputError, match="E-MODEL-FUNCTION"):
        read([helper.make_node("Relu", ["x"], ["y"])], [posing])


def test_every_offender_is_named(read):
    with pytest.raises(InputError) as caught:
        read([call("F", "x", "h", zap=1.0), call("F", "h", "y", zip=1.0)], [function("F", [LEAKY], slope=1.0)])
    assert len(caught.value.details) == 2


def test_a_missing_function_is_named(read):
    with pytest.raises(UnsupportedError) as caught:
        read([call("F", "x", "h"), call("G", "h", "y")], [function("F", [LEAKY], slope=1.0)])
    assert "'loc.G' that the model doesn't define" in caught.value.details[0]
