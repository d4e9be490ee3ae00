"""Reads a query and its network, and finds the answer."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from absint.analyses.query.answering import QueryAnswer, QueryResult, answered
from absint.analyses.query.options import QueryOptions
from absint.analyses.query.record import SAT, AnswerRecord
from absint.analyses.verify.run_settings import settings_of
from absint.contract.run import Run
from absint.errors import InputError, UsageError
from absint.model.content_digest import graph_digest
from absint.model.graph import Graph
from absint.model.model_files import check_model
from absint.problem.live import graph_of
from absint.problem.query import Query, read_query
from absint.verdict import Assurance, noted

_LEAST = 1e-9   # seconds: a limit is positive


@dataclass(frozen=True, eq=False)
class AskedQuery:
    """A query about a network, both read."""

    query: Query
    graph: Graph

    @property
    def sha256(self) -> tuple[str, str]:
        """Of network and query."""
        return graph_digest(self.graph), self.query.sha256


@dataclass(frozen=True, eq=False)
class FoundAnswer:
    """A query, and its answer."""

    asked: AskedQuery
    result: QueryResult


def read(query: object, network: object, options: QueryOptions, name: str | None = None) -> AskedQuery:
    """name: what the network is called, where the query must call it so, too. Raises what its parts raise, UsageError E-NETWORK."""
    asked = query if isinstance(query, Query) else read_query(_path(query))
    if name is not None and asked.network is not None and name != asked.network:
        raise UsageError("E-NETWORK", f"the query is about network {asked.network}, not {name}", where="--network",
                         hint=f"give --network {asked.network}=net.onnx")
    of_network: dict[str, Any] = {"output": options.output, "normalisation": options.normalisation}
    if not isinstance(network, (str, Path)):
        return AskedQuery(asked, graph_of(network, **of_network))
    with suppress(OSError, ValueError):     # no name of a file: that is told where it is read
        check_model(Path(network))
    # Not compared with onnxruntime here: that is done on the query's own boxes.
    return AskedQuery(asked, graph_of(network, **of_network, fold=options.semantics != "float32", check=False))


def _path(query: object) -> str | Path:
    if not isinstance(query, (str, Path)):
        raise InputError("E-VNNLIB-FORMAT", f"an object of type {type(query).__name__} is no query", where="query",
                         hint="the path of a VNN-LIB file, or what absint.read_query returned")
    return query


def find(asked: AskedQuery, run: Run[Any], end: float) -> FoundAnswer:
    """The answer, until `end` on the monotonic clock. Raises what `answered` raises."""
    left = inf if end == inf else max(end - time.monotonic(), _LEAST)
    settings = replace(settings_of(run), timeout=inf, total_timeout=left)
    under_way = answered(asked.graph, asked.query, settings)
    decided = 0
    with closing(under_way):
        for _ in under_way:
            decided += 1
            run.stage(f"{decided} of {under_way.asked} boxes")
    return FoundAnswer(asked, under_way.result)


def record_of(found: FoundAnswer, index: int, names: tuple[str, str], time_s: float, *, cut: bool) -> AnswerRecord:
    """The answer as a record. names: of network and query.  cut: whether the limit of the whole run was the nearer one."""
    result = found.result
    decided = result.answer in (QueryAnswer.SAT, QueryAnswer.UNSAT)
    return AnswerRecord(
        index, *names, result.answer.value, time_s, result.stage if decided else None, result.reason.value if result.reason else None,
        result.margin, tuple(noted(result.results)), assurance_of(result), found.asked.sha256,
        cut and result.answer is QueryAnswer.TIMED_OUT, found, None if result.witness is None else result.witness.point)


def assurance_of(result: QueryResult) -> Assurance:
    """What the answer rests on: for unsat, the weakest of its parts."""
    if result.answer is QueryAnswer.UNSAT:
        sound = all(part.assurance is Assurance.SOUND for part in result.results)
        return Assurance.SOUND if sound else Assurance.SOLVER
    if result.answer is QueryAnswer.SAT and result.witness is not None:
        return Assurance.REPLAYED if result.witness.outputs else Assurance.SOUND
    return Assurance.NONE


def is_counterexample(record: AnswerRecord, run: Run[Any]) -> bool:
    """Whether the record's witness is one of the run's query, which is the one that the record answers, about the same network.

    Sound: True only where it is proved against the exact query, and replayed.
    """
    asked: AskedQuery = run.problem
    if record.witness is None or record.verdict != SAT or record.sha256 != asked.sha256:
        return False
    return answered(asked.graph, asked.query, settings_of(run)).proves(record.witness)
