"""What the answers of a run add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from absint.analyses.query.answering import QueryResult
from absint.analyses.query.assignment import assignment_text
from absint.analyses.query.options import QueryOptions
from absint.analyses.query.record import ANSWERS, ERROR, UNKNOWN, AnswerRecord
from absint.contract.document import Document, Facts, Section, Table
from absint.contract.run import Run
from absint.model.graph import Graph
from absint.problem.query import Query
from absint.verdict import Assurance, Reason, noted


def model_facts(graph: Graph) -> dict[str, Any]:
    """What a report says of the network."""
    source = graph.source
    return {"path": source.path, "sha256": source.sha256, "input_shape": list(graph.input.shape), "outputs": graph.output.size,
            "passes": list(source.passes), "notes": list(source.notes), "caveats": list(source.caveats), **source.files}


def query_facts(query: Query) -> dict[str, Any]:
    """What a report says of the query."""
    return {"path": query.path, "sha256": query.sha256, "version": query.version, "boxes": query.cells, "disjuncts": query.disjuncts,
            "vacuous": list(query.vacuous)}


def document_of_one(record: AnswerRecord, run: Run[QueryOptions]) -> Document:
    """The answer alone for people, an assignment after it; everything else for machines."""
    query, graph, result = record.found.asked.query, record.found.asked.graph, record.found.result
    caveats = graph.source.caveats
    warnings = [*(f"E-VNNLIB-VACUOUS: {line}" for line in query.vacuous), *(_placed(caveat, graph.source.path) for caveat in caveats)]
    if record.assurance is Assurance.SOLVER:
        warnings.append(f"{record.verdict} on a solver's word, which nobody has proved (--accept-solver)")
    why = record.reason or record.stage
    remarks = [f"note: {note}" for note in record.notes if note not in caveats]
    remarks.append(f"{record.verdict}{f' ({why})' if why else ''} after {record.time_s:.2f} s")
    if record.verdict == UNKNOWN and record.reason == Reason.SOLVER.value:
        remarks.append("note: it rests on a solver's word alone; --accept-solver makes that unsat")
    return Document({"counts": {record.verdict: 1}}, values=_values(record, result, graph, query), warnings=tuple(warnings),
                    remarks=tuple(remarks), lead=_lead(result, query, run.options))


def _placed(caveat: str, path: str) -> str:
    code, _, text = caveat.partition(": ")
    return f"{code}: {path}: {text}"


def _lead(result: QueryResult, query: Query, options: QueryOptions) -> str:
    shown = result.witness is not None and options.serialise_assignments is None
    return f"{result.answer.value}\n" + (assignment_text(query, result.witness) if shown and result.witness is not None else "")


def _values(record: AnswerRecord, result: QueryResult, graph: Graph, query: Query) -> dict[str, Any]:
    witness = result.witness
    return {
        "answer": record.verdict, "assurance": record.assurance.value, "reason": record.reason, "stage": record.stage,
        "margin": record.margin, "time_s": round(record.time_s, 3), "query": query_facts(query), "model": model_facts(graph),
        "witness": None if witness is None else {
            "inputs": list(witness.inputs), "outputs": list(witness.outputs), "point": list(witness.point), "distance": witness.distance},
        "instances": [{name: value for name, value in part.as_dict().items() if name not in ("witness", "notes")}
                      for part in result.results],
        "notes": [{"note": note, "instances": found} for note, found in noted(result.results).items()],
    }


def document_of_list(records: Sequence[AnswerRecord], run: Run[QueryOptions]) -> Document:
    """Counts and median times by answer, on stderr where the result goes elsewhere; each note once."""
    by_answer = [(answer, [record.time_s for record in records if record.verdict == answer]) for answer in ANSWERS]
    rows = [(answer, len(times), median(times) if times else None) for answer, times in by_answer]
    rows.append(("all", len(records), median([record.time_s for record in records]) if records else None))
    table = Table(("answer", "count", "median_s"), tuple(rows), "by_answer")
    word = sum(record.assurance is Assurance.SOLVER for record in records)
    warnings = (f"{word} of the unsat answers on a solver's word, which nobody has proved (--accept-solver)",) if word else ()
    notes: Counter[str] = Counter(note for record in records if record.verdict != ERROR for note in record.notes)
    said = tuple(f"{note} ({count} instances)" for note, count in notes.items())
    lines = [f"{'answer':10}{'count':>7}{'median s':>11}"]
    lines += [f"{answer:10}{count:7}{f'{middle:11.2f}' if middle is not None else ''}" for answer, count, middle in rows]
    remarks = () if run.options.format == "text" else (*lines, *(f"note: {one}" for one in said))
    summary = {"counts": {answer: count for answer, count, _ in rows[:-1]}, "on_solver": word,
               "notes": [{"note": note, "instances": [r.index for r in records if note in r.notes]} for note in notes]}
    shown = (Facts(tuple(("note", one) for one in said)),) if said else ()
    return Document(summary, (Section("", (table, *shown)),), warnings=warnings, remarks=remarks)


