"""Adversarial inputs for evaluations, made by Foolbox: FGSM, BIM, PGD, C&W, DeepFool, DDN, EAD, FMN, HopSkipJump, Boundary. Proves nothing.

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
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.numeric.backend import DeadlineError
from absint.problem.whereabouts import HOME

_CHUNK = 128
Parameters = Mapping[str, float | int | str]


@dataclass(frozen=True)
class AttackKind:
    """cls: its name in foolbox.attacks.  defaults: of its parameters; `eps` goes to the call, the rest to the constructor.

    starts: whether it walks from an input of another class, which is drawn from the other inputs.  source: the paper.
    norms: what it is called where it is to come close in that norm (linf, l2, l1); a norm that is missing it cannot do.
    near: defaults that differ there.  keeps_best: whether it returns the closest input that it found to be adversarial, and where it found
    none something that it never sent: an input of zeros (C&W, EAD), or the original (DDN, FMN).
    """

    cls: str
    defaults: Parameters
    source: str
    starts: bool = False
    norms: Mapping[str, str] = field(default_factory=dict)
    near: Parameters = field(default_factory=dict)
    keeps_best: bool = False


# HopSkipJump: 50 iterations of up to 10,000 queries, as the paper on input validation ran it. Its C&W made 10 iterations with a
# line search, which Foolbox does not have: 50 plain steps of .1 get about as close (10 of .01 end far away, 1.0 in l_inf).
# FMN is not offered in l2: there Foolbox's projection (3.3.4) leaves the point where it is.
ATTACK_KINDS: Mapping[str, AttackKind] = {
    "fgsm": AttackKind("LinfFastGradientAttack", {"eps": 0.1}, "Goodfellow et al., ICLR 2015", norms={
        "linf": "LinfFastGradientAttack", "l2": "L2FastGradientAttack", "l1": "L1FastGradientAttack"}),
    "bim": AttackKind("LinfBasicIterativeAttack", {"eps": 0.1, "steps": 10, "rel_stepsize": 0.1}, "Kurakin et al., ICLR 2017 workshop",
                      norms={"linf": "LinfBasicIterativeAttack", "l2": "L2BasicIterativeAttack"}),
    "pgd": AttackKind("LinfProjectedGradientDescentAttack", {"eps": 0.1, "steps": 40, "rel_stepsize": 0.025}, "Madry et al., ICLR 2018",
                      norms={"linf": "LinfProjectedGradientDescentAttack", "l2": "L2ProjectedGradientDescentAttack",
                             "l1": "SparseL1DescentAttack"}, near={"rel_stepsize": 0.1}),
    "cw": AttackKind("L2CarliniWagnerAttack",
                     {"binary_search_steps": 10, "steps": 50, "stepsize": 0.1, "initial_const": 0.01, "confidence": 0.0},
                     "Carlini and Wagner, S&P 2017", norms={"l2": "L2CarliniWagnerAttack"}, near={"steps": 150}, keeps_best=True),
    "deepfool": AttackKind("L2DeepFoolAttack", {"steps": 50, "overshoot": 0.02}, "Moosavi-Dezfooli et al., CVPR 2016",
                           norms={"linf": "LinfDeepFoolAttack", "l2": "L2DeepFoolAttack"}),
    "ddn": AttackKind("DDNAttack", {"init_epsilon": 1.0, "steps": 100, "gamma": 0.05}, "Rony et al., CVPR 2019", norms={"l2": "DDNAttack"},
                      keeps_best=True),
    "ead": AttackKind("EADAttack",
                      {"binary_search_steps": 6, "steps": 60, "initial_stepsize": 0.05, "initial_const": 0.01, "regularization": 0.1},
                      "Chen et al., AAAI 2018", norms={"l1": "EADAttack"}, keeps_best=True),
    "fmn": AttackKind("LInfFMNAttack", {"steps": 100, "max_stepsize": 1.0, "gamma": 0.05}, "Pintor et al., NeurIPS 2021",
                      norms={"linf": "LInfFMNAttack", "l1": "L1FMNAttack"}, keeps_best=True),
    "hopskipjump": AttackKind("HopSkipJumpAttack",
                              {"steps": 50, "initial_gradient_eval_steps": 100, "max_gradient_eval_steps": 10000, "constraint": "l2"},
                              "Chen et al., S&P 2020", starts=True, norms={"linf": "HopSkipJumpAttack", "l2": "HopSkipJumpAttack"}),
    "boundary": AttackKind("BoundaryAttack", {"steps": 5000, "spherical_step": 0.01, "source_step": 0.01}, "Brendel et al., ICLR 2018",
                           starts=True, norms={"l2": "BoundaryAttack"}),
}


@dataclass(frozen=True)
class AttackPlan:
    """One attack with its parameters, all of them written out. text: as the user wrote it, 'fgsm:eps=0.1'.  given: the parameters that
    stand there; the others are defaults.
    """

    name: str
    parameters: Parameters
    text: str
    given: frozenset[str] = frozenset()

    @property
    def kind(self) -> AttackKind:
        """What Foolbox calls it."""
        return ATTACK_KINDS[self.name]

    def provenance(self, setting: Setting, model_sha256: str) -> dict[str, Any]:
        """Of what it made, JSON-ready."""
        return {
            "attack": self.name, "parameters": dict(self.parameters), "seed": setting.seed, "clip": list(setting.clip),
            "model_sha256": model_sha256, "source": self.kind.source, "chunk": _CHUNK,
            "versions": {name: version(name) for name in ("foolbox", "torch", "numpy")},
        }

    def in_norm(self, norm: str) -> tuple[str, Parameters]:
        """Foolbox's class that comes close in this norm, and its parameters, `eps` among them. Raises UsageError E-ATTACK-NORM."""
        if norm not in self.kind.norms:
            able = [name for name, kind in ATTACK_KINDS.items() if norm in kind.norms]
            raise UsageError("E-ATTACK-NORM", f"attack '{self.name}' does not come close in {norm}", where="--attack",
                             hint=f"in {norm}: {', '.join(able)}" if able else "norms are linf, l2 and l1")
        measured = {"constraint": norm} if "constraint" in self.parameters else {}
        return self.kind.norms[norm], {**self.parameters, **measured}


