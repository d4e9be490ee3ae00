"""ONNX files of a single recurrent layer, or with operators of quantised networks, with random weights."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
NAMES = ("Y", "Y_h", "Y_c")


def recurrent(op_type, *, steps=3, batch=1, inputs=2, hidden=3, results=(0,), seed=0, scale=1.0, bias=True, peephole=False, starts=None,
              lengths=None, shape=None, **attributes):
    """x (steps, batch, inputs) -> the results asked for, flattened and joined. starts: h and c.  shape: of x as declared."""
    random = np.random.default_rng(seed)
    ways, gates = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[op_type]
    given = {"W": random.normal(size=(ways, gates * hidden, inputs)), "R": random.normal(size=(ways, gates * hidden, hidden)),
             "B": random.normal(size=(ways, 2 * gates * hidden)) if bias else None, "lengths": lengths,
             "h": None if starts is None else starts[0]}
    if op_type == "LSTM":
        given |= {"c": None if starts is None else starts[1], "P": random.normal(size=(ways, 3 * hidden)) if peephole else None}
    known = {name: value for name, value in given.items() if value is not None}
    stored = {name: value.astype(np.int32) if name == "lengths" else (value * scale).astype(np.float32) for name, value in known.items()}
    outputs = [NAMES[k] if k in results else "" for k in range(2 + (op_type == "LSTM"))]
    operands = ["x", *(name if name in stored else "" for name in given)]
    nodes = [helper.make_node(op_type, operands, outputs, hidden_size=hidden, **attributes)]
    nodes += [helper.make_node("Reshape", [NAMES[k], "flat"], [f"{NAMES[k]}_flat"]) for k in results]
    nodes.append(helper.make_node("Concat", [f"{NAMES[k]}_flat" for k in results], ["out"], axis=0))
    return model(nodes, shape or [steps, batch, inputs], {**stored, "flat": np.array([-1])}, "out", 14)


def model(nodes, shape, constants, output="y", opset=13):
    """A file whose input is x."""
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_empty_tensor_value_info(output)],
                              [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
