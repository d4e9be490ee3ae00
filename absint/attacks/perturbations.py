"""What an evaluation sends in place of clean inputs: attacks of Foolbox, and noise of our own. One class a kind; proves nothing.

Unlike `foolbox_attacks.attack`, which keeps the adversarial inputs, these return what becomes of every input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from absint.attacks.foolbox_attacks import ATTACK_KINDS, AttackPlan, Sent, Setting, check_foolbox, parse_attack, parse_parameters, send
from absint.errors import UsageError
from absint.problem.whereabouts import HOME


@dataclass(frozen=True)
class Perturbation(ABC):
    """One kind with its parameters. text: as the user wrote it, 'uniform:eps=0.1'."""

    text: str

    @property
    @abstractmethod
    def confinable(self) -> bool:
        """Whether it can be told to change some entries alone."""

    @abstractmethod
    def check(self) -> None:
        """Raise UnsupportedError E-ATTACK-MISSING where it needs what is not installed."""

    @abstractmethod
    def sent(self, model: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor, setting: Setting) -> Sent:
        """What becomes of each input: (n, *shape), away from its label (n,), in the range, outside of the support as it came."""

    @abstractmethod
    def provenance(self, setting: Setting, model_sha256: str) -> Mapping[str, Any]:
        """Of what it made, JSON-ready."""


@dataclass(frozen=True)
class FromFoolbox(Perturbation):
    """An attack of Foolbox."""

    plan: AttackPlan

    @property
    def confinable(self) -> bool:
        """One that walks from another input is not."""
        return not self.plan.kind.starts

    def check(self) -> None:
        """Foolbox is an extra."""
        check_foolbox()

    def sent(self, model: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor, setting: Setting) -> Sent:
        """See `foolbox_attacks.send`."""
        return send(model, inputs, labels, self.plan, setting)

    def provenance(self, setting: Setting, model_sha256: str) -> Mapping[str, Any]:
        """With the versions."""
        return self.plan.provenance(setting, model_sha256)


# Directions in [-1, 1] of numbers that are uniform in [0, 1).
NOISES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda numbers: 2 * numbers - 1,
    "sign": lambda numbers: torch.where(numbers < 0.5, -1.0, 1.0),
}


@dataclass(frozen=True)
class Noise(Perturbation):
    """Random numbers of at most eps, added to every entry that may change: uniform in [-eps, eps], or -eps and eps with equal odds."""

    name: str
    eps: float

    @property
    def confinable(self) -> bool:
        """Always."""
        return True

    def check(self) -> None:
        """It needs nothing."""

    def sent(self, model: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor, setting: Setting) -> Sent:
        """The same directions for every eps of a seed; numbers of float32, as an input that is sent."""
        setting.look()
        inputs = inputs.to(HOME, torch.float64)
        generator = torch.Generator().manual_seed(setting.seed)
        numbers = torch.rand(inputs.shape, generator=generator, dtype=torch.float64)
        found = (inputs + self.eps * NOISES[self.name](numbers)).clamp(*setting.clip).float().double().clamp(*setting.clip)
        if setting.support is not None:
            found = torch.where(setting.support, found, inputs)
        return Sent(found, torch.zeros(len(inputs), dtype=torch.bool))

    def provenance(self, setting: Setting, model_sha256: str) -> Mapping[str, Any]:
        """It looks at no network."""
        return {"attack": self.name, "parameters": {"eps": self.eps}, "seed": setting.seed, "clip": list(setting.clip),
                "versions": {"torch": torch.__version__}}


def parse_perturbation(text: str) -> Perturbation:
    """'uniform:eps=0.1', 'sign:eps=8/255', or an attack of `foolbox_attacks.parse_attack`.

    Raises UsageError E-ATTACK-UNKNOWN or E-ATTACK-OPTION.
    """
    name, _, rest = text.partition(":")
    if name in NOISES:
        return Noise(text, name, float(parse_parameters(name, rest, {"eps": 0.1})["eps"]))
    if name not in ATTACK_KINDS:
        raise UsageError("E-ATTACK-UNKNOWN", f"there is no attack '{name}'", where="--attack",
                         hint=f"known: {', '.join((*NOISES, *ATTACK_KINDS))}")
    return FromFoolbox(text, parse_attack(text))


def parse_perturbations(texts: Iterable[str], presets: Mapping[str, tuple[str, ...]]) -> tuple[Perturbation, ...]:
    """Several, each once; a preset stands for its own. Raises as `parse_perturbation` does."""
    written = [one for text in texts for one in presets.get(text, (text,))]
    return tuple(parse_perturbation(text) for text in dict.fromkeys(written))
