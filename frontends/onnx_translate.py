"""Walks the nodes of an ONNX file: folds what is constant, imports the rest, and gathers every problem at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx.checker
from onnx import helper

import absint.model.ops  # noqa: F401  # registers the built-in operators
from absint.errors import AbsintError, InputError, UnsupportedError
from absint.frontends.onnx_batch import depends_on_size
from absint.frontends.onnx_bodies import has_body
from absint.frontends.onnx_cast import as_cast, element_types
from absint.frontends.onnx_embeddings import looked_up
from absint.frontends.onnx_enclosed import Constant, enclosable, enclose, stored_as
from absint.frontends.onnx_file import AnyArray, OnnxFile, WrittenNode, standard
from absint.frontends.onnx_fold import NotExactError, fold, foldable
from absint.frontends.onnx_gemm import as_product
from absint.frontends.onnx_growing import GrowingGraph
from absint.frontends.onnx_integers import integer_type, reads_integers
from absint.frontends.onnx_masks import folded, unnamed
from absint.frontends.onnx_ml import REFUSED_ML, kind_of, said_of
from absint.frontends.onnx_nonfinite import ASKING, answer, as_comparison
from absint.frontends.onnx_recurrent import OPEN_LENGTH, RECURRENT, fixed_lengths
from absint.frontends.onnx_reports import REFUSED, NodeReport, Placeholder, foreign
from absint.frontends.onnx_rounded_ends import spelt
from absint.frontends.onnx_sequences import SEQUENCES, Sequences
from absint.frontends.onnx_shapes import inferred, inner, one_at_a_time
from absint.frontends.onnx_values import FOLD_HINT, MASK_HINT, NodeProblemError
from absint.model.graph import Graph
from absint.model.node_check import FileNode
from absint.model.onnx_formats import LABELLING, ML_DOMAIN
from absint.model.op import OPS, Op, Shape
from absint.model.ops.computed import Fixed
from absint.model.parameters import read_from
from absint.model.source import Source
from absint.numeric.enclosed import Enclosed

# The only operators whose import rule is asked once for each output that is used.
_SPLITTING = frozenset({"Split", *(f"{ML_DOMAIN}.{kind}" for kind in LABELLING), *RECURRENT})
# Only input 0 of these may be computed; a computed number where an optional constant belongs must not pass for an absent one.
_DATA_FIRST = frozenset(re.findall(
    r"\w+",
    "BatchNormalization Clip Conv ConvTranspose CumSum Dropout Expand Gather GatherElements GatherND Gemm GlobalAveragePool "
    "GlobalMaxPool Pad ReduceMax ReduceMean ReduceMin ReduceSum Reshape Resize Slice Split Squeeze Tile Trilu Unsqueeze Upsample",
))
_NO_ENTRY = ("no entry", "add one file with @register_op and pass --plugin FILE")


class Translation(GrowingGraph):
    """One attempt at a file, at batch size 1."""

    def __init__(self, file: OnnxFile) -> None:
        super().__init__(file)
        self.sequences = Sequences(file.opset)
        self._parts: dict[int, list[str]] = {}
        self._hidden: dict[str, int] = {}   # tensors of which nothing is known, and the node that is not supported before them
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
            # An operand that no used result of the node reads is not in the graph, and may be anything.
            inputs = {i: self.shapes.get(i) or self._inferred.get(i, ()) for i in proto.input if i and i not in self.constants}
            views = {i: self.builder.shape(i) if i in self.builder.nodes else inner(shape) for i, shape in inputs.items()}
            constants = {i: self.constants[i] for i in proto.input if i in self.constants}
            if outputs:
                parts = tuple(self.builder.nodes[name] for name in names)
                label = f"node {position} '{proto.name or proto.output[0]}' {proto.op_type}"
                around = calling if (proto.domain, proto.op_type) in called else bare
                hidden = {name: self.masks[name] for name in (*inputs, *outputs) if name in self.masks}
                found.append(FileNode(label, proto, constants, inputs, views, outputs, parts, around, hidden))
        return found

    def graph(self, notes: tuple[str, ...]) -> Graph:
        """The finished graph. Raises what `problems` tells, and E-MODEL-OUTPUTS for a constant output."""
        file = self.file
        if self.problems:
            raise self._error()
        if file.output_name not in self.builder.nodes:
            raise InputError("E-MODEL-OUTPUTS", f"the output '{file.output_name}' does not depend on the input", where=file.path,
                             hint="is this the right model?")
        if file.output_name in self.masks:
            raise InputError("E-MODEL-OUTPUTS", f"the output '{file.output_name}' is -inf where a mask says so", where=file.path,
                             hint=MASK_HINT)
        scores = self.shapes[file.output_name] or ()
        chooses = None if file.ending is None else file.ending.index(scores, file.path)
        caveats = [*file.caveats, *said_of([step.proto for step in file.steps], self.constants), *self._fixed_batch(scores)]
        caveats += [] if file.ending is None else [file.ending.caveat(prod(scores))]
        said = [caveat.partition(": ")[2] for caveat in caveats]
        source = Source(file.path, file.sha256, file.model, self.joined.name, self.joined.shape, self.batched,
                        notes=(*file.notes, *said, *notes, *self.joined.notes), chooses=chooses, caveats=tuple(caveats),
                        inputs=self.joined.parts, chosen=file.chosen)
        found = unnamed(self.builder.graph(file.output_name, source), self.masks)
        reads = read_from((node.op, node.made) for node in found.nodes)
        reads.update(name for name in self._lost if name in file.constants)
        return replace(found, source=replace(source, reads=reads))

    def _fixed_batch(self, output: Shape) -> list[str]:
        """What to say where axis 0 of input and output looks like a batch of a fixed size: the whole of it is one instance."""
        shapes = [one.shape for one in self.file.inputs if len(one.shape) > 1 and one.shape[0] > 1 and output[:1] == one.shape[:1]]
        if self.batched or not shapes:
            return []
        given, read = "x".join(map(str, shapes[0])), f"{'x'.join(map(str, output))} outputs are read as {prod(output)} classes"
        return [f"E-MODEL-BATCH: axis 0 of input and output has the fixed size {shapes[0][0]}: all {given} numbers are one instance, and "
                f"the {read}; where it is a batch, export with batch size 1 or a free one"]

    def _error(self) -> AbsintError:
        problems = self.problems
        details = [r.line() for r in problems]
        count = "1 node" if len(problems) == 1 else f"{len(problems)} nodes"
        if all(r.code == "E-SHAPE" for r in problems):
            return InputError("E-MODEL-SHAPE", f"the shapes at {count} do not fit together", where=self.file.path, details=details,
                              hint="repair the model")
        verb = "uses an operator or variant" if len(problems) == 1 else "use operators or variants"
        return UnsupportedError("E-OP-UNSUPPORTED", f"{count} {verb} absint does not support", where=self.file.path, details=details)

    def _step(self, step: WrittenNode) -> NodeReport:
        node = as_cast(step.proto, self._types) if step.proto.op_type == "CastLike" else step.proto
        computed = tuple(i for i in node.input if i and i not in self.constants)
        report = NodeReport(
            step.position, step.name, kind_of(node), self._version(node.domain), tuple(self.shapes.get(i) for i in computed),
        )
        try:
            if standard(node.domain) and node.op_type in SEQUENCES:
                return self._sequence(node, report)
            if standard(node.domain) and (self._fold(node, computed) or self.emptied(node, computed)):
                return replace(report, folded=True)
            before = len(self.builder.nodes)
            op = self._import_whole(node, computed)
            if op is None:
                return self._unseen(report, node, computed)
            added = list(islice(reversed(self.builder.nodes), len(self.builder.nodes) - before))
            if not any(isinstance(self.builder.nodes[name].op, Fixed) for name in added):   # else it is no function of its own operands
                self._parts.setdefault(step.position, []).extend(reversed(added))
            return replace(report, op=op, output=self.shapes.get(next(o for o in node.output if o in self.used)))
        except NodeProblemError as problem:
            self._hidden.update((str(o), step.position) for o in node.output if o)
            return replace(report, output=self._place(node), code=problem.code, reason=problem.reason, hint=problem.hint)

    def _sequence(self, node: onnx.NodeProto, report: NodeReport) -> NodeReport:
        """An operator on a sequence, as plain ones on its elements; a graph holds no sequences."""
        op = None
        for plain in self.sequences.plain(node, self.constants, self.shapes):
            self.constants.update(self.sequences.made)
            self.used.update(map(str, (*plain.input, *plain.output)))
            computed = tuple(i for i in plain.input if i not in self.constants)
            op = None if self._fold(plain, computed) else self._import(plain, computed)
        self.constants.update(self.sequences.made)
        return replace(report, op=op, folded=op is None, output=self.shapes.get(node.output[0]))

    def _unseen(self, report: NodeReport, node: onnx.NodeProto, computed: tuple[str, ...]) -> NodeReport:
        """What is said of a node that nothing is known before: whose fault that is, and the shapes that ONNX infers."""
        place = next((self._hidden[i] for i in computed if self.shapes.get(i) is None and i in self._hidden), report.position)
        self._hidden.update((str(o), place) for o in node.output if o)
        return replace(report, inputs=tuple(self.shapes.get(i) or self._inferred.get(i) for i in computed),
                       output=self._inferred.get(str(node.output[0])), behind=place)

    def _fold(self, node: onnx.NodeProto, computed: tuple[str, ...]) -> bool:
        """Enter the outputs among the constants where the node has only constant inputs, or asks for a known shape."""
        if node.op_type in ASKING and computed and self.shapes.get(computed[0]) is not None:
            said = answer(node, self.shapes[computed[0]] or (), self.file.steps, self.constants, self.masks)
            if said is not None:
                self._enter(str(node.output[0]), said)
            return said is not None
        if node.op_type in ("Shape", "Size") and computed:
            shape = self.shapes.get(computed[0])
            if shape is None:
                return False
            # The values do not matter, so a view of one zero stands for the tensor.
            inputs: list[AnyArray | None] = [np.broadcast_to(np.zeros((), np.float32), shape)]
        elif computed or not (foldable(node.op_type) or enclosable(node.op_type)):
            return False
        else:
            inputs = [self.constants[i] if i else None for i in node.input]
        for name, value in zip(node.output, self._folded(node, inputs), strict=True):
            if name and isinstance(value, Enclosed):
                self.enclosed[name], self.constants[name] = value, stored_as(value)
            elif name and not isinstance(value, Enclosed):
                self._enter(name, value)
        if node.op_type not in ("Shape", "Size"):   # of which no number matters
            self._lost.update(map(str, node.input))
        return True

    def _folded(self, node: onnx.NodeProto, inputs: list[AnyArray | None]) -> Sequence[Constant]:
        """The values of all outputs: exactly, or else with bounds on what is rounded."""
        moved = node.op_type not in ("Shape", "Size")
        known = [self.enclosed.get(i, value) if moved else value for i, value in zip(node.input, inputs, strict=True)]
        if any(i in self.masks for i in node.input) and moved:
            if any(isinstance(value, Enclosed) for value in known):
                raise NodeProblemError("combines a mask of -inf with constants that were computed with rounding", MASK_HINT)
            return folded(node, inputs, self.file.opset)
        refused: NotExactError | None = None
        if foldable(node.op_type) and not any(isinstance(value, Enclosed) for value in known):
            try:
                return fold(node, inputs, self.file.opset)
            except NotExactError as error:
                refused = error
        try:
            return enclose(node, known, self.file.opset)
        except NotExactError as error:
            raise NodeProblemError(str(refused or error), FOLD_HINT) from error

    def _spelt(self, node: onnx.NodeProto) -> tuple[list[onnx.NodeProto], dict[str, AnyArray]]:
        if node.op_type in ASKING:
            return as_comparison(node, self._types.get(str(node.input[0]), 0), self._names)
        return as_product(node, self.constants, self._names)

    def _import_whole(self, node: onnx.NodeProto, computed: tuple[str, ...]) -> Op | None:
        """Import one node, or what it means in plain ones where no rule of its own can charge the errors of its constants."""
        plain, numbers = self._spelt(node) if standard(node.domain) else ([], {})
        self.constants.update(numbers)
        plain = plain or (spelt(node, self.enclosed, self._names) if computed and standard(node.domain) else [])
        op = None
        for part in plain:
            self.used.update(map(str, (*part.input, *part.output)))
            known = tuple(i for i in part.input if i not in self.constants)
            op = None if not known and self._fold(part, known) else self._import(part, known)
        return op if plain else self._import(node, computed)

    def _import(self, node: onnx.NodeProto, computed: tuple[str, ...]) -> Op | None:
        """Import one node and add it to the graph; None where nothing is known about an input."""
        if node.op_type in ("Shape", "Size") and standard(node.domain) and computed:    # of a known shape it was folded
            return None
        self._known(node)
        if not computed:
            raise NodeProblemError("cannot be evaluated exactly at import", FOLD_HINT)
        used = [k for k, name in enumerate(node.output) if name and name in self.used and name not in self.constants]
        if kind_of(node) not in _SPLITTING and used != [0]:
            extra = [repr(str(node.output[k])) for k in used if k > 0]
            raise NodeProblemError(f"its output {', '.join(extra) or '?'} is used",
                                   "use its first output alone, such as that of MaxPool without return_indices")
        if kind_of(node) in _DATA_FIRST and computed != (node.input[0],):
            lookup = looked_up(node, self.constants, self.file.output_name)
            if lookup is not None:
                raise NodeProblemError(*lookup)
            place = next(k for k, i in enumerate(node.input) if k and i in computed)
            raise NodeProblemError(f"its input {place} must be a constant", "export with constant folding")
        self._well_formed(node)
        if node.op_type in RECURRENT and self._lengths is not None and self._lengths.get(node.input[0]) is None:
            raise NodeProblemError(*OPEN_LENGTH)
        if standard(node.domain) and not reads_integers(node.op_type) and any(i in self.integers for i in computed):
            raise NodeProblemError("computes with integers", "cast them to a floating-point type in front of it, and export again")
        kind = integer_type(node, self.integers, self.constants)
        if kind is not None:
            self.integers.update((str(node.output[k]), kind) for k in used)
        if any(self.shapes.get(i) is None for i in computed):
            self.shapes.update((str(node.output[k]), None) for k in used)
            return None
        return self.added(node, computed, used, kind or 0)

    def _known(self, node: onnx.NodeProto) -> None:
        if kind_of(node) in OPS:
            if node.domain == ML_DOMAIN and node.op_type in LABELLING and self._doubles.get(node.input[0]) == onnx.TensorProto.DOUBLE:
                raise NodeProblemError("reads float64 numbers, and computes in float32", "export it for float32 inputs, as by "
                                       "skl2onnx.to_onnx(model, rows.astype('float32')), or cast to float32 in front of it")
            return
        if not standard(node.domain):
            if node.domain in {f.domain for f in self.file.functions}:
                raise NodeProblemError(f"calls a function '{node.domain}.{node.op_type}' that the model doesn't define", "repair the model")
            if node.domain == ML_DOMAIN:
                raise NodeProblemError(*REFUSED_ML.get(node.op_type, _NO_ENTRY))
            raise NodeProblemError(*foreign(node.domain, node.op_type))
        raise NodeProblemError(*REFUSED.get(node.op_type) or _no_entry(node.op_type, self.file.opset))

    def _well_formed(self, node: onnx.NodeProto) -> None:
        """Attributes and number of inputs, as ONNX's own schema has them."""
        domain = "" if standard(node.domain) else node.domain
        if not onnx.defs.has(node.op_type, domain) or _replaced(node.op_type, self._version(node.domain), domain):
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
        others = {o.domain: int(o.version) for o in self.file.proto.opset_import if not standard(o.domain)}
        context.opset_imports = {**others, "": self.file.opset}
        return context

    def _place(self, node: onnx.NodeProto) -> Shape | None:
        """Let the walk go on behind a problem: outputs get the shape that ONNX's shape inference knows, if any."""
        for name in filter(None, node.output):
            shape = self._inferred.get(name)
            self.shapes[name] = shape
            if shape is not None and name not in self.builder.nodes:
                self.builder.add(Placeholder(inner(shape)), (), name)
        return self.shapes.get(node.output[0]) if node.output else None

    @cached_property
    def _names(self) -> frozenset[str]:
        """All tensors that the file names."""
        made = (str(name) for step in self.file.steps for name in (*step.proto.input, *step.proto.output))
        return frozenset((*made, *self.file.constants, *(one.name for one in self.file.inputs)))

    @cached_property
    def _doubles(self) -> Mapping[str, int]:
        """Element types of tensors; none where no input is of doubles."""
        wide = any(one.format == "float64" for one in self.file.inputs)
        return element_types(self.file.proto) if wide else {}

    @cached_property
    def _lengths(self) -> Mapping[str, int | None] | None:
        return fixed_lengths(self.file.proto, {one.name for one in self.file.inputs})

    @cached_property
    def _types(self) -> Mapping[str, int]:
        return element_types(self.file.proto)

    @cached_property
    def _inferred(self) -> dict[str, Shape]:
        return inferred(self.file)


