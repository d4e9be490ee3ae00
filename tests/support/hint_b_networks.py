"""More calls of `tests/project/test_hints.py`: networks of torch and ONNX, none as it should be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from hint_calls import Two, X, imports, rows
from hint_files import model_of
from hint_files_read import _net, node
from onnx import TensorProto, helper

import absint
import absint.model.frontend

Call = Callable[[dict[str, str]], Any]
FOUR = np.arange(16, dtype="f4").reshape(4, 4)
RELU = _net(node("Relu", "x"))


# ---- torch -------------------------------------------------------------------------------------------------------------------


class Dropping(Two):
    """With what differs in training."""

    def forward(self, x, z):
        return torch.nn.functional.dropout(super().forward(x, z), training=self.training)


def _program(train: bool = False, **named: torch.Tensor) -> Any:
    """Exported as advised, or in training, or with its second input by keyword."""
    return torch.export.export(Dropping().train(train), (X,) if named else (X, torch.zeros(1, 3)), named)


@cache
def _saved(net: str) -> Path:
    path = Path(net).with_name("program.pt2")
    torch.export.save(_program(), path)
    return path


@cache
def _from_program(net: str) -> Any:
    return absint.load(torch.export.load(_saved(net)))


def advised(words: dict[str, str]) -> None:
    """A program of a module in evaluation mode, all its inputs by position, loaded from its file."""
    assert _from_program(words["NET"]).output.shape == (3,)


TORCH = [
    *rows("E-EXAMPLE-INPUT", ("give one batch of inputs, such as torch.zeros(1, 3, 32, 32)",
                              lambda words: absint.load(Two().eval(), example_input=(X, np.array([{}]))), imports)),
    *rows("E-MODEL-INPUTS", ("export it with torch.export.export(module, (a, b, ...)), all by position",
                             lambda words: absint.load(_program(z=torch.zeros(1, 3))), advised)),
    *rows("E-MODEL-TRAINING", ("call module.eval() before torch.export.export", lambda words: absint.load(_program(train=True)), advised)),
    *rows("E-MODEL-PICKLE", ("in Python: absint.load(torch.export.load('{}'))", lambda words: absint.load(_saved(words["NET"])), advised)),
]


# ---- ONNX --------------------------------------------------------------------------------------------------------------------


def _loaded(model: onnx.ModelProto, **options: Any) -> Any:
    return absint.model.frontend.load_model("made.onnx", content=model.SerializeToString(), **options)


def _in_memory(words: dict[str, str]) -> Any:
    return _loaded(onnx.load(words["WEIGHTS"], load_external_data=False))


def _by_its_path(words: dict[str, str]) -> None:
    absint.load(words["WEIGHTS"])
    _loaded(onnx.load(words["WEIGHTS"]))


def _function(*calls: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    """A function F of the model's own."""
    def change(model: onnx.ModelProto) -> None:
        versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        model.functions.append(helper.make_function("own", "F", ["a"], ["b"], list(calls), versions))
        model.opset_import.append(helper.make_opsetid("own", 1))

    return change


def _of_kind(kind: int) -> Call:
    """A network whose input has that number format."""
    return _net(node("Cast", "x", to=TensorProto.FLOAT), kind=kind)


def _sliced(start: int) -> Call:
    """Entries from there on."""
    return _net(node("Slice", "x s e a"), stored=[("s", np.array([start])), ("e", np.array([9])), ("a", np.array([1]))],
                outputs=("n", max(0, 4 - start)))


def _compared(**options: Any) -> Call:
    """A network that ends in an ArgMax over one of two axes."""
    model = model_of([node("Relu", "x", "s"), node("ArgMax", "s", axis=1)], [], ("n", 2, 4), ("n", 1, 4))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return lambda words: _loaded(model, **options)


def _taken(place: int) -> Call:
    """A column of a sequence of four."""
    return _net(node("SplitToSequence", "x", "s", axis=1), node("SequenceAt", "s p"), stored=[("p", np.array(place))], outputs=("n", 1))


