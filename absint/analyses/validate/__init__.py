"""Input validation at run time: an input is accepted where the network is proved robust enough around it.

The analyses `validate.calibrate`, `validate.run` and `validate.evaluate`, and `RadiusValidator` for programs. Nothing of torch is
imported before it is used: the command line reads this package for its help.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from absint.analyses.validate.record import Decision
    from absint.analyses.validate.validator import MODES, Inputs, Radius, RadiusValidator, ValidatorOptions

__all__ = [
    "MODES",
    "Decision",
    "Inputs",
    "Radius",
    "RadiusValidator",
    "ValidatorOptions",
]

_VALIDATOR = "absint.analyses.validate.validator"
_HOME = {**dict.fromkeys(__all__, _VALIDATOR), "Decision": "absint.analyses.validate.record"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
