"""`absint validate`: accept or reject inputs by how robust the network is around them. Here: the options of its commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli.validate_settings import ValidateSettings
from absint.cli.verify import command_line

_REGION, _DATA, _LIMITS, _ENGINE, _OUTPUT, _RULE = "Region", "Data", "Limits", "Analysis", "Output", "Validation"
_RENAMED = ("context", "format_", "plugin", "attack")    # parameters that the settings call otherwise


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=more.pop("show_default", True), **more)


_Net = Annotated[Path, typer.Argument(metavar="NET.onnx", help="The network.")]
_Data = Annotated[Path | None, _option(_DATA, "Inputs: IDX, npz, npy or CSV. Default: a bundled sample that fits.")]
_Labels = Annotated[Path | None, _option(_DATA, "Labels, where they lie in a file of their own.")]
_Index = Annotated[str | None, _option(_DATA, "Which inputs: 0:100 (half open) or 3,5,8. Default: all.")]
_Mean = Annotated[str | None, _option(_DATA, "Normalisation the network expects before it: a or a,b,c by channel.")]
_Std = Annotated[str | None, _option(_DATA, "See --mean.")]
_Layout = Annotated[str, _option(_DATA, "Order of an image's axes: auto, chw or hwc; or DATA:NETWORK.")]
_Domain = Annotated[str, _option(_ENGINE, "Abstract domain, with options after a colon: zonotope:max_generators=500.")]
_Dtype = Annotated[str, _option(_ENGINE, "float32, float64, or auto: float64 for what float32 leaves open.")]
_Plugin = Annotated[list[Path] | None, _option(_ENGINE, "Python file with domains, operators, formats; repeatable.")]
_Upper = Annotated[str, _option(_REGION, "Largest radius looked for, in raw input units, exact.")]
_Tolerance = Annotated[str, _option(_REGION, "Radii are found to less than this.")]
_Norm = Annotated[str, _option(_REGION, "Norm of the radius: linf, l2 or l1.")]
_Clip = Annotated[str, _option(_REGION, "Range of the data, or none.")]
_Rate = Annotated[str, _option(_RULE, "False-alarm rate tolerated on valid inputs.")]
_Window = Annotated[int, _option(_RULE, "Radii in the window of mode distribution.")]
_Sigma0 = Annotated[str | None, _option(_RULE, "A radius accepted at once in mode distribution.",
                                       show_default="what 87 % of the inputs reach")]
_Sigma1 = Annotated[float, _option(_RULE, "Fall of the window's p-value that mode distribution tolerates.")]
_Timeout = Annotated[float | None, _option(_LIMITS, "Seconds an input.", show_default="none")]
_Device = Annotated[str, _option(_LIMITS, "cpu, cuda or cuda:0.")]
_Batch = Annotated[int | None, _option(_LIMITS, "Inputs analysed together.", show_default="by memory")]
_Memory = Annotated[str | None, _option(_LIMITS, "Memory to use, e.g. 8GiB.", show_default="half of the machine's")]
_Threads = Annotated[int | None, _option(_LIMITS, "Threads on the CPU.", show_default="torch's choice")]
_Quiet = Annotated[bool, _option(_OUTPUT, "No progress.", "--quiet")]
_Debug = Annotated[bool, _option(_OUTPUT, "Show tracebacks.", "--debug")]


def group() -> typer.Typer:
    """The commands calibrate, run and evaluate."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                      help="Accept or reject inputs by how robust the network is around them.")
    app.command("calibrate")(calibrate)
    app.command("run")(run)
    app.command("evaluate")(evaluate)
    return app


