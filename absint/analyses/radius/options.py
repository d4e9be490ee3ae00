"""What `absint radius` and `absint.radius` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from absint.contract.common_options import ProofOptions
from absint.contract.options import LIMITS, METHOD, PROPERTY, option

DOMAIN, EXACT_DOMAIN, EXACT_ATTACK = "zonotope", "exact", "pgd"
_EXACT_NUMBER = "float | str | Fraction"


@dataclass(frozen=True)
class RadiusOptions(ProofOptions):
    """See `Radius`."""

    domain: Any = option(None, "Abstract domain, with options after a colon: zonotope:max_generators=500.", group=METHOD, shown=DOMAIN,
                         common=True, kind=str, accepts="str | Domain[Any] | Strategy | None", binds=False, instead=("exact",))
    exact: bool = option(False, f"Both ends meet: short for --domain {EXACT_DOMAIN} --attack {EXACT_ATTACK}.", group=METHOD, common=True,
                         binds=False, instead=("domain", "attack"))
    attack: str | None = option("", "Search for counterexamples as well: pgd or none.", group=METHOD, shown="none; pgd with --exact",
                                common=True)
    upper: Any = option("0.256", "Radii below this one are tried; raw input units, taken exactly.", group=PROPERTY, common=True, kind=str,
                        accepts=_EXACT_NUMBER)
    tolerance: Any = option("0.001", "Halve until the radius is known up to less than this.", group=PROPERTY, common=True, kind=str,
                            accepts=_EXACT_NUMBER)
    norm: Any = option("linf", "Norm of the radius: linf, l2 or l1.", group=PROPERTY, common=True, kind=str, accepts="str | float")
    fan: int | None = option(None, "Halvings tried at once, all their radii in one batch.", group=LIMITS, shown="1 on a CPU, 3 on CUDA",
                             binds=False)
    timeout: float | str | None = option(60.0, "Seconds an input, its share, for all of its radii; or none.", group=LIMITS, unit="s",
                                         common=True, kind=str, accepts="float | str | None", binds=False)
    accept_solver: bool = option(False, "Refused: a certified radius needs proofs.", group=METHOD, command=False)
