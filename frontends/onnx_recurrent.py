"""Recurrent layers of a file whose batch axis has no fixed size: whether their sequences do."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
import onnx.shape_inference

RECURRENT = ("RNN", "GRU", "LSTM")
OPEN_LENGTH = ("the length of its sequence is not fixed",
               "export with a fixed sequence length, or with batch size 1 where axis 0 is the batch")


def fixed_lengths(proto: onnx.ModelProto, given: Collection[str]) -> Mapping[str, int | None] | None:
    """Tensor -> size of its axis 0, None where it depends on what the file leaves open; None at all where it leaves nothing open.

    given: the network's inputs.  What exporters noted of inner tensors does not count: it may stem from the one input that they traced.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    if all(_first(info) is not None for info in bare.graph.input if info.name in given):
        return None
    del bare.graph.value_info[:]
    try:
        bare = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception:  # then nothing is known to be fixed
        return {}
    return {info.name: _first(info) for info in (*bare.graph.input, *bare.graph.value_info)}


def _first(info: onnx.ValueInfoProto) -> int | None:
    dims = info.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims and dims[0].dim_value > 0 else None
