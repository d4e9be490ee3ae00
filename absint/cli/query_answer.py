"""Reads query and network, runs the analysis, and puts the answer into words. Loaded under the watch of `query.py`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from absint.analyses.query.answering import Assignment, QueryAnswer, QueryResult, verify_query
from absint.analyses.verify import VerifyOptions
from absint.cli.chosen_domain import domain_of
from absint.cli.header import installed, model_of, options_of, versions
from absint.cli.inputs import check_model, memory_of, set_up_device, warn_of
from absint.cli.settings import VerifySettings
from absint.engine.domain import chosen_domain
from absint.errors import InputError, UsageError, printable
from absint.model.frontend import load_model
from absint.model.graph import Graph
from absint.problem.query import Query, read_query
from absint.registry import load_plugin
from absint.reports.notes import noted, split_notes
from absint.reports.witness import WitnessInfo, check_folder, save_witnesses
from absint.verdict import Assurance, Verdict

SCHEMA = "absint-query/1"


@dataclass(frozen=True)
class Answered:
    """text: for stdout.  document: JSON-ready.  save: writes what was asked for besides."""

    text: str
    document: dict[str, Any]
    save: Callable[[], None]


def answer(settings: VerifySettings, name: str | None, path: Path) -> Answered:
    """Answer the query of `settings.net` about the network at `path`. Raises what its parts raise."""
    for file in settings.plugin:
        load_plugin(file)
    if settings.witness is not None:
        check_folder(settings.witness)
    domain = domain_of(settings)
    set_up_device(settings)
    query = read_query(settings.net)
    for line in query.vacuous:
        sys.stderr.write(f"warning[E-VNNLIB-VACUOUS] {printable(line)}\n")
    _check_name(query, name)
    check_model(path)
    graph = load_model(path, fold=settings.semantics != "float32", check=False)  # verify() compares on the query's own boxes
    warn_of(graph)
    left = _left(settings)
    options = VerifyOptions(
        domain=domain, dtype=settings.dtype, device=settings.device, rounding=settings.rounding, semantics=settings.semantics,
        batch=settings.batch, memory=memory_of(settings), attack=None if settings.attack == "none" else settings.attack,
        accept_solver=settings.accept_solver, total_timeout=max(left, 1e-9),
    )
    found = verify_query(graph, query, options)
    return _answered(settings, query, graph, options, found)


def _left(settings: VerifySettings) -> float:
    """Seconds until the limit, and until that of --total-timeout, whichever is nearer."""
    limits = [limit for limit in (settings.timeout, settings.total_timeout) if limit is not None]
    if any(not limit > 0 for limit in limits):
        raise UsageError("E-TIMEOUT", "a timeout must be positive", where="--total-timeout", hint="seconds")
    return min(limits, default=inf) - (time.monotonic() - settings.begin)


def _check_name(query: Query, name: str | None) -> None:
    if name is not None and query.network is not None and name != query.network:
        raise UsageError("E-NETWORK", f"the query is about network {query.network}, not {name}", where="--network",
                         hint=f"give --network {query.network}=net.onnx")


def _answered(settings: VerifySettings, query: Query, graph: Graph, options: VerifyOptions, found: QueryResult) -> Answered:
    folder, witness = settings.serialise_assignments, found.witness
    text = f"{found.answer.value}\n"
    if witness is not None and folder is None:
        text += assignment_text(query, witness)

    def save() -> None:
        if witness is not None and folder is not None:
            serialise(query, graph, witness, folder)
        if settings.witness is not None:
            _save_witness(settings, settings.witness, query, graph, found)

    return Answered(text, _document(settings, query, graph, options, found), save)


def assignment_text(query: Query, witness: Assignment) -> str:
    """The form of VNN-COMP: '((X_0 0.5)', one variable a line, closed by a parenthesis."""
    names = (*query.input_names, *query.output_names)
    values = (*witness.inputs, *map(repr, witness.outputs))
    pairs = [f"({name} {value})" for name, value in zip(names, values, strict=False)]
    return "(" + "\n ".join(pairs) + ")\n"


def _save_witness(settings: VerifySettings, folder: Path, query: Query, graph: Graph, found: QueryResult) -> None:
    """The files that `--witness` makes of any counterexample."""
    proved = [result for result in found.results if result.verdict is Verdict.FALSIFIED]
    info = WitnessInfo(provenance={"query": query.path, "query_sha256": query.sha256})
    saved = save_witnesses(folder, replace(graph, source=graph.source.whole), proved, info)
    if not settings.quiet:
        for line in (f"{len(saved.files)} counterexample files in {folder}", *saved.notes):
            sys.stderr.write(f"{printable(line)}\n")


def serialise(query: Query, graph: Graph, witness: Assignment, folder: Path) -> None:
    """Input and output as ONNX tensors, one file each, called by the variable. Raises InputError E-OUT."""
    from onnx import numpy_helper

    chooses = graph.source.chooses
    shapes = query.shapes or (graph.source.full_input_shape, graph.output.shape if chooses is None else chooses.shape)
    given = np.float32 if query.region.single else np.float64
    kinds = (given, given if chooses is None else np.int64)
    names = [names[0].partition("[")[0].partition("_")[0] if query.version == "1.0" else names[0].partition("[")[0]
             for names in (query.input_names, query.output_names)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, values, shape, kind in zip(names, (witness.point, witness.outputs), shapes, kinds, strict=True):
            array = np.array(values, dtype=kind).reshape(shape)
            (folder / f"{name}.pb").write_bytes(numpy_helper.from_array(array, name).SerializeToString())
    except OSError as error:
        raise InputError("E-OUT", f"cannot be written: {error.strerror}", where=str(folder),
                         hint="give --serialise-assignments a folder you may write") from error


def assurance_of(found: QueryResult) -> Assurance:
    """What the answer rests on: for unsat, the weakest of its parts."""
    if found.answer is QueryAnswer.UNSAT:
        sound = all(result.assurance is Assurance.SOUND for result in found.results)
        return Assurance.SOUND if sound else Assurance.SOLVER
    if found.answer is QueryAnswer.SAT and found.witness is not None:
        return Assurance.REPLAYED if found.witness.outputs else Assurance.SOUND
    return Assurance.NONE


def _document(settings: VerifySettings, query: Query, graph: Graph, options: VerifyOptions, found: QueryResult) -> dict[str, Any]:
    witness = found.witness
    domain = chosen_domain(options.domain)
    return {
        "schema": SCHEMA, "answer": found.answer.value, "assurance": assurance_of(found).value,
        "reason": found.reason.value if found.reason else None,
        "stage": found.stage if found.answer in (QueryAnswer.SAT, QueryAnswer.UNSAT) else None, "margin": found.margin,
        "time_s": round(time.monotonic() - settings.begin, 3), "command": settings.command,
        "query": {"path": query.path, "sha256": query.sha256, "version": query.version, "boxes": query.cells,
                  "disjuncts": query.disjuncts, "vacuous": list(query.vacuous)},
        "model": model_of(graph, graph.source.path),
        "domain": {"name": settings.domain, "options": options_of(domain), "source": domain.source},
        "numerics": {"device": settings.device, "dtype": settings.dtype, "semantics": settings.semantics,
                     "rounding": settings.rounding, "attack": options.attack, "accept_solver": options.accept_solver,
                     "timeout": settings.timeout, "threads": settings.threads},
        "witness": None if witness is None else {
            "inputs": list(witness.inputs), "outputs": list(witness.outputs), "point": list(witness.point), "distance": witness.distance},
        "instances": [{**result.as_dict(), "witness": None, "detail": split_notes(result.detail)[0]} for result in found.results],
        "notes": [{"note": note, "instances": list(indices)} for note, indices in noted(found.results).items()],
        "versions": {**versions(), "vnnlib": installed("vnnlib") or "missing"},
    }
