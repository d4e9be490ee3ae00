"""`absint validate`: accept or reject inputs by how robust the network is around them. Here: the options of its commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli.validate_settings import ValidateSettings
from absint.cli.verify import command_line
from absint.cli.words import (
    Clip,
    Data,
    Debug,
    Device,
    Domain,
    Dtype,
    Index,
    Labels,
    Layout,
    Mean,
    Memory,
    Net,
    Norm,
    Plugin,
    Quiet,
    Std,
    Threads,
    option,
)

_REGION, _LIMITS, _OUTPUT, _RULE = "Region", "Limits", "Output", "Validation"
_RENAMED = ("context", "format_", "plugin", "attack")    # parameters that the settings call otherwise

_Upper = Annotated[str, option(_REGION, "Largest radius looked for, in raw input units, exact.")]
_Tolerance = Annotated[str, option(_REGION, "Radii are found to less than this.")]
_Rate = Annotated[str, option(_RULE, "False-alarm rate tolerated on valid inputs.")]
_Window = Annotated[int, option(_RULE, "Radii in the window of mode distribution.")]
_Sigma0 = Annotated[str | None, option(_RULE, "A radius accepted at once in mode distribution.",
                                       show_default="what 87 % of the inputs reach")]
_Sigma1 = Annotated[float, option(_RULE, "Fall of the window's p-value that mode distribution tolerates.")]
_Timeout = Annotated[float | None, option(_LIMITS, "Seconds an input.", show_default="none")]
_Batch = Annotated[int | None, option(_LIMITS, "Inputs analysed together.", show_default="by memory")]


def group() -> typer.Typer:
    """The commands calibrate, run and evaluate."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                      help="Accept or reject inputs by how robust the network is around them.")
    app.command("calibrate")(calibrate)
    app.command("run")(run)
    app.command("evaluate")(evaluate)
    return app


def calibrate(
    context: typer.Context, net: Net, *, data: Data = None, labels: Labels = None, index: Index = None, mean: Mean = None,
    std: Std = None, layout: Layout = "auto", domain: Domain = "zonotope", dtype: Dtype = "auto", plugin: Plugin = None,
    upper: _Upper = "0.256", tolerance: _Tolerance = "0.001", norm: Norm = "linf", clip: Clip = "0,1", rate: _Rate = "0.03",
    window: _Window = 50, sigma0: _Sigma0 = None, sigma1: _Sigma1 = 0.001, timeout: _Timeout = None, device: Device = "cpu",
    batch: _Batch = None, memory: Memory = None, threads: Threads = None,
    out: Annotated[Path, option(_OUTPUT, "The calibration file to write.")] = Path("calibration.json"),
    format_: Annotated[str, option(_OUTPUT, "What is shown: text or json.", "--format")] = "text",
    quiet: Quiet = False, debug: Debug = False,
) -> Callable[[], int]:
    """Find the threshold that rejects no more valid inputs than a tolerated rate, and write it to a file.

    The inputs must be valid ones; where they are labelled, misclassified ones are left out. The file is bound to the model,
    the domain and the region, and is refused with others or once it was edited.
    Exit code 0: the file is written. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """
    return _action("calibrate", locals())


def run(
    context: typer.Context, net: Net, *,
    calibration: Annotated[Path | None, option(_RULE, "File of `absint validate calibrate`; it brings domain and region.")] = None,
    mode: Annotated[str, option(
        _RULE, "threshold: one robustness call an input; distribution: its radius, and a sliding window.")] = "threshold",
    state: Annotated[Path | None, option(_RULE, "Write the calibration with the window as it is after the last input.")] = None,
    data: Data = None, index: Index = None, mean: Mean = None, std: Std = None, layout: Layout = "auto", plugin: Plugin = None,
    timeout: _Timeout = None, device: Device = "cpu", batch: _Batch = None, memory: Memory = None, threads: Threads = None,
    format_: Annotated[str, option(_OUTPUT, "text, json, jsonl or csv.", "--format")] = "text",
    out: Annotated[Path | None, option(_OUTPUT, "File for the result instead of stdout.")] = None,
    quiet: Quiet = False, debug: Debug = False,
) -> Callable[[], int]:
    """Accept or reject each input. Labels are neither needed nor read: the class that has to stay is the predicted one.

    Exit code 0: every input is accepted. 1: some are rejected. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal
    error, 130 interrupted.
    """
    return _action("run", locals())


def evaluate(
    context: typer.Context, net: Net, *, data: Data = None, labels: Labels = None, index: Index = None, mean: Mean = None,
    std: Std = None, layout: Layout = "auto", domain: Domain = "zonotope", dtype: Dtype = "auto", plugin: Plugin = None,
    upper: _Upper = "0.256", tolerance: _Tolerance = "0.001", norm: Norm = "linf", clip: Clip = "0,1", rate: _Rate = "0.03",
    window: _Window = 50, sigma0: _Sigma0 = None, sigma1: _Sigma1 = 0.001,
    count: Annotated[int, option(_RULE, "Inputs of each category.")] = 100,
    calibrate: Annotated[int, option(_RULE, "Other valid inputs, for the threshold.")] = 100,
    attack: Annotated[list[str] | None, option(
        _RULE, "An attack, with parameters after a colon: fgsm:eps=0.1. fgsm, pgd, cw, deepfool, hopskipjump, boundary; repeatable.",
        show_default="fgsm:eps=0.1 fgsm:eps=0.05 cw hopskipjump:steps=20,max_gradient_eval_steps=1000")] = None,
    thresholds: Annotated[str | None, option(_RULE, "Radii for the rejection table: 0.002,0.004.")] = None,
    seed: Annotated[int, option(_RULE, "Of attacks and shuffles.")] = 0,
    adversarial: Annotated[Path | None, option(_OUTPUT, "Folder for the adversarial inputs, npz with provenance.")] = None,
    plots: Annotated[Path | None, option(_OUTPUT, "Folder for histograms and ROC curves.")] = None,
    plot_format: Annotated[str, option(_OUTPUT, "png, svg or pdf.")] = "png",
    timeout: _Timeout = None, device: Device = "cpu", batch: _Batch = None, memory: Memory = None, threads: Threads = None,
    format_: Annotated[str, option(_OUTPUT, "text, json or csv.", "--format")] = "text",
    out: Annotated[Path | None, option(_OUTPUT, "File for the result instead of stdout.")] = None,
    quiet: Quiet = False, debug: Debug = False,
) -> Callable[[], int]:
    """Measure how well radii tell valid inputs from misclassified and adversarial ones: tables, ROC curves, histograms.

    The threshold is calibrated on valid inputs that are in no category. Attacks need Foolbox: pip install 'absint[attacks]'.
    Exit code 0: measured. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """
    return _action("evaluate", locals())


def _action(name: str, given: dict[str, Any]) -> Callable[[], int]:
    """The command's work, with its parameters as settings."""
    values = {key: value for key, value in given.items() if key not in _RENAMED}
    settings = ValidateSettings(
        **values, format=given["format_"], plugin=tuple(given["plugin"] or ()), attacks=tuple(given.get("attack") or ()),
        command=command_line(given["context"]),
    )
    return lambda: _execute(name, settings)


def _execute(name: str, settings: ValidateSettings) -> int:
    from absint.cli.validate_run import COMMANDS  # loads torch: not for --help

    return COMMANDS[name](settings)
