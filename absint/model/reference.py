"""The reference semantics: the user's own model in onnxruntime, for the import check and for replaying witnesses."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
import onnxruntime
import torch

from absint.errors import UnsupportedError, UsageError
from absint.model.op import Op
from absint.model.source import InputPart, Source

FloatArray = npt.NDArray[np.float64]
Feeds = Mapping[str, npt.NDArray[np.floating[Any]]]      # by the model's input, (N, *full shape) each

_OWN_PLACE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+:\d+ .*?\) (?=\w)")
_NO_KERNEL = "Could not find an implementation"   # how onnxruntime begins to say so
_CHUNK = 64
_FORMATS: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
}

@dataclass(eq=False)
class ModelRuntime:
    """One model under onnxruntime, behind the operators that the graph applies before it (`Source.prefix`).

    inputs: what it is fed with, in the order in which they lie in the graph's one input.
    input_dtype: what the model reads; points are rounded to it.  batchable: whether several instances go in one call.
    names: what the graph's names of its tensors begin with.
    """

    session: Any
    inputs: tuple[InputPart, ...]
    prefix: tuple[Op, ...]
    input_dtype: type[np.floating[Any]]
    batchable: bool
    names: str = ""

    @cached_property
    def formats(self) -> Mapping[str, str]:
        """Outputs of the session, the results that `probes` adds among them, and their types as onnxruntime writes them."""
        return {o.name: o.type for o in self.session.get_outputs()}

    def values(self, names: Sequence[str], x: npt.NDArray[Any], *, together: bool) -> dict[str, list[npt.NDArray[Any]]] | None:
        """Results by the model's own names for raw inputs x (N, *shape), one entry an instance, in their own formats.

        together: in one call; None where the results do not have the batch's size. Raises E-IMPORT-RUNTIME as `run` does.
        """
        feeds = self.feeds(x)
        if not together:
            rows = [self._fetch(names, _row(feeds, k)) for k in range(len(x))]
            return {name: [row[k] for row in rows] for k, name in enumerate(names)}
        found = self._fetch(names, {name: value[:, 0] for name, value in feeds.items()})
        if any(value.shape[:1] != (len(x),) for value in found):
            return None
        return {name: list(value) for name, value in zip(names, found, strict=True)}

    def run(self, x: npt.NDArray[Any]) -> FloatArray:
        """Outputs (N, *out) in float64 for raw inputs x (N, *shape): prefix in float64, cast to the model's format, run.

        Raises UnsupportedError E-IMPORT-RUNTIME where onnxruntime fails.
        """
        feeds = self.feeds(x)
        if not len(x):
            return self._one({one.name: np.zeros(one.shape, dtype=self.input_dtype) for one in self.inputs})[None][:0]
        if len(x) > 1 and self.batchable:
            together = self._together(feeds, len(x))
            if together is not None:
                return together
        return np.stack([self._one(_row(feeds, k)) for k in range(len(x))])

    def feeds(self, x: npt.NDArray[Any]) -> Feeds:
        """What the model reads for raw inputs x, in its own format. Of several inputs each takes its entries of the flat ones."""
        values = torch.as_tensor(np.asarray(x, dtype=np.float64))
        with torch.no_grad():
            for op in self.prefix:
                values = op.forward(values)
        flat = values.numpy().reshape(len(values), sum(prod(one.shape) for one in self.inputs)).astype(self.input_dtype)
        ends = np.cumsum([prod(one.shape) for one in self.inputs])[:-1]
        return {one.name: part.reshape(len(flat), *one.shape) for one, part in zip(self.inputs, np.split(flat, ends, 1), strict=True)}

    def round(self, x: FloatArray) -> FloatArray:
        """x in the model's input format, as float64; the nearest points that can be fed without error (no prefix)."""
        with np.errstate(over="ignore"):    # what is made of infinities is said where they are met
            return x.astype(self.input_dtype).astype(np.float64)

    def _one(self, feed: Feeds) -> FloatArray:
        """Of the shape that graphs give it: without an axis 0 of size 1, unless there is no other."""
        output = self._call(feed)
        return output[0] if output.ndim > 1 and len(output) == 1 else output

    def _call(self, feed: Feeds) -> FloatArray:
        return np.atleast_1d(np.asarray(self._fetch(None, feed)[0], dtype=np.float64))

    def _fetch(self, names: Sequence[str] | None, feed: Feeds) -> list[npt.NDArray[Any]]:
        try:
            return [np.asarray(value) for value in self.session.run(names, dict(feed))]
        except Exception as error:  # onnxruntime raises a type of its own for each status code
            raise UnsupportedError("E-IMPORT-RUNTIME", f"onnxruntime fails on the model: {_first_line(error)}",
                                   hint="repair or re-export the model") from error

    def _together(self, feeds: Feeds, count: int) -> FloatArray | None:
        """All instances in few calls; None where the model turns out not to keep them apart (then never again)."""
        sizes = [min(_CHUNK, count - start) for start in range(0, count, _CHUNK)]
        try:
            found = (self._call({name: value[start : start + _CHUNK, 0] for name, value in feeds.items()})
                     for start in range(0, count, _CHUNK))
            parts = [part[:, None] if part.ndim == 1 else part for part in found]
        except UnsupportedError:
            self.batchable = False
            return None
        separate = all(len(p) == size for p, size in zip(parts, sizes, strict=True))
        last, alone = parts[-1][-1], self._one(_row(feeds, -1))
        close = separate and last.shape == alone.shape and np.allclose(last, alone, rtol=1e-3, atol=1e-3 * np.abs(alone).max(initial=0))
        self.batchable = bool(close)
        return np.concatenate(parts) if close else None


