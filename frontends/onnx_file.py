"""Opens an ONNX file: bytes to a checked list of nodes in topological order. Knows no operator by name."""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
from onnx import numpy_helper

from absint.errors import AbsintError, InputError, UnsupportedError, missing_hint
from absint.frontends.onnx_bodies import expand_bodies
from absint.frontends.onnx_embeddings import embedded, start_behind
from absint.frontends.onnx_end import Ending, cut
from absint.frontends.onnx_external import read_external
from absint.frontends.onnx_functions import STANDARD_DOMAINS, inline_functions
from absint.frontends.onnx_outputs import choose_output, described
from absint.frontends.onnx_recurrent import with_batch_second
from absint.frontends.stand_ins import stand_in
from absint.model.digest import digest
from absint.model.onnx_formats import FLOATS
from absint.model.op import Shape

AnyArray = npt.NDArray[Any]

OLDEST_OPSET = 7  # before, broadcasting was an attribute; onnxruntime promises nothing below either
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class WrittenNode:
    """One node, functions expanded. index: its own.  position: in the file, of it or of the call it comes from, for messages."""

    index: int
    proto: onnx.NodeProto
    position: int

    @property
    def name(self) -> str:
        """What to call it: its name, or its first output where it has none."""
        return str(self.proto.name) or next((str(o) for o in self.proto.output if o), "")


