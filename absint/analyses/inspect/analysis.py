"""`inspect` as an analysis of one item, the network. `examination` looks at it, `summary` says what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from absint.analyses.inspect.options import InspectOptions
from absint.analyses.inspect.record import Inspection, NodeRow
from absint.contract.analysis import Analysis, Item
from absint.contract.document import Document, Json
from absint.contract.run import Run
from absint.errors import UsageError


class Inspect(Analysis[InspectOptions, Inspection]):
    """Show every node: operator, shapes, treatment, parameters, neurons, names; and every problem at once.

    Exit code 0: absint can analyse this network. 4: something is not supported; the table is printed all the same.
    """

    Options = InspectOptions
    Record = Inspection
    records: ClassVar[str] = ""                         # the document's values say all of it
    positional: ClassVar[tuple[str, ...]] = ("net",)
    returns: ClassVar[str] = "absint.analyses.inspect.record:Inspection"

    def check(self, options: InspectOptions) -> None:
        """There is a network to look at."""
        if options.net is None:
            raise UsageError("E-USAGE", "Missing argument 'NET.onnx'", hint="name the network")

    def items(self, run: Run[InspectOptions]) -> Sequence[Item]:
        """The network."""
        net = run.options.net
        return [Item(0, str(net) if isinstance(net, (str, Path)) else "the network")]

    def about(self, run: Run[InspectOptions]) -> Mapping[str, Json]:
        """Which file, or files, from input to output: it is looked at though it may be none that can be read."""
        options = run.options
        parts = [{"path": _path(net), "sha256": _hash(net) or ""} for net in (*options.compose, options.net)]
        several = {"networks": parts, "sha256": ""} if len(parts) > 1 else {}      # what they are together has a hash once it is read
        return {"model": {**parts[-1], "notes": [], "caveats": [], **several}}

    def binding(self, run: Run[InspectOptions]) -> Mapping[str, Json]:
        """The bytes that are looked at."""
        options = run.options
        before = {"composed_sha256": [_digest(net) for net in options.compose]} if options.compose else {}
        return {"model_sha256": _digest(options.net), **before}

    def opening(self, run: Run[InspectOptions], count: int) -> str:
        """Nothing: it takes a moment."""
        return ""

    def decide(self, items: Sequence[Item], run: Run[InspectOptions]) -> Iterator[Inspection]:
        """What is found of it; of networks in a row, of the one graph that they are."""
        from absint.analyses.inspect.examination import examine
        from absint.problem.live import fit_of, stated_graph

        fit_of(run.options)
        options = run.options
        if options.compose:
            yield examine(stated_graph(options))
        else:
            yield examine(options.net, options.output, normalisation=options.normalisation)

    def word(self, record: Inspection) -> str:
        """Whether it can be analysed."""
        return "supported" if record.problem is None else "unsupported"

    def row_kind(self, options: InspectOptions) -> type[Any]:
        """Nodes."""
        return NodeRow

    def rows(self, record: Inspection, run: Run[InspectOptions]) -> Sequence[NodeRow]:
        """The nodes of the file, then those that are analysed."""
        return list(record.rows())

    def document(self, records: Sequence[Inspection], run: Run[InspectOptions]) -> Document:
        """Both lists of nodes, and what stands in the way."""
        from absint.analyses.inspect.summary import error_of, sections_of, values_of

        if not records:
            return Document()
        found = records[0]
        error = error_of(found)
        values = {**values_of(found), "plugins": list(map(str, run.options.plugin))}
        return Document({"supported": error is None}, sections_of(found), values=values,
                        notes=() if found.analysed is None else found.analysed.notes, error=error)

    def value(self, records: Sequence[Inspection], document: Document, run: Run[InspectOptions]) -> Inspection:
        """The one record; its `problem` is None where absint can analyse the network."""
        return records[0]


def _path(net: object) -> str:
    source = getattr(net, "source", None)
    return str(net) if isinstance(net, (str, Path)) else str(getattr(source, "path", ""))


def _hash(net: object) -> str | None:
    """Of a file; None where there is none."""
    from absint.model.frontend import model_hash
    from absint.model.graph import Graph

    if isinstance(net, Graph):
        return net.source.sha256
    return model_hash(net) if isinstance(net, (str, Path)) and Path(net).is_file() else None


def _digest(net: object) -> str | None:
    """Of what is looked at: a graph by its constants, what is no file by its name."""
    from absint.model.content_digest import model_digest
    from absint.model.graph import Graph

    if isinstance(net, Graph):
        return model_digest(net)
    return _hash(net) or (str(net) if isinstance(net, (str, Path)) else None)
