"""What a report says about the run itself, and what a journal is bound to."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from math import inf, isfinite
from pathlib import Path
from typing import Any

from absint.contract.common_options import RunOptions
from absint.contract.document import Facts, Json, Section
from absint.contract.options import options_of
from absint.contract.run import Run
from absint.model.content_digest import content_digest, graph_digest
from absint.model.graph import Graph
from absint.model.layout import named
from absint.problem.dataset import Dataset
from absint.registry import own_version
from absint.runs.inputs import by_channel
from absint.search.names import Method, source_of


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


def domain_options(domain: Method) -> dict[str, Any]:
    """The options of a domain or strategy, and their values."""
    values: dict[str, Any] = {f.name: getattr(domain, f.name) for f in fields(domain) if f.init} if is_dataclass(domain) else {}
    return {name: value if isinstance(value, (bool, int, float, str)) else repr(value) for name, value in values.items()}


def model_of(graph: Graph, path: str) -> dict[str, Any]:
    """What a report says of the network. caveats: where another thing is analysed than the file seems to show, with their codes."""
    source = graph.source
    return {
        "path": path, "sha256": source.sha256, "input_shape": list(graph.input.shape), "outputs": graph.output.size,
        "passes": list(source.passes), "notes": list(source.notes), "caveats": list(source.caveats), **source.files,
    }


def domain_shown(domain: Method, stated: object) -> dict[str, Any]:
    """What a report says of the domain or strategy. stated: as the user named it."""
    cls = type(domain)
    name = stated.partition(":")[0] if isinstance(stated, str) else cls.__name__.lower()
    return {"name": name, "class": f"{cls.__module__}.{cls.__qualname__}", "options": domain_options(domain), "source": source_of(domain)}


def header_of(run: Run[Any]) -> dict[str, Json]:
    """All that is known before the first record, but what the analysis says itself. JSON-ready."""
    options: Any = run.options
    header: dict[str, Json] = {"command": run.command, "started": datetime.now(UTC).isoformat(timespec="seconds")}
    if run.graph is not None:
        alone = isinstance(options.net, (str, Path)) and not run.graph.source.parts
        header["model"] = model_of(run.graph, str(options.net) if alone else run.graph.source.path)
    if run.data is not None and run.whole is not None:
        data = run.data
        header["data"] = {"name": data.name, "sha256": data.sha256, "instances": len(data), "notes": list(data.notes),
                          "bundled": options.data is None, **_layout(run)}
        header["data"] |= {name: plain(getattr(options, name)) for name in ("mean", "std")}
    if run.domain is not None:
        header["domain"] = domain_shown(run.domain, options.domain)
    if isinstance(options, RunOptions):
        header["numerics"] = {name: plain(getattr(options, name)) for name in (
            "device", "dtype", "semantics", "rounding", "attack", "accept_solver", "batch", "timeout", "total_timeout", "threads")
            if hasattr(options, name)}
    if run.config:
        header["config"] = dict(run.config)
    return {**header, "versions": versions()}


def _layout(run: Run[Any]) -> dict[str, str]:
    """The order of the channels, where mean or std goes by them."""
    return {"layout": named(run.whole.axes)} if run.whole is not None and by_channel(run.options) else {}


def binding_of(run: Run[Any]) -> dict[str, Json]:
    """Everything that the run's records depend on, but what the analysis says itself. JSON-ready."""
    options = run.options
    binding: dict[str, Json] = {"analysis": run.analysis, "absint": own_version()}
    if run.graph is not None:
        # Of a file, what is put before it is among the options.
        files = (getattr(options, "net", None), *(getattr(options, "compose", None) or ()))
        named = all(isinstance(file, (str, Path)) for file in files) and run.graph.source.sha256
        binding["model_sha256"] = named or graph_digest(run.graph)
        if not named and getattr(options, "journal", None) is not None:     # its constants may have been changed since the file was read
            binding["constants_sha256"] = content_digest(tuple(node.op.constants() for node in run.graph.nodes))
    if run.whole is not None:
        data = run.whole
        binding |= {"data_sha256": data.sha256, **{f"axes_{k}": v for k, v in _layout(run).items()}, **_values(run),
                    "labels_sha256": None if data.labels is None else hashlib.sha256(data.labels.astype("<i8").tobytes()).hexdigest()}
    if run.region is not None:
        binding["region_sha256"] = content_digest(run.region)
    if run.domain is not None:
        shown = domain_shown(run.domain, options.domain)
        binding |= {"domain": shown["name"], "domain_class": shown["class"], "domain_options": shown["options"]}
    if hasattr(options, "timeout"):     # as a number: '60' is 60.0
        binding["timeout"] = run.timeout if run.timeout < inf else None
    binding |= {one.name: plain(getattr(options, one.name)) for one in options_of(type(options)) if one.words.binds}
    return {**binding, "plugins": [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in options.plugin]}


def _values(run: Run[Any]) -> dict[str, Json]:
    """Of a Dataset the values themselves: its hash is what its maker says."""
    if run.whole is None or not isinstance(getattr(run.options, "data", None), Dataset):
        return {}
    return {"inputs_sha256": content_digest((run.whole.inputs, run.whole.index))}


def plain(value: Any) -> Json:
    """A stated value as JSON; arrays and objects by their content."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)       # JSON has no word for it
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Fraction, Path)):
        return str(value)
    if isinstance(value, (list, tuple)) and len(value) < 100:
        return [plain(item) for item in value]
    return f"sha256:{content_digest(value)}"


def origin(header: Mapping[str, Any]) -> tuple[Section, ...]:
    """For people: where the result comes from."""
    lines: list[tuple[str, str]] = []
    domain, numerics, model, data = (header.get(key) for key in ("domain", "numerics", "model", "data"))
    if domain:
        options = "".join(f", {name}={value}" for name, value in domain["options"].items())
        lines.append(("domain", f"{domain['name']}{options} ({domain['source'] or 'no source given'})"))
    if numerics:
        said = [f"{name} {numerics[name]}" for name in ("dtype", "device", "semantics") if name in numerics]
        if domain or "rounding" in numerics:
            said.append("outward rounding" if numerics.get("rounding", True) else "NO ROUNDING: nothing here is a proof")
        lines.append(("numerics", ", ".join(said)))
    if model:
        for place, one in enumerate(model.get("networks", [model])):
            lines.append(("then" if place else "model", f"{one['path'] or 'a graph'} (sha256 {one['sha256'][:12] or 'unknown'})"))
        lines += [("note", note) for note in model["notes"]]
    if data:
        right = data.get("accuracy")
        known = "" if right is None else f", classified correctly: {right['correct']} of {right['of']}"
        lines.append(("data", f"{'bundled sample ' if data['bundled'] else ''}{data['name']} (sha256 {data['sha256'][:12]}){known}"))
    if header.get("config"):
        lines.append(("options", ", ".join(f"{name} ({where})" for name, where in header["config"]["origins"].items())))
    if header.get("command"):
        lines.append(("command", header["command"]))
    return (Section("", (Facts(tuple(lines)),)),) if lines else ()
