"""The conformance kit: what operators, domains, strategies and solvers must satisfy, as one call for plug-in authors.

Names are imported on first use: the pytest plug-in beside the kit is loaded by every run of pytest, and must not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from absint.testing.kit import (
        FLOAT64,
        MIXED,
        SINGLE,
        Check,
        ContractError,
        check_domain,
        check_op,
        check_solver,
        check_strategy,
        domain_checks,
        op_checks,
    )

__all__ = [
    "FLOAT64",
    "MIXED",
    "SINGLE",
    "Check",
    "ContractError",
    "check_domain",
    "check_op",
    "check_solver",
    "check_strategy",
    "domain_checks",
    "op_checks",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from absint.testing import kit

        return getattr(kit, name)
    raise AttributeError(f"module 'absint.testing' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
