"""What `absint errors` and `absint.error_rates` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from absint.contract.common_options import DataOptions
from absint.contract.options import LIMITS, METHOD, PROPERTY, option

DEFAULT_EPS = "0.01"
ATTACK = "Attack"


@dataclass(frozen=True)
class ErrorsOptions(DataOptions):
    """See `Errors`."""

    eps: Any = option(DEFAULT_EPS, "Radius in linf, raw input units: 0.4 or 8/255, taken exactly.", group=PROPERTY, common=True, kind=str,
                      accepts="float | str | Fraction")
    domains: Any = option("box,zonotope,deeppoly", "Domains and strategies, separated by commas, cheap ones first: a column each.",
                          group=METHOD, common=True, kind=str,
                          accepts="str | Domain[Any] | Strategy | Sequence[str | Domain[Any] | Strategy]")
    only_open: bool = option(False, "Ask each domain only about what the ones before it left open and no attack broke.", group=METHOD,
                             common=True)
    dtype: str = option("auto", "float32, float64, or auto: float64 for what float32 leaves open.", group=METHOD)
    attack_steps: int = option(200, "Steps of projected gradient descent from each start; 0 for no attack.", group=ATTACK, common=True)
    restarts: int = option(10, "Starts of it, each on what is still unbroken.", group=ATTACK, common=True)
    rate: float | None = option(None, "Its first step length in raw input units, a tenth of it in the second half.", group=ATTACK,
                                shown="0.1, at most twice the radius")
    seed: int = option(0, "Of its starts.", group=ATTACK, common=True)
    timeout: float | str | None = option(60.0, "Seconds an image and domain, its share of a batch; or none.", group=LIMITS, unit="s",
                                         common=True, kind=str, accepts="float | str | None", binds=False)
