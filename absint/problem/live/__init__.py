"""What users hand over in Python, whatever its type, as what the engine works on; what cannot be that is refused with a code."""

from absint.problem.live.arrays import array_of
from absint.problem.live.composed import composed, fit_of, normalisation, stated_graph
from absint.problem.live.inputs import inputs_of, labels_of, predicted_classes
from absint.problem.live.models import graph_of
from absint.problem.live.regions import clip_of, norm_of, region_of
from absint.problem.live.words import device_of, dtype_of, layout_of

__all__ = [
    "array_of", "clip_of", "composed", "device_of", "dtype_of", "fit_of", "graph_of", "inputs_of", "labels_of", "layout_of", "norm_of",
    "normalisation", "predicted_classes", "region_of", "stated_graph",
]
