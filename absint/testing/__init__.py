"""The conformance kit: what operators, domains, strategies and solvers must satisfy, as one call for plug-in authors."""

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
