"""Walks the nodes of an ONNX file: folds what is constant, imports the rest, and gathers every problem at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
from onnx import helper
from torch import Tensor

import absint.model.ops  # noqa: F401  # registers the built-in operators
from absint.errors import AbsintError, InputError, PluginError, UnsupportedError
from absint.frontends.onnx_end import CHOOSING
from absint.frontends.onnx_file import AnyArray, OnnxFile, WrittenNode, input_shape, standard
from absint.frontends.onnx_fold import NotExactError, fold, foldable
from absint.frontends.onnx_integers import guard, integer_type, reads_integers
from absint.frontends.onnx_making import with_making
from absint.frontends.onnx_values import NodeProblemError, tensor_of, value_of
from absint.model.graph import Graph, GraphBuilder
from absint.model.node_check import FileNode
from absint.model.op import OPS, OnnxNode, Op, Shape
from absint.model.parameters import read_from
from absint.model.source import Source

_FOLD_HINT = "fold the constants before the import (onnxsim, or export with constant folding)"
# The only operators whose import rule is asked once for each output that is used.
_SPLITTING = frozenset({"Split"})
# Only input 0 of these may be computed; a computed number where an optional constant belongs must not pass for an absent one.
_DATA_FIRST = frozenset(re.findall(
    r"\w+",
    "BatchNormalization Clip Conv ConvTranspose CumSum Dropout Expand Gather GatherElements GatherND Gemm GlobalAveragePool "
    "GlobalMaxPool Pad ReduceMax ReduceMean ReduceMin ReduceSum Reshape Resize Slice Split Squeeze Tile Trilu Unsqueeze Upsample",
))
_QUANTISED = ("belongs to a quantised network", "verify the floating-point network it was made from")
_RANDOM = ("draws random numbers", "export the model in evaluation mode")
_CONTROL = ("is control flow", "export with fixed sizes and without branches or loops (unroll, or onnxsim)")
_RECURRENT = ("is a recurrent layer", "unroll it for a fixed number of steps before export")
_CHOICE = ("chooses an index, and is not the file's last node along one vector of scores",
           "cut the network in front of it: onnx.utils.extract_model(source, target, inputs, outputs)")
# Why a name has no entry, where more can be said than that.
_REFUSED = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
                     "MatMulInteger"), _QUANTISED),
    **dict.fromkeys(("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"), _RANDOM),
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _CONTROL),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), _RECURRENT),
    **dict.fromkeys(CHOOSING, _CHOICE),
}


@dataclass(frozen=True, eq=False)
class NodeReport:
    """What became of one node. op: None where it was folded or is not supported; reason: None where all is well.

    inputs, output: full ONNX shapes at batch size 1; None where unknown. Constant inputs are left out.
    """

    position: int
    name: str
    op_type: str
    opset: int
    inputs: tuple[Shape | None, ...] = ()
    output: Shape | None = None
    op: Op | None = None
    folded: bool = False
    code: str | None = None
    reason: str | None = None
    hint: str | None = None

    def line(self) -> str:
        """One line of an error message or a table."""
        head = f"node {self.position} '{self.name}'  {self.op_type} (opset {self.opset})"
        shapes = ", ".join(_shape_text(s) for s in self.inputs)
        tail = [] if self.reason is None else [self.reason if self.hint is None else f"{self.reason}; {self.hint}"]
        return "  ".join([head, *([f"{shapes} -> {_shape_text(self.output)}"] if shapes else []), *tail])


def _shape_text(shape: Shape | None) -> str:
    return "?" if shape is None else str(shape)


@dataclass(frozen=True)
class _Placeholder(Op):
    """Stands for a node that is not supported, so that the nodes behind it are looked at, too. Never in a result."""

    shape: Shape
    arity = None

    def output_shape(self, *shapes: Shape) -> Shape:
        return self.shape

    def forward(self, *xs: Tensor) -> Tensor:
        raise NotImplementedError


class Translation:
    """One attempt at a file, with axis 0 of every computed tensor as batch axis or without any.

    Every computed tensor depends on the one input, so either all of them carry the batch axis or none does.
    """

    def __init__(self, file: OnnxFile, *, batched: bool) -> None:
        self.file, self.batched = file, batched
        self.full_input, _ = input_shape(file.dims)
        self.builder = GraphBuilder(file.input_name, self._inner(self.full_input))
        self.constants: dict[str, AnyArray] = dict(file.constants)
        self.shapes: dict[str, Shape | None] = {file.input_name: self.full_input}
        self.integers: dict[str, int] = {}  # computed tensors of integers, and their types
        self._parts: dict[int, list[str]] = {}
        self._lost: set[str] = set()    # constants of the file whose numbers went into what does not know them by name
        self.reports = [self._step(step) for step in file.steps]

    @property
    def integer_formats(self) -> frozenset[str]:
        """The types of the integers that the network computes, as numpy calls them."""
        return frozenset(str(helper.tensor_dtype_to_np_dtype(kind)) for kind in self.integers.values())

    @property
    def problems(self) -> list[NodeReport]:
        """Nodes that are not supported."""
        return [r for r in self.reports if r.reason is not None]

    def file_nodes(self) -> list[FileNode]:
        """Every node of the file that the graph computes, with what stands for it; a call of a function is one."""
        file = self.file
        bare = onnx.ModelProto(ir_version=file.proto.ir_version, opset_import=file.proto.opset_import)
        calling = onnx.ModelProto(ir_version=file.proto.ir_version, opset_import=file.proto.opset_import, functions=file.functions)
        called = {(f.domain, f.name) for f in file.functions}
        found = []
        for position, names in self._parts.items():
            proto = file.written[position]
            own = dict.fromkeys(names)
            outputs = tuple(o for o in proto.output if o in own)
            inputs = {i: self.shapes[i] or () for i in proto.input if i and i not in self.constants}
            constants = {i: self.constants[i] for i in proto.input if i in self.constants}
            if outputs:
                parts = tuple(self.builder.nodes[name] for name in names)
                label = f"node {position} '{proto.name or proto.output[0]}' {proto.op_type}"
                around = calling if (proto.domain, proto.op_type) in called else bare
                found.append(FileNode(label, proto, constants, inputs, outputs, parts, self.batched, around))
        return found

    def graph(self, notes: tuple[str, ...]) -> Graph:
        """The finished graph. Raises what `problems` tells, and E-MODEL-OUTPUTS for a constant output."""
        file = self.file
        if self.problems:
            raise self._error()
        if file.output_name not in self.builder.nodes:
            raise InputError("E-MODEL-OUTPUTS", f"the output '{file.output_name}' does not depend on the input", where=file.path,
                             hint="is this the right model?")
        scores = self.shapes[file.output_name] or ()
        chooses = None if file.ending is None else file.ending.index(scores, file.path)
        caveats = [*([] if file.ending is None else [file.ending.caveat(prod(scores))]), *self._fixed_batch(scores)]
        said = [caveat.partition(": ")[2] for caveat in caveats]
        source = Source(file.path, file.sha256, file.model, file.input_name, self.full_input, self.batched,
                        notes=(*file.notes, *said, *notes), chooses=chooses, caveats=tuple(caveats))
        found = self.builder.graph(file.output_name, source)
        reads = read_from((node.op, node.made) for node in found.nodes)
        reads.update(name for name in self._lost if name in file.constants)
        return replace(found, source=replace(source, reads=reads))

    def _fixed_batch(self, output: Shape) -> list[str]:
        """What to say where axis 0 of input and output looks like a batch of a fixed size: the whole of it is one instance."""
        shape = self.full_input
        if self.batched or len(shape) < 2 or shape[0] < 2 or output[:1] != shape[:1]:
            return []
        given, read = "x".join(map(str, shape)), f"{'x'.join(map(str, output))} outputs are read as {prod(output)} classes"
        return [f"E-MODEL-BATCH: axis 0 of input and output has the fixed size {shape[0]}: all {given} numbers are one instance, and the "
                f"{read}; where it is a batch, export with batch size 1 or a free one"]

    def _error(self) -> AbsintError:
        problems = self.problems
        details = [r.line() for r in problems]
        count = "1 node" if len(problems) == 1 else f"{len(problems)} nodes"
        if all(r.code == "E-SHAPE" for r in problems):
            return InputError("E-MODEL-SHAPE", f"the shapes at {count} do not fit together", where=self.file.path, details=details,
                              hint="repair the model")
        verb = "uses an operator or variant" if len(problems) == 1 else "use operators or variants"
        return UnsupportedError("E-OP-UNSUPPORTED", f"{count} {verb} absint does not support", where=self.file.path, details=details)

    def _inner(self, full: Shape) -> Shape:
        return full[1:] if self.batched else full

    def _step(self, step: WrittenNode) -> NodeReport:
        node = step.proto
        computed = tuple(i for i in node.input if i and i not in self.constants)
        report = NodeReport(
            step.position, step.name, node.op_type if standard(node.domain) else f"{node.domain}.{node.op_type}",
            self._version(node.domain), tuple(self.shapes.get(i) for i in computed),
        )
        try:
            if standard(node.domain) and self._fold(node, computed):
                return replace(report, folded=True)
            before = len(self.builder.nodes)
            op = self._import(node, computed)
            added = list(islice(reversed(self.builder.nodes), len(self.builder.nodes) - before))
            self._parts.setdefault(step.position, []).extend(reversed(added))
            return replace(report, op=op, output=self.shapes.get(next(o for o in node.output if o in self.file.used)))
        except NodeProblemError as problem:
            return replace(report, output=self._place(node), code=problem.code, reason=problem.reason, hint=problem.hint)

    def _version(self, domain: str) -> int:
        if standard(domain):
            return self.file.opset
        return max((int(o.version) for o in self.file.proto.opset_import if o.domain == domain), default=0)

    def _fold(self, node: onnx.NodeProto, computed: tuple[str, ...]) -> bool:
        """Enter the outputs among the constants where the node has only constant inputs, or asks for a known shape."""
        if node.op_type in ("Shape", "Size") and computed:
            shape = self.shapes.get(computed[0])
            if shape is None:
                return False
            # The values do not matter, so a view of one zero stands for the tensor.
            inputs: list[AnyArray | None] = [np.broadcast_to(np.zeros((), np.float32), shape)]
        elif computed or not foldable(node.op_type):
            return False
        else:
            inputs = [self.constants[i] if i else None for i in node.input]
        try:
            values = fold(node, inputs, self.file.opset)
        except NotExactError as error:
            raise NodeProblemError(str(error), _FOLD_HINT) from error
        self.constants.update((name, value) for name, value in zip(node.output, values, strict=True) if name)
        if node.op_type not in ("Shape", "Size"):   # of which no number matters
            self._lost.update(map(str, node.input))
        return True

    def _import(self, node: onnx.NodeProto, computed: tuple[str, ...]) -> Op | None:
        """Import one node and add it to the graph; None where nothing is known about an input."""
        self._known(node)
        if not computed:
            raise NodeProblemError("cannot be evaluated exactly at import", _FOLD_HINT)
        used = [k for k, name in enumerate(node.output) if name and name in self.file.used]
        if node.op_type not in _SPLITTING and used != [0]:
            extra = [repr(str(node.output[k])) for k in used if k > 0]
            raise NodeProblemError(f"its output {', '.join(extra) or '?'} is used", "only the first output is supported")
        if node.op_type in _DATA_FIRST and computed != (node.input[0],):
            place = next(k for k, i in enumerate(node.input) if k and i in computed)
            raise NodeProblemError(f"its input {place} must be a constant", "export with constant folding")
        self._well_formed(node)
        if standard(node.domain) and not reads_integers(node.op_type) and any(i in self.integers for i in computed):
            raise NodeProblemError("computes with integers", "cast them to a floating-point type before it")
        kind = integer_type(node, self.integers, self.constants)
        if kind is not None:
            self.integers.update((str(node.output[k]), kind) for k in used)
        if any(self.shapes.get(i) is None for i in computed):
            self.shapes.update((str(node.output[k]), None) for k in used)
            return None
        known = self._onnx_node(node)
        before = len(self.builder.nodes)
        ops = [self._add(replace(known, output=k), computed, str(node.output[k])) for k in used]
        self._remember(node, known, len(ops), computed, before)
        return ops[0]

    def _add(self, node: OnnxNode, computed: tuple[str, ...], name: str) -> Op:
        """Import one output of a node and add it to the graph under its name."""
        try:
            op = OPS.get(node.op_type)(node)
            kind = self.integers.get(name)
            held = None if kind is None else guard(node.op_type, kind)
            if held is not None:
                computed = (self.builder.add(op, computed),)
            inner = self.builder.shape(self.builder.add(held or op, computed, name, (name,)))
        except PluginError:
            raise
        except AbsintError as error:
            raise NodeProblemError(error.what, error.hint, error.code) from error
        except Exception as error:  # an import rule met something it did not foresee, perhaps a stranger's rule
            raise NodeProblemError(f"its import rule raised {type(error).__name__}: {error}", "report it with the model") from error
        if 0 in inner:
            raise NodeProblemError("its result has no entries", "is the input too small for this network?", "E-SHAPE")
        if inner == ():
            raise NodeProblemError("its result is a single number without axes", "keep one (keepdims=1, or no Squeeze)")
        self.shapes[name] = (1, *inner) if self.batched else inner
        return op

    def _remember(self, node: onnx.NodeProto, known: OnnxNode, outputs: int, computed: tuple[str, ...], before: int) -> None:
        """Keep with the added nodes how their operators were made of the file's numbers, so that others can take the place of those."""
        names = tuple(str(i) if i in self.file.constants and self.constants[i].dtype.kind == "f" else "" for i in node.input)
        if outputs != 1 or not any(names) or any(str(o) in self.integers for o in node.output):
            self._lost.update(names)
            return
        added = list(islice(self.builder.nodes.values(), before, None))
        shapes = tuple(self.builder.shape(i) for i in computed)
        made = with_making(added, known, names, tuple(self.constants.get(i) for i in node.input), shapes)
        self.builder.nodes.update((part.name, part) for part in made)

    def _known(self, node: onnx.NodeProto) -> None:
        if not standard(node.domain):
            if node.domain in {f.domain for f in self.file.functions}:
                raise NodeProblemError(f"calls a function '{node.domain}.{node.op_type}' that the model doesn't define", "repair the model")
            raise NodeProblemError(f"belongs to the custom domain '{node.domain}'", "export with standard ONNX operators only")
        if node.op_type not in OPS:
            if node.op_type in _REFUSED:
                raise NodeProblemError(*_REFUSED[node.op_type])
            raise NodeProblemError("no entry", "add one file with @register_op and pass --plugin FILE")

    def _well_formed(self, node: onnx.NodeProto) -> None:
        """Attributes and number of inputs, as ONNX's own schema has them."""
        if not onnx.defs.has(node.op_type):
            return
        try:
            onnx.checker.check_node(node, self._context)
        except (onnx.checker.ValidationError, ValueError) as error:  # ValueError: text that is no text
            text = (str(error).strip().splitlines() or [""])[0]
            raise NodeProblemError(f"is no valid {node.op_type}: {text}", "repair the model") from error

    @cached_property
    def _context(self) -> Any:
        context = onnx.checker.C.CheckerContext()
        context.ir_version = self.file.proto.ir_version
        context.opset_imports = {"": self.file.opset}
        return context

    def _onnx_node(self, node: onnx.NodeProto) -> OnnxNode:
        constants = tuple(tensor_of(self.constants[i]) if i in self.constants else None for i in node.input)
        shapes = tuple(
            () if not i else tuple(self.constants[i].shape) if i in self.constants else self.shapes[i] or () for i in node.input
        )
        batched = tuple(self.batched and bool(i) and i not in self.constants for i in node.input)
        attributes = {a.name: value_of(a) for a in node.attribute}
        return OnnxNode(node.op_type, attributes, self.file.opset, constants, shapes, batched, outputs=len(node.output))

    def _place(self, node: onnx.NodeProto) -> Shape | None:
        """Let the walk go on behind a problem: outputs get the shape that ONNX's shape inference knows, if any."""
        for name in filter(None, node.output):
            shape = self._inferred.get(name)
            if shape is not None and self.batched and (not shape or shape[0] != 1):
                shape = None
            self.shapes[name] = shape
            if shape is not None and name not in self.builder.nodes:
                self.builder.add(_Placeholder(self._inner(shape)), (), name)
        return self.shapes.get(node.output[0]) if node.output else None

    @cached_property
    def _inferred(self) -> dict[str, Shape]:
        proto = onnx.ModelProto()
        proto.CopyFrom(self.file.proto)
        for info in proto.graph.input:
            if info.name == self.file.input_name:
                for dim, size in zip(info.type.tensor_type.shape.dim, self.full_input, strict=True):
                    dim.dim_value = size
        try:
            proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        except Exception:  # only better messages depend on it
            return {}
        found = {}
        for info in (*proto.graph.value_info, *proto.graph.output):
            dims = info.type.tensor_type.shape.dim
            if info.type.tensor_type.HasField("shape") and all(d.dim_value > 0 for d in dims):
                found[info.name] = tuple(int(d.dim_value) for d in dims)
        return found


def translate(file: OnnxFile) -> tuple[Translation, tuple[str, ...]]:
    """The best attempt at a file, and notes on it: with a batch axis, else (where that fails) without one."""
    shape, can_batch = input_shape(file.dims)
    if not can_batch:
        return Translation(file, batched=False), (f"no batch axis: the whole input {shape} is one instance",)
    first = Translation(file, batched=True)
    if not first.problems:
        return first, ()
    second = Translation(file, batched=False)
    if len(second.problems) < len(first.problems):
        return second, (f"a node mixes the batch axis with features: the whole input {shape} is taken as one instance",)
    return first, ()
