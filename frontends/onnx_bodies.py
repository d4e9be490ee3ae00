"""Nodes without an entry of their own, as the plain ones that ONNX itself defines them by.

ONNX states many operators as functions of others: what the body computes is what the operator means. Some bodies depend on the types
of the operands, which are inferred first. The result is a function of the model as any other, which `onnx_functions` inlines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
import onnx.defs

import absint.model.ops  # noqa: F401  # registers the built-in operators
from absint.frontends.onnx_functions import STANDARD_DOMAINS, inline_functions, still_means, version_of
from absint.frontends.onnx_inference import with_shapes
from absint.frontends.onnx_reports import REFUSED
from absint.model.op import OPS

_DOMAIN = "absint.definition"
_DEEPEST = 8     # bodies within bodies; ONNX 1.23 has two
_READ_AS_THEY_ARE = frozenset({"CastLike", "Range"})   # the first is a Cast, and the second needs no loop
_OF_ANY_VERSION = frozenset({"CastLike", "Constant"})    # no runtime is asked what these say

Types = Mapping[str, onnx.TypeProto]


def expand_bodies(proto: onnx.ModelProto, places: tuple[int, ...], path: str) -> tuple[int, ...]:
    """Replace every standard node that has no entry, and that ONNX defines by others, in place.

    places: of each node, its place in the file; the same is returned for the nodes that there are then. Nodes without a body, or whose
    body is written for another meaning of an operator than the model's operator set gives it, stay.
    """
    for _ in range(_DEEPEST):
        found = [k for k, node in enumerate(proto.graph.node) if _wanted(node)]
        types = _types(proto) if found else {}
        bodies = {k: body for k in found if (body := _body(proto, proto.graph.node[k], types, k)) is not None}
        if not bodies:
            break
        # The file's own nodes stay what they are: whoever compares single ones with a runtime holds them.
        nodes = [_call(node, bodies[k]) if k in bodies else node for k, node in enumerate(proto.graph.node)]
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
        proto.functions.extend(bodies.values())
        inner = inline_functions(proto, path)
        places = tuple(places[k] for k in inner)
    return places


def defined_by_others() -> tuple[str, ...]:
    """The operators that may be expanded, sorted."""
    return tuple(sorted(str(s.name) for s in onnx.defs.get_all_schemas() if s.domain == "" and has_body(s) and _expandable(str(s.name))))


def has_body(schema: Any) -> bool:
    """Whether ONNX defines the operator of a schema by others. schema: an `onnx.defs.OpSchema`, of which onnx states only some types."""
    return bool(schema.has_function or schema.has_context_dependent_function)


def _expandable(name: str) -> bool:
    return not (name in _READ_AS_THEY_ARE or name in REFUSED or name in OPS)


def _wanted(node: onnx.NodeProto) -> bool:
    return node.domain in STANDARD_DOMAINS and _expandable(str(node.op_type))


def _call(node: onnx.NodeProto, body: onnx.FunctionProto) -> onnx.NodeProto:
    call = onnx.NodeProto()
    call.CopyFrom(node)
    call.name = call.name or next((str(o) for o in call.output if o), "")
    call.domain, call.overload = _DOMAIN, body.overload
    return call


def _body(proto: onnx.ModelProto, node: onnx.NodeProto, types: Types, place: int) -> onnx.FunctionProto | None:
    """The function that a node calls, its attributes' defaults included; None where ONNX states none that can be used here."""
    version = version_of(proto.opset_import) or 0
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
        text = next(_stated(schema, node, types, version), b"")
    except Exception:   # an unknown operator, or a node that is no valid one, which is told when it is imported
        return None
    if not text:
        return None
    body = onnx.FunctionProto()
    body.ParseFromString(text)
    own = version_of(body.opset_import) or version
    inner = {n.op_type for n in body.node if n.domain in STANDARD_DOMAINS} - _OF_ANY_VERSION
    if not all(still_means(name, own, version) for name in inner):
        return None
    body.domain, body.name, body.overload = _DOMAIN, node.op_type, str(place)
    del body.opset_import[:]
    body.opset_import.append(onnx.helper.make_opsetid("", version))
    del body.attribute[:], body.attribute_proto[:]
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name:
            body.attribute_proto.append(attribute.default_value)
        else:
            body.attribute.append(name)
    return body


def _stated(schema: Any, node: onnx.NodeProto, types: Types, version: int) -> Iterator[bytes]:
    """Bodies by ONNX, serialised: the newest that is not newer than the model's operator set, else the oldest."""
    plain, built = schema.function_opset_versions, schema.context_dependent_function_opset_versions
    if plain:
        yield bytes(schema.get_function_with_opset_version(_nearest(plain, version)))
    if built and all(not i or i in types for i in node.input):
        given = [(types[i] if i else onnx.TypeProto()).SerializeToString() for i in node.input]
        yield bytes(schema.get_context_dependent_function_with_opset_version(_nearest(built, version), node.SerializeToString(), given))


def _nearest(versions: Sequence[int], wanted: int) -> int:
    return max((v for v in versions if v <= wanted), default=min(versions))


def _types(proto: onnx.ModelProto) -> Types:
    """Types of tensors, as far as they are stated or follow."""
    found = {t.name: onnx.helper.make_tensor_type_proto(t.data_type, t.dims) for t in proto.graph.initializer}
    try:
        inferred = with_shapes(proto).graph
    except Exception:   # of a model that is damaged elsewhere, which is told there
        inferred = proto.graph
    for value in (*proto.graph.input, *inferred.value_info, *inferred.output):
        found.setdefault(value.name, value.type)
    return found
