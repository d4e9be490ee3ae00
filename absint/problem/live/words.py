"""Small values that people write in several ways: number formats, devices, orders of axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from absint.errors import UsageError, shown
from absint.model.layout import Layout, network_layout
from absint.numeric import backend

_FORMATS = {"float32": torch.float32, "float64": torch.float64}


def dtype_of(value: object) -> torch.dtype:
    """float32 or float64, from its name, torch's or numpy's own. Raises UsageError E-DTYPE."""
    word = str(value).removeprefix("torch.") if isinstance(value, (str, torch.dtype)) else _name_in_numpy(value)
    if word not in _FORMATS:
        raise UsageError("E-DTYPE", f"not a number format: {shown(value)}", where="dtype", hint="float32 or float64")
    return _FORMATS[word]


def _name_in_numpy(value: Any) -> str:
    known = isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, (np.generic, float)))
    return str(np.dtype(value).name) if known else ""


def device_of(value: object) -> torch.device:
    """A device from its name, or torch's own. Raises UsageError E-DEVICE, ResourceError E-DEVICE where this machine has none."""
    if not isinstance(value, (str, torch.device)):
        raise UsageError("E-DEVICE", f"not a device: {shown(value)}", where="device", hint="cpu, cuda or cuda:0")
    return backend.device(str(value))


def layout_of(value: object) -> Layout | None:
    """The order of a network's axes that is told: 'chw', 'hwc', or 'auto' for none. Raises UsageError E-DATA-LAYOUT."""
    if value is None or isinstance(value, Layout):
        return value
    if not isinstance(value, str):
        raise UsageError("E-DATA-LAYOUT", f"not a layout: {shown(value)}", where="layout", hint="auto, chw or hwc")
    return network_layout(value)
