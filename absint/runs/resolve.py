"""From what a user stated to a run: plug-ins, device, domain, network, data, and what the analysis makes of them."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from absint.contract.analysis import Analysis, analysis_of
from absint.contract.common_options import DataOptions, DomainChoice, ModelOptions
from absint.contract.options import Option, options_of
from absint.contract.run import Run, seconds_of
from absint.errors import UsageError
from absint.runs.executors import EXECUTORS

_VAST = 1 << 62                             # beyond it, counts overflow somewhere below
_LONGEST, _LONGEST_PART = 4096, 255


def resolve(name: str, options: Any, *, command: str = "", begin: float | None = None,
            config: Mapping[str, Any] | None = None) -> tuple[Analysis[Any, Any], Run[Any]]:
    """The analysis and its run. Usage errors come before files are read; nothing is written. Plug-ins are loaded before.

    command: the line that repeats it.  begin: when it began, on the monotonic clock; None for now.  config: see `Run`.
    Raises every coded error that model, data, domain and options can cause.
    """
    analysis = analysis_of(name)
    check_types(options)
    begin = time.monotonic() if begin is None else begin
    meant = analysis.resolved(analysis.placed(options))
    run = Run(name, meant, command, begin, timeout=seconds_of(getattr(meant, "timeout", None), "--timeout"),
              end=begin + seconds_of(meant.total_timeout, "--total-timeout"), stated=options, config=config or {})
    executor = EXECUTORS.get(meant.executor)()
    if meant.processes is not None and meant.processes < 1:
        raise UsageError("E-PROCESSES", f"at least one process is needed, not {meant.processes}", where="--processes", hint="for example 2")
    analysis.check(options)
    executor.check(meant)
    if meant.executor != "local" and not analysis.apart(meant):
        raise UsageError("E-EXECUTOR", "with these options, each answer rests on those before it", where=f"--executor {meant.executor}",
                         hint="leave --executor away: all items are decided in this process")
    run = _filled(analysis, run)
    run = replace(run, problem=analysis.prepare(run))
    from absint.runs.header import binding_of, header_of

    run = replace(run, header=header_of(run))
    return analysis, replace(run, header=_merged(run.header, analysis.about(run)), binding={**binding_of(run), **analysis.binding(run)})


def _merged(header: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What the analysis says goes into the sections that are there already."""
    return {**header, **{key: {**header[key], **value} if isinstance(header.get(key), dict) and isinstance(value, dict) else value
                         for key, value in more.items()}}


def _filled(analysis: Analysis[Any, Any], run: Run[Any]) -> Run[Any]:
    """The run with the parts that its options ask for. What loads torch is imported here: not for a usage error."""
    from absint.numeric import backend
    from absint.problem.live import fit_of, normalisation
    from absint.runs import inputs

    options = run.options
    if isinstance(options.memory, str):
        run = replace(run, options=replace(options, memory=backend.parse_memory(options.memory)))
        options = run.options
    inputs.set_up_device(options)
    parts = analysis.parts(options)
    if parts:       # each reads what it needs, and all are checked before the first one is decided
        made = tuple(resolve(name, one, command=run.command, begin=run.begin)[1] for name, one in parts)
        return replace(run, parts=made)
    if isinstance(options, DomainChoice):
        from absint.runs.chosen_domain import domain_of

        run = replace(run, domain=domain_of(options))
    if isinstance(options, ModelOptions):
        fit_of(options)
        normalisation(options)
        run = _with_model(analysis, run)
    return run


def _with_model(analysis: Analysis[Any, Any], run: Run[Any]) -> Run[Any]:
    from absint.problem.parsing import parse_clip
    from absint.problem.regions.region import Region
    from absint.runs import inputs

    options = run.options
    graph = analysis.graph(options) or inputs.read_graph(options)
    if run.command:
        inputs.warn_of(graph)
    analysis.suited(graph, options)
    if not isinstance(options, DataOptions):
        return replace(run, graph=inputs.behind_normalisation(graph, options, None))
    clip = parse_clip(options.clip)
    run = replace(run, options=replace(options, clip=clip))
    box = getattr(options, "box", None)
    if box is not None or isinstance(options.data, Region):
        inputs.check_region(options)
        region = options.data if box is None else inputs.read_box(options, graph)
        return replace(run, graph=inputs.behind_normalisation(graph, options, None), region=region)
    labelled = analysis.labelled(options)
    whole = inputs.read_inputs(options, graph, labelled=labelled)
    checked = options.data is None or isinstance(options.data, (str, Path))
    graph = inputs.behind_normalisation(graph, options, whole.axes)
    data = inputs.chosen_inputs(whole, clip, options, checked=checked)
    if labelled:
        data.check_labels(graph.output.size)
    return replace(run, graph=graph, whole=whole, data=data)


# ---- types ---------------------------------------------------------------------------------------------------------------


def check_types(options: Any) -> None:
    """Raise UsageError E-OPTION for a value of a type that an option does not take. Options that say `Any` check their own."""
    hints = _hints(cast(Hashable, type(options)))
    wrong = [f"{one.keyword} is {_shown(getattr(options, one.name))}; it takes {one.accepts}" for one in options_of(type(options))
             if not _fits(getattr(options, one.name), hints[one.name])
             or (one.kind is Path and not all(map(_named, _each(one, getattr(options, one.name)))))]
    if wrong:
        raise UsageError("E-OPTION", "values of a wrong type", details=wrong)


@cache
def _hints(options: Any) -> Mapping[str, Any]:
    """The types that a class of options states, evaluated: half a millisecond."""
    return get_type_hints(options)


def _each(one: Option, value: Any) -> tuple[Any, ...]:
    """The values of an option that may be repeated, or the one value."""
    return value if one.many and isinstance(value, tuple) else (value,)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, kind) for kind in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is NoneType:
        return value is None
    if hint is Path:
        return isinstance(value, (str, Path)) and _named(value)
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return _whole(value)
    if hint is float:
        return _whole(value) or isinstance(value, float)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _VAST


def _named(value: Any) -> bool:
    """Whether a text may be the name of a file; anything but a text or a path is none."""
    if not isinstance(value, (str, Path)):
        return True
    text = str(value)
    return 0 < len(text) < _LONGEST and "\0" not in text and all(len(part.encode(errors="replace")) <= _LONGEST_PART
                                                              for part in Path(text).parts)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
