"""What can be asked of `train`. The standard library alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import CLIP_TYPES, RunOptions
from absint.contract.options import DATA, LIMITS, METHOD, MODEL, OUTPUT, PROPERTY, option

SCHEDULE, EVALUATION = "Schedule", "Evaluation"
STEPS = "Steps, or epochs as 5ep."


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """See `Train`."""

    model: Any = option("small", "small, medium, large, lenet5, lenet5-pool, or FILE.py:FUNCTION, called with (shape, classes).",
                        group=MODEL, common=True, binds=False, kind=str, accepts="Module | Callable[[tuple[int, ...], int], Module] | str",
                        file=re.compile(r"(.+\.py):.*", re.DOTALL))
    data: Path | None = option(None, "Folder or file to train on: IDX, npz, CIFAR batches, SVHN .mat, folders of images.", group=DATA,
                               common=True, shown="bundled images", binds=False)
    test: Path | None = option(None, "File or folder to test on, where --data has no test part.", group=DATA, binds=False)
    labels: Path | None = option(None, "Labels, where they lie in a file of their own.", group=DATA, binds=False)
    test_labels: Path | None = option(None, "Those of --test.", group=DATA, binds=False)
    layout: str = option("auto", "Order of the images' axes: auto, chw or hwc.", group=DATA)
    divide: float | None = option(None, "What stored numbers are divided by.", group=DATA, shown="255 for bytes")
    extra: bool = option(False, "Train on SVHN's additional images, too.", group=DATA)
    hold_out: int | None = option(None, "Test on so many training inputs, which are not trained on.", group=DATA)
    method: str = option("ibp", "nominal, pgd, ibp, constrained-ibp or a plug-in's, with options after a colon.", group=METHOD, common=True)
    eps: Any = option("0.1", "Radius that every evaluation uses, in raw input units: 0.1 or 8/255.", group=PROPERTY, common=True, kind=str,
                      accepts="float | str | Fraction")
    eps_train: Any = option(None, "Radius at the end of the ramp.", group=SCHEDULE, common=True, shown="that of --eps", kind=str,
                            accepts="float | str | Fraction | None")
    clip: Any = option("0,1", "Range of the data, or none.", group=PROPERTY, kind=str, accepts=CLIP_TYPES)
    epochs: int = option(10, "Passes through the training data.", group=SCHEDULE, common=True)
    steps: int | None = option(None, "Steps in all, in place of --epochs.", group=SCHEDULE)
    batch_size: int = option(100, "Inputs a step.", group=SCHEDULE, common=True)
    warm_up: str | None = option(None, f"Clean training first. {STEPS}", group=SCHEDULE, common=True, shown="a thirtieth of the steps")
    ramp: str | None = option(None, f"Rise of the radius after it. {STEPS}", group=SCHEDULE, common=True, shown="a sixth of the steps")
    ramp_speed: float = option(1.0, "The ramp is so many times shorter: 2.5 is the published stress test.", group=SCHEDULE)
    curve: str = option("linear", "linear or smooth: how the radius rises.", group=SCHEDULE)
    kappa: float = option(0.5, "Share of the clean loss at the end of the ramp; it falls from 1.", group=SCHEDULE)
    rate: float = option(1e-3, "First learning rate, of Adam.", group=SCHEDULE, common=True)
    drops: str | None = option(None, "Where the rate falls: 15000,25000 or 40ep,60ep, or none.", group=SCHEDULE,
                               shown="seven and nine tenths of the steps")
    drop_factor: float = option(0.1, "What the rate is multiplied by there.", group=SCHEDULE)
    elide: bool = option(True, "Worst cases of each logit by itself, not through the last layer, which is tighter.", group=METHOD,
                         word="--no-elide")
    width_weight: float | None = option(None, "Weight of the squared widths of the layers' bounds in the loss.", group=METHOD, common=True,
                                        shown="the method's")
    width_layers: str = option("hidden", "hidden, or all: the logits, too.", group=METHOD)
    domain: str = option("box", "Domain whose bounds train: any that has gradients.", group=METHOD)
    init: str = option("default", "First weights: default (torch's) or orthogonal.", group=MODEL)
    augment: str = option("auto", "crop-flip, none, or auto: crop-flip for colour images.", group=DATA)
    mean: Any = option(None, "Normalisation inside the network: a or a,b,c by channel, or none.", group=DATA, kind=str,
                       shown="the training data's for colour images", accepts="str | Sequence[float] | None")
    std: Any = option(None, "See --mean.", group=DATA, kind=str, accepts="str | Sequence[float] | None")
    seed: int = option(0, "Of weights, order and augmentation.", group=METHOD, common=True)
    every: int = option(1, "Epochs from one evaluation to the next.", group=EVALUATION)
    attacked: int = option(1000, "Test inputs that each evaluation attacks, with 20 steps.", group=EVALUATION)
    attack_steps: int | None = option(None, "Of the closing attack.", group=EVALUATION, shown="200; 40 on bundled images")
    restarts: int | None = option(None, "Of the closing attack.", group=EVALUATION, shown="10; 2 on bundled images")
    certify: str = option("box", "Domain of the verified errors.", group=EVALUATION)
    save: Path = option(Path("absint-train"), "Folder for networks, checkpoint, curves and model card.", group=OUTPUT, common=True,
                        binds=False, writes="folder")
    plots: Path | None = option(None, "Folder for curves of errors, widths and schedule.", group=OUTPUT, binds=False, writes="folder",
                                shown="that of --save, where matplotlib is installed")
    plot_format: str = option("png", "png, pdf or svg.", group=OUTPUT, binds=False)
    tensorboard: bool = option(False, "Write for TensorBoard, too.", group=OUTPUT, binds=False)
    checkpoint: float = option(120.0, "Seconds between checkpoints within an epoch.", group=LIMITS, unit="s", binds=False)
