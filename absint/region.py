"""Boxes and what every input set offers. A public face of `absint.problem.regions`."""

from absint.numeric.decimal import parse_eps
from absint.problem.regions.region import (
    BoxRegion,
    LinfBall,
    Region,
    Shape,
    box_below,
    check_center,
    in_range,
    inner_range,
    offset_between,
    outer_range,
)

__all__ = [
    "BoxRegion", "LinfBall", "Region", "Shape", "box_below", "check_center", "in_range", "inner_range", "offset_between",
    "outer_range", "parse_eps",
]
