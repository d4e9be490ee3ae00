"""Which output of a file is analysed: the only one, the one that is asked for, or the only one that holds scores.

Classifiers of scikit-learn give a label beside the scores, and the scores as a map by class: what is left out, and what stands in
the place of a map, is said with every answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.helper

from absint.errors import InputError, UsageError
from absint.frontends.onnx_inference import with_shapes
from absint.frontends.onnx_labels import choice_of, least_of, wholes_of
from absint.model.alarms import METADATA as ALARM
from absint.model.onnx_formats import FLOATS, ML_DOMAIN
from absint.model.pruned import prune

_CLASSES = 8    # named in a caveat
_NAMES = 20     # of tensors, in a message
_CHOOSE = "choose one: --output NAME (output=NAME in Python); or the name of a tensor inside, where the network is then cut"


def choose_output(proto: onnx.ModelProto, wanted: str | None, path: str) -> tuple[bool, tuple[str, ...]]:
    """Leave one output, and the nodes that it needs. Returns whether anything was changed, and the caveats, as "E-CODE: text".

    wanted: an output or any tensor that a node of the main graph computes; None for the only one, or the only one of
    floating-point numbers.
    Raises UsageError E-MODEL-OUTPUT for a name that is none, InputError E-MODEL-OUTPUTS where the file leaves a choice, or
    gives no numbers at all.
    """
    maps, caveats = _without_maps(proto, wanted)
    outputs = list(proto.graph.output)
    if wanted is None and len(outputs) == 1:
        caveats += _without_label(proto, outputs[0])
        return bool(caveats), tuple(caveats)
    if wanted is None:
        chosen = _scores(proto, outputs, path)
    else:
        name = maps.get(wanted, wanted)
        chosen = next((o for o in outputs if o.name == name), None) or _inside(proto, name, path)
        if [o.name for o in outputs] == [chosen.name]:
            return bool(caveats), tuple(caveats)
    others = ", ".join(described(o) for o in outputs if o.name != chosen.name)
    within = "" if any(o.name == chosen.name for o in outputs) else ", inside the network"
    caveats.append(f"E-MODEL-OUTPUTS: the network is analysed up to '{chosen.name}'{within}; not analysed: {others}")
    caveats += least_of(proto, [str(o.name) for o in outputs if o.name != chosen.name], chosen.name) if wanted is None else ()
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(chosen)
    if any(chosen.name in node.output for node in proto.graph.node):
        prune(proto, chosen.name)
    del proto.graph.output[:]
    proto.graph.output.append(kept)
    return True, tuple(caveats)


def _without_label(proto: onnx.ModelProto, only: onnx.ValueInfoProto) -> list[str]:
    """Of a file that gives a label alone, leave what it is chosen from; what to say, nothing where an ArgMax ends it or it is no label."""
    name = str(only.name)
    choice = choice_of(proto, name)
    if choice is None or choice.direct:
        return []
    prune(proto, choice.tensor)
    return [f"E-MODEL-LABEL: the output '{name}' is a label, by which {choice.kind} names its choice: the network is analysed up to "
            f"'{choice.tensor}'"]


def described(info: onnx.ValueInfoProto) -> str:
    """One tensor of a file in a message: its name, its type and its shape."""
    kind = info.type.WhichOneof("value") or "no type"
    if kind != "tensor_type":
        return f"'{info.name}' {kind}"
    dims = [str(d.dim_param or d.dim_value or "?") for d in info.type.tensor_type.shape.dim]
    element = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type)
    return f"'{info.name}' {element} ({', '.join(dims)})"


def _without_maps(proto: onnx.ModelProto, wanted: str | None) -> tuple[dict[str, str], list[str]]:
    """A map by class holds the numbers of the tensor that it is made of: that one becomes the output. By name, and what to say."""
    graph, said, found = proto.graph, list[str](), dict[str, str]()
    made = {node.output[0]: node for node in graph.node if node.op_type == "ZipMap" and node.domain == ML_DOMAIN and node.output}
    for info in graph.output:
        node = made.get(info.name)
        if node is None or wanted not in (None, info.name, node.input[0]):
            continue
        name = str(info.name)
        found[name] = str(node.input[0])
        info.CopyFrom(onnx.helper.make_empty_tensor_value_info(node.input[0]))
        graph.node.remove(node)
        said.append(f"E-MODEL-ZIPMAP: the output '{name}' is a map by class: analysed are its numbers, tensor '{info.name}', in the order "
                    f"of the classes {_class_names(node)}")
    single = {str(o.name): o for o in reversed(graph.output)}   # the numbers may have been an output beside their map
    for info in [o for o in graph.output if single[o.name] is not o]:
        graph.output.remove(info)
    return found, said


def _class_names(node: onnx.NodeProto) -> str:
    given = {a.name: a for a in node.attribute}
    names = [n.decode("utf-8", "replace") for n in given["classlabels_strings"].strings] if "classlabels_strings" in given else []
    names = names or [str(n) for n in given["classlabels_int64s"].ints] if "classlabels_int64s" in given else names
    return ", ".join(names[:_CLASSES]) + (f" and {len(names) - _CLASSES} more" if len(names) > _CLASSES else "")


def _scores(proto: onnx.ModelProto, outputs: Sequence[onnx.ValueInfoProto], path: str) -> onnx.ValueInfoProto:
    """The only output of floating-point numbers."""
    alarm = any(entry.key == ALARM for entry in proto.metadata_props)
    known = _types(proto) if any(_element(o) == onnx.TensorProto.UNDEFINED for o in outputs) else {}
    found = [o for o in outputs if (_element(o) or known.get(o.name, 0) or onnx.TensorProto.FLOAT) in FLOATS
             and o.type.WhichOneof("value") in ("tensor_type", None)]
    if len(found) == 1 and not alarm:
        return found[0]
    hint = "a network with an alarm: name the network that it was made of, whose nodes these are" if alarm else _CHOOSE
    what = f"a network with {len(outputs)} outputs" if outputs else "a network without outputs"
    details = [*map(described, outputs), *wholes_of(proto, [str(o.name) for o in outputs])]
    raise InputError("E-MODEL-OUTPUTS", f"{what}; one is analysed", where=path, details=details, hint=hint)


def _element(info: onnx.ValueInfoProto) -> int:
    """The element type of a tensor, 0 where it is not stated; that of text for what is no tensor, which is no number either."""
    kind = info.type.WhichOneof("value")
    return int(info.type.tensor_type.elem_type) if kind in ("tensor_type", None) else onnx.TensorProto.STRING


def _types(proto: onnx.ModelProto) -> dict[str, int]:
    """Element types of outputs that the file leaves open."""
    try:
        inferred = with_shapes(proto)
    except Exception:   # a damaged model, of which others will say what is wrong
        return {}
    return {o.name: _element(o) for o in inferred.graph.output}


def _inside(proto: onnx.ModelProto, wanted: str, path: str) -> onnx.ValueInfoProto:
    """A tensor that a node of the main graph computes."""
    graph = proto.graph
    computed = [str(name) for node in graph.node for name in node.output if name]
    if wanted in computed:
        return onnx.helper.make_empty_tensor_value_info(wanted)
    inner = [name for name in computed if name not in {o.name for o in graph.output}]
    shown = ", ".join(f"'{name}'" for name in inner[-_NAMES:])
    which = "tensors inside, the last of them" if len(inner) > _NAMES else "tensors inside"
    details = [*(described(o) for o in graph.output), *([f"{which}: {shown}"] if inner else [])]
    raise UsageError("E-MODEL-OUTPUT", f"the file has no output '{wanted}', nor computes a tensor of that name", where=path,
                     details=details, hint="give one of these names")
