"""Quantised networks: integers are computed as onnxruntime computes them, weights are exact products, and bounds hold executions."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pytest
import torch
from onnx import helper
from recurrent_nets import model

import absint
from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.errors import UnsupportedError
from absint.frontends.onnx_quantised import nearest
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.ops.step import Held
from absint.model.reference import runtime
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion


def rng():
    return np.random.default_rng(3)


WEIGHTS = rng().integers(-127, 128, size=(4, 3)).astype(np.int8)
ONE = {"s": np.float32(0.05), "z": np.uint8(7)}
AXIS = {"s": np.array([0.05, 0.1, 0.025], np.float32), "z": np.array([5, -3, 0], np.int8)}


def read(proto, **keywords):
    return OnnxFrontEnd().read("net.onnx", content=proto.SerializeToString(), **keywords)


def pair(source, target, zero="z", **attributes):
    """A tensor quantised and dequantised."""
    scales = ["s", zero] if zero else ["s"]
    return [helper.make_node("QuantizeLinear", [source, *scales], [f"{target}_q"], **attributes),
            helper.make_node("DequantizeLinear", [f"{target}_q", *scales], [target], **attributes)]


def node(op_type, inputs, output="y", **attributes):
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


IMAGE = {"w": rng().integers(-9, 9, size=(2, 1, 2, 2)).astype(np.int8), "ws": np.array([0.1, 0.2], np.float32),
         "wz": np.array([0, 0], np.int8), "b": np.array([40, -300], np.int32), "ys": np.float32(0.3), "yz": np.uint8(20)}
MATRIX = {"w": WEIGHTS, "ws": np.float32(0.02), "wz": np.int8(3), "ys": np.float32(0.3), "yz": np.uint8(20)}
NETS = {
    "a tensor": ([1, 4], pair("x", "y"), ONE),
    "signed": ([1, 4], pair("x", "y"), {"s": np.float32(0.25), "z": np.int8(-4)}),
    "without a zero point": ([1, 4], pair("x", "y", ""), ONE),
    "sixteen bits": ([1, 4], pair("x", "y"), {"s": np.float32(0.001), "z": np.uint16(99)}, 21),
    "along axis 1": ([1, 3, 2], pair("x", "y"), AXIS),
    "along axis 0 of what is no batch": ([3, 2], pair("x", "y", axis=0), AXIS),
    "weights": ([1, 4], [node("DequantizeLinear", "w s z", "v"), node("MatMul", "x v")], {"w": WEIGHTS, **AXIS}),
    "weights of floats": ([1, 4], [*pair("w", "v"), node("MatMul", "x v")],
                          {"w": rng().normal(size=(4, 3)).astype(np.float32), **AXIS}),
    "weights in blocks": ([1, 4], [node("DequantizeLinear", "w s z", "v", axis=0, block_size=2), node("MatMul", "x v")],
                          {"w": WEIGHTS, "s": np.array([[0.5, 1, 2], [0.3, 0.1, 3]], np.float32), "z": np.ones((2, 3), np.int8)}, 21),
    "a bias of 32 bits": ([1, 3], [node("DequantizeLinear", "b s", "c"), node("Add", "x c")],
                          {"b": np.array([2**30 + 1, -7, 40], np.int32), "s": np.float32(1e-9)}),
    "a matrix of integers": ([1, 4], [*pair("x", "r")[:1], node("QLinearMatMul", "r_q s z w ws wz ys yz", "q"),
                                      node("DequantizeLinear", "q ys yz")], {**ONE, **MATRIX}),
    "a convolution of integers": ([1, 1, 3, 3], [
        *pair("x", "r")[:1], node("QLinearConv", "r_q s z w ws wz ys yz b", "q", pads=[1, 1, 0, 0]),
        node("MaxPool", "q", "p", kernel_shape=[2, 2]), node("DequantizeLinear", "p ys yz")], {**ONE, **IMAGE}),
    "sums of integers": ([1, 4], [
        *pair("x", "r")[:1], node("MatMulInteger", "r_q w z wz", "q"), node("Cast", "q", to=1)], {**ONE, **MATRIX}),
    "sums of integers in a window": ([1, 1, 3, 3], [
        *pair("x", "r")[:1], node("ConvInteger", "r_q w z", "q"), node("Cast", "q", to=1)], {**ONE, **IMAGE}),
    "clipped to fewer bits": ([1, 4], [pair("x", "y")[0], node("Clip", "y_q low high", "c"), node("DequantizeLinear", "c s z")],
                              {**ONE, "low": np.uint8(0), "high": np.uint8(127)}),
}


def net(name):
    shape, nodes, constants, *opset = NETS[name]
    return model(nodes, shape, constants, opset=opset[0] if opset else 13)


@pytest.mark.parametrize("name", NETS)
def test_every_network_equals_onnxruntime(name):
    graph = read(net(name), check_range=(-3.0, 9.0))
    assert graph.source.node_check.nodes == graph.source.node_check.total
    x = rng().normal(size=(40, *graph.input.shape)).astype(np.float32) * 3
    theirs = runtime(graph.source).run(x)
    ours = graph(torch.as_tensor(x).double()).detach().numpy().reshape(theirs.shape)
    # Off a tie by less than rounding, an execution may go to the other side: rare, and never by more than a step.
    assert np.mean(np.abs(ours - theirs) > 1e-5 * np.abs(theirs).max()) < 0.01


BOUNDED = ["a tensor", "along axis 1", "a matrix of integers", "a convolution of integers", "weights"]


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("domain", ["box", "deeppoly"])
def test_bounds_hold_samples(name, domain):
    graph = read(net(name), fold=False)
    x = rng().integers(0, 40, size=(1, *graph.input.shape)) * 0.025    # halves of steps
    (found,) = absint.bounds(graph, x, eps=0.03, domain=domain, clip=None).values()
    samples = np.clip(x + rng().uniform(-0.03, 0.03, size=(200, *graph.input.shape)), x - 0.03, x + 0.03)
    values = graph(torch.as_tensor(samples)).detach().numpy().reshape(200, *np.asarray(found.lower).shape[1:])
    assert (np.asarray(found.lower) <= values.min(0)).all()
    assert (values.max(0) <= np.asarray(found.upper)).all()


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_of_executions_hold_onnxruntime_at_ties(name):
    """An execution's quotient may fall on the other side of a tie than the exact one: both sides are within, of these points alone."""
    graph = read(net(name), fold=False)
    assert graph.source.float32_executions
    x = (rng().integers(-60, 60, size=(64, *graph.input.shape)) * np.float32(0.025)).astype(np.float32)
    point = torch.as_tensor(x).double()
    with numeric_mode(), torch.no_grad():
        known = boxes(Context(graph, BoxRegion(point, point), Numerics(float32_semantics=True))).known[graph.output.name]
    theirs = runtime(graph.source).run(x.astype(np.float64)).reshape(known.lower.shape)
    assert (known.lower.numpy() <= theirs).all()
    assert (theirs <= known.upper.numpy()).all()