def calibrate(
    context: typer.Context, net: _Net, *, data: _Data = None, labels: _Labels = None, index: _Index = None, mean: _Mean = None,
    std: _Std = None, layout: _Layout = "auto", domain: _Domain = "zonotope", dtype: _Dtype = "auto", plugin: _Plugin = None,
    upper: _Upper = "0.256", tolerance: _Tolerance = "0.001", norm: _Norm = "linf", clip: _Clip = "0,1", rate: _Rate = "0.03",
    window: _Window = 50, sigma0: _Sigma0 = None, sigma1: _Sigma1 = 0.001, timeout: _Timeout = None, device: _Device = "cpu",
    batch: _Batch = None, memory: _Memory = None, threads: _Threads = None,
    out: Annotated[Path, _option(_OUTPUT, "The calibration file to write.")] = Path("calibration.json"),
    format_: Annotated[str, _option(_OUTPUT, "What is shown: text or json.", "--format")] = "text",
    quiet: _Quiet = False, debug: _Debug = False,
) -> Callable[[], int]:
    """Find the threshold that rejects no more valid inputs than a tolerated rate, and write it to a file.

    The inputs must be valid ones; where they are labelled, misclassified ones are left out. The file is bound to the model,
    the domain and the region, and is refused with others or once it was edited.
    Exit code 0: the file is written. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """
    return _action("calibrate", locals())


def run(
    context: typer.Context, net: _Net, *,
    calibration: Annotated[Path | None, _option(_RULE, "File of `absint validate calibrate`; it brings domain and region.")] = None,
    mode: Annotated[str, _option(
        _RULE, "threshold: one robustness call an input; distribution: its radius, and a sliding window.")] = "threshold",
    state: Annotated[Path | None, _option(_RULE, "Write the calibration with the window as it is after the last input.")] = None,
    data: _Data = None, index: _Index = None, mean: _Mean = None, std: _Std = None, layout: _Layout = "auto", plugin: _Plugin = None,
    timeout: _Timeout = None, device: _Device = "cpu", batch: _Batch = None, memory: _Memory = None, threads: _Threads = None,
    format_: Annotated[str, _option(_OUTPUT, "text, json, jsonl or csv.", "--format")] = "text",
    out: Annotated[Path | None, _option(_OUTPUT, "File for the result instead of stdout.")] = None,
    quiet: _Quiet = False, debug: _Debug = False,
) -> Callable[[], int]:
    """Accept or reject each input. Labels are neither needed nor read: the class that has to stay is the predicted one.

    Exit code 0: every input is accepted. 1: some are rejected. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal
    error, 130 interrupted.
    """
    return _action("run", locals())


def evaluate(
    context: typer.Context, net: _Net, *, data: _Data = None, labels: _Labels = None, index: _Index = None, mean: _Mean = None,
    std: _Std = None, layout: _Layout = "auto", domain: _Domain = "zonotope", dtype: _Dtype = "auto", plugin: _Plugin = None,
    upper: _Upper = "0.256", tolerance: _Tolerance = "0.001", norm: _Norm = "linf", clip: _Clip = "0,1", rate: _Rate = "0.03",
    window: _Window = 50, sigma0: _Sigma0 = None, sigma1: _Sigma1 = 0.001,
    count: Annotated[int, _option(_RULE, "Inputs of each category.")] = 100,
    calibrate: Annotated[int, _option(_RULE, "Other valid inputs, for the threshold.")] = 100,
    attack: Annotated[list[str] | None, _option(
        _RULE, "An attack, with parameters after a colon: fgsm:eps=0.1. fgsm, pgd, cw, deepfool, hopskipjump, boundary; repeatable.",
        show_default="fgsm:eps=0.1 fgsm:eps=0.05 cw hopskipjump:steps=20,max_gradient_eval_steps=1000")] = None,
    thresholds: Annotated[str | None, _option(_RULE, "Radii for the rejection table: 0.002,0.004.")] = None,
    seed: Annotated[int, _option(_RULE, "Of attacks and shuffles.")] = 0,
    adversarial: Annotated[Path | None, _option(_OUTPUT, "Folder for the adversarial inputs, npz with provenance.")] = None,
    plots: Annotated[Path | None, _option(_OUTPUT, "Folder for histograms and ROC curves.")] = None,
    plot_format: Annotated[str, _option(_OUTPUT, "png, svg or pdf.")] = "png",
    timeout: _Timeout = None, device: _Device = "cpu", batch: _Batch = None, memory: _Memory = None, threads: _Threads = None,
    format_: Annotated[str, _option(_OUTPUT, "text, json or csv.", "--format")] = "text",
    out: Annotated[Path | None, _option(_OUTPUT, "File for the result instead of stdout.")] = None,
    quiet: _Quiet = False, debug: _Debug = False,
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
