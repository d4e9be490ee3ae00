"""The torch front end: a torch.nn.Module or ExportedProgram to a graph, by way of ONNX, checked against the module itself.

The exporter is the one built on torch.export: it refuses control flow that depends on values, where tracing would silently
keep one branch. Its optimiser stays off, because it folds BatchNorm into weights in float32, which changes the network.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec
from inspect import Parameter, signature
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import torch
from torch import Tensor

from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.frontends.onnx_reader import DEFAULT_RANGE, OnnxFrontEnd
from absint.frontends.torch_outputs import name_outputs, tensors_of
from absint.model.graph import Graph
from absint.model.import_check import POINTS, TOLERANCES
from absint.model.model_files import pickled
from absint.model.reference import open_session
from absint.model.scores import ending_with
from absint.numeric.backend import numeric_mode

_SHOWN = 8
_ROUNDING = frozenset((
    "Add", "Sub", "Mul", "Div", "Sqrt", "Reciprocal", "Pow", "Exp", "Log", "Sin", "Cos", "Tanh", "Sigmoid", "Softplus", "MatMul", "Gemm",
    "ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
))
_UNTRANSLATED = ("ConversionError", "DispatchError", "GraphConstructionError")    # of torch.onnx
_HALF = {torch.float16: np.float16, torch.bfloat16: np.float16}  # tolerances only
_TRAINING_ARGUMENT = {"aten.dropout.default": 2, "aten.batch_norm.default": 5, "aten.feature_dropout.default": 2,
                      "aten.alpha_dropout.default": 2, "aten.rrelu.default": 3, "aten.instance_norm.default": 5}


class TorchFrontEnd:
    """Reads torch modules in eval mode and programs made by torch.export; floating-point inputs, one output.

    What is proved holds for the exported network, which takes attributes such as BatchNorm's eps as the nearest float32.
    Everything happens on a copy in CPU memory: the user's module keeps state, flags, device and mode. Saved modules (.pt,
    .pth) are refused unread, because loading a pickle runs code; so are scripted ones.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".pt", ".pth", ".pt2", ".ckpt", ".pkl", ".pickle")
    refused: ClassVar[tuple[str, ...]] = suffixes     # saved ones: only live modules are read

    def accepts(self, source: object) -> bool:
        """Whether `source` is a torch.nn.Module or a torch.export.ExportedProgram."""
        return isinstance(source, torch.nn.Module) or _is_program(source)

    def read(
        self, source: Any, *, example_input: Any = None, fold: bool = True, check: bool = True,
        check_range: tuple[float, float] | None = None, output: str | None = None,
    ) -> Graph:
        """The graph of a module; options as for ONNX files.

        example_input: a tensor or array (N, *shape) that the module takes, of which only the shape of the first entry
        matters; for a forward of several inputs a tuple of them, or a mapping by its parameters' names.  Where the module does not take
        one entry but all of a single example, it has no batch axis.  A program brings its own.
        output: of several tensors that forward returns, the one of that key ("logits") or place ("output_1"), or a tensor inside.
        Raises InputError E-MODEL-PICKLE for a file, E-MODEL-TRAINING, E-MODEL-INPUTS, E-MODEL-OUTPUTS; UsageError
        E-EXAMPLE-INPUT; UnsupportedError E-PACKAGE-MISSING, E-MODEL-EXPORT, E-IMPORT-MISMATCH; and all of the ONNX front end.
        """
        if isinstance(source, (str, Path)):
            raise pickled(Path(source))
        if find_spec("onnxscript") is None:
            raise UnsupportedError("E-PACKAGE-MISSING", "torch needs the package onnxscript to export a module", where="torch",
                                   hint="pip install onnxscript   (or: pip install 'absint[torch-export]')")
        model = _from_program(source, example_input) if _is_program(source) else _from_module(source, example_input)
        low, high = check_range or DEFAULT_RANGE
        content, notes, outputs = _exported(model)
        chosen = output if output in outputs else None
        graph = OnnxFrontEnd().read(model.name, fold=fold, check=check, check_range=(low, high), content=content, output=chosen)
        if check:
            _check_against(model, graph, (low, high), outputs.index(chosen) if chosen is not None else None)
        graph = replace(graph, source=replace(graph.source, notes=(*graph.source.notes, *notes)))
        return graph if output is None or chosen is not None else ending_with(graph, output)


@dataclass(frozen=True, eq=False)
class _Model:
    """What is exported: `target`, and `run`, which is its meaning. examples: each (1, *shape), or the whole input if of rank 1."""

    name: str
    target: Any
    run: Callable[..., Any]
    examples: tuple[Tensor, ...]


