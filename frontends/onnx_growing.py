"""The graph that grows from an ONNX file, node by node: how one node whose operands are known becomes operators."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import islice
from math import prod

import numpy as np
import onnx

from absint.frontends.onnx_batch import values_read
from absint.frontends.onnx_computed import charged, fixed
from absint.frontends.onnx_file import AnyArray, OnnxFile, standard
from absint.frontends.onnx_inputs import Joined
from absint.frontends.onnx_integers import guard
from absint.frontends.onnx_making import with_making
from absint.frontends.onnx_masks import BoolArray, behind, hidden_in, places, visible
from absint.frontends.onnx_ml import kind_of
from absint.frontends.onnx_shapes import Versions, inner, leads, told
from absint.frontends.onnx_values import FOLD_HINT, NodeProblemError, problems, tensor_of, value_of
from absint.model.families.composite import SeveralResults
from absint.model.graph import GraphBuilder
from absint.model.op import OPS, OnnxNode, Op, SeveralInstancesError, Shape
from absint.model.ops.assemble import Each
from absint.model.ops.shape import Reshape
from absint.model.shapes import held
from absint.numeric.enclosed import Enclosed

_TAKING_PARTS = frozenset({"Split", "Slice"})


class GrowingGraph:
    """What is known of a file's tensors, and the graph so far.

    A tensor whose axis 0 has size 1 is held without it (`onnx_shapes`). Import rules are first asked to leave that axis alone; where one
    does not, or an operand has no such axis, all axes count alike, and values of the node's operands are viewed in their full shapes.
    open: whether the batch size is open in the file. Shapes are then those of a batch as long as every node leaves axis 0 alone.
    mixed: the first node that does not, for messages.  enclosed: those constants that were computed with rounding.
    integers: computed tensors of integers, and their types.  masks: where tensors are -inf, constants and computed ones.
    """

    def __init__(self, file: OnnxFile) -> None:
        self.file, self.open, self.mixed = file, any(one.open for one in file.inputs), ""
        self.batched = all(one.batched for one in file.inputs)
        self.joined = Joined.of(file, batched=self.batched)
        self.builder = GraphBuilder(self.joined.name, inner(self.joined.shape))
        self.constants: dict[str, AnyArray] = dict(file.constants)
        self.enclosed: dict[str, Enclosed] = {}
        self.used = set(file.used)
        self.shapes: dict[str, Shape | None] = {self.joined.name: self.joined.shape, **{one.name: one.shape for one in file.inputs}}
        self.joined.parted(self.builder)
        self.integers: dict[str, int] = {}
        self.masks: dict[str, BoolArray] = {}
        for name, value in self.constants.items():
            self._enter(name, value)
        self.computed_with: dict[str, str] = {}     # constants that nodes compute with -> the first of these, in words
        self._rows: set[str] = set()    # tensors of one axis, the batch's, of a file whose batch size is open
        self._together: dict[str, str] = {}     # the last used output of a node of several results -> the tensor that holds them all
        self._lost: set[str] = set()    # constants of the file whose numbers went into what does not know them by name

    def _enter(self, name: str, value: AnyArray) -> None:
        """Keep a constant, and where it is -inf."""
        self.constants[name], hidden = value, places(value)
        if hidden is not None:
            self.masks[name] = hidden

    def emptied(self, node: onnx.NodeProto, computed: tuple[str, ...]) -> bool:
        """Enter parts without entries among the constants, as which whatever joins them takes them; whether no other part is used."""
        if not standard(node.domain) or node.op_type not in _TAKING_PARTS or computed != (node.input[0],):
            return False
        if not self.shapes.get(computed[0]):
            return False
        constants = {i: self.constants[i] for i in node.input[1:] if i}
        found = told(node, {computed[0]: self.shapes[computed[0]] or ()}, constants, self._versions)
        for name in node.output:
            # Along axis 0, which may count instances, there may be none for some sizes alone.
            if name != self.file.output_name and 0 in found.get(name, ())[1:]:
                self._enter(name, np.zeros(found[name], np.float32))
        return all(name in self.constants for name in node.output if name and name in self.used)

    def added(self, node: onnx.NodeProto, computed: tuple[str, ...], used: list[int], kind: int) -> Op:
        """Import one node with axis 0 kept apart where every operand has it, else, or where that fails, with all axes alike."""
        for name in values_read(node, self.constants):
            self.computed_with.setdefault(name, f"{node.op_type} '{node.name or node.output[0]}'")
        self.masks.update(hidden_in(node, self.masks, self.constants, self.shapes, self.file.opset))
        apart = all(leads(self.shapes[i] or ()) or i in self._rows for i in computed)
        operands, before = {i: self.builder.nodes[i] for i in computed}, len(self.builder.nodes)
        if apart:
            try:
                return self._imported(node, computed, used, self._onnx_node(node, kind, apart=True))
            except NodeProblemError as problem:
                for name in list(islice(self.builder.nodes, before, None)):
                    del self.builder.nodes[name]
                self.builder.nodes.update(operands)
                self._together.pop(str(node.output[used[-1]]), None)
                self._rows.difference_update(map(str, node.output))
                first = problem
        try:
            op = self._imported(node, computed, used, self._onnx_node(node, kind, apart=False))
        except NodeProblemError as problem:
            raise problem if not apart or first.mixes else first from problem.__cause__
        self.mixed = self.mixed or f"{node.op_type} '{node.name or node.output[0]}'"
        return op

    def _imported(self, node: onnx.NodeProto, computed: tuple[str, ...], used: list[int], known: OnnxNode) -> Op:
        enclosed = {k: self.enclosed[i] for k, i in enumerate(node.input) if i in self.enclosed}
        if enclosed:
            return self._with_enclosed(node, known, enclosed, computed)
        last = str(node.output[used[-1]])
        ops = [self._add(replace(known, output=k) if k else known, node, computed, str(node.output[k]), shared=last) for k in used]
        return ops[0]

    def _with_enclosed(self, node: onnx.NodeProto, known: OnnxNode, enclosed: dict[int, Enclosed], computed: tuple[str, ...]) -> Op:
        """A node some of whose constants are known up to an error: as coefficients, else as tensors that are computed like any other."""
        with problems():
            op = charged(known, enclosed)
        if op is not None:
            return self._add(known, node, computed, str(node.output[0]), op)
        constants, shapes, batched = list(known.constants), list(known.shapes), list(known.batched)
        names = {k: str(i) for k, i in enumerate(node.input) if i in computed}
        for k, one in enclosed.items():
            found = fixed(one, known, k)
            if found is None:
                raise NodeProblemError(f"its input {k} is a constant computed with rounding, whose error it does not know", FOLD_HINT)
            names[k] = self.builder.add(found[0], (self.joined.name,))
            constants[k], shapes[k], batched[k] = None, found[1], any(known.batched)
            self.shapes[names[k]] = found[1]
        known = replace(known, constants=tuple(constants), shapes=tuple(shapes), batched=tuple(batched))
        return self._add(known, node, tuple(names[k] for k in sorted(names)), str(node.output[0]))

    def _add(self, known: OnnxNode, node: onnx.NodeProto, computed: tuple[str, ...], name: str, made: Op | None = None, *,
             shared: str = "") -> Op:
        """Import one output of a node and add it to the graph under its name. made: its operator, where it is known.

        shared: the last output of the node that is used, where there may be several.
        """
        with problems():
            hidden = self.masks.get(node.input[0])
            op = behind(made or self._made(known), node.op_type, hidden, batched=known.batched[0])
            full = self._append(op, known, node, computed, (name, shared or name))
        self.shapes[name] = full
        if self.open and any(known.batched) and full == (1,):
            self._rows.add(name)
        return op

    def _made(self, known: OnnxNode) -> Op:
        """By the import rule; of an operator that ONNX applies to each instance along axis 0, where it counts several, to each."""
        rule, (whole, *rest) = OPS.get(known.op_type), known.shapes
        try:
            return rule(known)
        except SeveralInstancesError:
            if whole[0] < 2:
                raise
            one = rule(replace(known, shapes=((1, *whole[1:]), *rest), batched=(True, *known.batched[1:])))
            return Each(one, whole[0])

    def _append(self, op: Op, known: OnnxNode, node: onnx.NodeProto, computed: tuple[str, ...], names: tuple[str, str]) -> Shape:
        """Add an operator, and views around it where it takes or gives axes that the graph does not hold. The full shape of the result.

        names: of the result, and of the last one of the node that is used.
        """
        builder, apart, same, name = self.builder, any(known.batched), isinstance(op, Reshape), names[0]
        operands = computed if apart or same else tuple(self._viewed(i) for i in computed)
        op, operands = self._joint(op, operands, *names)
        shapes = tuple(builder.shape(i) for i in operands)
        try:
            shape = op.output_shape(*shapes)
        except ValueError as error:
            raise NodeProblemError(str(error), "check the shapes in the model", "E-SHAPE") from error
        if 0 in shape:
            raise NodeProblemError("its result has no entries", "is the input too small for this network?", "E-SHAPE")
        if shape == ():
            raise NodeProblemError("its result is a single number without axes", "keep one (keepdims=1, or no Squeeze)")
        full = self._full(node, name, shape, apart=apart)
        if same:    # the view itself
            op = Reshape(inner(full))
            shape = inner(full)
        kind = self.integers.get(name)
        guards = [held for held in (None if kind is None else guard(known.op_type, kind),) if held is not None]
        rest = [*guards, *([] if shape == inner(full) else [Reshape(inner(full))])]
        before = len(builder.nodes)
        last = builder.add(op, operands, None if rest else name, () if rest else (name,))
        self._remember(node, op, known, list(islice(builder.nodes, before, None)), shapes)
        for k, part in enumerate(rest):
            final = k == len(rest) - 1
            last = builder.add(part, (last,), name if final else None, (name,) if final else ())
        if builder.shape(name) != inner(full):
            raise NodeProblemError(f"its result is of shape {builder.shape(name)}, not {inner(full)}", "repair its import rule", "E-SHAPE")
        return full

    def _joint(self, op: Op, operands: tuple[str, ...], name: str, shared: str) -> tuple[Op, tuple[str, ...]]:
        """What takes a result out of all those of its node, and these, which are computed once; `op` itself where it is the only one."""
        if not isinstance(op, SeveralResults) or (name == shared and shared not in self._together):
            return op, operands
        whole, part = op.together()
        if shared not in self._together:
            self._together[shared] = self.builder.add(whole, operands)
        return part, (self._together[shared],)

    def _viewed(self, name: str) -> str:
        """A tensor with all of its axes; a number without axes keeps one."""
        full = held(self.shapes[name] or ())
        return name if self.builder.shape(name) == full else self.builder.add(Reshape(full), (name,))

    def _full(self, node: onnx.NodeProto, name: str, shape: Shape, *, apart: bool) -> Shape:
        """The full shape of a result of which the graph would get `shape`.

        ONNX's own inference knows which axes of size 1 there are, for one instance: where the batch size is open and axis 0 is left
        alone, only whether a single number has other axes than the batch's.
        """
        assumed = (1, *shape) if apart else shape
        if apart and self.open and shape != (1,):
            return assumed
        found = told(node, self.shapes, self.constants, self._versions).get(name, assumed)
        if apart and self.open:
            return assumed if len(found) > 1 else (1,)
        return found if prod(found) == prod(assumed) else assumed

    def _remember(self, node: onnx.NodeProto, op: Op, known: OnnxNode, added: list[str], shapes: tuple[Shape, ...]) -> None:
        """Keep with the added nodes how their operators were made of the file's numbers, so that others can take the place of those.

        shapes: of the operands, as the operator takes them.
        """
        inputs, outputs = [str(i) for i in node.input], [str(o) for o in node.output if o]
        names = tuple(i if i in self.file.constants and self.constants[i].dtype.kind == "f" else "" for i in inputs)
        several = len(self.used.intersection(outputs)) != 1
        rounded = not (self.enclosed.keys().isdisjoint(inputs) and self.masks.keys().isdisjoint(inputs))
        if several or rounded or not any(names) or isinstance(op, Each) or not self.integers.keys().isdisjoint(outputs):
            self._lost.update(inputs if rounded else names)
            return
        nodes = [self.builder.nodes[name] for name in added]
        made = with_making(nodes, known, names, tuple(map(self.constants.get, inputs)), shapes)
        self.builder.nodes.update((part.name, part) for part in made)

    @cached_property
    def _versions(self) -> Versions:
        return tuple((str(one.domain), int(one.version)) for one in self.file.proto.opset_import)

    def _version(self, domain: str) -> int:
        if standard(domain):
            return self.file.opset
        return max((int(o.version) for o in self.file.proto.opset_import if o.domain == domain), default=0)

    def _onnx_node(self, node: onnx.NodeProto, whole: int, *, apart: bool) -> OnnxNode:
        inputs = [str(i) for i in node.input]
        constants = tuple(tensor_of(visible(self.constants[i], self.masks.get(i))) if i in self.constants else None for i in inputs)
        shapes = tuple(() if not i else tuple(self.constants[i].shape) if i in self.constants else self.shapes[i] or () for i in inputs)
        batched = tuple(apart and bool(i) and i not in self.constants for i in inputs)
        attributes = {a.name: value_of(a) for a in node.attribute}
        return OnnxNode(kind_of(node), attributes, self._version(node.domain), constants, shapes, batched, 0, len(node.output), whole)
