"""From a run to what is computed: checks of the options with the network and data at hand, and what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from absint.analyses.errors.options import ErrorsOptions
from absint.analyses.verify.settings import ProofSettings
from absint.contract.run import Run
from absint.errors import InputError, UsageError
from absint.numeric import backend
from absint.numeric.decimal import exact_text, parse_eps
from absint.search.error_rates import Descent
from absint.search.names import Method, domains_of, searches

QUICK = 20      # steps of the attack that comes before all proofs


@dataclass(frozen=True, eq=False)
class ErrorsTask:
    """eps: exact, and as text.  domains: by name, in the order in which they are asked.  searching: those that go on beyond their bounds.

    quick, attack: before proofs and after them, or None.  labels: by the images' names.  proof: settings but for domain and time.
    """

    eps: Fraction
    text: str
    domains: Mapping[str, Method]
    searching: frozenset[str]
    only_open: bool
    quick: Descent | None
    attack: Descent | None
    labels: Mapping[int, int]
    device: torch.device
    memory: int
    proof: ProofSettings

    @property
    def plain(self) -> tuple[str, ...]:
        """Domains that only bound: what takes long about an image an attack broke is not asked."""
        return tuple(name for name in self.domains if name not in self.searching)


def check_options(options: ErrorsOptions) -> None:
    """Raise UsageError for what is wrong whatever the network: E-EPS, E-DOMAIN-UNKNOWN, E-DTYPE, E-ERRORS-ATTACK."""
    parse_eps(options.eps)
    domains_of(options.domains)
    ProofSettings(None, dtype=options.dtype, batch=options.batch)
    wrong = {"--attack-steps": options.attack_steps < 0, "--restarts": options.restarts < 1, "--seed": options.seed < 0,
             "--rate": options.rate is not None and not (options.rate > 0 and isfinite(options.rate))}
    bad = [word for word, is_wrong in wrong.items() if is_wrong]
    if bad:
        raise UsageError("E-ERRORS-ATTACK", f"no attack has such {'a value' if len(bad) == 1 else 'values'}", where=", ".join(bad),
                         hint="0 steps or more (0 for no attack), 1 start or more, a rate above 0, a seed of 0 or more")


def asked_of(run: Run[ErrorsOptions]) -> ErrorsTask:
    """Raises UsageError E-EPS for a radius beyond the data range, InputError E-DATA-UNLABELLED."""
    options, data = run.options, run.inputs
    eps, clip = parse_eps(options.eps), options.clip
    _check_radius(eps, clip)
    if data.labels is None:
        raise InputError("E-DATA-UNLABELLED", "the data has no labels", where=data.name, hint="add --labels FILE")
    device = backend.device(options.device)
    memory = int(options.memory or backend.default_memory(device))
    domains = domains_of(options.domains)
    attack = None if options.attack_steps == 0 else Descent(options.attack_steps, options.restarts, options.seed, options.rate)
    quick = None if attack is None else Descent(min(QUICK, attack.steps), 1, attack.seed, attack.rate)
    proof = ProofSettings(None, dtype=options.dtype, device=options.device, batch=options.batch, memory=memory, attack=None)
    labels = dict(zip(map(int, data.index), map(int, data.labels), strict=True))
    return ErrorsTask(eps, exact_text(eps), domains, frozenset(name for name, one in domains.items() if searches(one)),
                      options.only_open, quick, attack, labels, device, memory, proof)


def images(run: Run[ErrorsOptions], index: tuple[int, ...]) -> Tensor:
    """(n, *shape) float64 on the CPU: the inputs of these names."""
    return torch.from_numpy(np.ascontiguousarray(run.inputs.at(index).inputs))


def called(run: Run[ErrorsOptions]) -> str:
    """The network in a title."""
    return Path(run.network.source.path).name or "the network"


def _check_radius(eps: Fraction, clip: tuple[float, float] | None) -> None:
    if clip is not None and eps > Fraction(clip[1]) - Fraction(clip[0]):
        raise UsageError("E-EPS", f"a radius of {float(eps):g} goes beyond the data range [{clip[0]:g}, {clip[1]:g}]", where="--eps",
                         hint="every input lies in such a ball; radii are in raw input units, such as 8/255; --clip tells another range")
