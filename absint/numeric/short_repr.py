"""How values that hold tensors show themselves at a prompt: by kinds and shapes, not by numbers."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from torch import Tensor

_WIDTH = 80    # of one field


def short_repr(value: Any) -> str:
    """A dataclass in one line: tensors and arrays by format and shape, everything else as it is where that is short."""
    parts = [f"{field.name.rstrip('_')}={_shown(getattr(value, field.name))}" for field in fields(value) if field.repr]
    return f"{type(value).__name__}({', '.join(parts)})"


def _shown(value: object) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{str(value.dtype).removeprefix('torch.')}{tuple(value.shape)}"
    try:
        text = str(value) if isinstance(value, (int, float)) or type(value).__module__ == "fractions" else repr(value)
    except ValueError:    # numbers of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