def _row(feeds: Feeds, place: int) -> Feeds:
    """One instance."""
    return {name: value[place] for name, value in feeds.items()}


def _first_line(error: Exception) -> str:
    """What onnxruntime says, without its own status and without the place in its own source."""
    return _OWN_PLACE.sub("", (str(error).strip().splitlines() or [""])[0])


class _Opened:
    """The sessions of the models that were asked for last. Comparing bytes with those of a few models is cheaper than hashing them."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._found: tuple[tuple[bytes, Any], ...] = ()     # the last one first

    def of(self, model: bytes, opener: Callable[[bytes], Any]) -> Any:
        """The session that the opener gave for these bytes, or gives now. What it raises is not kept."""
        session = next((kept for known, kept in self._found if known == model), None)
        if session is None:
            session = opener(model)
        with self._lock:
            others = tuple(one for one in self._found if one[1] is not session)
            self._found = ((model, session), *others)[:self._most]
        return session


_SESSIONS, _PROBES = _Opened(8), _Opened(4)


def open_session(model: bytes) -> Any:
    """One session per model, of the last few."""
    return _SESSIONS.of(model, one_session)


def one_session(model: bytes, *, optimised: bool = False, threads: int = 1) -> Any:
    """A session of its own; the reference has graph optimisations off and one thread."""
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def open_probes(model: bytes) -> Any:
    """A session whose outputs are all results of the model's own nodes, behind its outputs; the plain one where that fails."""
    return _PROBES.of(model, _probing)


def _probing(model: bytes) -> Any:
    proto = onnx.load_model_from_string(model)
    known = {o.name for o in proto.graph.output}
    names = dict.fromkeys(o for node in proto.graph.node for o in node.output if o and o not in known)
    if not names:
        return open_session(model)
    # Serialized messages are merged by joining their bytes, which spares a second copy of the weights.
    more = onnx.ModelProto(graph=onnx.GraphProto(output=[onnx.helper.make_empty_tensor_value_info(n) for n in names]))
    try:
        return one_session(model + more.SerializeToString())
    except Exception:  # some result is no tensor, or of a format that onnxruntime cannot give out
        return open_session(model)


