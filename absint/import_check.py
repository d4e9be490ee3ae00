"""The check that an imported graph computes what the user's model computes.

Analysing a graph that is not the user's model is the worst bug of this field, so every import, and every region before it
is analysed, is compared with onnxruntime (graph optimisations off, one thread) on corners and random points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from absint.backend import numeric_mode
from absint.errors import UnsupportedError
from absint.graph import Graph
from absint.reference import FloatArray, Runtime, open_session, runtime

if TYPE_CHECKING:
    import onnx

POINTS = 34  # two extreme corners, eight random ones, the rest uniform
_CORNERS = 8
# Largest deviation of the runtime from the exact-real network, relative to the output scale, that rounding explains.
# Measured on 44 VNN-COMP networks in float32: at most 9e-6 (tests/test_vnncomp_import.py holds them to 1e-5).
TOLERANCES: dict[type[np.floating[Any]], float] = {np.float32: 1e-4, np.float64: 1e-9, np.float16: 2e-2}


class Bounds(Protocol):
    """Boxes: lower and upper, each (batch, *shape); an Interval, or arrays."""

    @property
    def lower(self) -> Any:
        """Lower ends."""

    @property
    def upper(self) -> Any:
        """Upper ends."""


def check_import(
    graph: Graph, low: float = 0.0, high: float = 1.0, region: Bounds | None = None, *, points: int = POINTS, seed: int = 0
) -> float:
    """Compare the graph (float64) with onnxruntime on corners and random points of the range, or of the region's boxes.

    Returns the largest deviation relative to the output scale, the largest output met. Accepted are `TOLERANCES` of the
    model's format, or 16 times the deviation of a float32 evaluation of the graph, where outputs are small against what
    is computed on the way. Reproducible: the points follow from `seed`.
    Raises UnsupportedError E-IMPORT-MISMATCH with both values and the first tensor that differs.
    """
    reference = runtime(graph.source)
    if region is None:
        shape = (1, *graph.input.shape)
        region = _Box(np.full(shape, low), np.full(shape, high))
    x = _sample(np.asarray(region.lower, dtype=np.float64), np.asarray(region.upper, dtype=np.float64), max(points, 1), seed)
    x = x if reference.prefix else reference.round(x)
    ours, theirs = _evaluate(graph, x, torch.float64), reference.run(x)
    if ours.shape != theirs.shape:
        raise _mismatch(graph, reference, x[0], f"the output has shape {ours.shape[1:]}, onnxruntime's {theirs.shape[1:]}")
    deviation = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
    # Each output entry has a scale of its own: a large output must not hide what is wrong with a small one.
    scale = np.abs(theirs).max(axis=0, initial=0.0)
    scale = np.where(scale > 0, scale, np.abs(ours).max(axis=0, initial=0.0))
    share = np.where(deviation > 0, deviation / np.where(scale > 0, scale, 1.0), 0.0)
    worst = np.unravel_index(int(np.argmax(np.where(np.isfinite(share), share, np.inf))), deviation.shape)
    if np.isfinite(ours).all() and np.isfinite(theirs).all():
        tolerance = TOLERANCES[reference.input_dtype]
        if bool((share <= tolerance).all()) or _only_rounding(graph, x, ours, deviation, tolerance * scale):
            return float(deviation.max(initial=0.0)) / (float(scale.max(initial=0.0)) or 1.0)
    entry = tuple(int(k) for k in worst[1:])
    text = f"output entry {entry}: absint {ours[worst]:.9g}, onnxruntime {theirs[worst]:.9g} (scale of this output {scale[worst[1:]]:.3g})"
    raise _mismatch(graph, reference, x[worst[0]], text)


@dataclass(frozen=True, eq=False)
class _Box:
    lower: FloatArray
    upper: FloatArray


def _sample(lower: FloatArray, upper: FloatArray, count: int, seed: int) -> FloatArray:
    """(count, *shape): lower corner, upper corner, random corners, then uniform points, taking the boxes in turn."""
    random = np.random.default_rng(seed)
    box = np.linspace(0, len(lower) - 1, count).round().astype(int) if len(lower) > count else np.arange(count) % len(lower)
    share = random.random((count, *lower.shape[1:]))
    share[2 : 2 + _CORNERS] = share[2 : 2 + _CORNERS].round()
    share[0], share[1:2] = 0.0, 1.0
    points: FloatArray = np.clip(lower[box] * (1 - share) + upper[box] * share, lower[box], upper[box])
    return points


def _evaluate(graph: Graph, x: FloatArray, dtype: torch.dtype) -> FloatArray:
    values = torch.as_tensor(x).to(dtype)
    with torch.no_grad(), numeric_mode():
        return torch.cat([graph(part) for part in values.split(8)]).double().numpy()


def _only_rounding(graph: Graph, x: FloatArray, ours: FloatArray, deviation: FloatArray, tolerance: FloatArray) -> bool:
    """Whether every entry stays within its tolerance or 16 times what a float32 evaluation of the graph deviates there."""
    single = np.abs(_evaluate(graph, x, torch.float32) - ours)
    allowed = np.maximum(tolerance, 16 * single.max(axis=0, initial=0.0))
    return bool(np.isfinite(single).all() and (deviation <= allowed).all())


def _mismatch(graph: Graph, reference: Runtime, x: FloatArray, text: str) -> UnsupportedError:
    details = [text]
    found = _first_difference(graph, reference, x)
    if found is not None:
        details.append(f"first tensor that differs: {found}")
    return UnsupportedError(
        "E-IMPORT-MISMATCH", "the imported graph does not compute what onnxruntime computes", where=graph.source.path or None,
        details=details, hint="nothing was analysed; report this with the model, it is a bug of absint or of the model",
    )


def _first_difference(graph: Graph, reference: Runtime, x: FloatArray) -> str | None:
    """The first node, in topological order, whose value is not the runtime's; None where no common tensor differs."""
    import onnx

    assert graph.source.model is not None
    proto = onnx.load_model_from_string(graph.source.model)
    produced = {str(o) for node in proto.graph.node for o in node.output if o}
    pairs = [(n, next((t for t in (n.name, *n.tensors) if t in produced), None)) for n in graph.nodes]
    common = [(node, tensor) for node, tensor in pairs if tensor is not None]
    theirs = _intermediates(proto, [tensor for _, tensor in common], reference, x)
    with torch.no_grad(), numeric_mode():
        ours = graph.evaluate(torch.as_tensor(x)[None], [node.name for node, _ in common])
    for node, tensor in common:
        if tensor not in theirs:
            continue
        a, b = ours[node.name].numpy().reshape(-1), theirs[tensor].reshape(-1)
        if a.shape != b.shape:
            return f"'{tensor}' ({type(node.op).__name__}): {a.size} entries, onnxruntime has {b.size}"
        gap = np.where(a == b, 0.0, np.abs(a - b))
        gap = np.where(np.isfinite(gap), gap, np.inf)
        if gap.max(initial=0.0) > TOLERANCES[reference.input_dtype] * (np.abs(b[np.isfinite(b)]).max(initial=0.0) or 1.0):
            k = int(gap.argmax())
            return f"'{tensor}' ({type(node.op).__name__}), flat entry {k}: absint {a[k]:.9g}, onnxruntime {b[k]:.9g}"
    return None


def _intermediates(proto: onnx.ModelProto, names: Sequence[str], reference: Runtime, x: FloatArray) -> dict[str, FloatArray]:
    """Values of tensors inside the model; {} where onnxruntime does not give them."""
    from onnx import helper

    if not names:
        return {}
    known = {o.name for o in proto.graph.output}
    proto.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in dict.fromkeys(names) if n not in known)
    wanted = list(islice(dict.fromkeys(names), len(names)))
    try:
        session = open_session.__wrapped__(proto.SerializeToString())
        values = session.run(wanted, {reference.input_name: reference.feeds(x[None])[0]})
    except Exception:  # only the message depends on it
        return {}
    return {n: np.asarray(v, dtype=np.float64) for n, v in zip(wanted, values, strict=True) if np.asarray(v).dtype.kind in "fiub"}
