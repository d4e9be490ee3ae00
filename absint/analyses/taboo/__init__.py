"""The Certifiable Taboo Trap: a key makes a few neurons taboo, and an activation above their thresholds raises an alarm.

The analyses `taboo.calibrate`, `taboo.detect`, `taboo.certify` and `taboo.evaluate`, and `TabooDetector` for programs. Nothing of torch
is imported before it is used: the command line reads this package for its help.
Source: Shumailov et al., Towards Certifiable Adversarial Sample Detection, 2020.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from absint.analyses.taboo.detector import TabooDetector
    from absint.analyses.taboo.traps import Trap, Traps, read_traps, write_traps

__all__ = [
    "TabooDetector",
    "Trap",
    "Traps",
    "read_traps",
    "write_traps",
]

_TRAPS = "absint.analyses.taboo.traps"
_HOME = {**dict.fromkeys(__all__, _TRAPS), "TabooDetector": "absint.analyses.taboo.detector"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
