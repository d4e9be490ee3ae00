"""Full shapes of tensors at batch size 1, how a graph holds them, and a file that takes one instance at a time.

A tensor whose axis 0 has size 1 is held without it, whatever that axis is: of a single instance, moving, merging or dropping an
axis of size 1 moves no entry.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

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


def told(node: onnx.NodeProto, shapes: Mapping[str, Shape], constants: Mapping[str, AnyArray], versions: Sequence[onnx.OperatorSetIdProto],
         ) -> dict[str, Shape]:
    """Shapes of a node's results as ONNX's own inference has them; nothing where it does not tell.

    shapes: of the computed inputs.  constants: the others.
    """
    version = max((int(v.version) for v in versions if v.domain == node.domain), default=0)
    try:
        check_equations((node,))
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        types = {name: helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()}
        known = {}
        for name, value in constants.items():
            kind = onnx.TensorProto.FLOAT if value.dtype.kind == "f" else helper.np_dtype_to_tensor_dtype(value.dtype)
            types[name] = helper.make_tensor_type_proto(kind, value.shape)
            if value.dtype.kind in "iu" and value.size <= _SHAPE_NUMBERS:
                known[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, known, opset_imports=list(versions))
    except Exception:   # an operator without a schema, or without inference: the import rule tells
        return {}
    result = {}
    for name, kind in found.items():
        dims = kind.tensor_type.shape.dim
        if kind.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            result[name] = tuple(int(d.dim_value) for d in dims)
    return result


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
