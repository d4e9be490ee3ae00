"""For those who write an elementwise operator. A public face of `absint.model.families`."""

from absint.model.families.elementwise import Elementwise
from absint.model.families.function_pieces import Candidate, Curvature, Jump, KernelError, Knot, Piece

__all__ = [
    "Candidate", "Curvature", "Elementwise", "Jump", "KernelError", "Knot", "Piece",
]
