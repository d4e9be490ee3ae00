"""The radii of a run, and how balls of them are decided."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from absint.analyses.global_robustness.asking import spacing, task_of
from absint.analyses.global_robustness.deciding import Radii
from absint.analyses.global_robustness.options import GlobalRobustnessOptions
from absint.analyses.verify.settings import ProofSettings
from absint.attacks import ATTACKS
from absint.contract.run import Run
from absint.errors import UsageError
from absint.numeric.decimal import exact_text, parse_eps

_COARSE = 2.0**-19      # no float32 number up to 8.3, beyond which nothing is drawn, is further from the next one


def check_radii(options: GlobalRobustnessOptions) -> None:
    """Raise UsageError E-EPS, E-GLOBAL-EPS, E-ATTACK-UNKNOWN, E-DTYPE for what is wrong whatever the networks."""
    radii_in(options.eps)
    ProofSettings(None, dtype=options.dtype)
    if options.attack not in (None, "none"):
        ATTACKS.get(options.attack)


def radii_in(stated: Any) -> dict[str, Fraction]:
    """Text -> exact radius, ascending. stated: '0.001,0.003', a number, or several. Raises UsageError E-EPS, E-GLOBAL-EPS for none."""
    parts: Sequence[Any] = stated.split(",") if isinstance(stated, str) else stated if isinstance(stated, (tuple, list)) else (stated,)
    exact = sorted({parse_eps(part.strip() if isinstance(part, str) else part) for part in parts})
    if not exact:
        raise UsageError("E-GLOBAL-EPS", "no radius is given", where="--eps", hint="for example 0.003,0.01")
    return {exact_text(one): one for one in exact}


def radii_of(run: Run[GlobalRobustnessOptions]) -> Radii:
    """Raises UsageError E-GLOBAL-EPS for a radius within which there is no other latent, and what `task_of` does."""
    options, exact = run.options, radii_in(run.options.eps)
    task = task_of(run, len(exact))
    least = min((radius for radius in exact.values() if radius), default=None)
    if least is not None and least < _COARSE and least < (apart := Fraction(spacing(task))):
        stated = f"{Decimal(least.numerator) / least.denominator:.3g}"      # no float is as small as a text may be
        raise UsageError("E-GLOBAL-EPS", f"a radius of {stated} is less than what lies between two latents, {float(apart):g}",
                         where="--eps", hint="latents are float32 numbers; radius 0 asks about the drawn ones themselves")
    attack = None if options.attack in (None, "none") else options.attack
    settings = ProofSettings(run.domain, dtype=options.dtype, device=options.device, batch=options.batch, memory=task.memory, attack=attack,
                             timeout=run.timeout)
    return Radii(task, exact, settings)
