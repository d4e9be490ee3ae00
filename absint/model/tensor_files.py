"""Tensors as ONNX files."""

from __future__ import annotations

from typing import Any

import numpy as np


def tensor_bytes(array: np.ndarray[Any, Any], name: str) -> bytes:
    """A file that holds one tensor, called by its name."""
    from onnx import numpy_helper

    return bytes(numpy_helper.from_array(array, name).SerializeToString())
