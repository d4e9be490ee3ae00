"""Adversarial inputs for evaluations, made by Foolbox: FGSM, PGD, C&W, DeepFool, HopSkipJump, Boundary. Proves nothing.

Unlike the searches of `absint.attacks.search`, which look for a witness inside a given region, these make the inputs that an
attacker would send. An input counts as adversarial only where the network's answer, computed here in float64 and not by the
attack, differs from its answer to the original. Foolbox is an extra.
Source: Rauber et al., Foolbox Native, JOSS 5 (2020); each attack names its own paper in `ATTACK_KINDS`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.problem.whereabouts import HOME

_CHUNK = 128
Parameters = Mapping[str, float | int | str]


@dataclass(frozen=True)
class AttackKind:
    """cls: its name in foolbox.attacks.  defaults: of its parameters; `eps` goes to the call, the rest to the constructor.

    starts: whether it walks from an input of another class, which is drawn from the other inputs.  source: the paper.
    """

    cls: str
    defaults: Parameters
    source: str
    starts: bool = False


# HopSkipJump: 50 iterations of up to 10,000 queries, as the paper on input validation ran it. Its C&W made 10 iterations with a
# line search, which Foolbox does not have: 50 plain steps of .1 get about as close (10 of .01 end far away, 1.0 in l_inf).
ATTACK_KINDS: Mapping[str, AttackKind] = {
    "fgsm": AttackKind("LinfFastGradientAttack", {"eps": 0.1}, "Goodfellow et al., ICLR 2015"),
    "pgd": AttackKind("LinfProjectedGradientDescentAttack", {"eps": 0.1, "steps": 40, "rel_stepsize": 0.025}, "Madry et al., ICLR 2018"),
    "cw": AttackKind("L2CarliniWagnerAttack",
                     {"binary_search_steps": 10, "steps": 50, "stepsize": 0.1, "initial_const": 0.01, "confidence": 0.0},
                     "Carlini and Wagner, S&P 2017"),
    "deepfool": AttackKind("L2DeepFoolAttack", {"steps": 50, "overshoot": 0.02}, "Moosavi-Dezfooli et al., CVPR 2016"),
    "hopskipjump": AttackKind("HopSkipJumpAttack",
                              {"steps": 50, "initial_gradient_eval_steps": 100, "max_gradient_eval_steps": 10000, "constraint": "l2"},
                              "Chen et al., S&P 2020", starts=True),
    "boundary": AttackKind("BoundaryAttack", {"steps": 5000, "spherical_step": 0.01, "source_step": 0.01}, "Brendel et al., ICLR 2018",
                           starts=True),
}


@dataclass(frozen=True)
class AttackPlan:
    """One attack with its parameters, all of them written out. text: as the user wrote it, 'fgsm:eps=0.1'."""

    name: str
    parameters: Parameters
    text: str

    @property
    def kind(self) -> AttackKind:
        """What Foolbox calls it."""
        return ATTACK_KINDS[self.name]


def parse_attack(text: str) -> AttackPlan:
    """'cw', 'fgsm:eps=0.05', 'hopskipjump:steps=20,max_gradient_eval_steps=1000'.

    Raises UsageError E-ATTACK-UNKNOWN or E-ATTACK-OPTION.
    """
    name, _, rest = text.partition(":")
    if name not in ATTACK_KINDS:
        raise UsageError("E-ATTACK-UNKNOWN", f"there is no attack '{name}'", where="--attack", hint=f"known: {', '.join(ATTACK_KINDS)}")
    kind, given = ATTACK_KINDS[name], dict(ATTACK_KINDS[name].defaults)
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        if key not in kind.defaults:
            raise UsageError("E-ATTACK-OPTION", f"attack '{name}' has no parameter '{key}'", where="--attack",
                             hint=f"known: {', '.join(kind.defaults)}")
        given[key] = _value(name, key, value, kind.defaults[key])
    return AttackPlan(name, given, text)


def _value(name: str, key: str, value: str, default: float | int | str) -> float | int | str:
    if isinstance(default, str):
        if value not in ("l2", "linf"):
            raise UsageError("E-ATTACK-OPTION", f"'{value}' is no {key} of {name}", where="--attack", hint="l2 or linf")
        return value
    try:
        number = type(default)(value)
        if not 0 <= number < float("inf"):
            raise ValueError
    except ValueError as error:
        raise UsageError("E-ATTACK-OPTION", f"'{value}' is no {key} of {name}", where="--attack",
                         hint=f"the default is {default}") from error
    return number


@dataclass(frozen=True, eq=False)
class Adversarials:
    """The successful ones only. inputs: (n, *shape) float64, in the data range.  source: (n,) rows of the originals.

    original, predicted: (n,) the network's answers to the original and to the adversarial input, which differ.
    tried: originals attacked.  provenance: JSON-ready.
    """

    inputs: Tensor
    source: Tensor
    original: Tensor
    predicted: Tensor
    tried: int
    provenance: Mapping[str, Any]

    def distances(self, originals: Tensor) -> dict[str, float]:
        """Mean l_inf and l_2 distances from the originals (the batch that was attacked); NaN where there are none."""
        gap = (self.inputs - originals.to(HOME, torch.float64)[self.source]).flatten(1)
        return {"linf": float(gap.abs().amax(1).mean()), "l2": float(gap.norm(dim=1).mean())} if len(gap) else {
            "linf": float("nan"), "l2": float("nan")}

    def save(self, file: BinaryIO) -> None:
        """Write an npz file: images, labels (the answers to the originals), predicted, source, provenance (JSON)."""
        np.savez_compressed(file, images=self.inputs.numpy(), labels=self.original.numpy(), predicted=self.predicted.numpy(),
                            source=self.source.numpy(), provenance=np.array(json.dumps(dict(self.provenance), sort_keys=True)))


def check_foolbox() -> None:
    """Raise UnsupportedError E-ATTACK-MISSING without Foolbox."""
    if find_spec("foolbox") is None:
        raise UnsupportedError("E-ATTACK-MISSING", "these attacks need Foolbox, which is not installed", where="--attack",
                               hint="pip install 'absint[attacks]', or pip install foolbox")


class _Module(nn.Module):
    """A callable, such as a Graph, as the module that Foolbox asks for: on the CPU, wherever the call computes."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x.to(_place(self.call))).flatten(1).to(x.device)


