"""Robustness radius: how far each input can be moved before its class is no longer proved."""

from absint.analyses.radius.bisection import Bracket, RadiusAnswer, RadiusOptions, RadiusResult, halvings, radius, steps_to

__all__ = [
    "Bracket", "RadiusAnswer", "RadiusOptions", "RadiusResult", "halvings", "radius", "steps_to",
]
