"""How to verify: the options of `verify`, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from absint.errors import UsageError


@dataclass(frozen=True)
class ProofSettings:
    """How to verify. Times in seconds, memory in bytes.

    domain: a Domain, or the name of a registered one.  dtype: "float32", "float64", or "auto" (float32 first, then float64 for
    what is undecided by rounding alone).  rounding False never yields VERIFIED, only LIKELY.
    semantics: "real" or "float32" (also every float32 execution; needs a graph loaded with fold=False).
    batch: instances analysed together at most, None to size by memory.  attack: name of the falsifier, or None: it runs before
    any proof, and again from the corners of relaxations that did not prove enough.
    accept_solver: whether a proof that rests on an LP/MILP solver's word is reported as verified, with assurance `solver`; it is
    unknown otherwise.  evidence: whether results carry what they rest on.  timeout: per instance, compared with its share of the wall
    time (`time_s`).  total_timeout: for the whole call.  on_stage: told what is going on, in a few words.
    """

    domain: object
    dtype: str = "auto"
    device: str = "cpu"
    rounding: bool = True
    semantics: str = "real"
    batch: int | None = None
    memory: int | None = None
    attack: str | None = "pgd"
    accept_solver: bool = False
    evidence: bool = False
    timeout: float = inf
    total_timeout: float = inf
    on_stage: Callable[[str], None] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", "float32", "float64"):
            raise UsageError("E-DTYPE", f"not a number format: '{self.dtype}'", where="--dtype", hint="auto, float32 or float64")
        if self.semantics not in ("real", "float32"):
            raise UsageError("E-SEMANTICS", f"not a semantics: '{self.semantics}'", where="--semantics", hint="real or float32")
        if self.batch is not None and self.batch < 1:
            raise UsageError("E-BATCH", f"the batch size must be at least 1, not {self.batch}", where="--batch",
                             hint="for example 1000")
        for name in ("timeout", "total_timeout"):
            if not getattr(self, name) > 0:
                raise UsageError("E-TIMEOUT", f"{name} must be positive, not {getattr(self, name)}", hint="for example 60, or none")
