"""What is trained, on what, how and for how long: the options of a run, resolved and checked before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite, log10
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from absint.analyses.train.augment import AUGMENTED
from absint.analyses.train.method import TrainingMethod, method_of
from absint.analyses.train.networks import INITIAL, Untrained, untrained
from absint.analyses.train.options import TrainOptions
from absint.analyses.train.schedule import CURVES, Schedule
from absint.analyses.train.step import LAYERS, DataRange
from absint.engine.domain import Domain
from absint.errors import InputError, UnsupportedError, UsageError, shown
from absint.model.content_digest import content_digest
from absint.numeric.decimal import exact_text, parse_eps
from absint.problem.parsing import parse_clip, parse_numbers
from absint.problem.training_data import TrainingData, training_data
from absint.search.error_rates import Descent
from absint.search.names import strategy_of

_MOST = 1_000_000           # epochs: each is a record
_FARTHEST = 10**30          # a radius that float32 computes with, products with weights included
_DECADES = 300              # of a learning rate, at most
_STATISTICS = 10_000        # training images that mean and deviation are taken from


@dataclass(frozen=True, eq=False)
class TrainTask:
    """eps: of every evaluation, exact.  width_weight: of the width term, 0 for none.  augmented: whether images are cropped and flipped."""

    network: Untrained
    data: TrainingData
    method: TrainingMethod
    schedule: Schedule
    eps: Fraction
    clip: DataRange
    domain: Domain[Any]
    width_weight: float
    augmented: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch: int
    options: TrainOptions

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch; the last one of it may be of fewer inputs."""
        return ceil(len(self.data.train) / self.batch)

    @property
    def epochs(self) -> int:
        """The last one may be cut by the number of steps."""
        return ceil(self.schedule.steps / self.epoch_steps)

    @property
    def closing_attack(self) -> Descent:
        """On what is right and unproved at the end; a short one on bundled images, whose training is a demonstration."""
        steps, restarts = (40, 2) if self.options.data is None else (200, 10)
        stated = self.options.attack_steps, self.options.restarts
        return Descent(steps if stated[0] is None else stated[0], restarts if stated[1] is None else stated[1], self.options.seed)

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every number depends on, besides the options."""
        return {"network": self.network.name, "weights": weights_digest(self.network.parameters), "graph": _sha256(self.network.model),
                "train": self.data.train.sha256, "test": self.data.test.sha256, "n": [len(self.data.train), len(self.data.test)],
                "schedule": repr(self.schedule), "method": repr(self.method), "eps": str(self.eps), "width": self.width_weight,
                "layers": self.options.width_layers, "elide": self.options.elide, "domain": repr(self.domain), "batch": self.batch,
                "augmented": self.augmented, "seed": self.options.seed, "clip": None if self.clip is None else list(self.clip),
                "measured": [self.options.every, self.options.attacked, self.options.certify]}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def weights_digest(parameters: Mapping[str, Tensor]) -> str:
    """Of names and numbers."""
    return content_digest(tuple((name, parameters[name].numpy()) for name in sorted(parameters)))


# ---- options -------------------------------------------------------------------------------------------------------------


def check_options(options: TrainOptions) -> None:
    """Raise UsageError for what is wrong whatever the data."""
    for value, known, word in ((options.init, INITIAL, "--init"), (options.curve, CURVES, "--curve"),
                               (options.width_layers, LAYERS, "--width-layers"), (options.augment, AUGMENTED, "--augment")):
        if value not in known:
            raise UsageError("E-TRAIN-OPTION", f"not one of {', '.join(known)}: {shown(value)}", where=word)
    whole = {"--epochs": options.epochs, "--batch-size": options.batch_size, "--every": options.every, "--steps": options.steps,
             "--attack-steps": options.attack_steps, "--restarts": options.restarts, "--attacked": options.attacked}
    for word, count in whole.items():
        if count is not None and count < 1:
            raise UsageError("E-TRAIN-OPTION", f"at least 1 is needed, not {count}", where=word, hint="a whole number, 1 or more")
    positive = {"--rate": options.rate, "--ramp-speed": options.ramp_speed, "--drop-factor": options.drop_factor,
                "--checkpoint": options.checkpoint}
    for word, number in positive.items():
        if not (isfinite(number) and number > 0):
            raise UsageError("E-TRAIN-OPTION", f"a positive number is needed, not {number:g}", where=word, hint="for example 0.1")
    if not 0 <= options.kappa <= 1:
        raise UsageError("E-TRAIN-OPTION", f"a share is between 0 and 1, not {options.kappa:g}", where="--kappa", hint="for example 0.5")
    weight = options.width_weight
    if weight is not None and not (isfinite(weight) and weight >= 0):
        raise UsageError("E-TRAIN-OPTION", f"a weight is finite and not negative, not {weight:g}", where="--width-weight", hint="0 or more")
    method_of(options.method)
    strategy_of(options.certify)    # before an epoch is spent
    clip = parse_clip(options.clip)
    radius = parse_eps(options.eps)
    check_scale(radius, clip, "--eps")
    if options.eps_train is not None:
        check_scale(parse_eps(options.eps_train, "--eps-train"), clip, "--eps-train")


def check_scale(eps: Fraction, clip: DataRange, where: str) -> None:
    """Raise UsageError E-EPS for a radius that is not in units of the data: at half the range an input says nothing any more."""
    if eps > _FARTHEST:
        raise UsageError("E-EPS", "no input differs so much from another", where=where, hint="radii are in raw input units, such as 8/255")
    if clip is None:
        return
    span = Fraction(clip[1]) - Fraction(clip[0])
    if span > 0 and eps >= span / 2:
        hint = f"give {exact_text(eps)}/255" if eps > 1 and span == 1 else "radii are in raw input units, such as 8/255"
        raise UsageError("E-EPS", f"eps {exact_text(eps)} is half of the data's range [{clip[0]:g}, {clip[1]:g}] or more: grey is then "
                         "within reach of every input", where=where, hint=hint)


def steps_of(text: str | None, default: int, epoch_steps: int, where: str) -> int:
    """'2000' steps, or '5ep', epochs. Raises UsageError E-TRAIN-OPTION."""
    if text is None:
        return default
    number, epochs = (text[:-2], True) if text.strip().endswith("ep") else (text, False)
    try:
        value = float(number) * (epoch_steps if epochs else 1)
    except ValueError:
        value = -1.0
    if not (isfinite(value) and value >= 0 and (epochs or value == int(value))):
        raise UsageError("E-TRAIN-OPTION", f"no number of steps: {shown(text)}", where=where, hint="2000, or 5ep for epochs")
    return round(value)


def schedule_of(options: TrainOptions, inputs: int) -> Schedule:
    """All steps, for so many training inputs. Warm-up and ramp default to the proportions of the published run on MNIST.

    The rate falls later than there, where 60,000 steps leave time for it: of 600 steps, a quarter at the full rate learn too little.
    """
    epoch_steps = ceil(inputs / options.batch_size)
    steps = options.epochs * epoch_steps if options.steps is None else options.steps
    ramp = steps_of(options.ramp, round(steps / 6), epoch_steps, "--ramp")
    stated = None if options.drops is None else [] if options.drops.strip().lower() == "none" else options.drops.split(",")
    drops = (round(0.7 * steps), round(0.9 * steps)) if stated is None else tuple(
        steps_of(part, 0, epoch_steps, "--drops") for part in stated)
    eps = options.eps if options.eps_train is None else options.eps_train
    if steps > _MOST * epoch_steps:
        raise UsageError("E-TRAIN-OPTION", f"more than {_MOST:,} passes through the data", where="--epochs, --steps",
                         hint="give fewer; --total-timeout ends a training by the clock")
    if not isfinite(ramp / options.ramp_speed):
        raise UsageError("E-TRAIN-OPTION", "the ramp never ends", where="--ramp-speed", hint="1 is the ramp as it is, 2.5 a steeper one")
    if options.drop_factor > 1 and log10(options.drop_factor) * len(drops) + log10(options.rate) > _DECADES:
        raise UsageError("E-TRAIN-OPTION", "the learning rate would rise beyond all numbers", where="--drop-factor", hint="for example 0.1")
    return Schedule(float(parse_eps(eps)), steps, steps_of(options.warm_up, round(steps / 30), epoch_steps, "--warm-up"),
                    round(ramp / options.ramp_speed), options.kappa, options.curve, options.rate, drops, options.drop_factor)


# ---- the task ------------------------------------------------------------------------------------------------------------


def task_of(options: TrainOptions) -> TrainTask:
    """Data read, network built. Raises every coded error that either can cause."""
    clip = parse_clip(options.clip)
    data = training_data(options.data, test=options.test, labels=options.labels, test_labels=options.test_labels, hold_out=options.hold_out,
                         seed=options.seed, layout=options.layout, clip=clip, divide=options.divide, extra=options.extra)
    if data.classes < 2:
        raise InputError("E-DATA-CLASSES", "all inputs are of one class: nothing can be misclassified", where=data.name,
                         hint="labels are class numbers counted from 0; give data of two classes at least")
    mean, std = _normalisation(options, data)
    shape = tuple(int(n) for n in data.train.shape)
    as_tensor = (None, None) if not mean else tuple(torch.tensor(one).reshape(-1, *[1] * (len(shape) - 1)) for one in (mean, std))
    network = untrained(options.model, shape, data.classes, mean=as_tensor[0], std=as_tensor[1], initial=options.init, seed=options.seed)
    method = method_of(options.method)
    weight = method.width_weight if options.width_weight is None else options.width_weight
    colour = len(shape) == 3 and shape[0] == 3
    if options.augment == "crop-flip" and len(shape) != 3:
        raise UsageError("E-TRAIN-OPTION", "only images can be cropped and flipped", where="--augment", hint="leave the augmentation away")
    augmented = options.augment == "crop-flip" or (options.augment == "auto" and colour)
    return TrainTask(network, data, method, schedule_of(options, len(data.train)), parse_eps(options.eps), clip, training_domain(options),
                     weight, augmented, mean, std, options.batch_size, options)


def training_domain(options: TrainOptions) -> Domain[Any]:
    """Raises UnsupportedError E-GRADIENT for one without gradients, or a strategy of several stages."""
    stages = strategy_of(options.domain).stages()
    if len(stages) != 1 or not stages[0].domain.traits.differentiable:
        raise UnsupportedError("E-GRADIENT", "what trains is one domain whose bounds have gradients", where=f"--domain {options.domain}",
                               hint="leave it away")
    return stages[0].domain


def _normalisation(options: TrainOptions, data: TrainingData) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """mean and std by channel; empty for none."""
    unsaid = [value is None for value in (options.mean, options.std)]
    none = [isinstance(value, str) and value.strip().lower() == "none" for value in (options.mean, options.std)]
    shape = data.train.shape
    if all(unsaid):
        return _statistics(data) if len(shape) == 3 and shape[0] == 3 else ((), ())
    if any(none):
        if not all(one or other for one, other in zip(none, unsaid, strict=True)):
            raise UsageError("E-NUMBERS", "both, or none of them", where="--mean, --std", hint="for example --mean 0.1307 --std 0.3081")
        return (), ()
    mean = (0.0,) if options.mean is None else _numbers(options.mean, "--mean")
    std = (1.0,) if options.std is None else _numbers(options.std, "--std")
    channels = int(shape[0])
    for values, where in ((mean, "--mean"), (std, "--std")):
        if len(values) not in (1, channels):
            raise UsageError("E-NUMBERS", f"{len(values)} numbers for {channels} channels", where=where)
    if not all(one > 0 for one in std):
        raise UsageError("E-NUMBERS", "deviations are positive", where="--std", hint="such as 0.3081")
    count = max(len(mean), len(std))
    return mean * (count // len(mean)), std * (count // len(std))


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    """Finite numbers: a text, a number, or a sequence. Raises UsageError E-NUMBERS."""
    try:
        parts = parse_numbers(value, where) if isinstance(value, str) else [value] if isinstance(value, (int, float)) else list(value)
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        numbers = ()
    if not numbers or not all(map(isfinite, numbers)):
        raise UsageError("E-NUMBERS", f"not a list of finite numbers: {shown(value)}", where=where, hint="for example 0.49,0.48,0.45")
    return numbers


def _statistics(data: TrainingData) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of the channels of the first training images, to four digits, as they are usually given."""
    images = data.train.inputs(slice(0, _STATISTICS)).double()
    std, mean = torch.std_mean(images, (0, 2, 3))
    rounded = [tuple(round(float(one), 4) for one in values) for values in (mean, std)]
    if not all(rounded[1]):
        raise InputError("E-DATA-CONSTANT", "a channel of the training images never changes", where=data.name,
                         hint="--mean none --std none")
    return rounded[0], rounded[1]


def output_folder(options: TrainOptions) -> None:
    """Make it. Raises InputError E-OUT."""
    try:
        Path(options.save).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("E-OUT", f"no folder can be made there: {error.strerror}", where=str(options.save),
                         hint="give --save another path") from error
