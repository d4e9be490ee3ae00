"""Two small networks in a row: a generator of six values in [-1, 1], and a classifier of six values in [0, 1] into three classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto
from onnx_models import build, node, stored, weights

import absint
from absint.model.graph import Graph

LATENT, IMAGE, CLASSES = 4, 6, 3


def generator(*ending: onnx.NodeProto, opset: int = 13, latent: int = LATENT, dtype: int = TensorProto.FLOAT, **more: np.ndarray
              ) -> onnx.ModelProto:
    """tanh(A leaky(W z + b)), named as the classifier's tensors are: names of files clash."""
    kind = np.float64 if dtype == TensorProto.DOUBLE else np.float32
    bent = node("Relu", "h", "r") if dtype == TensorProto.DOUBLE else node("LeakyRelu", "h", "r", alpha=0.2)     # as the runtime has them
    nodes = [node("Gemm", "x w b", "h", transB=1), bent, node("MatMul", "r v", "m")]
    constants = {"w": weights(5, latent, dtype=kind), "b": weights(5, dtype=kind), "v": weights(5, IMAGE, dtype=kind), **more}
    return build([*nodes, *(ending or (node("Tanh", "m", "y"),))], ["n", latent], constants, opset=opset, dtype=dtype)


def classifier(*ending: onnx.NodeProto, opset: int = 13, shape: tuple[int, ...] = (IMAGE,), batch: int | str = "n",
               **more: np.ndarray) -> onnx.ModelProto:
    """V relu(W x + b) of an input of any shape with six entries."""
    first = [node("Flatten", "x", "f", axis=1)] if len(shape) > 1 else []
    nodes = [*first, node("Gemm", f"{'f' if first else 'x'} w b", "h", transB=1), node("Relu", "h", "r"), node("MatMul", "r v", "s")]
    constants = {"w": 2 * weights(8, IMAGE, seed=3), "b": weights(8, seed=3), "v": weights(8, CLASSES, seed=3), **more}
    return build([*nodes, *(ending or (node("Identity", "s", "y"),))], [batch, *shape], constants, opset=opset)


def files(folder: Path, first: onnx.ModelProto | None = None, second: onnx.ModelProto | None = None) -> tuple[Path, Path]:
    """Both, written as G.onnx and C.onnx."""
    return (stored(folder, generator() if first is None else first, "G.onnx"),
            stored(folder, classifier() if second is None else second, "C.onnx"))


def output(path: Path, x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """What onnxruntime says of one file, read by nothing of absint."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def latents(count: int = 8, latent: int = LATENT, seed: int = 1) -> npt.NDArray[np.float32]:
    """Normal, one row each."""
    return np.random.default_rng(seed).standard_normal((count, latent)).astype(np.float32)


def pair(folder: Path, first: object = None, second: object = None, **how: object) -> Graph:
    g, c = files(folder, first, second)
    return absint.load(g).then(absint.load(c), **how or {"rescale": True})
