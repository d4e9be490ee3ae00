"""What a torch module returns where that is more than one tensor: tuples, lists and dictionaries of them, each by a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import onnx
from torch import Tensor

from absint.errors import InputError

Named = tuple[str, Tensor]


def tensors_of(output: Any, where: str) -> tuple[Named, ...]:
    """The tensors of a result, in the exporter's order, by their keys ("logits", "aux.0") or places ("output_1"); one alone has no name.

    Raises InputError E-MODEL-OUTPUTS for a result that holds anything else, or no floating-point numbers.
    """
    found = tuple(_leaves(output, ""))
    if any(not isinstance(leaf, Tensor) for _, leaf in found) or not found:
        held = sorted({type(leaf).__name__ for _, leaf in found if not isinstance(leaf, Tensor)})
        inside = f" with {', '.join(held)}" if found and not (len(found) == 1 and found[0][1] is output) else ""
        raise InputError("E-MODEL-OUTPUTS", f"the module returns a {type(output).__name__}{inside}, not tensors", where=where,
                         hint="wrap the module so that its forward returns the tensor of interest")
    if not any(leaf.dtype.is_floating_point for _, leaf in found):
        raise InputError("E-MODEL-OUTPUTS", f"the module returns {found[0][1].dtype}, not scores", where=where,
                         hint="return the scores that are compared: leave argmax out of forward")
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        parts = [(f"{path}.{key}" if path else str(key), part) for key, part in value.items()]
    elif isinstance(value, (tuple, list)):
        parts = [(f"{path}.{place}" if path else f"output_{place}", part) for place, part in enumerate(value)]
    else:
        yield path, value
        return
    for name, part in parts:
        yield from _leaves(part, name)


def name_outputs(proto: onnx.ModelProto, names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Give the outputs of an exported model their names, in place; those that they get: longer ones where a tensor has that name already.

    Raises InputError E-MODEL-OUTPUTS where there are not as many.
    """
    graph = proto.graph
    if len(graph.output) != len(names):
        what = f"the module returns {len(names)} tensors, of which the exported network has {len(graph.output)}"
        raise InputError("E-MODEL-OUTPUTS", what, where=where, hint="wrap the module so that its forward returns the tensor of interest")
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {v.name for v in (*graph.input, *graph.initializer)}
    given = []
    for info, wanted in zip(graph.output, names, strict=True):
        name = wanted
        while name in taken:
            name += "_"
        taken.add(name)
        graph.node.append(onnx.helper.make_node("Identity", [info.name], [name], name))
        info.name = name
        given.append(name)
    return tuple(given)
