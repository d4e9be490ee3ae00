"""A counterexample in the forms that the VNN-LIB standard and VNN-COMP ask for, and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path

import numpy as np

from absint.analyses.query.answering import Assignment
from absint.analyses.query.asking import AskedQuery, FoundAnswer
from absint.attacks.witness_files import WitnessInfo, save_witnesses
from absint.errors import InputError
from absint.problem.query import Query
from absint.verdict import Verdict


def assignment_text(query: Query, witness: Assignment) -> str:
    """The form of VNN-COMP: '((X_0 0.5)', one variable a line, closed by a parenthesis."""
    names = (*query.input_names, *query.output_names)
    values = (*witness.inputs, *map(repr, witness.outputs))
    pairs = [f"({name} {value})" for name, value in zip(names, values, strict=False)]
    return "(" + "\n ".join(pairs) + ")\n"


def serialise(asked: AskedQuery, witness: Assignment, folder: Path) -> None:
    """Every input and the output as ONNX tensors, one file each, called by the variable. Raises InputError E-OUT."""
    from absint.model.tensor_files import tensor_bytes

    query, graph = asked.query, asked.graph
    chooses = graph.source.chooses
    shapes = query.shapes or (graph.source.full_input_shape, graph.output.shape if chooses is None else chooses.shape)
    given = np.float32 if query.region.single else np.float64
    kinds = (given, given if chooses is None else np.int64)
    names = [names[0].partition("[")[0].partition("_")[0] if query.version == "1.0" else names[0].partition("[")[0]
             for names in (query.input_names, query.output_names)]
    inputs = [(one.name, one.shape) for one in query.inputs] or [(names[0], shapes[0])]
    places = [0, *accumulate(prod(shape) for _, shape in inputs)]
    tensors = [(name, witness.point[first:end], shape, kinds[0])
               for (name, shape), (first, end) in zip(inputs, pairwise(places), strict=True)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, values, shape, kind in (*tensors, (names[1], witness.outputs, shapes[1], kinds[1])):
            array = np.array(values, dtype=kind).reshape(shape)
            (folder / f"{name}.pb").write_bytes(tensor_bytes(array, name))
    except OSError as error:
        raise InputError("E-OUT", f"cannot be written: {error.strerror}", where=str(folder),
                         hint="give --serialise-assignments a folder you may write") from error


def witness_files(folder: Path, found: FoundAnswer) -> Sequence[str]:
    """The files that `--witness` makes of any counterexample; returns what there is to say of them."""
    query, graph = found.asked.query, found.asked.graph
    proved = [result for result in found.result.results if result.verdict is Verdict.FALSIFIED]
    info = WitnessInfo(provenance={"query": query.path, "query_sha256": query.sha256})
    saved = save_witnesses(folder, replace(graph, source=graph.source.whole), proved, info)
    return (f"{len(saved.files)} counterexample files in {folder}", *saved.notes)