def _is_program(source: object) -> bool:
    # By name first: importing torch.export takes a second, and no program exists before it is imported.
    return type(source).__module__.startswith("torch.export") and isinstance(source, torch.export.ExportedProgram)


# --- what the user gave ---------------------------------------------------------------------------------------------


def _from_module(module: torch.nn.Module, example_input: Any) -> _Model:
    name = f"torch module {type(module).__name__}"
    if isinstance(module, torch.jit.ScriptModule):      # the exporter built on torch.export takes none
        raise UnsupportedError("E-MODEL-SCRIPTED", "a scripted or traced module, which torch.export cannot read", where=name,
                               hint="give the module that it was made of, or export it by torch.onnx.export(module, (x,), 'net.onnx', "
                                    "dynamo=False) and give net.onnx")
    training = [f"'{path}' {type(part).__name__}".removeprefix("'' ") for path, part in module.named_modules() if part.training]
    if training:
        raise InputError("E-MODEL-TRAINING", f"{_parts(len(training))} in training mode", where=name, details=_some(training),
                         hint="call module.eval() first: absint proves what the deployed network does, and changes no module")
    if example_input is None:
        raise UsageError("E-EXAMPLE-INPUT", "a torch module tells no input shape", where=name,
                         hint="absint.load(module, example_input=torch.zeros(1, 3, 32, 32)), with your shape")
    given = _one_each(signature(module.forward).parameters.values(), example_input, name)
    with _coded(name, "the module cannot be copied"):
        twin = copy.deepcopy(module).cpu()
    twin.requires_grad_(False)
    formats = [t.dtype for t in (*twin.parameters(), *twin.buffers()) if t.dtype.is_floating_point]
    if len(given) > 1:
        return _Model(name, twin, copy.deepcopy(twin), tuple(_example(one, formats[0] if formats else None, name) for one in given))
    whole = _example(given[0], formats[0] if formats else None, name, first=False)
    example = whole[:1] if whole.dim() > 1 else whole
    # A module without a batch axis, such as one on a picture (channels, height, width), takes the example as it is.
    alone = len(example) == len(whole) or _takes(twin, example) or not _takes(twin, whole)
    return _Model(name, twin, copy.deepcopy(twin), (example if alone else whole,))


def _takes(module: torch.nn.Module, example: Tensor) -> bool:
    """Whether a copy of the module runs on it."""
    try:
        with torch.no_grad(), numeric_mode(), _quiet():
            copy.deepcopy(module)(example)
    except Exception:   # whatever the user's forward raises
        return False
    return True