def parse_attack(text: str) -> AttackPlan:
    """'cw', 'fgsm:eps=0.05', 'hopskipjump:steps=20,max_gradient_eval_steps=1000'.

    Raises UsageError E-ATTACK-UNKNOWN or E-ATTACK-OPTION.
    """
    name, _, rest = text.partition(":")
    if name not in ATTACK_KINDS:
        raise UsageError("E-ATTACK-UNKNOWN", f"there is no attack '{name}'", where="--attack", hint=f"known: {', '.join(ATTACK_KINDS)}")
    written = frozenset(item.partition("=")[0] for item in filter(None, rest.split(",")))
    return AttackPlan(name, parse_parameters(name, rest, ATTACK_KINDS[name].defaults), text, written)


def parse_parameters(name: str, text: str, defaults: Parameters) -> Parameters:
    """'eps=8/255,steps=10' over the defaults, which say what there is. Raises UsageError E-ATTACK-OPTION."""
    given = dict(defaults)
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in defaults:
            raise UsageError("E-ATTACK-OPTION", f"attack '{name}' has no parameter '{key}'", where="--attack",
                             hint=f"known: {', '.join(defaults)}")
        given[key] = _value(name, key, value, defaults[key])
    return given


def parse_attacks(text: str, norm: str) -> tuple[AttackPlan, ...]:
    """Several that are to come close in one norm: 'cw,pgd', 'deepfool,pgd:steps=20,eps=0.1'. What follows a parameter's comma and has a
    '=' but no ':' is another parameter of the same attack.

    Raises UsageError as `parse_attack` does, and E-ATTACK-NORM for one that cannot do the norm.
    """
    parts: list[str] = []
    for item in filter(None, (piece.strip() for piece in text.split(","))):
        if parts and "=" in item and ":" not in item:
            parts[-1] += ("," if ":" in parts[-1] else ":") + item
        else:
            parts.append(item)
    return tuple(_nearer(parse_attack(part), norm) for part in dict.fromkeys(parts))


