"""Numbers of an ONNX file as tensors, and attributes as Python values; each conversion is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor

from absint.frontends.onnx_file import AnyArray, to_array


class NodeProblemError(Exception):
    """Why one node is not imported."""

    def __init__(self, reason: str, hint: str | None = None, code: str = "E-OP-UNSUPPORTED") -> None:
        super().__init__(reason)
        self.reason, self.hint, self.code = reason, hint, code


def tensor_of(value: AnyArray) -> Tensor:
    """float64, int64 or bool: each conversion is exact."""
    if value.dtype.kind == "f":
        return torch.from_numpy(np.array(value, dtype=np.float64))
    if value.dtype.kind == "b":
        return torch.from_numpy(np.array(value))
    if value.dtype.kind == "u" and value.size and int(value.max()) >= 2**63:
        raise NodeProblemError("a constant of 2^63 or more is not supported", "use smaller numbers")
    if value.dtype.kind in "iu":
        return torch.from_numpy(np.array(value, dtype=np.int64))
    raise NodeProblemError(f"a constant of type {value.dtype} is not supported", "use numbers")


def tensors_of(values: tuple[AnyArray | None, ...]) -> tuple[Tensor | None, ...]:
    """Of each that is there."""
    return tuple(None if value is None else tensor_of(value) for value in values)


def value_of(attribute: onnx.AttributeProto) -> Any:
    """A number, text, tensor or list of an attribute."""
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return tensor_of(to_array(value))
    return list(value) if isinstance(value, (list, tuple)) or hasattr(value, "append") else value
