"""`absint inspect`: every node of a network, how it will be treated, and all that stands in the way at once."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from absint.analyses.inspect.node_views import ImportCheck, NodeView
    from absint.errors import AbsintError
    from absint.model.graph import Graph, NodeCoverage

SCHEMA = "absint-inspect/1"
_RANGE = (0.0, 1.0)
_RICH_ROWS = 500  # rich lays out about a thousand rows a second


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found. file_nodes: of the file, one mapping each.  graph, nodes: None and () where something stands in the way.

    error: what does.
    """

    path: str
    sha256: str
    file_nodes: tuple[dict[str, Any], ...] = ()
    graph: Graph | None = None
    nodes: tuple[NodeView, ...] = ()
    check: ImportCheck | None = None
    error: AbsintError | None = None
    plugins: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        error = self.error
        return {
            "schema": SCHEMA, "model": {"path": self.path, "sha256": self.sha256}, "supported": error is None, **self._analysed(),
            "file_nodes": list(self.file_nodes), "plugins": list(self.plugins),
            "problems": [] if error is None else [{"code": error.code, "what": error.what, "where": error.where,
                                                   "details": list(error.details), "hint": error.hint}],
        }

    def _analysed(self) -> dict[str, Any]:
        graph = self.graph
        if graph is None:
            return {"input": None, "output": None, "passes": [], "notes": [], "nodes": [], "totals": None, "import_check": None}
        from absint.analyses.inspect.node_views import totals

        source = graph.source
        check = None if self.check is None else {
            "points": self.check.points, "relative_deviation": self.check.deviation, "range": list(_RANGE),
            **({} if source.node_check is None else asdict(source.node_check)),
        }
        return {
            "input": {"tensor": source.input_tensor or graph.input.name, "shape": list(graph.input.shape),
                      "full_shape": list(source.full_input_shape), "batch_axis": 0 if source.batched else None, "declared_range": None},
            "output": {"tensor": graph.output.name, "shape": list(graph.output.shape)},
            "passes": list(source.passes), "notes": list(source.notes), "nodes": [node.as_dict() for node in self.nodes],
            "totals": dict(totals(self.nodes)), "import_check": check,
        }