def _nearer(plan: AttackPlan, norm: str) -> AttackPlan:
    plan.in_norm(norm)
    near = {key: value for key, value in plan.kind.near.items() if key not in plan.given}
    return replace(plan, parameters={**plan.parameters, **near})


def _value(name: str, key: str, value: str, default: float | int | str) -> float | int | str:
    if isinstance(default, str):
        if value not in ("l2", "linf"):
            raise UsageError("E-ATTACK-OPTION", f"'{value}' is no {key} of {name}", where="--attack", hint="l2 or linf")
        return value
    try:
        number = float(Fraction(value)) if isinstance(default, float) and "/" in value else type(default)(value)
        if not 0 <= number < float("inf"):
            raise ValueError
    except (ValueError, ZeroDivisionError, OverflowError) as error:
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
    """A callable, such as a Graph, as the module that Foolbox asks for: on the CPU, wherever the call computes.

    last: the inputs whose gradient was asked for last, where an attack without success stood.
    """

    def __init__(self, call: Callable[[Tensor], Tensor], setting: Setting, inputs: Tensor, support: Tensor | None) -> None:
        super().__init__()
        self.call, self.setting, self.inputs, self.support = call, setting, inputs, support
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.setting.look()
        if x.requires_grad:
            self.last = x.detach()
        if self.support is not None:
            x = torch.where(self.support, x, self.inputs)
        return self.call(x.to(place(self.call))).flatten(1).to(x.device)


def place(model: Callable[[Tensor], Tensor]) -> torch.device:
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
    setting = Setting(clip, seed)
    classes = _answers(model, inputs.to(HOME))
    sent = send(model, inputs, classes, plan, setting)
    predicted = _answers(model, sent.inputs)
    rows = (sent.inputs.flatten(1).isfinite().all(1) & (predicted != classes) & ~sent.gave_up).nonzero().flatten()
    return Adversarials(sent.inputs[rows], rows, classes[rows], predicted[rows], len(inputs), plan.provenance(setting, model_sha256))


def _without_haste() -> None:
    """There is no clock to look at."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Under which an attack works. clip: the range of the data.  seed: of all random numbers.

    support: (batch, *shape) bool, the entries that may change: the attack searches among these alone; None for all.
    look: called before each evaluation of the network; what it raises ends the attack.
    """

    clip: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    support: Tensor | None = None
    look: Callable[[], None] = _without_haste


@dataclass(frozen=True, eq=False)
class Sent:
    """What an attacker sends in place of each input. inputs: (n, *shape) float64, in the data range.

    gave_up: (n,) bool, where the attack found nothing that it calls adversarial, and its last step is sent: an attack that looks for the
    closest one has nothing else to show then.
    """

    inputs: Tensor
    gave_up: Tensor


