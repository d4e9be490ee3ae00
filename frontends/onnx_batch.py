"""Numbers that a file computes of an open batch's size: whether what it says of one instance depends on how many there are.

A graph is the network at batch size 1, where such a number is a constant. A shape may well be made of it; a value made of it, such as
x / x.shape[0], means that the file says another thing of every batch size, and the reader has to be told which is analysed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from absint.frontends.onnx_file import AnyArray, OnnxFile
from absint.model.reference import one_session

_SIZES = (1, 2, 3, 20)     # the last is for numbers that a few instances do not change: n // 4, max(n, 3)
_ALIKE = 1e-3   # of the largest result: more is no rounding
# Operands that say where entries go, or how many there are; all others are values.
_PLACES: Mapping[str, frozenset[int]] = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Unsqueeze", "Squeeze", "Split", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"),
                    frozenset({1})),
    "Slice": frozenset({1, 2, 3, 4}), "Pad": frozenset({1, 3}), "Resize": frozenset({1, 2, 3}),
}


def values_read(node: onnx.NodeProto, constants: Mapping[str, AnyArray]) -> list[str]:
    """Constants that a node computes with, rather than takes for a shape or for places."""
    places = _PLACES.get(node.op_type, frozenset())
    return [str(name) for k, name in enumerate(node.input) if name in constants and k not in places]


def depends_on_size(file: OnnxFile, read: Mapping[str, str], constants: Mapping[str, AnyArray]) -> str | None:
    """The node that computes with a number of the batch's size, in words; None where none is known to.

    read: constants that are computed with, and by which node.  constants: all of them.
    Other sizes are compared with 1 on the runtime: the constants, which no input changes, and the results at one point. A size that the
    runtime does not take proves nothing, and keeps no other one from being asked.
    """
    made = _of_shapes(file, constants)
    if not made:
        return None
    names = [name for name in read if name in made]
    runs = list(_runs(file, names))
    if not runs:
        return None
    one, *more = runs
    for name, first, *others in zip(names, one[1:], *(run[1:] for run in more), strict=True):
        if any(not _same(first, other) for other in others):
            return read[name]
    results = [run[0].astype(np.float64) for run in runs]
    if any(not _alike(results[0], other) for other in results[1:]):
        return "what stands before its output"
    return None


def _of_shapes(file: OnnxFile, constants: Mapping[str, AnyArray]) -> set[str]:
    """Constants that are made of the shapes of computed tensors."""
    found: set[str] = set()
    for step in file.steps:
        node = step.proto
        asks = node.op_type in ("Shape", "Size") and any(i not in constants for i in node.input)
        if asks or any(i in found for i in node.input):
            found.update(str(o) for o in node.output if o in constants)
    return found


def _runs(file: OnnxFile, names: Sequence[str]) -> Iterator[list[AnyArray]]:
    """The network's output and the named tensors for batches of one instance, one a size that onnxruntime takes; none without 1."""
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in (file.output_name, *names))
    try:
        session = one_session(bytes(proto.SerializeToString()))
    except Exception:   # onnxruntime raises a type of its own for each status code
        return
    random = np.random.default_rng(0)
    instance = {one.name: random.uniform(0, 1, one.shape).astype(one.format) for one in file.inputs}
    sizes = {one.name: one.open for one in file.inputs}
    for size in _SIZES:
        try:
            yield session.run(None, {name: np.repeat(value, size, 0) if sizes[name] else value for name, value in instance.items()})
        except Exception:
            if size == 1:
                return


def _same(first: AnyArray, other: AnyArray) -> bool:
    """Whether a constant at another batch size is the one at size 1, repeated at most."""
    if first.ndim != other.ndim:
        return False
    try:
        return np.array_equal(np.broadcast_to(first, other.shape), other)
    except ValueError:  # of another shape, and so alike only where it is one number throughout
        return bool(first.size) and bool((first == first.flat[0]).all() and (other == first.flat[0]).all())


def _alike(first: AnyArray, other: AnyArray) -> bool:
    """Whether every instance of a batch has the result of one alone, of its shape to begin with."""
    if first.shape[:1] != (1,) or not bool(np.isfinite(first).all()):
        return True     # the axis of the batch is not in front, or there are no numbers: nothing to compare entry by entry
    if first.shape[1:] != other.shape[1:]:
        return False
    return bool((np.abs(other - first) <= _ALIKE * float(np.abs(first).max(initial=0.0))).all())    # nor where it is no number
