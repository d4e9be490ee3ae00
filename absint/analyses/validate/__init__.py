"""Input validation at run time: an input is accepted where the network is proved robust enough around it."""

from absint.analyses.validate.validator import MODES, Decision, Inputs, Radius, RadiusValidator, ValidatorOptions

__all__ = [
    "MODES",
    "Decision",
    "Inputs",
    "Radius",
    "RadiusValidator",
    "ValidatorOptions",
]
