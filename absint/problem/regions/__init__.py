"""Input sets other than boxes: norm balls, patches, zonotopes, brightness and contrast. docs/regions.md tells how to use them."""

from absint.problem.regions.balls import L1Ball, L2Ball, NormBall, ball
from absint.problem.regions.patches import Patch, Patches, all_positions
from absint.problem.regions.photometric import Photometric
from absint.problem.regions.radii import InstanceRadii
from absint.problem.regions.zonotope import ZonotopeRegion

__all__ = ["InstanceRadii", "L1Ball", "L2Ball", "NormBall", "Patch", "Patches", "Photometric", "ZonotopeRegion", "all_positions", "ball"]
