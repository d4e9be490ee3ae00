"""Numbers of an ONNX file as tensors, and attributes as Python values; each conversion is exact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor

from absint.errors import AbsintError, PluginError
from absint.frontends.onnx_file import AnyArray, to_array
from absint.model.op import MixedAxesError

MASK_HINT = ("where it masks attention, mask with a finite number and export again: scores.masked_fill(mask, -1e9), or a float "
             "attn_mask of it")
FOLD_HINT = "fold the constants before the import (onnxsim, or export with constant folding)"


class NodeProblemError(Exception):
    """Why one node is not imported. mixes: because its import rule does not leave axis 0 alone."""

    def __init__(self, reason: str, hint: str | None = None, code: str = "E-OP-UNSUPPORTED", *, mixes: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.code, self.mixes = reason, hint, code, mixes


def tensor_of(value: AnyArray) -> Tensor:
    """float64, int64 or bool: each conversion is exact."""
    if value.dtype.kind == "f":
        if not np.isfinite(value).all():    # whoever understands masks took them out
            raise NodeProblemError("a constant with -inf is not supported here", MASK_HINT)
        return torch.from_numpy(np.array(value, dtype=np.float64))
    if value.dtype.kind == "b":
        return torch.from_numpy(np.array(value))
    if value.dtype.kind == "u" and value.size and int(value.max()) >= 2**63:
        raise NodeProblemError("a constant of 2^63 or more is not supported", "use smaller numbers")
    if value.dtype.kind in "iu":
        return torch.from_numpy(np.array(value, dtype=np.int64))
    raise NodeProblemError(f"a constant of type {value.dtype} is not supported",
                           "store it as floating-point numbers or integers")


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


@contextmanager
def problems() -> Iterator[None]:
    """Whatever an import rule raises, as what is wrong with its node."""
    try:
        yield
    except (PluginError, NodeProblemError):
        raise
    except AbsintError as error:
        raise NodeProblemError(error.what, error.hint, error.code, mixes=isinstance(error, MixedAxesError)) from error
    except Exception as error:  # an import rule met something it did not foresee, perhaps a stranger's rule
        raise NodeProblemError(f"its import rule raised {type(error).__name__}: {error}", "report it with the model") from error