@dataclass(frozen=True)
class FileInput:
    """One input. format: of its numbers.  dims: its sizes, None where unknown."""

    name: str
    format: str
    dims: tuple[int | None, ...]

    @property
    def shape(self) -> Shape:
        """The full one, at batch size 1."""
        return tuple(1 if d is None else d for d in self.dims)

    @property
    def open(self) -> bool:
        """Whether the file leaves the size of its axis 0 open."""
        return len(self.dims) >= 2 and self.dims[0] is None

    @property
    def batched(self) -> bool:
        """Whether its axis 0 can be taken for a batch axis."""
        return len(self.dims) >= 2 and self.shape[0] == 1


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A model that is well formed as a graph. steps: the nodes its output needs, in topological order.

    model: self-contained bytes for the reference runtime.  inputs: in the file's order.
    constants: initialisers that are used.  used: every tensor that a step or the graph's output reads.
    ending: the ArgMax at the end, which was cut off so that the output is the scores it compares; else None.
    caveats: on outputs that are left out, as "E-CODE: text".  chosen: the output that was asked for, '' where none was.
    written: the nodes as they stand in the file, calls of functions included.  functions: which they call.
    """

    path: str
    sha256: str
    model: bytes
    proto: onnx.ModelProto
    opset: int
    inputs: tuple[FileInput, ...]
    output_name: str
    steps: tuple[WrittenNode, ...]
    constants: Mapping[str, AnyArray]
    used: frozenset[str]
    notes: tuple[str, ...] = field(default=())
    ending: Ending | None = None
    written: tuple[onnx.NodeProto, ...] = ()
    functions: tuple[onnx.FunctionProto, ...] = ()
    caveats: tuple[str, ...] = ()
    chosen: str = ""


def open_model(path: str | Path, content: bytes | None = None, output: str | None = None) -> OnnxFile:
    """Read and check a .onnx or .onnx.gz file, or its content, which `path` then only names.

    output: see `onnx_outputs.choose_output`.
    Raises InputError or UnsupportedError with a code E-MODEL-*.
    """
    file = Path(path)
    proto, data, sha256 = _read(file, content)
    try:
        turned = with_batch_second(proto)
        opened, (changed, caveats) = _opened(proto), choose_output(proto, output, str(file))
        if opened or changed or turned:
            data = bytes(proto.SerializeToString())
        ending = cut(proto, data)
        if ending is not None:
            data = bytes(proto.SerializeToString())
        found = _checked(proto, data, sha256, file, ending)
        notes = [f"onnxruntime runs no layout=1: {', '.join(map(repr, turned))} is compared and replayed with layout=0 between "
                 "transpositions, which means the same"] if turned else []
        return replace(found, caveats=caveats, chosen=output or "", notes=(*found.notes, *notes))
    except AbsintError:
        raise
    except Exception as error:  # damage that the parser let through: whatever onnx raises becomes one coded message
        raise _malformed(file, f"{type(error).__name__}: {_first_line(error)}") from error


def model_hash(path: str | Path) -> str:
    """The hash that `open_model` gives the same file. Raises InputError E-MODEL-* where it cannot be read."""
    return _read(Path(path), None)[2]


def _read(file: Path, content: bytes | None) -> tuple[onnx.ModelProto, bytes, str]:
    """The model with all its weights, its self-contained bytes, and the hash of every byte that was read, each once."""
    raw = read_bytes(file) if content is None else content
    data = _unzipped(raw, file)
    proto = _parsed(data, file)
    outside = read_external(proto, file if content is None else None)
    if outside:
        data = _self_contained(proto, file)
    return proto, data, digest(raw, *outside)


def _self_contained(proto: onnx.ModelProto, file: Path) -> bytes:
    try:
        return bytes(proto.SerializeToString())
    except Exception as error:  # protobuf's EncodeError, a ValueError: beyond 2 GiB
        raise InputError("E-MODEL-EXTERNAL", f"with its external weights it cannot be handled: {_first_line(error)}", where=str(file),
                         hint="the format allows for 2 GiB") from error


def read_bytes(file: Path) -> bytes:
    """The bytes of a file. Raises InputError E-MODEL-MISSING, E-MODEL-FORMAT (a directory) or E-MODEL-EMPTY."""
    if file.is_dir():
        raise InputError("E-MODEL-FORMAT", "is a directory, not a model file", where=str(file), hint="name the .onnx file in it")
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise InputError("E-MODEL-MISSING", "no such file", where=str(file),
                         hint=missing_hint(file) or "check the path of the model") from error
    except (OSError, ValueError) as error:
        raise InputError("E-MODEL-MISSING", f"cannot be read: {error}", where=str(file), hint="check the path and its rights") from error
    if not raw:
        raise InputError("E-MODEL-EMPTY", "the file has no bytes", where=str(file), hint="download or export it again")
    instead = stand_in(raw)
    if instead is not None:
        raise InputError("E-MODEL-FORMAT", instead[0], where=str(file), hint=instead[1])
    return raw


def _unzipped(raw: bytes, file: Path) -> bytes:
    if not raw.startswith(_GZIP_MAGIC):
        return raw
    try:
        data = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise _malformed(file, f"the gzip stream is damaged: {error}") from error
    if not data:
        raise InputError("E-MODEL-EMPTY", "the gzip file holds no bytes", where=str(file), hint="download or export it again")
    return data


def _opened(proto: onnx.ModelProto) -> bool:
    """Old exporters write 0 for an unknown batch size, which onnxruntime takes at its word; True where one was renamed."""
    stored = {t.name for t in proto.graph.initializer}
    zero = [
        info.type.tensor_type.shape.dim[0] for info in (*proto.graph.input, *proto.graph.output)
        if info.name not in stored and len(info.type.tensor_type.shape.dim) > 1
    ]
    zero = [dim for dim in zero if dim.HasField("dim_value") and dim.dim_value <= 0]
    for dim in zero:
        dim.dim_param = "batch"
    return bool(zero)


def _malformed(file: Path, what: str) -> InputError:
    return InputError("E-MODEL-FORMAT", f"not a readable ONNX model: {what}", where=str(file),
                      hint="is the file complete, and is it ONNX? export or download it again")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _parsed(data: bytes, file: Path) -> onnx.ModelProto:
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError; its package has no types of its own
        raise _malformed(file, _first_line(error)) from error
    if not proto.HasField("graph"):
        raise _malformed(file, "it holds no graph")
    if not proto.graph.node:
        raise InputError("E-MODEL-EMPTY", "the graph has no nodes", where=str(file), hint="export the model again")
    if not proto.opset_import:
        raise _malformed(file, "it names no operator set (truncated?)")
    return proto


def _checked(proto: onnx.ModelProto, data: bytes, sha256: str, file: Path, ending: Ending | None) -> OnnxFile:
    opset = _opset(proto, file)
    written, functions = tuple(proto.graph.node), tuple(proto.functions)
    places = expand_bodies(proto, inline_functions(proto, str(file)), str(file))
    if proto.graph.sparse_initializer:
        raise UnsupportedError("E-MODEL-SPARSE", "sparse initialisers are not supported", where=str(file),
                               hint="store the weights dense")
    stored = {t.name: t for t in proto.graph.initializer}
    infos = _inputs(proto, stored, file)
    output = str(proto.graph.output[0].name)
    steps = _needed(_sorted(proto, places, {*(i.name for i in infos), *stored}, output, file), output)
    used = frozenset({output, *(i for step in steps for i in step.proto.input if i)})
    constants = {name: to_array(tensor) for name, tensor in stored.items() if name in used}
    _finite(constants, steps, file)
    formats = {str(value.dtype) for value in constants.values() if value.dtype.kind == "f"} - {"float32", "float64"}
    notes = [f"{' and '.join(sorted(formats))} weights taken exactly; proofs are about the exact-real network"] if formats else []
    return OnnxFile(
        str(file), sha256, data, proto, opset,
        tuple(FileInput(str(i.name), FLOATS[i.type.tensor_type.elem_type], _dims(i, file)) for i in infos), output, steps,
        constants, used, tuple(notes), ending, written, functions,
    )


def _opset(proto: onnx.ModelProto, file: Path) -> int:
    versions = [int(o.version) for o in proto.opset_import if o.domain in STANDARD_DOMAINS]
    if not versions:
        raise UnsupportedError("E-MODEL-OPSET", "it names no version of the standard operator set", where=str(file),
                               hint="export with the standard ONNX operators")
    if max(versions) < OLDEST_OPSET:
        raise UnsupportedError("E-MODEL-OPSET", f"opset {max(versions)} is older than {OLDEST_OPSET}", where=str(file),
                               hint="upgrade it with onnx.version_converter.convert_version(model, 13)")
    return max(versions)


def _inputs(proto: onnx.ModelProto, stored: Mapping[str, Any], file: Path) -> list[onnx.ValueInfoProto]:
    """Files of old exporters list their initialisers as inputs, too: these do not count."""
    free = [i for i in proto.graph.input if i.name not in stored]
    if not free:
        raise InputError("E-MODEL-INPUTS", "a network without inputs; one is needed at least", where=str(file),
                         hint="export what is to be analysed as an input")
    kinds = [i.type.tensor_type.elem_type if i.type.WhichOneof("value") == "tensor_type" else 0 for i in free]
    alien = [described(i) for i, kind in zip(free, kinds, strict=True) if kind not in FLOATS]
    if alien:
        tensors = [embedded(proto.graph.node, str(i.name), stored) for i, kind in zip(free, kinds, strict=True) if kind not in FLOATS]
        if len(free) == 1 and tensors[0] is not None:
            raise UnsupportedError("E-MODEL-INPUTS", "the input is tokens of an embedding: regions of tokens are not supported",
                                   where=str(file), details=alien, hint=start_behind(tensors[0], str(proto.graph.output[0].name)))
        some = "the input is no tensor" if len(free) == 1 else f"{len(alien)} of {len(free)} inputs are no tensors"
        hint = "export with a float32 input" if len(free) == 1 else "make them constants of the model, or export with float32 inputs"
        raise InputError("E-MODEL-INPUTS", f"{some} of floating-point numbers", where=str(file), details=alien, hint=hint)
    if len(set(kinds)) > 1:
        raise InputError("E-MODEL-INPUTS", "inputs of several number formats", where=str(file), details=[described(i) for i in free],
                         hint="export all of them as float32")
    return free


def _dims(info: onnx.ValueInfoProto, file: Path) -> tuple[int | None, ...]:
    """Sizes of the input; the first of at least two may be unknown (None). Raises E-MODEL-SHAPE for any other."""
    if not info.type.tensor_type.HasField("shape"):
        raise InputError("E-MODEL-SHAPE", f"the input '{info.name}' has no shape", where=str(file), hint="export with a fixed shape")
    given = info.type.tensor_type.shape.dim
    if not given:
        raise InputError("E-MODEL-SHAPE", f"the input '{info.name}' is a single number without axes", where=str(file),
                         hint="export with an input of shape (1, 1)")
    dims = tuple(int(d.dim_value) if d.dim_value > 0 else None for d in given)
    unknown = [k for k, d in enumerate(dims) if d is None and (k > 0 or len(dims) == 1)]
    if unknown:
        details = [f"axis {k} of '{info.name}': {given[k].dim_param or 'unknown'}" for k in unknown]
        raise InputError("E-MODEL-SHAPE", "only the batch axis (axis 0 of at least two) may have an unknown size",
                         where=str(file), details=details, hint="export with fixed sizes")
    return dims


def _sorted(proto: onnx.ModelProto, places: Sequence[int], given: Iterable[str], output: str, file: Path) -> list[WrittenNode]:
    """All nodes in a topological order that keeps the file's order where it can. Raises on undefined names and cycles."""
    steps = [WrittenNode(k, node, place) for k, (node, place) in enumerate(zip(proto.graph.node, places, strict=True))]
    defined, twice = set(given), []
    producer: dict[str, int] = {}
    for step in steps:
        for name in filter(None, step.proto.output):
            if name in defined:
                twice.append(f"'{name}' again by node {step.position} '{step.name}'")
            defined.add(name)
            producer[name] = step.index
    if twice:
        raise InputError("E-MODEL-DUPLICATE", "tensors are defined more than once", where=str(file), details=twice, hint="repair the model")
    missing = [f"'{i}' read by node {s.position} '{s.name}'" for s in steps for i in s.proto.input if i and i not in defined]
    missing += [] if output in defined else [f"'{output}' named as the output"]
    if missing:
        raise InputError("E-MODEL-UNDEFINED", "tensors are read that nothing defines", where=str(file), details=missing,
                         hint="is the model complete? export it again")
    return _topological(steps, producer, file)


