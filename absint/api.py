"""The Python API: `load`, and a function for each analysis, made from its options. `stream` yields records as they are decided."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

from absint.contract.analysis import Analysis, analysis_of, function_name
from absint.contract.common_options import NetworkOptions
from absint.contract.options import Option, options_of
from absint.errors import UsageError
from absint.model.graph import Graph
from absint.problem.live import composed, fit_of, graph_of
from absint.registry import load_plugin
from absint.runs.progress import Progress
from absint.runs.resolve import check_types, resolve
from absint.runs.session import RunSession, guarded, journal_of
from absint.runs.written import make_folders

EXTRA = ("on_record", "progress")    # keywords of every function besides its options


def load(model: object, *, example_input: Any = None, mean: Any = None, std: Any = None, fold: bool = True,
         check_range: tuple[float, float] | None = None, layout: str = "auto", compose: Any = (), rescale: bool = False,
         as_is: bool = False, classifier_range: Any = "0,1", output: str | None = None,
         normalisation: bool = True) -> Graph:
    """Read a model (a path, or an object that a front end accepts, such as a torch.nn.Module) and check it.

    example_input: one batch of inputs, needed for a module and for nothing else.  mean, std: normalisation to prepend, so
    that eps lives in raw input units.  fold: False keeps every operator of the file as it is (needed for
    `semantics="float32"`).  check_range: input range of the check against onnxruntime and the module, [0, 1] if None.
    layout: chw or hwc, the order of the input's axes, for a mean and std per channel that the operators leave open.
    output: of a file with several the one that is meant, or a tensor inside, where the network then ends.
    normalisation: False leaves out the one that the model's file states (.nnet).
    compose: a network that runs before the model, such as a generator, or several in order; mean, std and layout stay the model's own.
    rescale, as_is, classifier_range: how values reach the model: see `Graph.then`.
    Raises InputError or UnsupportedError, every offender at once.
    """
    before = tuple(compose) if isinstance(compose, (tuple, list)) else () if compose is None else (compose,)
    stated = NetworkOptions(net=model, compose=before, rescale=rescale, as_is=as_is, classifier_range=classifier_range, output=output,
                            normalisation=normalisation)
    check_types(stated)
    fit = fit_of(stated)
    if not before:
        return graph_of(model, example_input, mean=mean, std=std, layout=layout, fold=fold, check_range=check_range,
                        output=output, normalisation=normalisation)
    own = {"mean": mean, "std": std, "layout": layout, "last": {"output": output, "normalisation": normalisation}}
    return composed((*before, model), fit, example_input=example_input, fold=fold, check_range=check_range, **own)


def stream(analysis: str, *arguments: Any, **keywords: Any) -> Iterator[Any]:
    """The records of an analysis, each yielded the moment it is decided: `for row in absint.stream("verify", net, inputs, labels, 0.01)`.

    arguments, keywords: those of the function of that name. Closing the iterator ends the work.
    Raises UsageError E-ANALYSIS-UNKNOWN, and whatever the function raises.
    """
    options = options_from(analysis_of(analysis), arguments, keywords)
    _load(options)
    made, run = resolve(analysis, replace(options, quiet=True))
    journal = journal_of(made, run)
    with nullcontext() if journal is None else closing(journal), closing(RunSession(made, run, journal).decided()) as records:
        yield from records


def function(name: str) -> Callable[..., Any]:
    """The function of an analysis: its options as keywords, a few of them also by position."""
    analysis = analysis_of(name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        on_record, shown = keywords.pop("on_record", None), keywords.pop("progress", False)
        if not isinstance(shown, bool) or not (on_record is None or callable(on_record)):
            raise UsageError("E-OPTION", "on_record is a function that is called with each record, progress is True or False",
                             hint="leave them away")
        return _called(name, options_from(analysis, arguments, keywords), on_record, shown=shown)

    call.__name__ = call.__qualname__ = function_name(name)
    call.__module__ = "absint"
    call.__doc__ = docstring(analysis)
    call.__signature__ = signature(analysis)  # type: ignore[attr-defined]
    return call


def _called(name: str, options: Any, on_record: Any, *, shown: bool) -> Any:
    """Run to the end; with a journal, an interrupt loses nothing."""
    _load(options)
    analysis, run = resolve(name, options if shown else replace(options, quiet=True))
    make_folders(run.options)
    journal = journal_of(analysis, run)
    with nullcontext() if journal is None else closing(journal):
        session = RunSession(analysis, run, journal)
        with Progress(len(session.items), quiet=not shown) as progress, closing(session.decided()) as records:
            session.run = replace(session.run, stage=progress.stage)
            for record in records:
                progress.record(analysis.word(record))
                if on_record is not None:
                    on_record(record)
            session.look_further(shown=False)
        document = session.document()
        session.ended(document)
        guarded(analysis, analysis.finish, session.records, document, session.run)
        return guarded(analysis, analysis.value, session.records, document, session.run)


def _load(options: Any) -> None:
    for file in options.plugin:
        load_plugin(file)


# ---- options from arguments ----------------------------------------------------------------------------------------------


def python_options(analysis: Analysis[Any, Any]) -> list[Option]:
    """Those that Python takes: first those by position, in their order."""
    offered = [one for one in options_of(analysis.Options) if one.words.python]
    places = {name: place for place, name in enumerate(analysis.positional)}
    return sorted(offered, key=lambda one: places.get(one.name, len(places)))


def options_from(analysis: Analysis[Any, Any], arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """The options that a call states. Raises UsageError E-USAGE, every unknown name at once."""
    known = {one.keyword: one for one in python_options(analysis)}
    positional = [one for one in known.values() if one.name in analysis.positional]
    if len(arguments) > len(positional):
        raise UsageError("E-USAGE", f"{len(arguments)} arguments by position, and {len(positional)} have one",
                         hint=f"in order: {', '.join(one.keyword for one in positional)}; name the others")
    given = dict(zip((one.keyword for one in positional), arguments, strict=False))
    twice = sorted(given.keys() & keywords.keys())
    strange = [name for name in keywords if name not in known]
    if twice or strange:
        details = [f"'{name}' is given twice" for name in twice]
        for name in strange:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
            details.append(f"there is no option '{name}'" + (f": did you mean {' or '.join(near)}?" if near else ""))
        raise UsageError("E-USAGE", "the arguments do not fit", details=details, hint=f"known: {', '.join([*known, *EXTRA])}")
    stated = given | keywords
    options = analysis.Options(**{known[name].name: _listed(known[name], value) for name, value in stated.items()})
    check_types(options)
    return options


def _listed(one: Option, value: Any) -> Any:
    """Of an option that may be repeated: one value, or several."""
    if not one.many or value is None or isinstance(value, tuple):
        return value
    return (value,) if isinstance(value, str) or not isinstance(value, (list, set)) else tuple(value)


def signature(analysis: Analysis[Any, Any]) -> inspect.Signature:
    """What `help` and completion show."""
    parameters = []
    for one in python_options(analysis):
        first = one.name in analysis.positional
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if first else inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(one.keyword, kind, default=one.default, annotation=one.accepts))
    extra = [inspect.Parameter(EXTRA[0], inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Callable[[Any], None] | None"),
             inspect.Parameter(EXTRA[1], inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool")]
    return inspect.Signature(parameters + extra)


def docstring(analysis: Analysis[Any, Any]) -> str:
    """The help, then a line for each option."""
    lines = [f"{one.keyword}: {one.words.help}" for one in python_options(analysis)]
    lines += ["on_record: called with each record the moment it is decided.", "progress: show it on stderr."]
    return f"{analysis.help()}\n\n" + "\n".join(lines)


__all__ = ["function", "load", "stream"]
