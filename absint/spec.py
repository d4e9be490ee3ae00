"""Output properties. A public face of `absint.problem.spec`."""

from absint.problem.spec import ATTAINED, Refutation, Spec, attained

__all__ = [
    "ATTAINED", "Refutation", "Spec", "attained",
]
