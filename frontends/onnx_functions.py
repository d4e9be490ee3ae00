"""Expands the local functions of an ONNX model, binding their attributes as onnxruntime does.

An attribute of a body node that refers to one of the function's takes the call's value, else the function's default, else
it is left out, so that the operator's own default applies (measured: onnxruntime 1.23). onnx's own inliner forgets the
function's defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx

from absint.errors import InputError

STANDARD_DOMAINS = ("", "ai.onnx")
_MOST_NODES = 1_000_000
_DEEPEST = 200

Key = tuple[str, str, str]
Attributes = Mapping[str, onnx.AttributeProto]


def inline_functions(proto: onnx.ModelProto, path: str) -> tuple[int, ...]:
    """Replace every call of a local function by its body, in place; for each node then its call's place in the file.

    Raises InputError E-MODEL-FUNCTION, naming every offender: functions defined twice, or that call themselves, or expand
    without measure; attributes and operands that a function doesn't declare, or of another type; a body written for another
    meaning of an operator than the model's operator set gives it.
    """
    work = _Expansion(proto)
    nodes = [(place, node) for place, call in enumerate(proto.graph.node) for node in work.top(call)]
    if work.problems:
        raise InputError("E-MODEL-FUNCTION", "the model's local functions cannot be expanded", where=path,
                         details=list(dict.fromkeys(work.problems)), hint="repair the model, or export it without functions")
    if work.functions:
        del proto.graph.node[:]
        proto.graph.node.extend(node for _, node in nodes)
        del proto.functions[:]
    return tuple(place for place, _ in nodes)


def function_key(call: onnx.NodeProto) -> Key:
    """What identifies the function that a node would call."""
    return _domain(call.domain), str(call.op_type), str(call.overload)


def _domain(name: str) -> str:
    return "" if name in STANDARD_DOMAINS else str(name)


def _text(key: Key) -> str:
    return f"'{key[0] or 'ai.onnx'}.{key[1]}'" + (f" (overload '{key[2]}')" if key[2] else "")


@dataclass(eq=False)
class _Expansion:
    """One model's functions, the names that are taken, and what is wrong.

    sizes: nodes that a call expands into.  endless: nothing can be expanded at all.
    """

    proto: onnx.ModelProto
    problems: list[str] = field(default_factory=list)
    functions: dict[Key, onnx.FunctionProto] = field(default_factory=dict)
    sizes: dict[Key, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    endless: bool = False

    def __post_init__(self) -> None:
        for function in self.proto.functions:
            key = (_domain(function.domain), str(function.name), str(function.overload))
            if key in self.functions:
                self.problems.append(f"function {_text(key)} is defined twice")
            if key[0] == "" and onnx.defs.has(key[1]):
                # onnxruntime goes by the operator, other tools by the function.
                self.problems.append(f"function {_text(key)} has the name of a standard operator")
            self.functions[key] = function
        for key in self.functions:
            if not self.endless:
                self._size(key, ())
        graph = self.proto.graph
        if self.functions:
            self.taken.update(name for node in graph.node for name in (*node.input, *node.output))
            self.taken.update(value.name for value in (*graph.input, *graph.output, *graph.initializer))

    def _size(self, key: Key, above: tuple[Key, ...]) -> int:
        """Nodes that a call of `key` becomes; notes recursion and functions that grow without measure."""
        if key in above or len(above) > _DEEPEST:
            self.endless = True
            chain = " -> ".join(_text(k) for k in (*above[above.index(key) if key in above else -3:], key))
            self.problems.append(f"functions call themselves: {chain}" if key in above else f"functions nest too deeply: {chain}")
            return 1
        if key not in self.sizes:
            inner = [function_key(node) for node in self.functions[key].node]
            self.sizes[key] = sum(self._size(k, (*above, key)) if k in self.functions else 1 for k in inner)
        return self.sizes[key]

    def top(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """A node of the model itself, expanded."""
        loose = [a.ref_attr_name for a in node.attribute if a.ref_attr_name]
        if loose:
            text = f"node '{node.name}' {node.op_type} stands in no function"
            self.problems.append(f"{text}, but refers to attributes of one: {', '.join(loose)}")
        if self.endless or function_key(node) not in self.functions:
            yield node
            return
        if self.sizes[function_key(node)] > _MOST_NODES:
            self.problems.append(f"function {_text(function_key(node))} expands into {self.sizes[function_key(node)]} nodes")
            return
        yield from self._call(node, node.name or node.op_type)

    def _call(self, call: onnx.NodeProto, stem: str) -> Iterator[onnx.NodeProto]:
        """The body of a call, nested calls expanded. stem: what its inner names start with."""
        function = self.functions[function_key(call)]
        given = self._given(call, function)
        names = self._operands(call, function)
        yield from self._passed_on(call, function)
        self._check_opsets(function)
        for name in (o for node in function.node for o in node.output if o):
            names.setdefault(name, self._fresh(f"{stem}/{name}"))
        strange = sorted({i for node in function.node for i in node.input if i and i not in names})
        if strange:  # a name of the caller's is no name of the function's
            self.problems.append(f"function {_text(function_key(call))} reads {', '.join(map(repr, strange))}, which it does not define")
            return
        for inner in function.node:
            node = self._bound(inner, given, function, names)
            if inner.name:
                node.name = f"{stem}/{inner.name}"
            if function_key(node) in self.functions:
                yield from self._call(node, node.name or f"{stem}/{node.op_type}")
            else:
                yield node

    def _given(self, call: onnx.NodeProto, function: onnx.FunctionProto) -> dict[str, onnx.AttributeProto]:
        """The call's attributes over the function's defaults."""
        values = {a.name: a for a in function.attribute_proto}
        types = {name: a.type for name, a in values.items()}
        for attribute in call.attribute:
            where = f"call '{call.name}' of {_text(function_key(call))}"
            if attribute.name not in values and attribute.name not in function.attribute:
                self.problems.append(f"{where}: the function declares no attribute '{attribute.name}'")
            elif types.get(attribute.name, attribute.type) != attribute.type:
                self.problems.append(f"{where}: attribute '{attribute.name}' has another type than its default")
            values[attribute.name] = attribute
        return values

    def _operands(self, call: onnx.NodeProto, function: onnx.FunctionProto) -> dict[str, str]:
        """The function's names of its operands and results -> the caller's; an operand left out becomes the empty name."""
        if len(call.input) > len(function.input) or len(call.output) > len(function.output):
            given, declared = (f"{len(n.input)} operands and {len(n.output)} results" for n in (call, function))
            self.problems.append(f"call '{call.name}' of {_text(function_key(call))} has {given}, the function {declared}")
        missing = [""] * max(0, len(function.input) - len(call.input))
        names = dict(zip(function.input, [*call.input, *missing], strict=False))
        for formal, actual in zip(function.output, call.output, strict=False):
            if actual and formal not in names:
                names[formal] = actual
        return names

    def _passed_on(self, call: onnx.NodeProto, function: onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
        """A result that is an operand itself."""
        actual = dict(zip(function.input, call.input, strict=False))
        for formal, result in zip(function.output, call.output, strict=False):
            if result and formal in function.input:
                yield onnx.helper.make_node("Identity", [actual.get(formal, "")], [result])

    def _bound(
        self, node: onnx.NodeProto, given: Attributes, function: onnx.FunctionProto, names: Mapping[str, str],
    ) -> onnx.NodeProto:
        """A node of the body with the caller's names and every reference to an attribute resolved."""
        bound = onnx.NodeProto()
        bound.CopyFrom(node)
        for tensors in (bound.input, bound.output):
            renamed = [names.get(name, name) for name in tensors]
            del tensors[:]
            tensors.extend(renamed)
        del bound.attribute[:]
        for attribute in node.attribute:
            value = self._resolved(attribute, given, function, node)
            if value is None:
                continue
            for graph in (*([value.g] if value.HasField("g") else ()), *value.graphs):
                self._bind_graph(graph, given, function, names)
            bound.attribute.append(value)
        return bound

    def _resolved(
        self, attribute: onnx.AttributeProto, given: Attributes, function: onnx.FunctionProto, node: onnx.NodeProto,
    ) -> onnx.AttributeProto | None:
        value = onnx.AttributeProto()
        value.CopyFrom(attribute)
        source = attribute.ref_attr_name
        if not source:
            return value
        where = f"function '{function.domain}.{function.name}': its node '{node.name}' {node.op_type}"
        if source not in function.attribute and source not in {a.name for a in function.attribute_proto}:
            self.problems.append(f"{where} refers to an attribute '{source}' that the function doesn't declare")
        elif source in given:
            value.CopyFrom(given[source])
            value.name = attribute.name
            if attribute.type not in (onnx.AttributeProto.UNDEFINED, value.type):
                self.problems.append(f"{where} takes attribute '{source}' for another type than it has")
            return value
        return None

    def _bind_graph(self, graph: onnx.GraphProto, given: Attributes, function: onnx.FunctionProto, names: Mapping[str, str]) -> None:
        """A branch or loop body inside a function: its own names hide the function's."""
        own = {v.name for v in (*graph.input, *graph.initializer)} | {o for node in graph.node for o in node.output}
        outer = {name: actual for name, actual in names.items() if name not in own}
        nodes = [self._bound(node, given, function, outer) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)

    def _check_opsets(self, function: onnx.FunctionProto) -> None:
        """A body is read by the model's operator set, as onnxruntime does: both must give its operators the same signature."""
        model, own = version_of(self.proto.opset_import), version_of(function.opset_import)
        for node in function.node:
            if _domain(node.domain) or function_key(node) in self.functions:
                continue
            where = f"function '{function.domain}.{function.name}': its node '{node.name}' {node.op_type}"
            if own is None:
                self.problems.append(f"{where} belongs to the standard operators, of which the function names no version")
            elif not still_means(node.op_type, own, model):
                self.problems.append(f"{where} is written for opset {own}, where it means something else than in the model's {model}")

    def _fresh(self, stem: str) -> str:
        name, k = stem, 1
        while name in self.taken:
            name, k = f"{stem}#{k}", k + 1
        self.taken.add(name)
        return name