def _place(model: Callable[[Tensor], Tensor]) -> torch.device:
    """Where a model's parameters lie; a Graph computes where its inputs do."""
    return next((p.device for p in model.parameters()), HOME) if isinstance(model, nn.Module) else HOME


def attack(model: Callable[[Tensor], Tensor], inputs: Tensor, plan: AttackPlan, *, clip: tuple[float, float] = (0.0, 1.0), seed: int = 0,
           model_sha256: str = "") -> Adversarials:
    """Attack each input, untargeted: away from the class that the model gives it now.

    model: a Graph or the user's torch module; (batch, *shape) -> (batch, classes), differentiable for the attacks that need it.
    inputs: (batch, *shape) in [clip], on any device; what is found is on the CPU.  seed: of all random numbers; the generators' states
    are restored afterwards.
    Raises UnsupportedError E-ATTACK-MISSING, InputError E-DATA-RANGE, UsageError E-ATTACK-FAILED where Foolbox refuses.
    """
    check_foolbox()
    inputs = inputs.to(HOME)
    if len(inputs) and not bool(((inputs >= clip[0]) & (inputs <= clip[1])).all()):
        raise InputError("E-DATA-RANGE", f"inputs outside [{clip[0]:g}, {clip[1]:g}], or NaN", where="attack",
                         hint="scale the data, or state its range")
    parts = [torch.zeros_like(inputs[:0])]
    classes = _answers(model, inputs)
    with _seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        starts = _starts(inputs, classes, seed) if plan.kind.starts else None
        for part in torch.arange(len(inputs)).split(_CHUNK):
            start = None if starts is None else inputs[starts[part]]
            parts.append(_chunk(model, inputs[part], classes[part], start, (plan, clip)))
    found = torch.cat(parts).double().clamp(*clip)
    predicted = _answers(model, found)
    success = found.flatten(1).isfinite().all(1) & (predicted != classes)
    rows = success.nonzero().flatten()
    provenance = {
        "attack": plan.name, "parameters": dict(plan.parameters), "seed": seed, "clip": list(clip), "model_sha256": model_sha256,
        "source": plan.kind.source, "chunk": _CHUNK, "versions": {name: version(name) for name in ("foolbox", "torch", "numpy")},
    }
    return Adversarials(found[rows], rows, classes[rows], predicted[rows], len(inputs), provenance)


def _chunk(model: Callable[[Tensor], Tensor], inputs: Tensor, classes: Tensor, start: Tensor | None,
           how: tuple[AttackPlan, tuple[float, float]]) -> Tensor:
    """What Foolbox makes of a chunk, successful or not, float32."""
    from foolbox import attacks, criteria
    from foolbox.models.pytorch import PyTorchModel

    plan, clip = how
    values = dict(plan.parameters)
    eps = values.pop("eps", None)
    # Foolbox computes in float32, in which an end of the range may lie a little further out.
    ends = (float(np.float32(clip[0])), float(np.float32(clip[1])))
    wrapped = PyTorchModel(_Module(model).eval(), bounds=ends, device="cpu")
    given = inputs.float()
    extra: dict[str, Any] = {} if start is None else {"starting_points": start.float()}
    try:
        method = getattr(attacks, plan.kind.cls)(**values)
        _, clipped, _ = method(wrapped, given, criteria.Misclassification(classes), epsilons=eps, **extra)
    except AbsintError:
        raise
    except Exception as error:
        raise UsageError("E-ATTACK-FAILED", f"{plan.name} could not run: {type(error).__name__}: {error}", where="--attack",
                         hint="give other parameters, or inputs of at least two classes") from error
    return given if clipped is None else clipped.detach()


def _starts(inputs: Tensor, classes: Tensor, seed: int) -> Tensor:
    """(batch,) for each input a row of another class, drawn at random. Raises UsageError E-ATTACK-FAILED for a single class."""
    if len(classes) and bool((classes == classes[0]).all()):
        raise UsageError("E-ATTACK-FAILED", "all inputs are of one class, and the attack starts at an input of another one",
                         where="--attack", hint="attack inputs of at least two classes together")
    weights = (classes[:, None] != classes[None, :]).double()
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(weights, 1, generator=generator).flatten() if len(inputs) else torch.zeros(0, dtype=torch.int64)


def _answers(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """(batch,) classes, in float64 where the model computes in it."""
    if not len(inputs):
        return torch.zeros(0, dtype=torch.int64)
    dtype = next((p.dtype for p in model.parameters()), torch.float64) if isinstance(model, nn.Module) else torch.float64
    with torch.no_grad():
        return torch.cat([model(part.to(_place(model), dtype)).flatten(1).argmax(1).to(HOME) for part in inputs.split(256)])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's generator at this seed, and as it was afterwards: the attacks of `ATTACK_KINDS` draw from no other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
