"""Sound bounds of any tensors over a batch of regions, and where width is gained."""

from absint.analyses.bounds.widths import BoolArray, BoundsOptions, FloatArray, LayerWidths, TensorBounds, bounds, layer_widths, layers

__all__ = [
    "BoolArray", "BoundsOptions", "FloatArray", "LayerWidths", "TensorBounds", "bounds", "layer_widths", "layers",
]