def version_of(imports: Iterable[onnx.OperatorSetIdProto]) -> int | None:
    """The version of the standard operators that a model or function names; None where it names none."""
    return max((int(o.version) for o in imports if o.domain in STANDARD_DOMAINS), default=None)


def still_means(op_type: str, own: int, model: int | None) -> bool:
    """Whether a node written for the operator set `own` says the same in that of the model.

    A newer operator may have more attributes, each with a default that is how it was, and take more operands; the rest is as it was.
    """
    old, new = _schema(op_type, own), _schema(op_type, model or 0)
    if old is None or new is None or old.since_version == new.since_version:
        return (old is None) == (new is None)
    before, after = _defaults(old), _defaults(new)
    if own > (model or 0):
        return before == after and _operands(old) == _operands(new)
    added = [new.attributes[name] for name in after if name not in before]
    kept = all(after.get(name) == value for name, value in before.items()) and not any(a.required for a in added)
    return kept and (old.min_input, old.min_output) == (new.min_input, new.min_output) and _operands(old) <= _operands(new)


def _schema(op_type: str, version: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return None


def _defaults(schema: onnx.defs.OpSchema) -> dict[str, tuple[str, bytes]]:
    return {name: (str(a.type), a.default_value.SerializeToString()) for name, a in schema.attributes.items()}


def _operands(schema: onnx.defs.OpSchema) -> tuple[int, int]:
    return schema.max_input, schema.max_output
