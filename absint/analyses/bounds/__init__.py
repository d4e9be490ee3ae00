"""Sound bounds of any tensors over a batch of regions, where width is gained, and the forms in which people ask for them.

`options`, `record` and `analysis` load no torch, nor does this page: names are imported on first use.
"""

from importlib import import_module
from typing import Any

_HOME = {
    **dict.fromkeys(("AffineBounds", "affine_bounds", "names_of", "tensor_intervals"), "tensors"),
    **dict.fromkeys(("BoundingSettings", "LayerWidths", "bounds", "layer_widths", "layers"), "widths"),
    "TensorBounds": "record",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
