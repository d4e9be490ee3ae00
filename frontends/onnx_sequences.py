"""Sequences of tensors, as exporters spell out split, chunk and stack: each operator on one becomes plain ones on its elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from absint.frontends.onnx_file import AnyArray
from absint.frontends.onnx_values import NodeProblemError
from absint.model.op import Shape

SEQUENCES = frozenset((
    "SplitToSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceLength",
    "ConcatFromSequence",
))
_AXES_READ = 13     # since when Unsqueeze reads its axes
_HINT = "export with constant positions, or with torch.split replaced by slices"


@dataclass(eq=False)
class Sequences:
    """Names of sequences and of their elements, as far as the file has been read.

    made: constants that the plain operators read.
    """

    opset: int
    elements: dict[str, tuple[str, ...]] = field(default_factory=dict)
    made: dict[str, AnyArray] = field(default_factory=dict)

    def plain(self, node: onnx.NodeProto, constants: Mapping[str, AnyArray], shapes: Mapping[str, Shape | None]) -> list[onnx.NodeProto]:
        """The operators on tensors that do what `node` does. Raises NodeProblemError where positions or sizes are computed."""
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kind, output = node.op_type, str(node.output[0])
        if kind == "SequenceConstruct":
            self.elements[output] = tuple(map(str, node.input))
        elif kind == "SequenceEmpty":
            self.elements[output] = ()
        elif kind == "SplitToSequence":
            return self._split(node, constants, shapes, int(given.get("axis", 0)), keep=bool(given.get("keepdims", 1)))
        else:
            return self._read(node, constants, given)
        return []

    def _of(self, name: str) -> tuple[str, ...]:
        if name not in self.elements:
            raise NodeProblemError(f"reads a sequence '{name}' that nothing known makes", _HINT)
        return self.elements[name]

    def _read(self, node: onnx.NodeProto, constants: Mapping[str, AnyArray], given: Mapping[str, object]) -> list[onnx.NodeProto]:
        listed, output = self._of(str(node.input[0])), str(node.output[0])
        if node.op_type == "SequenceAt":
            return [helper.make_node("Identity", [listed[self._position(node, 1, constants, len(listed))]], [output], node.name)]
        if node.op_type == "SequenceLength":
            self.made[output] = np.array(len(listed), dtype=np.int64)
        elif node.op_type == "SequenceErase":
            place = self._position(node, 1, constants, len(listed))
            self.elements[output] = (*listed[:place], *listed[place + 1 :])
        elif node.op_type == "SequenceInsert":
            place = self._position(node, 2, constants, len(listed) + 1, last=len(listed))
            self.elements[output] = (*listed[:place], str(node.input[1]), *listed[place:])
        else:
            return self._joined(node, listed, int(str(given.get("axis", 0))), new=bool(given.get("new_axis", 0)))
        return []

    def _position(
        self, node: onnx.NodeProto, operand: int, constants: Mapping[str, AnyArray], count: int, last: int | None = None,
    ) -> int:
        """A constant place among `count`, counted from the end where it is negative. last: where none is given."""
        name = node.input[operand] if operand < len(node.input) else ""
        if not name:
            place = count - 1 if last is None else last
        elif name not in constants:
            raise NodeProblemError("takes a computed position of a sequence", _HINT)
        else:
            place = int(constants[name].reshape(-1)[0])
        place += (count if last is None else last) if place < 0 else 0
        if not 0 <= place < count:
            whole = count if last is None else last
            raise NodeProblemError(f"takes position {place} of a sequence of {whole}", "repair the model", "E-SHAPE")
        return place

    def _split(
        self, node: onnx.NodeProto, constants: Mapping[str, AnyArray], shapes: Mapping[str, Shape | None], axis: int, *, keep: bool,
    ) -> list[onnx.NodeProto]:
        source, output = str(node.input[0]), str(node.output[0])
        shape = constants[source].shape if source in constants else shapes.get(source)
        if shape is None:
            raise NodeProblemError("splits a tensor of unknown shape", _HINT)
        if not -len(shape) <= axis < len(shape):
            raise NodeProblemError(f"splits along axis {axis} of {shape}", "repair the model", "E-SHAPE")
        axis %= len(shape)
        asked = str(node.input[1]) if len(node.input) > 1 else ""
        if asked and asked not in constants:
            raise NodeProblemError("splits into computed sizes", _HINT)
        sizes = _sizes(constants[asked] if asked else None, shape[axis])
        ends = np.cumsum([0, *sizes])
        self.elements[output] = tuple(f"{output}/{k}" for k in range(len(sizes)))
        nodes = []
        for k, name in enumerate(self.elements[output]):
            bounds = [self._constant(f"{name}/{what}", value) for what, value in (("from", ends[k]), ("to", ends[k + 1]), ("axis", axis))]
            gone = not asked and not keep
            inner = f"{name}/kept" if gone else name
            nodes.append(helper.make_node("Slice", [source, *bounds], [inner], name))
            if gone:
                full = [size for j, size in enumerate(shape) if j != axis]
                nodes.append(helper.make_node("Reshape", [inner, self._constant(f"{name}/shape", full)], [name], name))
        return nodes

    def _joined(self, node: onnx.NodeProto, listed: tuple[str, ...], axis: int, *, new: bool) -> list[onnx.NodeProto]:
        output = str(node.output[0])
        if not new:
            return [helper.make_node("Concat", list(listed), [output], node.name, axis=axis)]
        grown = [f"{output}/{k}" for k in range(len(listed))]
        at: dict[str, Any] = {"axes": [axis]} if self.opset < _AXES_READ else {}
        axes = [] if at else [self._constant(f"{output}/axis", axis)]
        nodes = [helper.make_node("Unsqueeze", [one, *axes], [name], name, **at) for one, name in zip(listed, grown, strict=True)]
        return [*nodes, helper.make_node("Concat", grown, [output], node.name, axis=axis)]

    def _constant(self, name: str, value: object) -> str:
        self.made[name] = np.array(value, dtype=np.int64).reshape(-1)
        return name


def _sizes(split: AnyArray | None, whole: int) -> list[int]:
    """As SplitToSequence has them: one number is the size of all but the last."""
    if split is None:
        return [1] * whole
    if split.ndim == 0:
        size = int(split)
        if size <= 0:
            raise NodeProblemError(f"splits into pieces of {size}", "repair the model", "E-SHAPE")
        return [min(size, whole - start) for start in range(0, whole, size)]
    sizes = [int(s) for s in split]
    if sum(sizes) != whole or min(sizes, default=0) < 0:
        raise NodeProblemError(f"splits {whole} entries into {sizes}", "repair the model", "E-SHAPE")
    return sizes
