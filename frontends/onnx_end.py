"""A network that ends in ArgMax or ArgMin: cut in front of it, so that the graph's output is the scores it compares."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx
import onnx.helper

from absint.errors import UnsupportedError
from absint.frontends.onnx_functions import STANDARD_DOMAINS
from absint.model.op import Shape
from absint.model.source import ClassIndex

CHOOSING = ("ArgMax", "ArgMin")


@dataclass(frozen=True, eq=False)
class Ending:
    """What was cut off. node: as messages call it.  axis, keep, last: as the file has them.  least: of an ArgMin.

    model: the bytes of the whole file.
    """

    node: str
    axis: int
    keep: bool
    last: bool
    least: bool
    model: bytes

    def index(self, shape: Shape, path: str) -> ClassIndex:
        """The class index of scores of that shape, batch axis included.

        Raises UnsupportedError E-OP-UNSUPPORTED unless the scores are a single vector along the axis.
        """
        if not -len(shape) <= self.axis < len(shape) or prod(shape) != shape[self.axis]:
            raise UnsupportedError("E-OP-UNSUPPORTED", f"the network ends in {self.node} along axis {self.axis} of {shape}", where=path,
                                   hint="only one along the classes of a single vector of scores is supported; --output NAME takes the "
                                   "tensor in front of it (output=NAME in Python)")
        axis = self.axis % len(shape)
        return ClassIndex(self.node, self.last, (*shape[:axis], *((1,) if self.keep else ()), *shape[axis + 1 :]), self.model)

    def caveat(self, classes: int) -> str:
        """What every answer says. One wording for all of them."""
        return (f"E-MODEL-ARGMAX: the network ends in {self.node}: labels, bounds and radii are about the {classes} scores it compares"
                f"{', negated' if self.least else ''}; the Y of a query is the class index")


def cut(proto: onnx.ModelProto, data: bytes) -> Ending | None:
    """Take an ArgMax or ArgMin that is the file's only output off `proto`, whose bytes are `data`; None where there is none.

    The least score is the greatest negated one, and the first of equal ones stays the first: ArgMin leaves a Neg behind.
    """
    graph = proto.graph
    if len(graph.output) != 1:
        return None
    name = graph.output[0].name
    made = [n for n in graph.node if name in n.output]
    if len(made) != 1 or made[0].op_type not in CHOOSING or made[0].domain not in STANDARD_DOMAINS or len(made[0].input) != 1:
        return None
    if any(name in n.input for n in graph.node):
        return None
    (node,) = made
    given = {a.name: int(a.i) for a in node.attribute}
    ending = Ending(f"{node.op_type} '{node.name or name}'", given.get("axis", 0), bool(given.get("keepdims", 1)),
                    bool(given.get("select_last_index", 0)), node.op_type == "ArgMin", data)
    scores = str(node.input[0])
    if node.op_type == "ArgMin":
        node.CopyFrom(onnx.helper.make_node("Neg", [scores], [_fresh(proto, f"{scores}/negated")], node.name))
        scores = str(node.output[0])
    else:
        graph.node.remove(node)
    del graph.output[0]
    graph.output.append(onnx.helper.make_empty_tensor_value_info(scores))
    return ending


def _fresh(proto: onnx.ModelProto, name: str) -> str:
    graph = proto.graph
    taken = {str(o) for n in graph.node for o in n.output} | {str(v.name) for v in (*graph.input, *graph.initializer)}
    while name in taken:
        name += "'"
    return name
