"""Every domain that walks: those registered, and those that a strategy makes of them (tests only)."""

from __future__ import annotations

from absint.engine.domain import DOMAINS

# `exact` and `milp` walk as their base.
WALKERS = (*DOMAINS.names(), "auto", "refine")
