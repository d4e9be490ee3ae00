"""A network that ends in probabilities, and the same network ending in another of its tensors, such as the scores before a softmax."""

from __future__ import annotations

from dataclasses import replace

from absint.errors import UsageError
from absint.model.families.linear import Linear
from absint.model.graph import Graph, Node
from absint.model.source import Source

_POINTS = 4     # the nodes themselves were compared at import; what is left to see is that both end in the same place


def before_softmax(graph: Graph) -> str | None:
    """The tensor that the network makes probabilities of, by its name in the file; None for a network that ends in anything else.

    Operators behind the softmax that only move entries (reshapes, transpositions, selections) do not hide it. Probabilities
    hardly depend on the input where the network is sure. Logarithms of probabilities are no such end: log p_c - log p_t is the
    difference of the scores themselves.
    """
    node = graph.output
    while node.closed is None or not node.closed.op.normalises:
        if not _moves(node):
            return None
        node = graph[node.inputs[0]]
    scores = graph[node.closed.inputs[0]]
    return scores.name if scores.name in scores.tensors or not scores.tensors else scores.tensors[0]


def _moves(node: Node) -> bool:
    op = node.op
    return isinstance(op, Linear) and len(node.inputs) == 1 and op.forward_terms == 1 and op.offset is None


def ending_with(graph: Graph, tensor: str) -> Graph:
    """The part of a network that computes one of its tensors, which becomes the output. The graph itself for its own output.

    Its reference model, for replaying witnesses, is the user's model cut at the same tensor and compared on a few points; a graph
    without a reference model, and a tensor that the file does not hold as such (one inside a function, or the input), give none.
    Of a chain that is the model which computes the tensor; those before it stay, those behind it go.
    Raises UsageError E-TENSOR where the graph has no such tensor, UnsupportedError E-IMPORT-MISMATCH and E-IMPORT-RUNTIME.
    """
    if tensor not in graph.tensors and _folded(graph.source, tensor):
        raise UsageError("E-TENSOR", f"the tensor '{tensor}' is not kept: what is behind it was folded or merged into one operator",
                         where=graph.source.path or None, hint="name the tensor behind that one, or import with fold=False")
    node = graph.find(tensor)
    if node is graph.output:
        return graph
    names = dict.fromkeys((tensor, node.name, *node.tensors))
    source = graph.source
    caveats = tuple(caveat for caveat in source.caveats if not caveat.startswith("E-MODEL-ARGMAX"))
    dropped = {caveat.partition(": ")[2] for caveat in source.caveats} - {caveat.partition(": ")[2] for caveat in caveats}
    notes = (*(note for note in source.notes if note not in dropped), f"ends with the tensor '{tensor}', inside the network")
    cut = replace(graph.upto(node.name), source=replace(_cut(source, tuple(names)), caveats=caveats, notes=notes))
    if cut.source.runs:
        from absint.model.import_check import check_import

        check_import(cut, points=_POINTS)
    return cut


def _folded(source: Source, tensor: str) -> bool:
    """Whether one of the user's models computes a tensor of that name."""
    import onnx

    return any(part.names + name == tensor for part in source.networks if part.model is not None and tensor.startswith(part.names)
               for node in onnx.load_model_from_string(part.model).graph.node for name in node.output)


def _cut(source: Source, names: tuple[str, ...]) -> Source:
    """The source whose reference ends with one of the tensors, by the graph's names; without any where no model computes them."""
    networks = source.networks
    for k, part in reversed(tuple(enumerate(networks))):
        own = tuple(name.removeprefix(part.names) for name in names if name.startswith(part.names))
        model = None if part.model is None else _model_ending_with(part.model, own)
        if model is not None:
            ended = replace(part, model=model, chooses=None, chosen=own[0])
            return replace(source, parts=(*networks[:k], ended), chooses=None, chosen=own[0]) if source.parts else ended
    return source.unreferenced


def _model_ending_with(model: bytes, names: tuple[str, ...]) -> bytes | None:
    """The model with the first of `names` that one of its nodes computes as the only output; None where none is computed."""
    import onnx

    from absint.model.pruned import prune

    proto = onnx.load_model_from_string(model)
    makes = {name for node in proto.graph.node for name in node.output}
    output = next((name for name in names if name in makes), None)
    if output is None:
        return None
    prune(proto, output)
    return bytes(proto.SerializeToString())
