"""The runs of `absint validate`: check everything, compute, write."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

from absint.analyses.validate.calibration import Calibration, check_target, parse_rate, read_calibration
from absint.analyses.validate.evaluation import Evaluation, EvaluationPlan, evaluate
from absint.analyses.validate.validator import RadiusValidator
from absint.api import domain_from
from absint.attacks.foolbox_attacks import check_foolbox, parse_attack
from absint.cli.header import installed, model_of, versions
from absint.cli.inputs import (
    behind_normalisation,
    check_model,
    chosen_inputs,
    layout_shown,
    memory_of,
    normalisation,
    read_inputs,
    set_up_device,
    warn_of,
)
from absint.cli.parsing import parse_clip, parse_format, parse_numbers
from absint.cli.validate_settings import ValidateSettings
from absint.errors import InputError, UsageError, printable
from absint.model.frontend import load_model
from absint.model.graph import Graph
from absint.numeric.decimal import parse_eps
from absint.problem.dataset import Dataset
from absint.problem.problem import check_classes
from absint.registry import load_plugin
from absint.reports import plot, validate_plot
from absint.reports.validate import DECISION_WRITERS, EVALUATION_WRITERS, DecisionDocument, EvaluationDocument, write_calibration_text
from absint.runs.output import check_out, check_writable, opened, opened_file

_ATTACKS = ("fgsm:eps=0.1", "fgsm:eps=0.05", "cw", "hopskipjump:steps=20,max_gradient_eval_steps=1000")


def run_calibrate(settings: ValidateSettings) -> int:
    """Fit, and write the file; what was found is shown on stdout."""
    parse_format(settings.format)
    validator, data = _prepared(settings, _given(settings))
    out = settings.out or Path("calibration.json")
    check_out(out, {"NET": settings.net, "--data": settings.data, "--labels": settings.labels})
    check_target(out)
    fresh = not out.exists()
    check_writable(out)
    if fresh:
        out.unlink(missing_ok=True)    # only tried: a refusal leaves no empty file
    _tell(settings, f"calibrating on {_named(settings, data)}")
    calibration = validator.fit(data).calibration
    assert calibration is not None
    validator.save_state(out)
    if settings.format == "json":
        whole = {"file": str(out), "model": model_of(validator.graph, str(settings.net)), **calibration.as_dict()}
        sys.stdout.write(json.dumps(whole, indent=1) + "\n")
    else:
        write_calibration_text(calibration, sys.stdout)
    _tell(settings, f"written: {out}")
    return 0


def run_run(settings: ValidateSettings) -> int:
    """Decide about each input."""
    _check_format(settings, DECISION_WRITERS)
    if settings.calibration is None:
        raise UsageError("E-USAGE", "a calibration is needed", where="--calibration", hint="make one: absint validate calibrate")
    for file in settings.plugin:
        load_plugin(file)
    calibration = read_calibration(settings.calibration)
    validator, data = _prepared(settings, {**_bound(calibration, str(settings.calibration)), "mode": settings.mode}, plugins=False)
    validator.load_state(settings.calibration)
    reads = {"NET": settings.net, "--data": settings.data}
    check_out(settings.out, {**reads, "--calibration": settings.calibration})
    check_out(settings.state, {**reads, "--out": settings.out}, "--state")
    if settings.state is not None:
        check_target(settings.state)
    check_writable(settings.out)
    _tell(settings, f"validating {_named(settings, data)}")
    begin = time.monotonic()
    decisions = validator.decide(data)
    header = {**_header(settings, validator, data), "calibration": str(settings.calibration), "mode": settings.mode,
              "threshold": float(calibration.threshold)}
    document = DecisionDocument(header, tuple(decisions), time.monotonic() - begin)
    with opened(settings.out) as stream:
        DECISION_WRITERS[settings.format](document, stream)
    if settings.state is not None:
        validator.save_state(settings.state)
    return 0 if all(decision.accepted for decision in decisions) else 1


def run_evaluate(settings: ValidateSettings) -> int:
    """The paper's experiment."""
    _check_format(settings, EVALUATION_WRITERS)
    plan = _plan(settings)
    if settings.plots is not None:
        plot.check(f".{settings.plot_format}")
    validator, data = _prepared(settings, _given(settings))
    check_out(settings.out, {"NET": settings.net, "--data": settings.data, "--labels": settings.labels})
    check_writable(settings.out)
    for folder, option in ((settings.adversarial, "--adversarial"), (settings.plots, "--plots")):
        _make_folder(folder, option)
    _tell(settings, f"evaluating on {_named(settings, data)}")
    begin = time.monotonic()
    evaluation = evaluate(validator, data, plan)
    document = EvaluationDocument(_header(settings, validator, data), evaluation, time.monotonic() - begin)
    with opened(settings.out) as stream:
        EVALUATION_WRITERS[settings.format](document, stream)
    _save_files(settings, evaluation)
    return 0


