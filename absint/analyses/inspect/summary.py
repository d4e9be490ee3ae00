"""What an inspection says to people and to machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from absint import errors
from absint.analyses.inspect.record import RANGE, Analysed, FileNodeRow, ImportCheck, Inspection, NodeView, Treatment, totals
from absint.contract.document import Facts, Json, Section, Table
from absint.contract.record import row_of

_TONES: Mapping[Treatment, str] = {Treatment.UNSUPPORTED: "bad", Treatment.LOOSE: "open", Treatment.UNSEEN: "open"}


def error_of(found: Inspection) -> errors.AbsintError | None:
    """What stands in the way, as it was raised."""
    problem = found.problem
    if problem is None:
        return None
    kind: Any = getattr(errors, problem.kind, errors.UnsupportedError)
    made: errors.AbsintError = kind(problem.code, problem.what, where=problem.where, details=problem.details, hint=problem.hint)
    return made


def values_of(found: Inspection) -> dict[str, Json]:
    """JSON-ready: everything."""
    one, problem = found.analysed, found.problem
    start = {"model": {"path": found.path, "sha256": found.sha256}, "supported": problem is None}
    end = {"file_nodes": [row_of(node) for node in found.file_nodes],
           "problems": [] if problem is None else [{"code": problem.code, "what": problem.what, "where": problem.where,
                                                    "details": list(problem.details), "hint": problem.hint}]}
    if one is None:
        return {**start, "input": None, "output": None, "passes": [], "nodes": [], "totals": None, "import_check": None, **end}
    return {
        **start,
        "input": {"tensor": one.input_tensor, "shape": list(one.input_shape), "full_shape": list(one.full_input_shape),
                  "batch_axis": 0 if one.batched else None, "declared_range": None},
        "output": {"tensor": one.output_tensor, "shape": list(one.output_shape)},
        "passes": list(one.passes), "nodes": [row_of(node) for node in one.nodes], "totals": dict(totals(one.nodes)),
        "import_check": None if one.check is None else _checked(one.check), **end,
    }


def _checked(check: ImportCheck) -> dict[str, Json]:
    return {"points": check.points, "relative_deviation": check.deviation, "range": list(RANGE),
            **({} if check.nodes is None else row_of(check.nodes))}


def sections_of(found: Inspection) -> tuple[Section, ...]:
    """Both lists of nodes, then what they add up to."""
    sections = []
    if found.file_nodes:
        table = Table(("node", "name", "operator", "shapes", "treated", "parameters"), tuple(map(_file_cells, found.file_nodes)),
                      tones=tuple(_TONES.get(node.treatment, "") for node in found.file_nodes))
        sections.append(Section("Nodes of the file", (table,)))
    if found.nodes:
        table = Table(("node", "operator", "shape", "treated", "parameters", "neurons", "tensors"), tuple(map(_node_cells, found.nodes)))
        sections.append(Section("Nodes that are analysed, and the names of the file they stand for", (table,)))
    return (*sections, Section("", (Facts(tuple(_lines(found))),)))


def _file_cells(node: FileNodeRow) -> tuple[str, ...]:
    given = ", ".join(map(_shape, node.input_shapes))
    shapes = f"{given} -> {_shape(node.shape)}" if given else ""
    more = node.how if node.reason is None else node.reason
    treated = node.treatment.value if more is None else f"{node.treatment.value}: {more}"
    if node.behind is not None:
        treated = f"{node.treatment.value}: behind node {node.behind}"
    return (str(node.position), node.name, node.op, shapes, treated, _count(node.parameters))


def _node_cells(node: NodeView) -> tuple[str, ...]:
    others = ", ".join(name for name in node.tensors if name != node.name)
    return (node.name, node.op, _shape(node.shape), node.treatment.value, _count(node.parameters), _count(node.neurons), others)


def _shape(shape: Sequence[int] | None) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _lines(found: Inspection) -> list[tuple[str, str]]:
    lines = [("model", f"{found.path or 'a graph'} (sha256 {found.sha256 or 'unknown'})")]
    if found.file_nodes:
        counts = Counter(node.treatment.value for node in found.file_nodes)
        lines.append(("file", f"{len(found.file_nodes)} nodes: " + ", ".join(f"{n} {name}" for name, n in counts.most_common())))
    if found.analysed is not None:
        lines += _analysed(found.analysed)
    problem = found.problem
    lines.append(("verdict", "absint can analyse this network" if problem is None
                  else f"not supported: {found.broken} nodes" if found.broken else f"not supported: {problem.what}"))
    return lines


def _analysed(one: Analysed) -> list[tuple[str, str]]:
    sums = totals(one.nodes)
    axis = "axis 0 is the batch axis" if one.batched else "no batch axis: the whole input is one instance"
    lines = [
        ("analysed", f"{sums['nodes']} nodes, {sums['parameters']:,} parameters, {sums['neurons']:,} neurons in "
                     f"{sums['nonlinear_layers']} nonlinear layers"),
        ("input", f"'{one.input_tensor}' {_shape(one.input_shape)}; in the file {_shape(one.full_input_shape)}, {axis}; "
                  f"range: none declared, [{RANGE[0]:g}, {RANGE[1]:g}] assumed"),
        ("output", f"'{one.output_tensor}' {_shape(one.output_shape)}"),
        ("passes", ", ".join(one.passes) or "none changed anything"),
    ]
    return lines if one.check is None else [*lines, ("import", _compared(one.check))]


def _compared(check: ImportCheck) -> str:
    """What was compared with onnxruntime: the whole network, and the file's nodes one by one."""
    nodes = check.nodes
    parts = [] if check.deviation is None else [f"{check.points} points of the whole network"]
    if nodes is not None:
        pieces = "every piece" if nodes.visited == nodes.pieces else f"{nodes.visited} of {nodes.pieces} pieces"
        parts.append(f"{nodes.nodes} of {nodes.total} nodes" + (f", {pieces}" if nodes.pieces else ""))
    if check.deviation is None:
        parts.append("the whole is too large for a quick look; every analysis compares it")
        return "; ".join(parts) if nodes is None else f"agrees with onnxruntime on {'; '.join(parts)}"
    return f"agrees with onnxruntime on {', '.join(parts)}: deviation at most {check.deviation:.2g} of a tensor's scale"