@dataclass(frozen=True, eq=False)
class Runtime:
    """The user's models, each run on what the one before gives. Names are the graph's: of a later model's tensors with its prefix."""

    models: tuple[ModelRuntime, ...]

    @property
    def prefix(self) -> tuple[Op, ...]:
        """What is applied to the user's input before the first model."""
        return self.models[0].prefix

    @property
    def input_dtype(self) -> type[np.floating[Any]]:
        """What the first model reads; points are rounded to it."""
        return self.models[0].input_dtype

    @cached_property
    def inputs(self) -> Mapping[str, str]:
        """The tensors that each model is fed with, and their types as onnxruntime writes them."""
        kinds = [{i.name: i.type for i in m.session.get_inputs()} for m in self.models]
        return {m.names + one.name: types[one.name] for m, types in zip(self.models, kinds, strict=True) for one in m.inputs}

    @property
    def output(self) -> str:
        """The first output of the last model."""
        last = self.models[-1]
        return last.names + next(iter(last.formats))

    @cached_property
    def formats(self) -> Mapping[str, str]:
        """Outputs of the sessions, the results that `probes` adds among them, and their types as onnxruntime writes them."""
        return {m.names + name: kind for m in self.models for name, kind in m.formats.items()}

    @property
    def batchable(self) -> bool:
        """Whether several instances go in one call of every model."""
        return all(m.batchable for m in self.models)

    def values(self, names: Sequence[str], x: npt.NDArray[Any], *, together: bool) -> dict[str, list[npt.NDArray[Any]]] | None:
        """Results, and what the models are fed with, by name, for raw inputs x (N, *shape): see `ModelRuntime.values`."""
        found: dict[str, list[npt.NDArray[Any]]] = {}
        for model in self.models:
            inner = {name.removeprefix(model.names): name for name in names if name.startswith(model.names)}
            output = next(iter(model.formats))
            asked = [name for name in dict.fromkeys((output, *inner)) if name in model.formats]
            values = model.values(asked, x, together=together)
            if values is None:
                return None
            found |= {inner[name]: value for name, value in values.items() if name in inner}
            if any(one.name in inner for one in model.inputs):
                found |= {inner[name]: list(value) for name, value in model.feeds(x).items() if name in inner}
            x = np.stack([np.asarray(value, dtype=np.float64) for value in values[output]]) if len(x) else x
        return {name: found[name] for name in names}

    def run(self, x: npt.NDArray[Any]) -> FloatArray:
        """Outputs (N, *out) in float64 for raw inputs x (N, *shape): prefix in float64, cast to the model's format, run.

        Raises UnsupportedError E-IMPORT-RUNTIME where onnxruntime fails.
        """
        for model in self.models:
            x = model.run(x)
        return np.asarray(x, dtype=np.float64)

    def round(self, x: FloatArray) -> FloatArray:
        """x in the first model's input format, as float64; the nearest points that can be fed without error (no prefix)."""
        return self.models[0].round(x)


def probes(source: Source) -> Runtime:
    """As `runtime`, but `Runtime.values` also gives results inside the models. Raises as `runtime` does."""
    return opened(source, open_probes)


def runtime(source: Source) -> Runtime:
    """The reference runtime of a source. Raises UsageError E-RUNTIME-NONE where it, or a part of it, has no model.

    Raises UnsupportedError E-IMPORT-RUNTIME where onnxruntime refuses a model.
    """
    return opened(source, open_session)


def opened(source: Source, opener: Callable[[bytes], Any]) -> Runtime:
    """A source's models, each in a session of the caller's choice. Raises as `runtime` does."""
    return Runtime(tuple(_model(part, opener) for part in source.networks))


def _model(source: Source, opener: Callable[[bytes], Any]) -> ModelRuntime:
    if source.model is None:
        raise UsageError("E-RUNTIME-NONE", "this graph has no reference model to run", where=source.path or None,
                         hint="import the model itself; a part of a graph has none, nor a chain of which one network has none")
    try:
        session = opener(source.model)
    except Exception as error:  # onnxruntime raises a type of its own for each status code
        text = _first_line(error)
        raise UnsupportedError("E-IMPORT-RUNTIME", f"onnxruntime refuses the model: {text}", where=source.path or None,
                               hint="onnxruntime has no such operator for these types of numbers: export it for float32 inputs"
                               if _NO_KERNEL in text else "repair or re-export the model") from error
    return _wrapped(session, source)


def _wrapped(session: Any, source: Source) -> ModelRuntime:
    infos = {i.name: i for i in session.get_inputs()}
    found = [infos[one.name] for one in source.fed]
    kinds = {info.type for info in found}
    if len(kinds) != 1 or not kinds <= _FORMATS.keys():
        raise UnsupportedError("E-IMPORT-RUNTIME", f"onnxruntime cannot be fed with {' and '.join(sorted(kinds))} from Python",
                               where=source.path or None, hint="convert the model to float32")
    symbolic = all(bool(info.shape) and not isinstance(info.shape[0], int) for info in found)
    return ModelRuntime(session, source.fed, source.prefix, _FORMATS[kinds.pop()],
                        source.batched and symbolic, source.names)
