"""The networks of `train_samples.py` as ONNX: chains of few kinds of layers, written node by node so that a file is the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

MEAN, DEVIATION = 0.1307, 0.3081  # of the MNIST training pixels in [0, 1]; the usual constants
OPSET, IR_VERSION = 17, 8


class Normalise(nn.Module):
    """x -> (x - MEAN) / DEVIATION, inside the network so that specifications speak of raw pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, 1, 28, 28) -> same shape."""
        return (x - MEAN) / DEVIATION


class OnnxWriter:
    """Collects the nodes and constants of one chain of layers."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.value = "input"

    def constant(self, name: str, array: npt.NDArray[np.float32]) -> str:
        """Enter one float32 constant; its name."""
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def node(self, kind: str, *constants: str, **attributes: Any) -> None:
        """Append one node that reads the previous value."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.value, *constants], [name], name=name, **attributes))
        self.value = name

    def layer(self, layer: nn.Module) -> None:
        """Append one torch layer."""
        if isinstance(layer, Normalise):
            self.node("Sub", self.constant("mean", np.array(MEAN, dtype=np.float32)))
            self.node("Div", self.constant("deviation", np.array(DEVIATION, dtype=np.float32)))
        elif isinstance(layer, nn.Linear):
            self.node("Gemm", *self.parameters(layer), transB=1)
        elif isinstance(layer, nn.Conv2d):
            self.node("Conv", *self.parameters(layer), kernel_shape=list(layer.kernel_size),
                      strides=list(layer.stride), pads=[0, 0, 0, 0])
        elif isinstance(layer, nn.Flatten):
            self.node("Flatten", axis=1)
        elif isinstance(layer, nn.ReLU):
            self.node("Relu")
        else:
            raise TypeError(f"no ONNX rule for {type(layer).__name__}")

    def parameters(self, layer: nn.Linear | nn.Conv2d) -> tuple[str, str]:
        """Enter weight and bias; their names."""
        position = len(self.nodes)
        assert layer.bias is not None
        weight = self.constant(f"weight_{position}", layer.weight.detach().numpy())
        return weight, self.constant(f"bias_{position}", layer.bias.detach().numpy())


def write_onnx(model: nn.Sequential, name: str, doc: str, path: Path) -> None:
    """Write the chain as ONNX: input [batch, 1, 28, 28] in [0, 1], output `logits` [batch, 10], float32."""
    writer = OnnxWriter()
    for layer in model.children():
        writer.layer(layer)
    writer.nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        writer.nodes, name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        writer.constants, doc_string=doc,
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="absint training/train_samples.py", doc_string=doc,
    )
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString())


def run_onnx(path: Path, x: Tensor) -> npt.NDArray[np.float32]:
    """The logits (N, 10) of the written file, by onnxruntime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    result: npt.NDArray[np.float32] = session.run(["logits"], {"input": x.numpy()})[0]
    return result