def test_a_quantiser_is_within_half_a_step_of_its_input():
    """Inside the range a band of one step, not one of the whole staircase."""
    graph = read(model([*pair("x", "r"), node("Sub", "r x")], [1, 4], ONE))
    (found,) = absint.bounds(graph, np.full((1, 4), 3.0), eps=2, domain="zonotope", clip=None).values()
    assert np.asarray(found.lower).min() > -0.0251
    assert np.asarray(found.upper).max() < 0.0251


def test_the_nearest_integer_is_that_of_the_exact_quotient():
    random = np.random.default_rng(0)
    scale = random.uniform(1e-3, 2, 3000).astype(np.float32)
    steps = random.integers(-300, 300, 3000) + random.choice([0.0, 0.5], 3000)
    x = (steps * scale.astype(np.float64)).astype(np.float32)
    x = np.where(random.random(3000) < 0.3, np.nextafter(x, np.float32(0)), x)
    expected = [round(Fraction(float(a)) / Fraction(float(s))) for a, s in zip(x, scale, strict=True)]
    assert nearest(x.astype(np.float64), scale.astype(np.float64)).tolist() == expected


def test_a_constant_on_a_tie_that_executions_round_otherwise_is_refused():
    scale = np.float32(0.1)
    half = next(x for x in (np.float32((k + 0.5) * 0.1) for k in range(200))
                if round(Fraction(float(x)) / Fraction(float(scale))) != np.rint(x / scale))
    proto = model([*pair("w", "v"), node("Add", "x v")], [1, 1], {"w": np.array([half]), "s": scale, "z": np.uint8(0)})
    with pytest.raises(UnsupportedError, match="between two integers"):
        read(proto)


def test_sums_that_int32_may_not_hold_are_guarded():
    wide = np.full((70000, 1), 127, np.int8)
    nodes = [*pair("x", "r")[:1], node("MatMulInteger", "r_q w z", "q"), node("Cast", "q", to=1)]
    graph = read(model(nodes, [1, len(wide)], {**ONE, "w": wide}), check=False)
    assert any(isinstance(n.op, Held) for n in graph.nodes)


REFUSED = {
    "takes the scale from the very values": [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "a", "b"]), node("DequantizeLinear", "q a b")],
    "the scale must be a constant": [
        node("ReduceMax", "x", "m"), node("QuantizeLinear", "x m z", "q"), node("DequantizeLinear", "q s z")],
    "is an operator of onnxruntime for quantised networks": [helper.make_node("QGemm", ["x", "s", "z"], ["y"], domain="com.microsoft")],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_quantised_is_refused_by_name(reason):
    with pytest.raises(UnsupportedError, match=reason) as caught:
        read(model(REFUSED[reason], [4], ONE))
    assert caught.value.code == "E-OP-UNSUPPORTED"


def test_what_onnxruntime_makes_of_a_network_by_calibration(tmp_path):
    logging.getLogger().setLevel(logging.ERROR)
    quantization = pytest.importorskip("onnxruntime.quantization")
    weights = {"w": rng().normal(size=(4, 6)).astype(np.float32), "b": rng().normal(size=6).astype(np.float32),
               "v": rng().normal(size=(6, 3)).astype(np.float32)}
    plain = model([node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("MatMul", "r v")], ["N", 4], weights)
    (tmp_path / "plain.onnx").write_bytes(plain.SerializeToString())

    class Points(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"x": rng().random((1, 4), np.float32)} for _ in range(8)])

        def get_next(self):
            return next(self.left, None)

    quantization.quantize_static(tmp_path / "plain.onnx", tmp_path / "q.onnx", Points(), per_channel=True)
    graph = OnnxFrontEnd().read(tmp_path / "q.onnx")
    assert graph.source.node_check.nodes == graph.source.node_check.total


def test_the_weights_are_exact_products():
    graph = read(net("weights"), fold=False)
    exact = (WEIGHTS.astype(float) - AXIS["z"]) * AXIS["s"].astype(np.float64)
    unit = graph(torch.eye(4, dtype=torch.float64)).detach().numpy()
    assert (unit == exact).all()