def _no_entry(op_type: str, opset: int) -> tuple[str, str]:
    """Why an operator is not known, and what to do: a file may call one that its own operator set does not have yet."""
    first = min((s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == op_type and s.domain == ""), default=0)
    if first > opset:
        return f"is an operator of opset {first}, and the model names opset {opset}", f"export with opset {first} or newer"
    return _NO_ENTRY


def _replaced(op_type: str, version: int, domain: str) -> bool:
    """Whether ONNX calls an operator deprecated that it still defines by others, and runtimes run: its checker refuses those."""
    schema = onnx.defs.get_schema(op_type, version, domain)
    return bool(schema.deprecated) and has_body(schema)


def translate(file: OnnxFile) -> tuple[Translation, tuple[str, ...]]:
    """A file as a graph of one instance, and notes on it.

    Where the batch size is open and a node mixes that axis with others, the file is taken, and run, at batch size 1.
    """
    found = Translation(file)
    if not found.batched:
        shape = " and ".join(str(one.shape) for one in file.inputs)
        return found, (f"no batch axis: the whole input {shape} is one instance",)
    if not found.open:
        return found, ()
    by_size = None if found.mixed or found.problems else depends_on_size(file, found.computed_with, found.constants)
    if by_size is None and not found.mixed:
        return found, ()
    why = f"{by_size} computes with the number of instances" if by_size else f"{found.mixed} moves or merges that axis"
    return Translation(one_at_a_time(file)), (f"the batch size is open in the file, and {why}: all is said of batch size 1",)
