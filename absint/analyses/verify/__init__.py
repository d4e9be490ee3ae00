"""Robustness verification, or any property, of a batch of instances. Names are imported on first use: commands read options alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from absint.analyses.verify.deciding import decided, verify
    from absint.analyses.verify.settings import ProofSettings
    from absint.problem.problem import Problem, robustness

__all__ = ["Problem", "ProofSettings", "decided", "robustness", "verify"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from absint.analyses.verify.deciding import decided, verify
    from absint.analyses.verify.settings import ProofSettings
    from absint.problem.problem import Problem, robustness

    return {"Problem": Problem, "ProofSettings": ProofSettings, "decided": decided, "robustness": robustness, "verify": verify}[name]
