"""A run of each analysis that takes a moment: the words of its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from trainings import words_in

from absint import samples
from absint.cli.main import main

NET = str(samples.network_path("mnist_relu_3x50"))
QUERY = """
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const X_2 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 {low})) (assert (<= X_0 0.9)) (assert (>= X_1 0)) (assert (<= X_1 0.5)) (assert (>= X_2 0)) (assert (<= X_2 1))
(assert (<= Y_0 Y_1))
"""
_WORDS = {
    "radius": [NET, "--index", "0:3"],
    "verify": [NET, "--index", "0:3", "--eps", "0.03"],
    "bounds": [NET, "--index", "0:2"],
    "inspect": [NET],
    "clever": [NET, "--index", "0:3", "--radius", "2", "--batches", "10", "--samples", "10"],
    "errors": [NET, "--index", "0:3", "--domains", "box,deeppoly", "--attack-steps", "20", "--restarts", "2", "--eps", "0.03"],
    "sweep": [NET, "--index", "0:3", "--domain", "box,deeppoly", "--eps", "0.01", "--eps", "0.03", "--attack", "none"],
    "global.correctness": ["--draws", "60", "--block", "20"],
    "global.robustness": ["--draws", "2", "--eps", "0.003", "--timeout", "none"],
    "validate.calibrate": [NET, "--index", "0:60", "--rate", "0.05"],
    "validate.run": [NET, "--index", "60:63"],
    "taboo.calibrate": [NET, "--index", "0:60", "--block", "25"],
    "taboo.detect": [NET, "--index", "0:3"],
    "taboo.certify": [NET, "--index", "0:3"],
    "taboo.evaluate": [NET, "--index", "0:10", "--attack", "sign:eps=0.1", "--region", "all"],
    "validate.evaluate": [NET, "--count", "5", "--calibrate", "40", "--attack", "fgsm:eps=0.1"],
}
NAMES = sorted({*_WORDS, "query", "train"})


def words_of(name: str, folder: Path, *, few: bool = False) -> list[str]:
    """The command; files that it needs are made in the folder. few: an item, of `verify` two."""
    if name == "query":
        return ["verify", "--instances", str(query_list(folder, 1 if few else 2))]
    if name == "train":
        words = words_in(folder)
        words.remove("--quiet")
        words[words.index("--save") + 1] = str(unused(folder / "trained"))
        return words
    words = [*name.split("."), *_WORDS[name]]
    if few and "--index" in words:
        words[words.index("--index") + 1] = "0:2" if name == "verify" else "0:1"
    if few and "--draws" in words:      # of two classes
        words[words.index("--draws") + 1] = "1"
    if name == "taboo.calibrate":
        words += ["--detector", str(folder / "made.json"), "--onnx", str(folder / "made.onnx")]
    elif name.startswith("taboo"):
        words += ["--detector", str(trapped(folder))]
    if name == "validate.calibrate":
        words += ["--calibration", str(folder / "made.json")]
    if name == "validate.run":
        made = folder / "calibration.json"
        if not made.exists():
            assert main(["validate", "calibrate", *_WORDS["validate.calibrate"], "--calibration", str(made), "--quiet", "--out",
                         str(folder / "calibration.txt")]) == 0
        words += ["--calibration", str(made)]
    return words


def trapped(folder: Path) -> Path:
    """A detector file for NET."""
    made = folder / "taboo.json"
    if not made.exists():
        files = ["--detector", str(made), "--onnx", str(folder / "taboo.onnx"), "--out", str(folder / "taboo.txt")]
        assert main(["taboo", "calibrate", *_WORDS["taboo.calibrate"], *files, "--quiet"]) == 0
    return made


def unused(path: Path) -> Path:
    """The path, or one beside it that is not there: a training is not written over."""
    taken = len(list(path.parent.glob(f"{path.name}*")))
    return path.with_name(f"{path.name}-{taken}")


def query_list(folder: Path, count: int) -> Path:
    """A list of queries about a network y = (x0, x1): every other one holds."""
    weight = numpy_helper.from_array(np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    for k in range(count):
        (folder / f"{k}.vnnlib").write_text(QUERY.format(low=("0.6", "0.4")[k % 2]))
    path = folder / "list.csv"
    path.write_text("".join(f"net.onnx,{k}.vnnlib,30\n" for k in range(count)))
    return path
