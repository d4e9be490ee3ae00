"""Looking at one network: its file node by node, its graph, and the import check."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from absint.analyses.inspect.node_views import checked_import, in_words, parameters, treatment, view
from absint.analyses.inspect.record import RANGE, Analysed, FileNodeRow, Inspection, ModelProblem, Treatment
from absint.errors import AbsintError, UnsupportedError
from absint.model.frontend import front_end_for, model_hash
from absint.model.graph import Graph
from absint.model.model_files import check_model
from absint.problem.live import graph_of


def examine(net: object, output: str | None = None, *, normalisation: bool = True) -> Inspection:
    """Survey the file, import it, and check the import; or look at a graph, or at an object that a front end reads.

    output: of several the one that is meant, or a tensor inside, where the network then ends.  normalisation: False leaves out
    the one that the file states.
    Raises InputError E-MODEL-* where it is no model at all, and whatever reading an object raises.
    """
    if isinstance(net, (str, Path)):
        return _of_file(Path(net), {"output": output, "normalisation": normalisation})
    graph = graph_of(net, output=output, normalisation=normalisation)
    analysed, problem = _of_graph(graph)
    return Inspection(0, graph.source.path, graph.source.sha256, (), analysed, problem)


def _of_file(net: Path, stated: Mapping[str, Any]) -> Inspection:
    check_model(net)
    front_end: Any = front_end_for(net)
    survey = getattr(front_end, "survey", None)  # what a front end may offer besides `read`
    known = {} if survey is None else signature(survey).parameters
    chosen = {name: value for name, value in stated.items() if name in known}
    rows = tuple(map(_file_node, survey(net, **chosen))) if survey is not None else ()
    analysed, sha256 = None, ""
    try:
        options = {**stated, **({} if survey is None else {"check": False})}
        graph = graph_of(net, **options)
        sha256 = graph.source.sha256
        analysed, problem = _of_graph(graph)
    except AbsintError as error:
        if not rows or (not isinstance(error, UnsupportedError) and not any(row.reason for row in rows)):
            raise
        problem = problem_of(error)
    return Inspection(0, str(net), sha256 or (model_hash(net) if net.is_file() else ""), rows, analysed, problem)


def _of_graph(graph: Graph) -> tuple[Analysed, ModelProblem | None]:
    """What is analysed; the problem where it is not the user's model."""
    source, check, problem = graph.source, None, None
    try:
        check = checked_import(graph, *RANGE)
    except UnsupportedError as error:
        problem = problem_of(error)
    return Analysed(source.input_tensor or graph.input.name, graph.input.shape, source.full_input_shape, source.batched, graph.output.name,
                    graph.output.shape, source.passes, source.notes, source.caveats, view(graph), check), problem


def problem_of(error: AbsintError) -> ModelProblem:
    """An error as data."""
    return ModelProblem(type(error).__name__, error.code, error.what, error.where, error.details, error.hint)


def _file_node(report: Any) -> FileNodeRow:
    """One node of the file. report: what the front end's survey says about it."""
    if report.reason is not None:
        kind = Treatment.UNSUPPORTED
    elif report.behind is not None:
        kind = Treatment.UNSEEN
    elif report.op is None:
        kind = Treatment.FOLDED
    else:
        kind = treatment(report.op)
    return FileNodeRow(report.position, report.name, report.op_type, report.opset, tuple(report.inputs), report.output, kind,
                    0 if report.op is None else parameters(report.op), report.code, report.reason, report.hint, in_words(report.op),
                    report.behind)
