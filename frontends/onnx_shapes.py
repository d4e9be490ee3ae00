"""Full shapes of tensors at batch size 1, how a graph holds them, and a file that takes one instance at a time.

A tensor whose axis 0 has size 1 is held without it, whatever that axis is: of a single instance, moving, merging or dropping an
axis of size 1 moves no entry.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import onnx
import onnx.shape_inference
from onnx import helper, numpy_helper

from absint.frontends.onnx_file import AnyArray, OnnxFile
from absint.frontends.onnx_inference import check_equations, with_shapes
from absint.model.op import Shape
from absint.model.shapes import held

_SHAPE_NUMBERS = 4096   # integers of a constant that may tell a shape


def leads(full: Shape) -> bool:
    """Whether axis 0 is kept apart."""
    return len(full) > 1 and full[0] == 1


def inner(full: Shape) -> Shape:
    """The shape of a tensor in the graph."""
    return full[1:] if leads(full) else held(full)


_FLOAT = int(onnx.TensorProto.FLOAT)
Versions = tuple[tuple[str, int], ...]


class _Asked(NamedTuple):
    """All that ONNX's inference sees of a node, whatever its tensors are called: what has been asked once need not be asked again.

    attributes: serialized.  inputs: places among the operands, None for an absent one.  outputs: whether each is there.
    operands: type and shape, and of a constant that may tell a shape its numbers.
    """

    op_type: str
    domain: str
    attributes: tuple[bytes, ...]
    inputs: tuple[int | None, ...]
    outputs: tuple[bool, ...]
    operands: tuple[tuple[int, Shape, tuple[str, bytes] | None], ...]
    versions: Versions


def told(node: onnx.NodeProto, shapes: Mapping[str, Shape | None], constants: Mapping[str, AnyArray], versions: Versions,
         ) -> dict[str, Shape]:
    """Shapes of a node's results as ONNX's own inference has them; nothing where it does not tell.

    constants: by name, what the node reads of them.  shapes: of all else that it reads.  versions: of each domain's operators.
    """
    try:
        operands = {i: _operand(constants[i]) if i in constants else (_FLOAT, shapes[i] or (), None) for i in node.input if i}
        places = {name: k for k, name in enumerate(operands)}
        attributes = tuple(a.SerializeToString(deterministic=True) for a in node.attribute)
        inputs, outputs = tuple(places[i] if i else None for i in node.input), tuple(map(bool, node.output))
        asked = _Asked(node.op_type, node.domain, attributes, inputs, outputs, tuple(operands.values()), versions)
        found = _told(asked)
    except Exception:   # an operator without a schema, or without inference: the import rule tells
        return {}
    return {name: shape for name, shape in zip(node.output, found, strict=True) if name and shape is not None}


def _operand(value: AnyArray) -> tuple[int, Shape, tuple[str, bytes] | None]:
    kind = _FLOAT if value.dtype.kind == "f" else int(helper.np_dtype_to_tensor_dtype(value.dtype))
    known = value.dtype.kind in "iu" and value.size <= _SHAPE_NUMBERS
    return kind, tuple(value.shape), (value.dtype.str, value.tobytes()) if known else None


@lru_cache(maxsize=1024)
def _told(asked: _Asked) -> tuple[Shape | None, ...]:
    """Of each output, None where it is not told. Raises whatever ONNX does."""
    version = max((number for domain, number in asked.versions if domain == asked.domain), default=0)
    names = [f"i{k}" for k in range(len(asked.operands))]
    node = helper.make_node(asked.op_type, ["" if k is None else names[k] for k in asked.inputs],
                            [f"o{k}" if there else "" for k, there in enumerate(asked.outputs)], domain=asked.domain)
    node.attribute.extend(map(onnx.AttributeProto.FromString, asked.attributes))
    check_equations((node,))
    schema = onnx.defs.get_schema(asked.op_type, version, asked.domain)
    types, known = {}, {}
    for name, (kind, shape, numbers) in zip(names, asked.operands, strict=True):
        types[name] = helper.make_tensor_type_proto(kind, shape)
        if numbers is not None:
            known[name] = numpy_helper.from_array(np.frombuffer(numbers[1], numbers[0]).reshape(shape), name)
    versions = [helper.make_opsetid(domain, number) for domain, number in asked.versions]
    found = onnx.shape_inference.infer_node_outputs(schema, node, types, known, opset_imports=versions)
    return tuple(_full(found.get(name)) for name in node.output)


def _full(kind: onnx.TypeProto | None) -> Shape | None:
    """The shape of a type, where all of it is known."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(int(d.dim_value) for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def inferred(file: OnnxFile) -> dict[str, Shape]:
    """Shapes of all tensors that ONNX's inference knows for one instance, however little of the model is supported."""
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    full = {one.name: one.shape for one in file.inputs}
    for info in proto.graph.input:
        for dim, size in zip(info.type.tensor_type.shape.dim, full.get(info.name, ()), strict=False):
            dim.dim_value = size
    try:
        proto = with_shapes(proto, data_prop=True)
    except Exception:   # only better messages depend on it
        return {}
    found = {}
    for info in (*proto.graph.value_info, *proto.graph.output):
        dims = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(d.dim_value > 0 for d in dims):
            found[info.name] = tuple(int(d.dim_value) for d in dims)
    return found


def one_at_a_time(file: OnnxFile) -> OnnxFile:
    """The file with batch size 1 in place of an open one, so that no runtime is given several instances, which it might mix."""
    ending, names = file.ending, [one.name for one in file.inputs if one.open]
    single = tuple(replace(one, dims=(1, *one.dims[1:])) if one.open else one for one in file.inputs)
    return replace(file, inputs=single, model=_of_one(file.model, names),
                   ending=None if ending is None else replace(ending, model=_of_one(ending.model, names)))


def _of_one(model: bytes, names: Collection[str]) -> bytes:
    proto = onnx.load_model_from_string(model)
    firsts = [info.type.tensor_type.shape.dim[0] for info in proto.graph.input if info.name in names]
    called = {str(first.dim_param) for first in firsts if first.dim_param}
    for info in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param in called:
                dim.dim_value = 1
    for first in firsts:
        first.dim_value = 1
    return bytes(proto.SerializeToString())
