"""Every node of a file against the part of the graph that stands for it, on inputs chosen to visit all that it can do.

Sampling a whole network misses what only a far corner of its inputs reaches. A node alone is small: its operands are set to
both signs, large and small, at and around every knot, jump and number that it names, to ties, to unit vectors and to labels
that tell entries apart. A call of a local function counts as one node. What agreed once is not asked again in this process:
the key holds everything that an import rule can see but the exact values of weights, of which signs and scale remain (the
check of the whole network meets the values).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper

from absint.errors import UnsupportedError
from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.forward_error import Followed, accepted, follow
from absint.model.graph import Node
from absint.model.import_check import STORED
from absint.model.node_points import numbers, points
from absint.model.op import OPS, Shape
from absint.model.reference import one_session, probes
from absint.model.source import NodeCoverage, Source
from absint.numeric.backend import numeric_mode

AnyArray = npt.NDArray[Any]

_WEIGHTS, _MATRIX = 64, 8  # a floating-point operand of more entries is a weight; so is one of more entries and several axes
_PRODUCTS = 2e8  # that the points of one node may cost
_ENTRIES = 1e6
_FEWEST = 5
_DOUBLE = 1e6  # products of a point up to which all is computed in float64 at once


@dataclass(frozen=True, eq=False)
class FileNode:
    """A node of the file: `label` for messages, its operands, and the graph's nodes that stand for it, in order.

    constants: operands known at import.  inputs: computed operands and their full shapes at batch size 1.
    shapes: of the same, as the graph holds them.
    outputs: results that the graph computes.  model: the node's surroundings without any graph: versions and functions.
    hidden: where computed operands and results are -inf by a constant mask; the graph may have any numbers there.
    """

    label: str
    proto: onnx.NodeProto
    constants: Mapping[str, AnyArray]
    inputs: Mapping[str, Shape]
    shapes: Mapping[str, Shape]
    outputs: tuple[str, ...]
    parts: tuple[Node, ...]
    model: onnx.ModelProto
    hidden: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Visit:
    """pieces, visited: of elementwise functions inside.  differs: what no rounding explains.  ran: onnxruntime took the node alone."""

    pieces: int = 0
    visited: int = 0
    differs: str | None = None
    ran: bool = True


class _Passed:
    """What agreed in this process, most recent last."""

    lock = threading.Lock()
    most = 4096
    known: OrderedDict[Hashable, _Visit] = OrderedDict()  # noqa: RUF012  # one for the process

    @classmethod
    def find(cls, key: Hashable) -> _Visit | None:
        with cls.lock:
            if key in cls.known:
                cls.known.move_to_end(key)
            return cls.known.get(key)

    @classmethod
    def enter(cls, key: Hashable, visit: _Visit) -> None:
        with cls.lock:
            cls.known[key] = visit
            while len(cls.known) > cls.most:
                cls.known.popitem(last=False)


def forget() -> None:
    """Ask every node again: what a test that changes operators needs."""
    with _Passed.lock:
        _Passed.known.clear()


def check_nodes(nodes: Sequence[FileNode], source: Source) -> NodeCoverage | None:
    """Compare every node with onnxruntime's; None where there is no reference model, or it doesn't run.

    A node that onnxruntime does not run alone is not counted as compared; the check of the whole network includes it.
    Raises UnsupportedError E-IMPORT-MISMATCH naming every node that differs.
    """
    if source.model is None or not nodes:
        return None
    try:
        reference = probes(source)
    except UnsupportedError:  # whoever compares the whole network says so
        return None
    types = {**reference.formats, **reference.inputs}
    keys = [_key(node, types) for node in nodes]
    found = [_Passed.find(key) for key in keys]
    with torch.no_grad(), numeric_mode() if None in found else nullcontext():
        for k, node in enumerate(nodes):
            visit = found[k] or _Passed.find(keys[k]) or _visit(node, types)
            if visit.differs is None and visit.ran:
                _Passed.enter(keys[k], visit)
            found[k] = visit
    visits = [v for v in found if v is not None]
    differ = [v.differs for v in visits if v.differs is not None]
    if differ:
        raise UnsupportedError(
            "E-IMPORT-MISMATCH", "the graph does not compute what onnxruntime computes at " + _count(len(differ), "node"),
            where=source.path or None, details=differ, hint="nothing was analysed; report this with the model, it is a bug of absint",
        )
    ran = [v for v in visits if v.ran]
    return NodeCoverage(len(ran), len(visits), sum(v.visited for v in ran), sum(v.pieces for v in ran))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


# ---- what is known already ----------------------------------------------------------------------------------------------


def _key(node: FileNode, types: Mapping[str, str]) -> Hashable:
    bare = onnx.NodeProto()
    bare.CopyFrom(node.proto)
    for name in ("name", "doc_string", "input", "output", "metadata_props"):
        bare.ClearField(name)
    operands: list[Hashable] = []
    names = list(node.proto.input)
    for name in names:
        if name in node.constants:
            operands.append(_constant_key(node.constants[name]))
        else:
            hidden = node.hidden[name].tobytes() if name in node.hidden else None
            operands.append((types.get(name), node.inputs.get(name), names.index(name), hidden))
    outputs = tuple(name in node.outputs for name in node.proto.output)
    rules = tuple(OPS.get(kind) for kind in (node.proto.op_type, f"{node.proto.domain}.{node.proto.op_type}") if kind in OPS)
    around = node.model.SerializeToString() if _is_call(node) else ()
    versions = tuple(sorted((o.domain, int(o.version)) for o in node.model.opset_import))
    return (bare.SerializeToString(deterministic=True), tuple(operands), outputs, rules, around, versions)


def _is_call(node: FileNode) -> bool:
    return any((f.domain, f.name, f.overload) == (node.proto.domain, node.proto.op_type, node.proto.overload) for f in node.model.functions)


def _constant_key(value: AnyArray) -> Hashable:
    """All of it, or of weights what an import rule may branch on."""
    kind = (value.dtype.str, value.shape)
    matrix = sum(size > 1 for size in value.shape) > 1 and value.size > _MATRIX
    if value.dtype.kind != "f" or (value.size <= _WEIGHTS and not matrix) or not np.isfinite(value).all():
        return (*kind, hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest())
    low, high = float(value.min()), float(value.max())
    return (*kind, np.sign(low), np.sign(high), low == high, not value.all(), float(np.frexp(max(-low, high))[1]))


# ---- one node -----------------------------------------------------------------------------------------------------------


def _visit(node: FileNode, types: Mapping[str, str]) -> _Visit:
    """Run the node alone, and its part of the graph, on the same inputs."""
    kinds = {name: types.get(name, "") for name in node.inputs}
    if any(kind not in STORED for kind in kinds.values()):
        return _Visit(ran=False)
    formats = {name: _numpy(kind) for name, kind in kinds.items()}
    try:
        session = one_session(_alone(node, formats).SerializeToString())
    except Exception:  # onnxruntime raises a type of its own for each status code
        return _Visit(ran=False)
    cost = sum(part.size * (part.op.forward_terms if isinstance(part.op, Linear) else 1) for part in node.parts)
    entries = sum(part.size for part in node.parts) + sum(prod(shape) for shape in node.inputs.values())
    most = max(_FEWEST, int(min(_PRODUCTS / cost, _ENTRIES / entries)))
    finite = {name: np.where(np.isneginf(v), 0, v) if v.dtype.kind == "f" else v for name, v in node.constants.items()}
    feeds = points(node.inputs, formats, numbers(node.proto, finite, [p.op for p in node.parts]), finite, most)
    try:
        runs = [session.run(list(node.outputs), _masked(feed, node)) for feed in feeds]
    except Exception:
        return _Visit(ran=False)
    visit = _Visit()
    for dtype in (torch.float64,) if cost <= _DOUBLE else (torch.float32, torch.float64):
        visit = _compare(node, kinds, feeds, runs, dtype)
        if visit.differs is None:
            break
    return visit


def _numpy(kind: str) -> np.dtype[Any]:
    name = kind.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


def _alone(node: FileNode, formats: Mapping[str, np.dtype[Any]]) -> onnx.ModelProto:
    """The node in a model of its own: computed operands are inputs, the others stored."""
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(formats[n]), shape) for n, shape in node.inputs.items()]
    stored = [numpy_helper.from_array(np.ascontiguousarray(node.constants[n]).reshape(node.constants[n].shape), n)
              for n in dict.fromkeys(node.proto.input) if n in node.constants]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs]
    model = onnx.ModelProto()
    model.CopyFrom(node.model)
    model.graph.CopyFrom(helper.make_graph([node.proto], "one", inputs, outputs, stored))
    return model


def _masked(feed: Mapping[str, AnyArray], node: FileNode) -> dict[str, AnyArray]:
    """What the runtime is given: -inf where operands are masked."""
    return {name: np.where(node.hidden[name], np.asarray(-inf, value.dtype), value) if name in node.hidden else value
            for name, value in feed.items()}


def _compare(
    node: FileNode, kinds: Mapping[str, str], feeds: Sequence[Mapping[str, AnyArray]], runs: Sequence[Sequence[AnyArray]],
    dtype: torch.dtype,
) -> _Visit:
    values: dict[str, Followed] = {}
    for name, shape in node.shapes.items():
        stacked = np.stack([np.asarray(feed[name], dtype=np.float64).reshape(shape) for feed in feeds])
        values[name] = Followed(torch.as_tensor(stacked).to(dtype), None, _computed_in(STORED[kinds[name]], kinds[name]))
    pieces = visited = 0
    for part in node.parts:
        operands = [values[i] for i in part.inputs]
        values[part.name] = follow(part.op, operands)
        if isinstance(part.op, Elementwise):
            seen = _pieces(part.op, operands[0], values[part.name], whole=part.inputs[0] in node.inputs)
            pieces, visited = pieces + len(seen), visited + sum(seen)
    for k, output in enumerate(node.outputs):
        mask, rows = node.hidden.get(output), [run[k] for run in runs]
        if mask is not None and all(row.shape == mask.shape for row in rows):
            if not all(bool(np.isneginf(row[mask]).all()) for row in rows):
                return _Visit(pieces, visited, f"{node.label}: its result '{output}' is not -inf wherever it is masked")
            own = values[output].value.double().numpy().reshape(-1, *mask.shape)
            rows = [np.where(mask, mine, row) for mine, row in zip(own, rows, strict=True)]
        text = _differs(node, feeds, values[output], rows)
        if text is not None:
            return _Visit(pieces, visited, text)
    return _Visit(pieces, visited)


def _computed_in(stored: torch.dtype, kind: str) -> torch.dtype:
    """Whole numbers become floating-point ones of a format that the file names later: float32 is the usual one."""
    return stored if kind in ("tensor(float)", "tensor(double)", "tensor(float16)") else torch.float32


def _differs(node: FileNode, feeds: Sequence[Mapping[str, AnyArray]], here: Followed, rows: Sequence[AnyArray]) -> str | None:
    """The entry that exceeds its bound the most, as text; None where all agree."""
    shape = here.value.shape[1:]
    if any(row.size != prod(shape) for row in rows):
        return f"{node.label}: {prod(shape)} entries, onnxruntime has {rows[0].size}"
    theirs = torch.as_tensor(np.stack([np.asarray(row, dtype=np.float64).reshape(shape) for row in rows])).to(here.value.dtype)
    stored = {"float16": torch.float16, "float64": torch.float64}.get(rows[0].dtype.name, torch.float32)
    allowed, deviation, fine = accepted(here, theirs, stored)
    if fine:
        return None
    excess = torch.where(deviation <= allowed, 0.0, (deviation / allowed.clamp(min=1e-300)).nan_to_num(inf, posinf=inf))
    worst = int(excess.argmax())
    point, entry = divmod(worst, prod(shape))
    ours, other, bound = (float(t.flatten()[worst]) for t in (here.value, theirs, allowed))
    given = "; ".join(f"{name} = {_some(value)}" for name, value in feeds[point].items())
    return (f"{node.label}: flat entry {entry}: absint {ours:.9g}, onnxruntime {other:.9g} (rounding explains {bound:.2g}) at {given}")


def _some(value: AnyArray) -> str:
    flat = [f"{v:.6g}" for v in value.reshape(-1)[:6].tolist()]
    return "[" + ", ".join(flat) + (", ..." if value.size > len(flat) else "") + "]"


def _pieces(op: Elementwise, x: Followed, y: Followed, *, whole: bool) -> list[bool]:
    """For every piece of a function whether a value inside it was compared. whole: it is applied to the node's own operand.

    Left out are pieces where nothing is defined and, inside an expansion, where its values do not reach.
    """
    told = y.value.isfinite() & (torch.ones_like(y.value, dtype=torch.bool) if y.error is None else y.error.isfinite())
    fine = op.defined(x.value, x.value)
    cuts = {k.x for k in op.knots} | {j.x for j in op.jumps}
    with suppress(NotImplementedError):  # it states its pieces where it needs them
        cuts |= {end for piece in op.pieces for end in (piece.low, piece.high)}
    seen = []
    for low, high in pairwise([-inf, *sorted(c for c in cuts if abs(c) < inf), inf]):
        inside = (x.value > low) & (x.value < high)
        tried = bool(inside.any())
        if (tried or whole) and (not tried or fine is None or bool((inside & fine).any())):
            seen.append(bool((inside & told).any()))
    return seen
