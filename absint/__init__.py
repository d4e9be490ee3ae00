"""absint: a sound abstract-interpretation verifier for neural networks.

`absint.load` reads a model, `absint.verify` proves robustness, `absint.bounds` bounds any tensor. docs/ explains what a
verdict means. Names are imported on first use, so that `import absint` and `absint --help` stay fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

ABSINT_CONTRACT = 1  # what the built-in plug-ins are written for; they are held to it like a stranger's

if TYPE_CHECKING:
    __version__: str
    from absint.analyses.validate.validator import RadiusValidator
    from absint.api import Bounds, bounds, load, radius, verify, verify_query
    from absint.errors import AbsintError
    from absint.problem.query import read_query
    from absint.registry import load_plugin

__all__ = [
    "AbsintError", "Bounds", "RadiusValidator", "__version__", "bounds", "load", "load_plugin", "radius", "read_query", "verify",
    "verify_query",
]

_HOME = {"load": "absint.api", "verify": "absint.api", "bounds": "absint.api", "Bounds": "absint.api",
         "AbsintError": "absint.errors", "load_plugin": "absint.registry", "read_query": "absint.problem.query",
         "verify_query": "absint.api",         "radius": "absint.api", "RadiusValidator": "absint.analyses.validate.validator"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("absint.registry").own_version()
    if name not in _HOME:
        raise AttributeError(f"module 'absint' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
