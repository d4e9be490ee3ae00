"""More calls of `tests/project/test_hints.py`: files of data and of limits, networks of ONNX and torch, none as it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from hint_calls import X, imports, rows
from hint_files import model_of, value_of
from onnx import TensorProto, helper

import absint
from absint.problem.boxes import read_limits
from absint.problem.data_frontend import Reading, read_data

Call = Callable[[dict[str, str]], Any]
ROWS, LABELS = np.full((3, 4), 0.5, "f4"), np.array([0, 1, 2])


def _path(words: dict[str, str], name: str, content: str | bytes) -> Path:
    path = Path(words["NET"]).with_name(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _table(content: str | bytes, name: str = "table.csv", **reading: Any) -> Call:
    return lambda words: read_data(_path(words, name, content), None, Reading(**reading))


def _arrays(key: str | None = None, **arrays: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = Path(words["NET"]).with_name("arrays.npz")
        np.savez(path, **arrays)
        return read_data(path, None, Reading(key=key))

    return call


def _array(value: Any, labels: Any = None) -> Call:
    def call(words: dict[str, str]) -> Any:
        path, apart = (Path(words["NET"]).with_name(name) for name in ("array.npy", "apart.npy"))
        np.save(path, value, allow_pickle=True)
        if labels is not None:
            np.save(apart, labels)
        return read_data(path, None if labels is None else apart)

    return call


def _torn(name: str, size: int) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = Path(words["NET"]).with_name(name)
        np.save(path, ROWS) if name.endswith(".npy") else np.savez(path, images=ROWS)
        path.write_bytes(path.read_bytes()[:size])
        return read_data(path)

    return call


def _limits(content: str | bytes | None = None, name: str = "limits.csv", **arrays: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = Path(words["NET"]).with_name(name)
        if arrays:
            np.savez(path, **arrays)
        elif content is not None:
            _path(words, name, content)
        return read_limits(path, 4)

    return call


_WELL, _APART = _arrays(images=ROWS, labels=LABELS), _array(ROWS, LABELS)
_SIDES = _limits(name="limits.npz", lower=np.zeros(4), upper=np.ones(4))
_CELLS = _table("0,.5,.5\n1,.5,.5\n")

DATA_FILES = [
    *rows("E-DATA-CELL",
          ("cells are numbers separated by commas, classes are numbered from 0; labels in another column: --label-column NAME",
                          _table("0,1,x\n1,2,3\n"), _CELLS),
          ("a network takes no gaps: fill them in or leave their rows out, such as by pandas.read_csv(path).dropna()",
           _table("0,.5,NA\n1,.5,.5\n"), _CELLS),
          ("write all decimals with a point: pandas.read_csv(path, sep={}, decimal=',').to_csv(new, index=False)",
           _table("label;a;b\n0;0,5;1.5\n"), _CELLS)),
    *rows("E-DATA-EMPTY",
          ("one row an input: its label, then its values", _table("\n"), _CELLS),
          ("store one input at least", _array(np.zeros((0, 4))), _APART)),
    *rows("E-DATA-RAGGED", ("every row needs a label and the same number of values", _table("0,1,2\n1,2\n"), _CELLS)),
    *rows("E-DATA-FORMAT",
          ("is the extension right?", _table(b"\xff\xfe\x00"), _CELLS),
          ("separate cells by commas; rows without a label: --label-column none", _table("0\n1\n"), _CELLS),
          ("say which holds the inputs: --key NAME, or --key NAME,LABELS; or {}", _arrays(one=ROWS, two=ROWS),
           _arrays(key="one", one=ROWS, two=ROWS)),
          ("convert it: {}", _table("PAR1", "rows.parquet"), _CELLS),
          ("store uint8 or float64", _array(np.array(["a", "b"])), _APART),
          ("write it with numpy.save(path, array)", _table("words", "array.npy"), _APART),
          ("write it with numpy.savez(path, images=..., labels=...)", _table("words", "arrays.npz"), _WELL),
          ("known: IDX files and {}, each also gzipped; --plugin adds formats", _table("words", "rows.xyz"), _CELLS)),
    *rows("E-DATA-PICKLE", ("save a plain numeric array, e.g. numpy.stack(list_of_images)", _array(np.array([{}, {}], object)), _APART)),
    *rows("E-DATA-TRUNCATED", ("write or fetch it again", _torn("array.npy", 140), _APART)),
    *rows("E-DATA-SHAPE", ("store shape (N, ...), one row an input; a single input is x[None]", _array(ROWS[0]), _array(ROWS[0][None]))),
    *rows("E-DATA-LABELS",
          ("are inputs and labels of the same split?", _array(ROWS, LABELS[:2]), _APART),
          ("number the classes from 0", _array(ROWS, np.array([True, False, True])), _APART),
          ("number them as the network's outputs are ordered; by the alphabet: numpy.unique(labels, return_inverse=True)[1]",
           _array(ROWS, np.array(["cat", "dog", "cow"])), _array(ROWS, np.unique(["cat", "dog", "cow"], return_inverse=True)[1])),
          ("labels are class numbers counted from 0; in another column: --label-column NAME, or -1 for the last, or none",
           _table(".5,.5,0\n.5,.5,1\n"), _table(".5,.5,0\n.5,.5,1\n", label_column="-1")),
          ("store one class number an input", _array(ROWS, LABELS[:, None, None]), _APART),
          ("store class numbers, or one-hot rows: one 1 among zeros", _array(ROWS, np.full((3, 3), 0.3)), _array(ROWS, np.eye(3)))),
    *rows("E-BOX-FORMAT",
          ("give an npz or a CSV file", lambda words: read_limits(Path(words["EMPTYDIR"]), 4), _SIDES),
          ("npz with arrays lower and upper, CSV with these columns, or a VNN-LIB query for a box", _limits("words", "limits.npy"), _SIDES),
          ("say so: a first line 'lower,upper' above the two entries", lambda words: read_limits(_path(words, "two.csv", "0,1\n0,1\n"), 2),
           lambda words: read_limits(_path(words, "two.csv", "lower,upper\n0,1\n0,1\n"), 2)),
          ("store both alike", _limits(name="limits.npz", lower=np.zeros(4), upper=np.ones(3)), _SIDES),
          ("store float64", _limits(name="limits.npz", lower=np.zeros(4, "c16"), upper=np.ones(4, "c16")), _SIDES),
          ("write it with numpy.savez(path, lower=..., upper=...)", _limits(name="limits.npz", low=np.zeros(4)), _SIDES)),
]


# ---- networks -------------------------------------------------------------------------------------------------------------


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), output.split(), **attributes)


def _net(*nodes: onnx.NodeProto, stored: Any = (), change: Callable[[onnx.ModelProto], Any] | None = None, **more: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        model = model_of(list(nodes), [value_of(name, value) for name, value in stored], **{"outputs": ("n", 4), **more})
        if change is not None:
            change(model)
        return absint.load(_path(words, "made.onnx", model.SerializeToString()))

    return call


def _input(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ("n", 4))


def _sparse(model: onnx.ModelProto) -> None:
    del model.graph.initializer[:]
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))


_FOUR = np.arange(16, dtype="f4").reshape(4, 4)
_RELU = _net(node("Relu", "x"))
_FOLDED = _net(node("Gemm", "x w"), stored=[("w", _FOUR)])
_NNET = "1,2,2,2,\n2,2,\n0,\n-1,-1,\n1,1,\n0,0,0,\n1,1,1,\n1,0,\n0,1,\n0,\n0,\n"


def _nnet(text: str | bytes) -> Call:
    return lambda words: absint.load(_path(words, "made.nnet", text))


class Gives(torch.nn.Module):
    """A layer whose output a function changes."""

    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.change = torch.nn.Linear(4, 3), change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.layer(x.float()))


def _gives(change: Callable[[torch.Tensor], Any], example: torch.Tensor = X) -> Call:
    return lambda words: absint.load(Gives(change).eval(), example_input=example)


NETWORKS = [
    *rows("E-MODEL-SPARSE", ("store the weights dense", _net(node("Add", "x w"), stored=[("w", _FOUR[0])], change=_sparse),
                             _net(node("Add", "x w"), stored=[("w", _FOUR[0])]))),
    *rows("E-MODEL-EMPTY", ("export the model again", _net(), _RELU)),
    *rows("E-MODEL-OPSET", ("export with the standard ONNX operators",
                            _net(node("Relu", "x"), change=lambda model: setattr(model.opset_import[0], "domain", "com.example")),
                            _RELU)),
    *rows("E-MODEL-INPUTS",
          ("export what is to be analysed as an input", _net(node("Relu", "x"), change=lambda model: model.graph.ClearField("input")),
           _RELU),
          ("make them constants of the model, or export with float32 inputs",
           _net(node("Add", "x z"), more_in=[_input("z", TensorProto.INT64)]),
           _net(node("Add", "x z"), stored=[("z", _FOUR[0])])),
          ("export all of them as float32", _net(node("Cast", "z", "c", to=1), node("Add", "x c"),
                                                 more_in=[_input("z", TensorProto.DOUBLE)]),
           _net(node("Cast", "z", "c", to=1), node("Add", "x c"), more_in=[_input("z")])),
          ("give float32 inputs", lambda words: absint.load(torch.nn.ReLU().eval(), example_input=X.long()), imports)),
    *rows("E-MODEL-SHAPE",
          ("export with a fixed shape", _net(node("Relu", "x"),
                                             change=lambda model: model.graph.input[0].type.tensor_type.ClearField("shape")), _RELU),
          ("repair the model", _net(node("Gemm", "x w"), stored=[("w", np.ones((5, 4), "f4"))]), _FOLDED)),
    *rows("E-MODEL-OUTPUTS",
          ("where it masks attention, mask with a finite number and export again: scores.masked_fill(mask, -1e9), or a float "
           "attn_mask of it",
           _net(node("Add", "x w"), stored=[("w", np.array([0, 0, 0, -np.inf], "f4"))]),
           _net(node("Add", "x w"), stored=[("w", np.array([0, 0, 0, -1e9], "f4"))]))),
    *rows("E-OP-UNSUPPORTED",
          ("leave that case out of the model",
           _net(node("Log", "x", "l"), node("IsNaN", "l", "n"), node("Where", "n w l"), stored=[("w", np.float32([0]))]),
           _net(node("Relu", "x")))),
    *rows("E-OP-UNSUPPORTED",
          ("export with fixed sizes and without branches or loops (unroll, or onnxsim)",
           _net(node("Loop", "m c x", body=helper.make_graph([], "b", [], [])), stored=[("m", np.array(1)), ("c", np.array(True))]), _RELU),
          ("export with constant folding", _net(node("Relu", "x", "w"), node("Clip", "x w")), _RELU),
          ("use smaller numbers", _net(node("Add", "x w"), stored=[("w", np.array([2**63] * 4, "u8"))]), _RELU)),
    *rows("E-MODEL-FORMAT",
          ("is the file complete, and is it an .nnet file? github.com/sisl/NNet describes the format", _nnet("1,2,\n"), _nnet(_NNET)),
          ("give an .nnet file as github.com/sisl/NNet describes it", _nnet(b"\xff\xfe"), _nnet(_NNET))),
    *rows("E-MODEL-OUTPUTS",
          ("wrap the module so that its forward returns the tensor of interest", _gives(lambda y: (y, "net")), imports),
          ("return the scores that are compared: leave argmax out of forward", _gives(lambda y: y.argmax(1)), imports)),
    *rows("E-MODEL-EXPORT", ("does module(example_input) run on the CPU? a forward whose control flow depends on values cannot be exported",
                             _gives(lambda y: y @ y), imports),
          ("torch's exporter does not know the operator behind 'target=': write it with others in forward, or export the module by "
           "torch.onnx.export(module, (x,), 'net.onnx', dynamo=False), whose exporter is another one",
           _gives(lambda y: torch.hypot(y, y)), _gives(lambda y: (y * y + y * y).sqrt()))),
]
