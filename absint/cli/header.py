"""What a report says about the run itself, and the binding of a journal."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from absint.analyses.verify import VerifyOptions
from absint.cli.settings import VerifySettings
from absint.engine.domain import Domain, chosen_domain
from absint.model.graph import Graph
from absint.problem.dataset import Dataset
from absint.registry import own_version
from absint.reports.interface import Header

Clip = tuple[float, float] | None


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    return {"absint": own_version(), "python": platform.python_version(),
            **{name: installed(name) or "missing" for name in ("torch", "onnxruntime", "onnx", "numpy")}}


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def options_of(domain: Domain[Any]) -> dict[str, Any]:
    """A domain's options and their values."""
    values: dict[str, Any] = {f.name: getattr(domain, f.name) for f in fields(domain) if f.init} if is_dataclass(domain) else {}
    return {name: value if isinstance(value, (bool, int, float, str)) else repr(value) for name, value in values.items()}


def model_of(graph: Graph, path: str) -> dict[str, Any]:
    """What a report says of the network. caveats: where another thing is analysed than the file seems to show, with their codes."""
    source = graph.source
    return {
        "path": path, "sha256": source.sha256, "input_shape": list(graph.input.shape), "outputs": graph.output.size,
        "passes": list(source.passes), "notes": list(source.notes), "caveats": list(source.caveats),
    }


def make_header(settings: VerifySettings, graph: Graph, data: Dataset, options: VerifyOptions, *, clip: Clip,
                accuracy: tuple[int, int] | None) -> Header:
    """The header of a run. accuracy: (correct, of)."""
    domain = chosen_domain(options.domain)
    return Header(
        command=settings.command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model_of(graph, str(settings.net)),
        data={"name": data.name, "sha256": data.sha256, "instances": len(data), "notes": list(data.notes),
              "bundled": settings.data is None,
              "accuracy": None if accuracy is None else {"correct": accuracy[0], "of": accuracy[1]}},
        property={"text": _claim(settings), "norm": "linf", "eps": settings.eps, "clip": None if clip is None else list(clip),
                  "target": settings.target, "label": settings.label, "mean": settings.mean, "std": settings.std},
        domain={"name": settings.domain.partition(":")[0], "class": f"{type(domain).__module__}.{type(domain).__qualname__}",
                "options": options_of(domain), "source": domain.source},
        numerics={"device": settings.device, "dtype": settings.dtype, "semantics": settings.semantics,
                  "rounding": settings.rounding, "attack": options.attack, "accept_solver": options.accept_solver, "batch": settings.batch,
                  "timeout": settings.timeout, "total_timeout": settings.total_timeout, "threads": settings.threads},
        versions=versions(),
        assumptions=_assumptions(settings),
    )


def _claim(settings: VerifySettings) -> str:
    other = "y[j] for every other class j" if settings.target is None else f"y[{settings.target}]"
    return f"y[label] > {other}"


def _assumptions(settings: VerifySettings) -> tuple[str, ...]:
    if not settings.rounding:
        return ("absint's own rounding errors are ignored (--no-rounding): nothing here is a proof",)
    meaning = (
        "a verdict also holds for every float32 execution of the network, whatever its order of summation"
        if settings.semantics == "float32"
        else "a verdict is about the network in exact real arithmetic; a float32 execution may differ within its rounding"
    )
    word = ("what is verified with assurance 'solver' rests on numbers of an LP or MILP solver that nobody has proved (--accept-solver)",)
    return (
        meaning,
        *(word if settings.accept_solver else ()),
        "the inputs are the float64 values read from the data; eps is the exact decimal or fraction given",
        "matrix products and convolutions obey the error bounds of dot products (absint doctor tests them)",
        "the imported network is the user's: compared with onnxruntime on sampled inputs of the data range and of the region analysed",
    )


def make_binding(settings: VerifySettings, graph: Graph, data: Dataset, options: VerifyOptions, *, clip: Clip) -> Mapping[str, Any]:
    """Everything that a journal's verdicts depend on. data: the whole data set, before any choice of inputs."""
    labels = None if data.labels is None else hashlib.sha256(data.labels.astype("<i8").tobytes()).hexdigest()
    return {
        "absint": own_version(), "model_sha256": graph.source.sha256, "data_sha256": data.sha256, "labels_sha256": labels,
        "layout": settings.layout, "eps": settings.eps, "clip": None if clip is None else list(clip), "label": settings.label,
        "target": settings.target, "mean": settings.mean, "std": settings.std, "semantics": settings.semantics,
        "domain": settings.domain.partition(":")[0], "options": options_of(chosen_domain(options.domain)), "dtype": settings.dtype,
        "rounding": settings.rounding, "attack": settings.attack, "accept_solver": settings.accept_solver,
        "plugins": [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in settings.plugin],
    }