def _chosen_inside(**options: Any) -> Call:
    """A network that computes with the index of an ArgMax."""
    nodes = [node("Relu", "x", "s"), node("ArgMax", "s", "i", axis=1), node("Cast", "i", "c", to=1), node("Relu", "c")]
    return lambda words: _loaded(model_of(nodes, [], ("n", 4), ("n", 1)), **options)


def _of_scikit_learn(op_type: str, kind: int, **attributes: Any) -> Call:
    """One operator of its converters on numbers of that format."""
    made = helper.make_node(op_type, ["x"], ["l", "y"] if op_type == "LinearClassifier" else ["y"], domain="ai.onnx.ml", **attributes)

    def change(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
        model.graph.output[0].type.tensor_type.elem_type = kind if op_type == "Imputer" else TensorProto.FLOAT

    return _net(made, kind=kind, change=change, outputs=None)


_LINEAR = {"coefficients": [1.0, 2.0, 3.0, 4.0] * 2, "intercepts": [0.0, 1.0], "classlabels_ints": [0, 1]}
_FILLED = {"imputed_value_floats": [1.0], "replaced_value_float": float("nan")}
_LARGE = node("Mul", "x f", "s")


def _newer(model: onnx.ModelProto) -> None:
    model.ir_version = 1000


_CALLED = helper.make_node("F", ["x"], ["y"], domain="own")
_ITSELF = _function(helper.make_node("F", ["a"], ["b"], domain="own"))

MODELS = [
    *rows("E-MODEL-EXTERNAL", ("give the path of its file, or put them into it, as onnx.load(path) does", _in_memory, _by_its_path)),
    *rows("E-MODEL-FUNCTION", ("repair the model, or export it without functions", _net(_CALLED, change=_ITSELF), RELU)),
    *rows("E-IMPORT-RUNTIME",
          ("onnxruntime has no such operator for these types of numbers: export it for float32 inputs",
           _of_scikit_learn("Imputer", TensorProto.DOUBLE, **_FILLED), _of_scikit_learn("Imputer", TensorProto.FLOAT, **_FILLED)),
          ("convert the model to float32", _of_kind(TensorProto.BFLOAT16), _of_kind(TensorProto.FLOAT)),
          ("repair or re-export the model", _net(node("Relu", "x"), change=_newer), RELU)),
    *rows("E-REGION-OVERFLOW", ("export the network in float32, without casts to fewer digits",
                                _net(_LARGE, node("Cast", "s", "c", to=10), node("Cast", "c", to=1), stored=[("f", np.float32([1e6]))]),
                                _net(_LARGE, node("Relu", "s"), stored=[("f", np.float32([1e6]))]))),
    *rows("E-OP-UNSUPPORTED",
          ("--output NAME analyses the tensor that it reads (output=NAME in Python)", _chosen_inside(), _chosen_inside(output="s")),
          ("export it for float32 inputs, as by skl2onnx.to_onnx(model, rows.astype('float32')), or cast to float32 in front of it",
           _of_scikit_learn("LinearClassifier", TensorProto.DOUBLE, **_LINEAR),
           _of_scikit_learn("LinearClassifier", TensorProto.FLOAT, **_LINEAR)),
          ("give it the axes that ONNX asks for", _net(node("InstanceNormalization", "x s b"), stored=[("s", FOUR[0]), ("b", FOUR[0])]),
           RELU),
          ("only one along the classes of a single vector of scores is supported; --output NAME takes the tensor in front of it "
           "(output=NAME in Python)", _compared(), _compared(output="s"))),
    *rows("E-MODEL-SHAPE",
          ("check the shapes in the model", _net(node("Gemm", "x w"), stored=[("w", np.ones((5, 4), "f4"))]),
           _net(node("Gemm", "x w"), stored=[("w", FOUR)])),
          ("is the input too small for this network?", _sliced(4), _sliced(3)),
          ("repair the model", _taken(9), _taken(3))),
]