def _one_each(parameters: Iterable[Parameter], given: Any, name: str) -> tuple[Any, ...]:
    """An example for each input of forward, in its order. Raises InputError E-MODEL-INPUTS where they are not one for each."""
    taken = [p for p in parameters if p.kind is not Parameter.VAR_KEYWORD]
    wanted = [p.name for p in taken if p.default is p.empty and p.kind is not Parameter.VAR_POSITIONAL]
    placed = [p.name for p in taken if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    most = len(taken) if len(placed) == len(taken) else 1 << 20
    if isinstance(given, Mapping):
        first = placed[: len(given)]
        examples = tuple(given[one] for one in first) if set(first) == set(given) else ()
    else:
        tensors = isinstance(given, (tuple, list)) and all(isinstance(v, (Tensor, np.ndarray)) for v in given)
        examples = tuple(given) if tensors else (given,)
    if not examples or not set(wanted) <= set(placed[: len(examples)]) or len(examples) > most:
        raise InputError("E-MODEL-INPUTS", f"forward takes {len(wanted)} inputs: {', '.join(wanted)}; example_input is not one for each",
                         where=name, hint="example_input=(a, b, ...), one batch for each in this order; or wrap the module so that its "
                         "forward takes one tensor")
    return examples


def _from_program(program: Any, example_input: Any) -> _Model:
    name = "torch program"
    training = [f"'{node.name}' {node.target}" for node in program.graph.nodes if _trains(node)]
    if training:
        raise InputError("E-MODEL-TRAINING", f"{_parts(len(training))} in training mode", where=name, details=_some(training),
                         hint="call module.eval() before torch.export.export")
    positional, named = program.example_inputs or ((), {})
    tensors = [*positional, *named.values()]
    given = tensors if example_input is None else list(example_input) if isinstance(example_input, (tuple, list)) else [example_input]
    if len(given) != len(tensors) or not tensors or (named and len(tensors) > 1):
        raise InputError("E-MODEL-INPUTS", f"the program takes {len(tensors)} inputs, {len(named)} of them by keyword, and there are "
                         f"{len(given)} examples", where=name,
                         hint="export it with torch.export.export(module, (a, b, ...)), all by position")
    whole = tuple(_example(one, None, name, first=False) for one in given)
    with _coded(name, "the program cannot be copied"), _quiet():
        run = copy.deepcopy(program.module())
    return _Model(name, program, run, whole)


def _trains(node: Any) -> bool:
    place = _TRAINING_ARGUMENT.get(str(node.target))
    return place is not None and len(node.args) > place and node.args[place] is True


def _example(given: Any, dtype: torch.dtype | None, name: str, *, first: bool = True) -> Tensor:
    """One instance with its batch axis, in the format of the module's parameters."""
    try:
        example = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError("E-EXAMPLE-INPUT", f"example_input is no tensor but {type(given).__name__}", where=name,
                         hint="give one batch of inputs, such as torch.zeros(1, 3, 32, 32)") from error
    if example.dim() == 0 or example.numel() == 0:
        raise UsageError("E-EXAMPLE-INPUT", f"example_input has shape {tuple(example.shape)}", where=name,
                         hint="give one batch of inputs, axis 0 counting the instances")
    if not (example.dtype.is_floating_point or dtype is not None):
        raise InputError("E-MODEL-INPUTS", f"the input is {example.dtype}, not floating point", where=name, hint="give float32 inputs")
    one = example[:1] if first and example.dim() > 1 else example
    return one.detach().to("cpu", dtype or example.dtype).clone()


# --- export ---------------------------------------------------------------------------------------------------------


def _exported(model: _Model) -> tuple[bytes, tuple[str, ...], tuple[str, ...]]:
    """The ONNX bytes of a model that was seen to run on its examples, notes on them, and the names of its outputs where it has several."""
    with _coded(model.name, "the module fails on example_input"), torch.no_grad(), numeric_mode():
        returned = tensors_of(model.run(*model.examples), model.name)
    arguments = () if _is_program(model.target) else (model.examples,)
    with _coded(model.name, "torch cannot export the module"), _quiet(), torch.no_grad():
        program = torch.onnx.export(model.target, *arguments, dynamo=True, optimize=False, verbose=False)
        if program is None:
            raise RuntimeError("torch.onnx.export returned nothing")
        proto = _plain(program.model_proto)
        rounded = _evaluate_constants(proto)
        names = name_outputs(proto, tuple(name for name, _ in returned), model.name) if len(returned) > 1 else ()
        notes = [f"exported by torch.onnx of torch {torch.__version__}"]
        notes += [f"computed at export, in the module's number format: {', '.join(rounded)}"] if rounded else []
        return bytes(proto.SerializeToString(deterministic=True)), tuple(notes), names


def _plain(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without stack traces (they hold paths of the user's files), with Cast for CastLike and a constant for a known Shape."""
    known = onnx.shape_inference.infer_shapes(proto)
    types = {v.name: v.type.tensor_type for v in (*known.graph.value_info, *known.graph.input, *known.graph.output)}
    formats = {name: t.elem_type for name, t in types.items()} | {t.name: t.data_type for t in proto.graph.initializer}
    shapes = {name: [int(d.dim_value) for d in t.shape.dim] for name, t in types.items() if t.HasField("shape")}
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        if node.op_type == "CastLike" and formats.get(node.input[1]):
            node.op_type = "Cast"
            node.attribute.append(onnx.helper.make_attribute("to", formats[node.input[1]]))
            del node.input[1]
        elif node.op_type == "Shape" and all(shapes.get(node.input[0], [0])):
            bounds = {a.name: a.i for a in node.attribute}
            sizes = np.array(shapes[node.input[0]][bounds.get("start", 0) : bounds.get("end")], dtype=np.int64)
            node.CopyFrom(onnx.helper.make_node("Constant", [], [node.output[0]], node.name, value=onnx.numpy_helper.from_array(sizes)))
    for part in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer, proto.graph, proto):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto


def _evaluate_constants(proto: onnx.ModelProto) -> list[str]:
    """Replace what rounds and depends on weights alone (weight norms, scales of attention) by what torch computes, too.

    Returns the names of the tensors. Anything exact is left to the ONNX front end.
    """
    stored = {t.name: t for t in proto.graph.initializer}
    maker = {name: node for node in proto.graph.node for name in node.output}
    fixed = set(stored)
    for node in proto.graph.node:  # in topological order
        if node.op_type == "Constant" or (node.input and all(i in fixed for i in node.input if i)):
            fixed.update(node.output)
    wanted = [str(n.output[0]) for n in proto.graph.node if n.op_type in _ROUNDING and n.output[0] in fixed]
    if not wanted:
        return []
    needed, stack = set[str](), list(wanted)
    while stack:
        name = stack.pop()
        if name not in needed and name in fixed:
            needed.add(name)
            stack += [i for i in maker[name].input if i] if name in maker else []
    part = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    part.graph.name = "constants"
    part.graph.node.extend(n for n in proto.graph.node if needed.intersection(n.output))
    part.graph.initializer.extend(t for name, t in stored.items() if name in needed)
    part.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    values = open_session(part.SerializeToString()).run(wanted, {})
    kept = [n for n in proto.graph.node if n.output[0] not in wanted]
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in zip(wanted, values, strict=True))
    return wanted


@contextmanager
def _coded(name: str, what: str) -> Iterator[None]:
    """Whatever torch or the user's forward raises, as one coded message with the first lines of its own."""
    try:
        yield
    except AbsintError:
        raise
    except Exception as error:
        first = error if error.__cause__ is None else error.__cause__  # the exporter wraps what happened in a page of advice
        lines = [line.strip() for line in str(first).splitlines() if line.strip()]
        missing = type(first).__name__ in _UNTRANSLATED
        raise UnsupportedError(
            "E-MODEL-EXPORT", f"{what}: {type(first).__name__}", where=name, details=lines[:2],
            hint="torch's exporter does not know the operator behind 'target=': write it with others in forward, or export the module by "
                 "torch.onnx.export(module, (x,), 'net.onnx', dynamo=False), whose exporter is another one" if missing else
                 "does module(example_input) run on the CPU? a forward whose control flow depends on values cannot be exported",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """torch prints graphs to stdout where an export fails, and warns of packages and deprecations of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# --- the check against the module -----------------------------------------------------------------------------------


def _check_against(model: _Model, graph: Graph, within: tuple[float, float], place: int | None) -> None:
    """Raise E-IMPORT-MISMATCH where the graph is not the module on two corners and random points of that range.

    place: of the tensor, among those that the module returns; None for the only one of floating-point numbers.

    Accepted are the tolerances of the import check, or 16 times the deviation of a float32 evaluation of the graph.
    """
    (low, high), draw = within, torch.Generator().manual_seed(1)
    share = torch.rand((POINTS, *graph.input.shape), generator=draw, dtype=torch.float64)
    share[0], share[1] = 0.0, 1.0
    points = (low + (high - low) * share).to(model.examples[0].dtype)
    shapes = [one.shape for one in graph.source.fed]
    if len(shapes) != len(model.examples):
        raise InputError("E-MODEL-INPUTS", f"{len(model.examples)} inputs, of which the exported network has {len(shapes)}",
                         where=model.name, hint="leave out of forward what it does not use")
    sizes = [prod(shape) for shape in shapes]
    with torch.no_grad(), numeric_mode():
        ours = graph(points.double()).flatten(1)
        single = graph(points.float()).double().flatten(1)
        with _coded(model.name, "the module fails on a random input"):
            fed = [[part.reshape(shape) for part, shape in zip(p.flatten().split(sizes), shapes, strict=True)] for p in points]
            theirs = torch.stack([_chosen(tensors_of(model.run(*one), model.name), place).double().flatten() for one in fed])
    if ours.shape != theirs.shape:
        raise _mismatch(model, f"the output has {ours.shape[1]} entries, the module's {theirs.shape[1]}")
    gap = torch.where(ours == theirs, 0.0, (ours - theirs).abs()).nan_to_num(torch.inf, torch.inf)
    scale = float(theirs.abs().max()) or 1.0
    form = model.examples[0].dtype
    kind = np.dtype(str(form).removeprefix("torch.")).type if form not in _HALF else np.float16
    rounding = 16 * float((single - ours).abs().max()) if bool(single.isfinite().all()) else 0.0
    if not float(gap.max()) <= max(TOLERANCES[kind] * scale, rounding):
        point, entry = divmod(int(gap.argmax()), gap.shape[1])
        raise _mismatch(model, f"output entry {entry}: absint {float(ours[point, entry]):.9g}, the module "
                        f"{float(theirs[point, entry]):.9g} (output scale {scale:.3g})")


def _chosen(returned: tuple[tuple[str, Tensor], ...], place: int | None) -> Tensor:
    tensors = [tensor for _, tensor in returned]
    return tensors[place] if place is not None else next(tensor for tensor in tensors if tensor.dtype.is_floating_point)


def _mismatch(model: _Model, detail: str) -> UnsupportedError:
    return UnsupportedError(
        "E-IMPORT-MISMATCH", "the imported graph does not compute what the module computes", where=model.name, details=[detail],
        hint="nothing was analysed; is the module random, or does it keep state between calls? otherwise report it with the module",
    )


def _parts(count: int) -> str:
    return "1 part of the model is" if count == 1 else f"{count} parts of the model are"


def _some(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"... and {len(lines) - _SHOWN} more"]