def inspect(
    net: Annotated[Path, typer.Argument(metavar="NET.onnx", help="The network.")],
    *,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    json_: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file with operators or front ends; repeatable.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> Callable[[], int]:
    """Show every node: operator, shapes, treatment, parameters, neurons, names; and every problem at once.

    Exit code 0: absint can analyse this network. 4: something is not supported; the table is printed all the same.
    """
    return lambda: _execute(net, "json" if json_ else format_, tuple(plugin or ()))


def _execute(net: Path, format_: str, plugin: tuple[Path, ...]) -> int:
    from absint.cli.parsing import parse_format
    from absint.registry import load_plugin

    parse_format(format_)
    for file in plugin:
        load_plugin(file)
    found = examine(net, tuple(map(str, plugin)))
    if format_ == "json":
        sys.stdout.write(json.dumps(found.as_dict(), indent=1, allow_nan=False) + "\n")
    else:
        _print(found)
    if found.error is not None:
        raise found.error
    return 0


def examine(net: Path, plugins: tuple[str, ...] = ()) -> Inspection:
    """Survey the file, import it, and check the import. Raises InputError E-MODEL-* where it is no model at all."""
    from absint.analyses.inspect.node_views import checked_import, view
    from absint.cli.inputs import check_model
    from absint.errors import AbsintError, UnsupportedError
    from absint.model.frontend import front_end_for, model_hash

    check_model(net)
    front_end: Any = front_end_for(net)
    survey = getattr(front_end, "survey", None)  # what a front end may offer besides `read`
    rows = tuple(_file_node(report) for report in survey(net)) if survey is not None else ()
    graph: Graph | None = None
    nodes: tuple[NodeView, ...] = ()
    check: ImportCheck | None = None
    problem: AbsintError | None = None
    try:
        graph = front_end.read(net, check=False) if survey is not None else front_end.read(net)
        nodes = view(graph)
        check = checked_import(graph, *_RANGE)
    except AbsintError as error:
        if not rows or (not isinstance(error, UnsupportedError) and not any(row["reason"] for row in rows)):
            raise
        problem = error
    sha256 = graph.source.sha256 if graph is not None and graph.source.sha256 else model_hash(net) if net.is_file() else ""
    return Inspection(str(net), sha256, rows, graph, nodes, check, problem, plugins)


def _file_node(report: Any) -> dict[str, Any]:
    """One node of the file. report: what the front end's survey says about it."""
    from absint.analyses.inspect.node_views import Treatment, parameters, treatment

    if report.reason is not None:
        kind = Treatment.UNSUPPORTED
    elif report.op is None:
        kind = Treatment.FOLDED
    else:
        kind = treatment(report.op)
    return {
        "position": report.position, "name": report.name, "op": report.op_type, "opset": report.opset,
        "input_shapes": [None if shape is None else list(shape) for shape in report.inputs],
        "shape": None if report.output is None else list(report.output), "treatment": kind.value,
        "parameters": 0 if report.op is None else parameters(report.op), "code": report.code, "reason": report.reason, "hint": report.hint,
    }


def _print(found: Inspection) -> None:
    from absint.errors import printable
    from absint.reports.terminal import is_plain, print_table

    plain = is_plain(sys.stdout) or len(found.file_nodes) > _RICH_ROWS
    if found.file_nodes:
        sys.stdout.write("Nodes of the file\n")
        cells = [_file_cells(row) for row in found.file_nodes]
        print_table(sys.stdout, ("node", "name", "operator", "shapes", "treated", "parameters"), cells, _styles(found), plain=plain)
    if found.nodes:
        sys.stdout.write("Nodes that are analysed, and the names of the file they stand for\n")
        cells = [_node_cells(node) for node in found.nodes]
        print_table(sys.stdout, ("node", "operator", "shape", "treated", "parameters", "neurons", "tensors"), cells, plain=plain)
    lines = _summary(found)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        sys.stdout.write(f"{name:<{width}}  {printable(value)}\n")
    sys.stdout.flush()


def _styles(found: Inspection) -> list[str]:
    colours = {"unsupported": "red", "loose hull": "yellow", "folded": "dim"}
    return [colours.get(row["treatment"], "") for row in found.file_nodes]


def _file_cells(row: dict[str, Any]) -> tuple[str, ...]:
    given = ", ".join(map(_shape, row["input_shapes"]))
    shapes = f"{given} -> {_shape(row['shape'])}" if given else ""
    treated = row["treatment"] if row["reason"] is None else f"{row['treatment']}: {row['reason']}"
    return (str(row["position"]), row["name"], row["op"], shapes, treated, _count(row["parameters"]))


def _node_cells(node: NodeView) -> tuple[str, ...]:
    others = ", ".join(name for name in node.tensors if name != node.name)
    return (node.name, node.op, _shape(node.shape), node.treatment.value, _count(node.parameters), _count(node.neurons), others)


def _shape(shape: Sequence[int] | None) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _summary(found: Inspection) -> list[tuple[str, str]]:
    lines = [("model", f"{found.path} (sha256 {found.sha256})")]
    if found.file_nodes:
        counts = Counter(row["treatment"] for row in found.file_nodes)
        lines.append(("file", f"{len(found.file_nodes)} nodes: " + ", ".join(f"{n} {name}" for name, n in counts.most_common())))
    if found.graph is not None:
        lines += _analysed(found, found.graph)
    broken = sum(row["reason"] is not None for row in found.file_nodes)
    lines.append(("verdict", "absint can analyse this network" if found.error is None
                  else f"not supported: {broken} nodes" if broken else f"not supported: {found.error.what}"))
    return lines


def _analysed(found: Inspection, graph: Graph) -> list[tuple[str, str]]:
    from absint.analyses.inspect.node_views import totals

    source, sums = graph.source, totals(found.nodes)
    axis = "axis 0 is the batch axis" if source.batched else "no batch axis: the whole input is one instance"
    lines = [
        ("analysed", f"{sums['nodes']} nodes, {sums['parameters']:,} parameters, {sums['neurons']:,} neurons in "
                     f"{sums['nonlinear_layers']} nonlinear layers"),
        ("input", f"'{source.input_tensor or graph.input.name}' {_shape(graph.input.shape)}; in the file "
                  f"{_shape(source.full_input_shape)}, {axis}; range: none declared, [{_RANGE[0]:g}, {_RANGE[1]:g}] assumed"),
        ("output", f"'{graph.output.name}' {_shape(graph.output.shape)}"),
        ("passes", ", ".join(source.passes) or "none changed anything"),
        *(("note", note) for note in source.notes),
    ]
    if found.check is not None:
        lines.append(("import", _compared(found.check, source.node_check)))
    return lines


def _compared(check: ImportCheck, nodes: NodeCoverage | None) -> str:
    """What was compared with onnxruntime: the whole network, and the file's nodes one by one."""
    parts = [] if check.deviation is None else [f"{check.points} points of the whole network"]
    if nodes is not None:
        pieces = "every piece" if nodes.visited == nodes.pieces else f"{nodes.visited} of {nodes.pieces} pieces"
        parts.append(f"{nodes.nodes} of {nodes.total} nodes" + (f", {pieces}" if nodes.pieces else ""))
    if check.deviation is None:
        parts.append("the whole is too large for a quick look; every analysis compares it")
        return "; ".join(parts) if nodes is None else f"agrees with onnxruntime on {'; '.join(parts)}"
    return f"agrees with onnxruntime on {', '.join(parts)}: deviation at most {check.deviation:.2g} of a tensor's scale"