def _topological(steps: list[WrittenNode], producer: Mapping[str, int], file: Path) -> list[WrittenNode]:
    waiting = {s.index: {producer[i] for i in s.proto.input if i in producer} for s in steps}
    readers: dict[int, list[int]] = defaultdict(list)
    for index, sources in waiting.items():
        for source in sources:
            readers[source].append(index)
    ready = [index for index, sources in waiting.items() if not sources]
    heapq.heapify(ready)
    order = []
    while ready:
        done = heapq.heappop(ready)
        order.append(steps[done])
        for reader in readers[done]:
            waiting[reader].discard(done)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) != len(steps):
        placed = {s.index for s in order}
        stuck = [f"node {s.position} '{s.name}' {s.proto.op_type}" for s in steps if s.index not in placed]
        raise InputError("E-MODEL-CYCLE", "nodes wait for one another in a circle, or for nodes that do", where=str(file),
                         details=stuck, hint="recurrent networks must be unrolled before export")
    return order


def _needed(steps: list[WrittenNode], output: str) -> tuple[WrittenNode, ...]:
    wanted, kept = {output}, []
    for step in reversed(steps):
        if wanted.intersection(step.proto.output):
            wanted.update(i for i in step.proto.input if i)
            kept.append(step)
    return tuple(reversed(kept))