def _plan(settings: ValidateSettings) -> EvaluationPlan:
    for name in ("count", "calibrate"):
        if getattr(settings, name) < 1:
            raise UsageError("E-COUNT", f"{getattr(settings, name)} inputs", where=f"--{name}", hint="give a number of at least 1")
    attacks = tuple(parse_attack(text) for text in dict.fromkeys(settings.attacks or _ATTACKS))
    check_foolbox()
    texts = [] if settings.thresholds is None else parse_numbers(settings.thresholds, "--thresholds")
    return EvaluationPlan(attacks, settings.count, settings.calibrate, settings.seed, tuple(parse_eps(t, "--thresholds") for t in texts))


def _save_files(settings: ValidateSettings, evaluation: Evaluation) -> None:
    """Adversarial inputs and pictures, where they are asked for."""
    if settings.adversarial is not None:
        for name, found in evaluation.adversarials.items():
            with opened_file(settings.adversarial / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}.npz", "--adversarial") as file:
                found.save(file)
    if settings.plots is not None:
        title = f"{settings.net.name}, {settings.domain}, {settings.norm}"
        for name, draw in (("histograms", validate_plot.draw_histograms), ("roc", validate_plot.draw_roc)):
            with opened_file(settings.plots / f"{name}.{settings.plot_format}", "--plots") as file:
                draw(evaluation, file, f".{settings.plot_format}", title)


# ---- preparation ----------------------------------------------------------------------------------------------------


def _given(settings: ValidateSettings) -> dict[str, Any]:
    """The validator's options from the command line."""
    names = ("rate", "upper", "tolerance", "norm", "dtype", "window", "sigma0", "sigma1")
    return {**{name: getattr(settings, name) for name in names}, "domain": settings.domain, "clip": parse_clip(settings.clip)}


def _bound(calibration: Calibration, where: str) -> dict[str, Any]:
    """The validator's options from a calibration. Raises InputError E-CALIBRATION-FORMAT."""
    try:
        found = {name: calibration.binding[name] for name in ("upper", "tolerance", "norm", "dtype", "domain")}
        clip = calibration.binding["clip"]
        return {**found, "clip": None if clip is None else (float(clip[0]), float(clip[1]))}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError("E-CALIBRATION-FORMAT", f"not a calibration file: {type(error).__name__}: {error}", where=where,
                         hint="make one: absint validate calibrate") from error


def _prepared(settings: ValidateSettings, options: dict[str, Any], *, plugins: bool = True) -> tuple[RadiusValidator, Dataset]:
    """Usage errors first, then the model, then the data."""
    for file in settings.plugin if plugins else ():
        load_plugin(file)
    parse_rate(options.get("rate", "0.03"))
    text = options.pop("domain")
    domain = domain_from(text)
    set_up_device(settings)
    normalisation(settings)
    limits = {"device": settings.device, "batch": settings.batch, "memory": memory_of(settings),
              "timeout": inf if settings.timeout is None else settings.timeout}
    check_model(settings.net)
    graph = _graph(settings)
    whole = read_inputs(settings, graph)
    graph = behind_normalisation(graph, settings, whole.axes)
    validator = RadiusValidator(graph, domain, domain_text=text, **options, **limits)
    data = chosen_inputs(whole, validator.options.clip, settings.index)
    data.check_labels(graph.output.size)
    return validator, data


def _graph(settings: ValidateSettings) -> Graph:
    graph = load_model(settings.net)
    check_classes(graph)
    warn_of(graph)
    return graph


def _check_format(settings: ValidateSettings, writers: Mapping[str, Any]) -> None:
    if settings.format not in writers:
        raise UsageError("E-FORMAT-UNKNOWN", f"there is no format '{settings.format}'", where="--format", hint=", ".join(writers))


def _make_folder(folder: Path | None, option: str) -> None:
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("E-OUT", f"no folder can be made there: {error.strerror}", where=str(folder),
                         hint=f"give {option} another path") from error


def _header(settings: ValidateSettings, validator: RadiusValidator, data: Dataset) -> dict[str, Any]:
    """JSON-ready; what repeats the run."""
    graph = validator.graph
    return {
        "command": settings.command, "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model_of(graph, str(settings.net)),
        "data": {"name": data.name, "sha256": data.sha256, "inputs": len(data), "notes": list(data.notes)},
        **validator.options.binding(graph),
        **layout_shown(settings, data.axes, used=False), "device": settings.device, "seed": settings.seed,
        "mean": settings.mean, "std": settings.std,
        "versions": {**versions(), **{name: installed(name) or "missing" for name in ("scipy", "foolbox")}},
    }


def _named(settings: ValidateSettings, data: Dataset) -> str:
    return f"{len(data)} inputs of {'bundled sample ' if settings.data is None else ''}{data.name}"


def _tell(settings: ValidateSettings, line: str) -> None:
    if not settings.quiet:
        sys.stderr.write(f"{printable(line)}\n")
        sys.stderr.flush()


COMMANDS: Mapping[str, Callable[[ValidateSettings], int]] = {"calibrate": run_calibrate, "run": run_run, "evaluate": run_evaluate}
