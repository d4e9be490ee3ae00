"""From a run to the settings that its proofs are made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from absint.analyses.verify.settings import ProofSettings
from absint.attacks import ATTACKS
from absint.contract.analysis import Item
from absint.contract.run import Run


def settings_of(run: Run[Any]) -> ProofSettings:
    """Of a run whose options are `ProofOptions`. Raises UsageError E-ATTACK-UNKNOWN, E-DTYPE, E-SEMANTICS, E-BATCH."""
    options = run.options
    attack = None if options.attack in (None, "none") else options.attack
    if attack is not None:
        ATTACKS.get(attack)
    return ProofSettings(
        domain=run.domain, dtype=options.dtype, device=options.device, rounding=getattr(options, "rounding", True),
        semantics=options.semantics, batch=options.batch, memory=options.memory, attack=attack,
        accept_solver=getattr(options, "accept_solver", False), evidence=getattr(options, "evidence", False),
        timeout=run.timeout, total_timeout=run.left,
        on_stage=run.stage,
    )


def limited(settings: ProofSettings, items: Sequence[Item], run: Run[Any]) -> ProofSettings:
    """The settings for some items: within the time that the run has left, and within a limit of their own where they have one."""
    own = [item.limit for item in items if item.limit is not None]
    timeout = min([run.timeout, *own]) if len(items) == len(own) == 1 else run.timeout
    return replace(settings, total_timeout=run.left, timeout=timeout, on_stage=run.stage)
