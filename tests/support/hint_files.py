"""The small files that the advice of `tests/project/test_hints.py` is followed on, by the word that stands for each in a command."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_HEAD = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "X_2", "X_3", "Y_0", "Y_1", "Y_2"))
_BOX = "".join(f"(assert (>= X_{k} 0))(assert (<= X_{k} 1))\n" for k in range(4))
_GOOD = _HEAD + _BOX
_SEVEN = _HEAD + "".join(f"(declare-const Y_{k} Real)\n" for k in range(3, 7)) + _BOX


def made(folder: Path) -> dict[str, str]:
    """Write all; word -> path."""
    from hint_more_files import more_files

    makers = (_networks, _data, _queries, _plugins, _journals, _sweeps, _projects)
    paths = {word: path for make in makers for word, path in make(folder).items()}
    return {word: str(path) for word, path in {**paths, **more_files(folder, paths)}.items()}


def value_of(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def _weights() -> list[onnx.TensorProto]:
    draw = np.random.default_rng(0)
    return [value_of("a", draw.normal(size=(4, 4)).astype("f4")), value_of("b", draw.normal(size=(4, 3)).astype("f4"))]


_NODES = [helper.make_node("Gemm", ["x", "a"], ["h"], name="h"), helper.make_node("Relu", ["h"], ["r"], name="r"),
          helper.make_node("Gemm", ["r", "b"], ["y"], name="y")]


def model_of(nodes: Sequence[Any], stored: Sequence[Any], inputs: Any = ("n", 4), outputs: Any = ("n", 3), *, kind: int = TensorProto.FLOAT,
           opset: int = 17, more_in: Sequence[Any] = (), more_out: Sequence[Any] = ()) -> onnx.ModelProto:
    given = [helper.make_tensor_value_info("x", kind, inputs), *more_in]
    asked = [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs), *more_out]
    graph = helper.make_graph(nodes, "g", given, asked, list(stored))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _networks(folder: Path) -> dict[str, Path]:
    node, weights = helper.make_node, _weights()
    short, one = [weights[0]], value_of("b", np.ones((4, 1), "f4"))
    flat = value_of("shape", np.array([-1, 4], "i8"))
    tokens = [value_of("table", np.ones((9, 4), "f4")), weights[0], weights[1]]
    behind = [node("ReduceMean", ["e"], ["m"], axes=[1]), node("Squeeze", ["m", "one"], ["s"]), node("Gemm", ["s", "b"], ["y"], name="y")]
    cast = node("Cast", ["x"], ["i"], to=TensorProto.INT64)
    squeeze = value_of("one", np.array([1], "i8"))
    second = helper.make_tensor_value_info("h", TensorProto.FLOAT, ["n", 4])
    models = {
        "NET": model_of(_NODES, weights),
        "ONE": model_of([*_NODES[:2], node("Gemm", ["r", "b"], ["y"])], [weights[0], one], outputs=("n", 1)),
        "SAMESIZE": model_of([node("Gemm", ["x", "a"], ["y"])], short, outputs=("n", 4)),
        "REPEATS": model_of([*_NODES[:2], node("Gemm", ["r", "b"], ["s"]), node("Concat", ["s", "x"], ["y"], axis=1)], weights,
                          outputs=("n", 7)),
        "PICTURE": model_of([node("Reshape", ["x", "shape"], ["f"]), node("Gemm", ["f", "a"], ["h"]), node("Relu", ["h"], ["r"]),
                           node("Gemm", ["r", "b"], ["y"])], [*weights, flat], ("n", 1, 2, 2)),
        "INTEGERS": model_of([node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), node("Gemm", ["f", "a"], ["y"])], short, outputs=("n", 4),
                           kind=TensorProto.INT64),
        "EMBEDDING": model_of([node("Gather", ["table", "x"], ["e"]), *behind], [*tokens, squeeze], ("n", 5), kind=TensorProto.INT64),
        "TOKENS": model_of([cast, node("Gather", ["table", "i"], ["e"]), *behind], [*tokens, squeeze], ("n", 5)),
        "BEHIND": model_of([node("ReduceMean", ["x"], ["m"], axes=[1]), *behind[1:]], [*tokens[1:], squeeze], ("n", 5, 4)),
        "TWOOUT": model_of(_NODES, weights, more_out=[second]),
        "OPEN": model_of(_NODES, weights, ("n", "m")),
        "LONE": model_of([node("Identity", ["x"], ["y"])], [], (), ()),
        "OLD": model_of([node("Relu", ["x"], ["y"])], [], outputs=("n", 4), opset=6),
        "CUSTOM": model_of([node("Gizmo", ["x"], ["y"], domain="com.example")], [], outputs=("n", 4)),
        "STRANGE": model_of([node("Det", ["x"], ["y"])], [], ("n", 4, 4), ("n",)),
        "RANDOM": model_of([node("RandomNormalLike", ["x"], ["y"])], [], outputs=("n", 4)),
        "CONSTANT": model_of([node("Identity", ["a"], ["y"])], short, outputs=(4, 4)),
        "NAN": model_of([node("Gemm", ["x", "a"], ["y"])], [value_of("a", np.full((4, 4), np.nan, "f4"))], outputs=("n", 4)),
        "UNDEFINED": model_of([node("Add", ["x", "nowhere"], ["y"])], [], outputs=("n", 4)),
        "CYCLE": model_of([node("Add", ["x", "q"], ["p"]), node("Relu", ["p"], ["q"]), node("Relu", ["q"], ["y"])], [], outputs=("n", 4)),
        "SOFTMAX": model_of([*_NODES[:2], node("Gemm", ["r", "b"], ["s"], name="s"), node("Softmax", ["s"], ["y"], axis=1)], weights),
        "SEVENFOUR": model_of([node("Gemm", ["x", "c"], ["y"])], [value_of("c", np.full((7, 4), 0.1, "f4"))], ("n", 7), ("n", 4)),
        "TWOFOUR": model_of([node("Gemm", ["x", "c"], ["y"])], [value_of("c", np.full((2, 4), 0.1, "f4"))], ("n", 2), ("n", 4)),
        "HUGE": model_of([node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE), node("Mul", ["d", "e"], ["f"]), node("Mul", ["f", "g"], ["m"]),
                          node("Cast", ["m"], ["y"], to=TensorProto.FLOAT)], [value_of("e", np.full((4,), 1e-60)),
                                                                             value_of("g", np.full((4,), 1e60))], outputs=("n", 4)),
        "CUBE": model_of([node("Reshape", ["x", "shape"], ["f"]), node("Gemm", ["f", "c"], ["y"])],
                         [value_of("shape", np.array([-1, 27], "i8")), value_of("c", np.ones((27, 3), "f4") * np.arange(3, dtype="f4"))],
                         ("n", 3, 3, 3)),
        "COLOURS": model_of([node("Reshape", ["x", "shape"], ["f"]), node("Gemm", ["f", "c"], ["y"])],
                            [value_of("shape", np.array([-1, 18], "i8")), value_of("c", np.ones((18, 3), "f4") * np.arange(3, dtype="f4"))],
                            ("n", 2, 3, 3)),
        "CONSTANTS": model_of([node("Gemm", ["x", "c"], ["y"])], [value_of("c", np.ones((4, 3), "f4"))]),
        "UNBOUNDEDNET": model_of([node("Exp", ["x"], ["e"]), node("Exp", ["e"], ["y"])], [], outputs=("n", 4)),
        "ONELAYER": model_of(_NODES, weights),
        "NORMED": model_of([node("ReduceL2", ["x"], ["n"], axes=[1]), node("Div", ["x", "n"], ["y"])], [], outputs=("n", 4)),
        "DUPLICATE": model_of([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])], [], outputs=("n", 4)),
    }
    paths = {}
    for word, model in models.items():
        paths[word] = folder / f"{word.lower()}.onnx"
        paths[word].write_bytes(model.SerializeToString())
    for word, name, content in (("EMPTY", "empty.onnx", b""), ("TEXT", "text.onnx", b"hello"), ("PICKLE", "model.pkl", pickle.dumps([1]))):
        paths[word] = folder / name
        paths[word].write_bytes(content)
    paths["FOLDER"] = folder / "folder.onnx"
    paths["FOLDER"].mkdir()
    return paths


def _data(folder: Path) -> dict[str, Path]:
    rows = np.random.default_rng(1).random((3, 4), "f4")
    labels = np.array([0, 1, 2])
    arrays = {
        "DATA": (rows, labels), "PICTURES": (rows.reshape(3, 1, 2, 2), labels), "BYTES255": (np.round(rows * 255), labels),
        "NORMALISED": (rows * 4 - 2, labels), "NANS": (rows * np.nan, labels), "WIDE": (np.ones((3, 5), "f4"), labels),
        "UNLABELLED": (rows, None), "NOROWS": (rows[:0], labels[:0]),
        "CUBES": (np.full((2, 3, 3, 3), 0.5, "f4"), labels[:2]),
    }
    paths = {"TRAIN": folder / "train.npz"}
    np.savez(paths["TRAIN"], x_train=rows, y_train=labels)
    for word, (inputs, given) in arrays.items():
        paths[word] = folder / f"{word.lower()}.npz"
        np.savez(paths[word], images=inputs, **({} if given is None else {"labels": given}))
    for word, value in (("LABELS", labels), ("SHORT", labels[:2]), ("LARGE", labels + 7), ("HALVES", labels + 0.5)):
        paths[word] = folder / f"{word.lower()}.npy"
        np.save(paths[word], value)
    return paths


def _queries(folder: Path) -> dict[str, Path]:
    single = _GOOD.replace("(declare-const Y_1 Real)\n(declare-const Y_2 Real)\n", "")
    texts = {
        "QUERY": _GOOD + "(assert (>= Y_0 900))", "QUERY1": single + "(assert (>= Y_0 900))",
        "RELATION": _GOOD + "(assert (<= X_0 X_1))(assert (>= Y_0 900))", "PRODUCT": _GOOD + "(assert (<= (* Y_0 Y_1) 1))",
        "RELATED": _SEVEN + "(assert (<= Y_3 Y_4))(assert (>= Y_0 900))", "UNBOUNDED": _HEAD + "(assert (>= Y_0 9))",
        "UNDECLAREDQ": _GOOD + "(assert (>= Y_9 9))", "EMPTYQ": " ", "NOASSERT": _HEAD, "OPERATOR": _GOOD + "(assert (mod Y_0 2))",
        "LET": _GOOD + "(define-fun low () Bool (<= Y_0 -900))(assert (let ((margin (- Y_0 Y_1))) (or low (>= margin 900))))",
        "FUNCTION": _GOOD + "(define-fun f ((t Real)) Real (+ t 1))(assert (>= (f Y_0) 1))", "PAREN": _GOOD + "(assert (>= Y_0 9)",
        "COMMAND": _GOOD + "(maximize Y_0)", "COEFFICIENT": _GOOD + "(assert (<= (+ (* 1e300 Y_0) (* 0.3333333333333333333333 Y_1)) 1))",
        "NAMEQ": _GOOD + "(assert (let ((Y_0 5)) (>= Y_0 4)))", "ZEROSQ": "(declare-const X_00 Real)" + _GOOD,
        "SATQ": _GOOD + "(assert (>= Y_0 -900))",
        "NOOUTQ": _GOOD.replace("(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n(declare-const Y_2 Real)\n", ""),
        "FIVEQ": "(declare-const X_4 Real)" + _GOOD + "(assert (<= X_4 1))(assert (>= X_4 0))(assert (>= Y_0 900))",
        "GAPQ": _GOOD.replace("(declare-const Y_1 Real)\n", "") + "(assert (>= Y_0 900))",
        "OPENQ": _GOOD + "(assert (>= Y_0 9)\n(assert (>= Y_1 9)))",
        "BRANCHESQ": _GOOD + "(assert (or (>= Y_0 1) (>= Y_1 1) (>= Y_2 1)))\n" * 14,
        "AFTER": _GOOD + "(assert (>= Y_0 900))(check-sat)(assert (>= Y_1 900))",
    }
    paths = {}
    for word, text in texts.items():
        paths[word] = folder / f"{word.lower()}.vnnlib"
        paths[word].write_text(text)
    paths["BINARYQ"] = folder / "binary.vnnlib"
    paths["BINARYQ"].write_bytes(b"\xff\xfe\x00q")
    paths["GZQ"] = folder / "plain.vnnlib.gz"
    paths["GZQ"].write_text(texts["QUERY"])
    paths["CUTGZ"] = folder / "cut.vnnlib.gz"
    paths["CUTGZ"].write_bytes(gzip.compress(texts["QUERY"].encode())[:-12])
    return paths


def _journals(folder: Path) -> dict[str, Path]:
    first = '{"absint_journal": 2, "binding": {"analysis": "verify"%s}}\n'
    paths = {}
    for word, text in (("JOURNAL", first % ""), ("JOURNALBAD", first % "" + "{\n"), ("JOURNALOTHER", first % ', "eps": "0.1"')):
        paths[word] = folder / f"{word.lower()}.jsonl"
        paths[word].write_text(text)
    return paths


def _sweeps(folder: Path) -> dict[str, Path]:
    good = 'nets = ["net.onnx"]\ndata = "data.npz"\neps = [0.1, "1/3"]\ndomains = ["box"]\nattack = "none"\n'
    paths = {}
    for word, text in (("SWEEP", good), ("SLIPPED", good.replace("domains", "domian")), ("NOTOML", "eps = [")):
        paths[word] = folder / f"{word.lower()}.toml"
        paths[word].write_text(text)
    return paths


def _projects(folder: Path) -> dict[str, Path]:
    texts = {"MISSPELT": "epz = 1\n", "PLAIN": "eps = 0.01\n", "PROFILED": "eps = 0.01\n[profile.nightly]\ntimeout = 9\n",
             "RADIUS": "radius = 2.0\n", "TABLED": "[clever]\nradius = 2.0\n"}
    paths = {word: folder / f"{word.lower()}.toml" for word in texts}
    for word, text in texts.items():
        paths[word].write_text(text)
    return paths


def _plugins(folder: Path) -> dict[str, Path]:
    from absint.registry import CONTRACT, DECLARATION

    paths, right = {}, f"{DECLARATION} = {CONTRACT}\n"
    registers = "from absint.engine.domain import register_domain\n\n@register_domain('nobodys')\nclass Nobodys:\n    pass\n"
    for word, text in (("PLUGIN", right), ("UNDECLARED", registers), ("RAISES", f"{right}1 / 0\n")):
        paths[word] = folder / f"{word.lower()}.py"
        paths[word].write_text(text)
    return paths
