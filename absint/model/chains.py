"""Networks that are trained: chains of torch layers written as ONNX, and ONNX files with other numbers in place of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from absint.errors import InputError, UnsupportedError
from absint.model.op import Shape

_OPSET, _IR = 17, 8
_ROUND_PADS = "zeros"


class ChannelScaling(nn.Module):
    """x -> (x - mean) / std by channel, inside the network: eps stays in raw units. mean, std: as float32 holds them, no parameters."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) -> the same."""
        return (x - self.mean) / self.std


class _Writer:
    """Mutable: the nodes and constants of one chain."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.value = "input"

    def constant(self, name: str, value: Tensor) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value.detach().cpu().float().numpy()), name))
        return name

    def node(self, kind: str, name: str, *constants: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, [self.value, *constants], [name], name=name, **attributes))
        self.value = name

    def layer(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, ChannelScaling):
            self.node("Sub", f"{name}/centred", self.constant(f"{name}.mean", layer.mean))
            self.node("Div", f"{name}/scaled", self.constant(f"{name}.std", layer.std))
        elif isinstance(layer, nn.Linear):
            self.node("Gemm", f"{name}/out", *self._weights(name, layer), transB=1)
        elif isinstance(layer, nn.Conv2d):
            rows, columns = (int(p) for p in layer.padding)
            self.node("Conv", f"{name}/out", *self._weights(name, layer), kernel_shape=list(layer.kernel_size), strides=list(layer.stride),
                      pads=[rows, columns, rows, columns], dilations=list(layer.dilation), group=layer.groups)
        elif isinstance(layer, nn.MaxPool2d):
            kernel, stride, (rows, columns) = (_pair(value) for value in (layer.kernel_size, layer.stride, layer.padding))
            self.node("MaxPool", f"{name}/out", kernel_shape=kernel, strides=stride, pads=[rows, columns, rows, columns],
                      dilations=_pair(layer.dilation))
        elif isinstance(layer, nn.Flatten):
            self.node("Flatten", f"{name}/out", axis=1)
        elif isinstance(layer, nn.ReLU):
            self.node("Relu", f"{name}/out")
        elif isinstance(layer, nn.LeakyReLU):
            self.node("LeakyRelu", f"{name}/out", alpha=layer.negative_slope)
        elif isinstance(layer, nn.Tanh):
            self.node("Tanh", f"{name}/out")
        elif isinstance(layer, nn.Unflatten):
            shape = numpy_helper.from_array(np.array([0, *layer.unflattened_size], np.int64), f"{name}.shape")    # 0: the batch as it is
            self.constants.append(shape)
            self.node("Reshape", f"{name}/out", shape.name)

    def _weights(self, name: str, layer: nn.Linear | nn.Conv2d) -> list[str]:
        bias = [] if layer.bias is None else [self.constant(f"{name}.bias", layer.bias)]
        return [self.constant(f"{name}.weight", layer.weight), *bias]


def chain_onnx(module: nn.Module, shape: Shape, outputs: int | Shape, name: str = "logits") -> bytes | None:
    """The chain as ONNX: input [batch, *shape], one output of that name [batch, *outputs]; None for what is no chain of known layers.

    All float32.  outputs: their shape, or how many in a row.  Constants go by the names of the module's parameters.
    """
    result = (outputs,) if isinstance(outputs, int) else tuple(outputs)
    if not isinstance(module, nn.Sequential):
        return None
    layers = list(_layers(module, ""))
    *before, last = [layer for _, layer in layers] or [module]
    if not (all(map(_known, before)) and (_known(last) or _gives(last, result))):
        return None
    writer = _Writer()
    for place, layer in layers:
        writer.layer(place, layer)
    writer.nodes[-1].output[0] = name
    graph = helper.make_graph(
        writer.nodes, "network", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *result])], writer.constants)
    return bytes(_model(graph).SerializeToString())


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="absint train")


def _layers(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if type(child) is nn.Sequential:
            yield from _layers(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _pair(value: int | tuple[int, ...]) -> list[int]:
    """Rows and columns: torch takes one number for both."""
    return [value, value] if isinstance(value, int) else list(value)


def _known(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == _ROUND_PADS and not isinstance(layer.padding, str)
    if type(layer) is nn.MaxPool2d:
        return not layer.ceil_mode and not layer.return_indices
    if type(layer) is nn.Flatten:
        return layer.start_dim == 1 and layer.end_dim == -1
    return type(layer) in (nn.Linear, nn.ReLU, nn.LeakyReLU, nn.Tanh, ChannelScaling)


def _gives(layer: nn.Module, result: Shape) -> bool:
    """Whether it shapes rows into the whole result: anywhere else the axes after the one it divides are not known here."""
    return type(layer) is nn.Unflatten and layer.dim == 1 and tuple(layer.unflattened_size) == result


def with_numbers(model: bytes, numbers: Mapping[str, Tensor], note: str = "") -> bytes:
    """The ONNX model with these numbers in place of its initialisers of those names, in the initialisers' own formats.

    Raises UnsupportedError E-PARAMETER for a name that no initialiser has, InputError E-PARAMETER for a number that is not finite.
    """
    proto = onnx.load_model_from_string(model)
    left = dict(numbers)
    for initialiser in proto.graph.initializer:
        value = left.pop(initialiser.name, None)
        if value is not None:
            if not bool(torch.isfinite(value).all()):
                raise InputError("E-PARAMETER", f"'{initialiser.name}' holds numbers that are not finite",
                                 hint="take an earlier checkpoint")
            kind = helper.tensor_dtype_to_np_dtype(initialiser.data_type)
            array = np.ascontiguousarray(value.detach().cpu().numpy().astype(kind))
            initialiser.CopyFrom(numpy_helper.from_array(array, initialiser.name))
    if left:
        raise UnsupportedError("E-PARAMETER", f"the model has no initialiser {', '.join(map(repr, list(left)[:3]))}")
    if note:
        proto.doc_string = note
    return bytes(proto.SerializeToString())
