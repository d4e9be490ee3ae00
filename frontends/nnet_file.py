"""Text files of the NNet format (ACAS Xu): read line by line, evaluated as the format's own reference does, written as ONNX.

A file states a ReLU network between two normalisations: of its inputs, which are clipped to [min, max] first, and of its outputs.
Source: github.com/sisl/NNet, README ("File format of .nnet") and `NNet.evaluate_network` in python/nnet.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from absint.errors import InputError

FloatArray = npt.NDArray[np.float64]

_COMMENT = "//"
_OPSET = 13
_SHOWN = 40
_REACH = 2.0    # of a range beside its mean: files of networks that were converted have minima and maxima near those of float32
_HINT = "is the file complete, and is it an .nnet file? github.com/sisl/NNet describes the format"


@dataclass(frozen=True, eq=False)
class Nnet:
    """What a file says; numbers are the float64 ones nearest to its decimals, as in the reference.

    low, high: of the inputs.  mean, span: of the inputs, then of all outputs.  layers: weight (out, in) and bias (out,), in order.
    flag: of line 4 of the numbers, which readers ignore.
    """

    low: FloatArray
    high: FloatArray
    mean: FloatArray
    span: FloatArray
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    flag: int = 0

    @property
    def inputs(self) -> int:
        """How many."""
        return len(self.low)

    def evaluate(self, x: FloatArray, *, normalisation: bool = True) -> FloatArray:
        """(N, outputs) of raw inputs (N, inputs), as the reference computes them; without normalisation, of the bare network."""
        values = (np.clip(x, self.low, self.high) - self.mean[:-1]) / self.span[:-1] if normalisation else x
        for weight, bias in self.layers[:-1]:
            values = np.maximum(values @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        values = values @ weight.T + bias
        return np.asarray(values * self.span[-1] + self.mean[-1] if normalisation else values, dtype=np.float64)

    def onnx(self, *, normalisation: bool = True) -> bytes:
        """The same as a model of float64 numbers: input 'x' (N, inputs), output 'y'."""
        nodes, stored = list[onnx.NodeProto](), dict[str, FloatArray]()

        def then(op: str, value: str, name: str, *constants: FloatArray) -> str:
            names = [f"{name}_{k}" for k in range(len(constants))]
            stored.update(zip(names, constants, strict=True))
            attributes: dict[str, Any] = {"transB": 1} if op == "Gemm" else {}
            nodes.append(helper.make_node(op, [value, *names], [name], name, **attributes))
            return name

        value = "x"
        if normalisation:
            value = then("Max", value, "above_min", self.low)
            value = then("Min", value, "clipped", self.high)
            value = then("Sub", value, "centred", self.mean[:-1])
            value = then("Div", value, "normalised", self.span[:-1])
        for place, (weight, bias) in enumerate(self.layers):
            value = then("Gemm", value, f"layer{place}", weight, bias)
            if place < len(self.layers) - 1:
                value = then("Relu", value, f"relu{place}")
        if normalisation:
            value = then("Mul", value, "scaled", self.span[-1:])
            value = then("Add", value, "raw_outputs", self.mean[-1:])
        nodes.append(helper.make_node("Identity", [value], ["y"], "y"))
        rows, outputs = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["batch", size])
                         for name, size in (("x", self.inputs), ("y", len(self.layers[-1][1]))))
        graph = helper.make_graph(nodes, "nnet", [rows], [outputs], [numpy_helper.from_array(v, name) for name, v in stored.items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
        return bytes(model.SerializeToString(deterministic=True))


def read_nnet(text: str, path: str) -> Nnet:
    """The network of a whole file. Raises InputError E-MODEL-FORMAT, E-MODEL-NONFINITE, with the line, at the first fault."""
    lines = _Lines(text, path)
    count, inputs, outputs, _ = lines.whole(4, "numbers of layers, inputs, outputs and of the largest layer's neurons")
    if min(count, inputs, outputs) < 1:
        raise lines.fail(f"{count} layers, {inputs} inputs and {outputs} outputs: each must be 1 or more")
    sizes = lines.whole(count + 1, f"sizes of {count} layers, that of the inputs first")
    if sizes[0] != inputs or sizes[-1] != outputs or min(sizes) < 1:
        raise lines.fail(f"layers of sizes {', '.join(map(str, sizes))} for {inputs} inputs and {outputs} outputs")
    (flag,) = lines.whole(1, "flag")
    low, high = lines.numbers(inputs, "minima of the inputs"), lines.numbers(inputs, "maxima of the inputs")
    if (low > high).any():
        raise lines.fail(f"the maximum of input {int((low > high).argmax())} is below its minimum")
    mean = lines.numbers(inputs + 1, "means of the inputs, and one of all outputs")
    span = lines.numbers(inputs + 1, "ranges of the inputs, and one of all outputs")
    if (span == 0).any():
        raise lines.fail(f"range {int((span == 0).argmax())} is 0, and is divided by")
    layers = []
    for place, (before, size) in enumerate(pairwise(sizes)):
        weight = [lines.numbers(before, f"weights of neuron {k} in layer {place + 1}") for k in range(size)]
        bias = [lines.numbers(1, f"bias of neuron {k} in layer {place + 1}") for k in range(size)]
        layers.append((np.stack(weight), np.concatenate(bias)))
    lines.end()
    return Nnet(low, high, mean, span, tuple(layers), flag)


class _Lines:
    """Mutable: the lines of numbers, one after the other, comments in front and blank lines left out."""

    def __init__(self, text: str, path: str) -> None:
        self.path, self.number = path, 0
        self.rest = self._lines(text)

    @staticmethod
    def _lines(text: str) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith(_COMMENT):
                yield number, line.strip()

    def fail(self, what: str, code: str = "E-MODEL-FORMAT") -> InputError:
        """What is wrong with the line that was read last."""
        return InputError(code, what, where=f"{self.path}:{self.number}", hint=_HINT)

    def _fields(self, count: int, what: str) -> list[str]:
        """The next line, cut at its commas; one at the end is usual."""
        found = next(self.rest, None)
        if found is None:
            self.number += 1
            raise self.fail(f"the file ends where the {what} should be")
        self.number, line = found
        fields = [field.strip() for field in line.removesuffix(",").split(",")]
        if len(fields) != count:
            raise self.fail(f"{len(fields)} numbers where {count} are expected: the {what}")
        return fields

    def whole(self, count: int, what: str) -> list[int]:
        """Whole numbers."""
        fields = self._fields(count, what)
        wrong = next((field for field in fields if not field.removeprefix("-").isdecimal() or not field.isascii()), None)
        if wrong is not None:
            raise self.fail(f"'{wrong[:_SHOWN]}' is no whole number, in the {what}")
        return [int(field) if len(field) < _SHOWN else -1 for field in fields]

    def numbers(self, count: int, what: str) -> FloatArray:
        """Decimals, as float64."""
        values = [self._number(field, what) for field in self._fields(count, what)]
        return np.array(values, dtype=np.float64)

    def _number(self, field: str, what: str) -> float:
        try:
            value = float(field) if "_" not in field else float("no number")
        except ValueError:
            raise self.fail(f"'{field[:_SHOWN]}' is no number, in the {what}") from None
        if not isfinite(value):
            raise self.fail(f"'{field[:_SHOWN]}' is no finite number of float64, in the {what}", "E-MODEL-NONFINITE")
        return value

    def end(self) -> None:
        """Nothing may be left."""
        found = next(self.rest, None)
        if found is not None:
            self.number = found[0]
            raise self.fail(f"the network is complete, and this line is left: '{found[1][:_SHOWN]}'")


def usual_range(net: Nnet, *, normalisation: bool) -> tuple[FloatArray, FloatArray]:
    """Ends of a range of inputs, (inputs,) each: the file's own, as far as it is near its means."""
    near = [np.clip(net.mean[:-1] + sign * _REACH * np.abs(net.span[:-1]), net.low, net.high) for sign in (-1, 1)]
    if normalisation:
        return near[0], near[1]
    ends = [(end - net.mean[:-1]) / net.span[:-1] for end in near]
    return np.minimum(*ends), np.maximum(*ends)