def to_array(tensor: onnx.TensorProto) -> AnyArray:
    """A stored tensor; formats that numpy lacks (bfloat16, float8, int4) become the next wider one, exactly."""
    value: AnyArray = numpy_helper.to_array(tensor)
    if value.dtype.kind in "SUO" or value.dtype.isbuiltin == 1:
        return value
    return value.astype(np.int64 if "int" in value.dtype.name else np.float32)


# Attributes that say which number stands for what is missing: NaN, usually.
MARKERS = frozenset({"replaced_value_float"})


def _finite(constants: Mapping[str, AnyArray], steps: Iterable[WrittenNode], file: Path) -> None:
    """Raise E-MODEL-NONFINITE naming every tensor with NaN or infinite entries. Those of -inf alone may be masks: the nodes tell."""
    values, masks = dict(constants), set(constants)
    for step in steps:
        for attribute in step.proto.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                values[f"{step.name} {attribute.name}"] = to_array(attribute.t)
                masks.update({f"{step.name} {attribute.name}"} if step.proto.op_type in ("Constant", "ConstantOfShape") else ())
            elif attribute.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS) and attribute.name not in MARKERS:
                values[f"{step.name} {attribute.name}"] = np.array([attribute.f, *attribute.floats], dtype=np.float64)
                masks.update({f"{step.name} {attribute.name}"} if step.proto.op_type == "Constant" else ())
    wrong = {name: value for name, value in values.items() if value.dtype.kind == "f" and not np.isfinite(value).all()}
    details = [f"'{name}' {value.shape}: {int(np.isnan(value).sum())} NaN, {int(np.isinf(value).sum())} infinite"
               for name, value in wrong.items()]
    if details and not all(name in masks and bool((np.isfinite(value) | np.isneginf(value)).all()) for name, value in wrong.items()):
        raise InputError("E-MODEL-NONFINITE", f"{len(details)} of {len(values)} tensors hold NaN or infinity", where=str(file),
                         details=details, hint="did the training diverge? repair the weights")


def standard(domain: str) -> bool:
    """Whether a node's domain is ONNX's own."""
    return domain in STANDARD_DOMAINS
