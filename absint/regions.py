"""Input sets other than boxes. A public face of `absint.problem.regions`."""

from absint.problem.regions import (
    InstanceRadii,
    L1Ball,
    L2Ball,
    NormBall,
    Patch,
    Patches,
    Photometric,
    ZonotopeRegion,
    all_positions,
    ball,
)

__all__ = [
    "InstanceRadii", "L1Ball", "L2Ball", "NormBall", "Patch", "Patches", "Photometric", "ZonotopeRegion", "all_positions", "ball",
]
