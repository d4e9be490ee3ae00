"""absint: a sound abstract-interpretation verifier for neural networks.

`absint.load` reads a model, `absint.verify` proves robustness, `absint.bounds` bounds any tensor; every analysis is a function.
docs/ explains what a verdict means. Names are imported on first use, so that `import absint` and `absint --help` stay fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

ABSINT_CONTRACT = 1  # what the built-in plug-ins are written for; they are held to it like a stranger's

_HOME = {
    "load": "absint.api", "stream": "absint.api", "AbsintError": "absint.errors", "load_plugin": "absint.registry",
    "read_query": "absint.problem.query", "RadiusValidator": "absint.analyses.validate.validator",
    "TabooDetector": "absint.analyses.taboo.detector", "Graph": "absint.model.graph",
    "Verdict": "absint.verdict", "InstanceResult": "absint.verdict", "Region": "absint.problem.regions.region",
    "Spec": "absint.problem.spec", "Results": "absint.contract.results", "VerifyOptions": "absint.analyses.verify.options",
    "register_analysis": "absint.contract.analysis", "register_format": "absint.reports.interface",
    "register_executor": "absint.runs.executors",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("absint.registry").own_version()
    return getattr(import_module(_HOME[name]), name) if name in _HOME else _function(name)


def _function(name: str) -> Any:
    """The function of an analysis, perhaps a plug-in's."""
    if not name.startswith("_"):
        known = import_module("absint.contract.analysis").functions()
        if name in known:
            return import_module("absint.api").function(known[name])
    raise AttributeError(f"module 'absint' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*_HOME, *import_module("absint.contract.analysis").functions(), "__version__", "samples"})
