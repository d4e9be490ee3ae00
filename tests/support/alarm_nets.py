"""Networks whose watched values are known by hand, and plain onnxruntime: what whoever deploys a detector has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx_models import build, node

from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.alarms import AlarmFile, with_alarm
from absint.model.graph import Graph
from absint.model.watched import Watch

F32 = np.float32
SCALE = np.array([1, 2, 0.5, -1, 1, 1], dtype=F32)     # of powers of two: h is exact


@dataclass(frozen=True)
class Taboo:
    """watches, and thresholds of their entries in turn."""

    watches: tuple[Watch, ...]
    thresholds: tuple[float, ...]


def taboo(limits: dict[int, float], tensor: str = "h") -> Taboo:
    """Of one tensor: a threshold by entry."""
    return Taboo((Watch(tensor, tuple(sorted(limits))),), tuple(limits[entry] for entry in sorted(limits)))


def two_layers(batch: int | str = "n", opset: int = 13, **more) -> onnx.ModelProto:
    """h = relu(scale x) with six entries, y = relu(h) w: an entry of h depends on nothing but its own input, NaN included."""
    weight = np.arange(12, dtype=F32).reshape(6, 2) - 5
    nodes = [node("Mul", "x s", "z"), node("Relu", "z", "h"), node("MatMul", "h w", "y")]
    return typed(build(nodes, [batch, 6], {"s": SCALE, "w": weight}, opset=opset, **more), [batch, 2])


def typed(model: onnx.ModelProto, shape: list[int | str]) -> onnx.ModelProto:
    """With the type of its output, which checkers ask for."""
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(model.graph.output[0].name, TensorProto.FLOAT, shape))
    return model


def graph_of(model: onnx.ModelProto | bytes) -> Graph:
    """Read as it stands, nothing folded."""
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return OnnxFrontEnd().read("net.onnx", fold=False, content=content)


def alarmed(model: onnx.ModelProto | bytes | Graph, *traps: Taboo) -> AlarmFile:
    """Its file with the alarm."""
    graph = model if isinstance(model, Graph) else graph_of(model)
    return with_alarm(graph.source, traps, {"rule": "by hand"})


def session(content: bytes, optimised: bool = False) -> onnxruntime.InferenceSession:
    """One thread."""
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def answers(content: bytes, x: np.ndarray, optimised: bool = False) -> dict[str, np.ndarray]:
    """All outputs by name, in one call."""
    opened = session(content, optimised)
    found = opened.run(None, {opened.get_inputs()[0].name: x})
    return dict(zip([one.name for one in opened.get_outputs()], found, strict=True))


def alarms(found: AlarmFile, x: np.ndarray, optimised: bool = False) -> list[bool]:
    """Of any trap, by input, in one call."""
    return answers(found.content, np.asarray(x, dtype=F32), optimised)[found.alarm].tolist()