def send(model: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor, plan: AttackPlan, setting: Setting) -> Sent:
    """Attack each input, away from its label, and return what becomes of every one of them, adversarial or not.

    inputs: (batch, *shape) in the range, on any device.  labels: (batch,).  Entries outside of the support are returned as they came.
    Raises as `attack` does; UsageError E-ATTACK-REGION for a support and an attack that starts from inputs of another class.
    """
    check_foolbox()
    clip, inputs = setting.clip, inputs.to(HOME)
    if len(inputs) and not bool(((inputs >= clip[0]) & (inputs <= clip[1])).all()):
        raise InputError("E-DATA-RANGE", f"inputs outside [{clip[0]:g}, {clip[1]:g}], or NaN", where="attack",
                         hint="scale the data, or state its range: --clip LOW,HIGH (clip= in Python)")
    if setting.support is not None and plan.kind.starts:
        raise UsageError("E-ATTACK-REGION", f"attack '{plan.name}' starts from another input, which differs outside of the support",
                         where="--region", hint="give --region all, or another attack")
    points, given_up = [torch.zeros_like(inputs[:0])], [torch.zeros(0, dtype=torch.bool)]
    with seeded(setting.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        starts = _starts(labels, _answers(model, inputs), setting.seed) if plan.kind.starts else None
        for part in torch.arange(len(inputs)).split(_CHUNK):
            support = None if setting.support is None else setting.support[part]
            module = _Module(model, setting, inputs[part].float(), support)
            start = None if starts is None else inputs[starts[part]]
            found = run_foolbox(module, inputs[part], labels[part], (plan.kind.cls, plan.parameters), clip, start)
            nothing = _nothing_found(module, inputs[part], labels[part], found) if plan.kind.keeps_best else torch.zeros_like(part).bool()
            if module.last is not None:
                found = torch.where(_as_rows(nothing, found), module.last, found)
            found = found.double().clamp(*clip)
            points.append(found if support is None else torch.where(support, found, inputs[part].double()))
            given_up.append(nothing)
    return Sent(torch.cat(points).double(), torch.cat(given_up))


def _nothing_found(module: nn.Module, inputs: Tensor, labels: Tensor, found: Tensor) -> Tensor:
    """(n,) bool, where an attack that keeps its best has none: zeros, or the input itself although it has its class."""
    same = (found == inputs.float()).flatten(1).all(1) & (_answers(module, inputs.float()) == labels)
    return same | (found == 0).flatten(1).all(1)


def _as_rows(flags: Tensor, like: Tensor) -> Tensor:
    return flags.reshape(-1, *(1,) * (like.dim() - 1))


def run_foolbox(module: nn.Module, inputs: Tensor, classes: Tensor, how: tuple[str, Parameters], clip: tuple[float, float],
                start: Tensor | None = None) -> Tensor:
    """What an attack of Foolbox makes of inputs, successful or not, float32; entries may lie a rounding outside of `clip`.

    how: the class in foolbox.attacks and its parameters, `eps` for the call among them.  start: (batch, *shape) for those that need one.
    Raises UsageError E-ATTACK-FAILED where Foolbox refuses, DeadlineError where the module does.
    """
    from foolbox import attacks, criteria
    from foolbox.models.pytorch import PyTorchModel

    cls, values = how[0], dict(how[1])
    eps = values.pop("eps", None)
    # Foolbox computes in float32, in which an end of the range may lie a little further out.
    ends = (float(np.float32(clip[0])), float(np.float32(clip[1])))
    wrapped = PyTorchModel(module.eval(), bounds=ends, device="cpu")
    given = inputs.float()
    extra: dict[str, Any] = {} if start is None else {"starting_points": start.float()}
    try:
        method = getattr(attacks, cls)(**values)
        _, clipped, _ = method(wrapped, given, criteria.Misclassification(classes), epsilons=eps, **extra)
    except (AbsintError, DeadlineError):
        raise
    except Exception as error:
        raise UsageError("E-ATTACK-FAILED", f"{cls} could not run: {type(error).__name__}: {error}", where="--attack",
                         hint="give other parameters, or inputs of at least two classes") from error
    return given if clipped is None else clipped.detach()


def _starts(labels: Tensor, answers: Tensor, seed: int) -> Tensor:
    """(batch,) for each input a row that the model gives another class than its label, drawn at random.

    Raises UsageError E-ATTACK-FAILED where there is none.
    """
    other = labels[:, None] != answers[None, :]
    if not bool(other.any(1).all()):
        raise UsageError("E-ATTACK-FAILED", "all inputs are of one class, and the attack starts at an input of another one",
                         where="--attack", hint="attack inputs of at least two classes together")
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(other.double(), 1, generator=generator).flatten() if len(labels) else torch.zeros(0, dtype=torch.int64)


def _answers(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """(batch,) classes, in float64 where the model computes in it."""
    if not len(inputs):
        return torch.zeros(0, dtype=torch.int64)
    dtype = next((p.dtype for p in model.parameters()), torch.float64) if isinstance(model, nn.Module) else torch.float64
    with torch.no_grad():
        return torch.cat([model(part.to(place(model), dtype)).flatten(1).argmax(1).to(HOME) for part in inputs.split(256)])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's generator at this seed, and as it was afterwards: the attacks of `ATTACK_KINDS` draw from no other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
