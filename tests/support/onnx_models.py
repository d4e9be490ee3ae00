"""Tiny ONNX models for the tests, and the comparison of an imported graph with onnxruntime."""

from __future__ import annotations

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.import_check import check_import
from absint.model.reference import runtime

FLOAT = TensorProto.FLOAT


def weights(*shape, dtype=np.float32, seed=7):
    """Normal numbers, always the same for a shape and a seed: no test depends on what another one has drawn."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def node(op_type, inputs, outputs, **attributes):
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def build(nodes, shape, constants=None, *, opset=13, as_inputs=False, outputs=("y",), dtype=FLOAT, extra=(), domains=()):
    """A ModelProto with input 'x' and the given nodes; the shapes of outputs are left to the runtime."""
    constants = {name: np.asarray(value) for name, value in (constants or {}).items()}
    inputs = [helper.make_tensor_value_info("x", dtype, shape), *extra]
    if as_inputs:
        inputs += [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info(o) for o in outputs],
                              [numpy_helper.from_array(v, n) for n, v in constants.items()])
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8 if opset >= 10 else 6)


def stored(folder, model, name="net.onnx"):
    """Write a model, or bytes, and return the path."""
    path = folder / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def imported(folder, *args, fold=True, **keywords):
    """Build, write and read."""
    return OnnxFrontEnd().read(stored(folder, build(*args, **keywords)), fold=fold)


def dense_model():
    nodes = [node("Gemm", "x w b", "h", transB=1), node("Relu", "h", "r"), node("Gemm", "r v", "y")]
    return build(nodes, [1, 3], {"w": weights(4, 3), "b": weights(4), "v": weights(4, 2)})


def batch_norm(channels=4):
    """Constants of a BatchNormalization."""
    scale, bias, mean, variance = weights(4, channels)
    return {"s": scale, "b": bias, "m": mean, "v": np.abs(variance) + 0.1}


def compare(graph, low=-2.0, high=3.0):
    """Import was checked on [0, 1] already; here negative values, batches and the runtime's batch handling."""
    assert check_import(graph, low, high, points=40) < 1e-5
    x = runtime(graph.source).round(np.random.default_rng(7).uniform(low, high, (70, *graph.input.shape)))
    theirs = runtime(graph.source).run(x)
    single = np.concatenate([runtime(graph.source).run(row[None]) for row in x])
    np.testing.assert_allclose(theirs, single, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(graph(torch.as_tensor(x)).numpy(), theirs, rtol=1e-4, atol=1e-4)
