"""The user's own ONNX file with one more output: the alarm of limits on some of its values.

Nothing of the file is changed: nodes, numbers, names and its first output stay as they are, and a few small nodes read what its own
compute. Any runtime gives label and alarm by one pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from absint.errors import InputError, InternalError, UnsupportedError
from absint.model.reference import Runtime, one_session, opened
from absint.model.source import Source
from absint.model.watched import Watch, add_constant, computed_by, input_of, one_instance, selection, used_names
from absint.numeric.outward import next_above

METADATA = "absint_alarm"
SCHEMA = "absint-alarm/1"
_AXES_ARE_AN_INPUT = 18     # of ReduceMin, from this operator set on
_POINTS = 3
_HALF = 0.5                 # between "no" and "yes" as numbers


class TrapLimits(Protocol):
    """Some values and their limits. thresholds: of all entries of the watches in turn; positive normal float32 numbers."""

    @property
    def watches(self) -> Sequence[Watch]:
        """Which entries of which tensors."""

    @property
    def thresholds(self) -> Sequence[float]:
        """The alarm is raised above them."""


@dataclass(frozen=True, eq=False)
class AlarmFile:
    """content: of the file.  alarm: its output (N,) bool.  alarms: its output (N, traps) bool, None where there is one trap.

    N is 1 where the network takes one instance. notes: what its user has to know.
    """

    content: bytes
    alarm: str
    alarms: str | None
    notes: tuple[str, ...] = ()


def with_alarm(source: Source, traps: Sequence[TrapLimits], facts: Mapping[str, Any]) -> AlarmFile:
    """The file of a network with the outputs `alarm`, and `alarms` for several traps: some z > T in float32, or NaN.

    facts: kept in the file's metadata, as JSON. Weights that lay in other files are inside. The file is compared with the user's own in
    onnxruntime on a few points: the same first output to the bit, and alarms as its values say.
    A limit holds for z <= T, which is z < T' with T' the next float32 number: one comparison that every operator set has, and that a
    NaN fails. T is a normal number, so that it makes no difference whether a runtime flushes subnormal z to zero.
    Raises UnsupportedError E-TABOO-ONNX where the network has no file, or does not compute a watched value in float32 in its main graph;
    InputError E-TABOO-MODEL for values that it does not have; InternalError E-CONTRADICTION.
    """
    model = source.whole.model
    if model is None:
        raise _refused(source, "the network is no single ONNX file, so that there is none to add an alarm to",
                       "export the whole network to ONNX, and calibrate that file")
    _check_watchable(source, traps)
    proto = onnx.load_model_from_string(model)
    made = _Writer(proto, source.batched, traps).write()
    _describe(proto, facts, made, len(traps), source)
    try:
        content = bytes(proto.SerializeToString())
    except Exception as error:  # protobuf's EncodeError, a ValueError: beyond 2 GiB
        raise _refused(source, "the file is larger than the 2 GiB that the format allows for", "use a smaller network") from error
    found = AlarmFile(content, made.alarm, made.alarms, tuple(_notes(source)))
    _confirm(found, made.values, source, traps)
    return found


# ---- what may be watched ---------------------------------------------------------------------------------------------------


def _entries(traps: Sequence[TrapLimits]) -> dict[str, tuple[int, ...]]:
    """Tensors in the order in which they come first, and the places that some trap watches, ascending."""
    found: dict[str, set[int]] = {}
    for trap in traps:
        for watch in trap.watches:
            found.setdefault(watch.tensor, set()).update(watch.entries)
    return {tensor: tuple(sorted(entries)) for tensor, entries in found.items() if entries}


def _refused(source: Source, what: str, hint: str, details: Sequence[str] = ()) -> UnsupportedError:
    return UnsupportedError("E-TABOO-ONNX", what, where=source.path or None, details=details, hint=hint)


def _check_watchable(source: Source, traps: Sequence[TrapLimits]) -> None:
    """Raise unless all watched tensors are float32, of the main graph, and large enough."""
    wanted = _entries(traps)
    hidden = sorted(set(wanted) - computed_by(_proto(source)))
    if hidden:
        raise _refused(source, "watched values are not computed by the nodes of the file's main graph", _HIDDEN, [repr(t) for t in hidden])
    reference = _with_outputs(source, wanted)
    other = [f"'{tensor}': {reference.formats[tensor]}" for tensor in wanted if reference.formats[tensor] != "tensor(float)"]
    if other:
        raise _refused(source, "watched values are not float32, which is what thresholds are for", "convert the network to float32", other)
    values = reference.values([*wanted], _points(source, 1), together=False)
    sizes = {tensor: rows[0].size for tensor, rows in (values or {}).items()}
    beyond = [f"'{tensor}' has {sizes[tensor]} entries, none of number {entries[-1]}" for tensor, entries in wanted.items()
              if entries[-1] >= sizes[tensor]]
    if beyond:
        raise InputError("E-TABOO-MODEL", "the network does not have the watched neurons", where=source.path or None, details=beyond,
                         hint="calibrate this network: absint taboo calibrate")


def _proto(source: Source) -> onnx.ModelProto:
    model = source.whole.model
    assert model is not None
    return onnx.load_model_from_string(model)


def _with_outputs(source: Source, tensors: Iterable[str]) -> Runtime:
    """The user's file with more of its tensors as outputs. Serialized messages are merged by joining their bytes."""
    model = source.whole.model
    assert model is not None
    known = {output.name for output in onnx.load_model_from_string(model).graph.output}
    more = onnx.GraphProto(output=[helper.make_empty_tensor_value_info(name) for name in tensors if name not in known])
    return opened(replace(source.whole, model=model + bytes(onnx.ModelProto(graph=more).SerializeToString())), one_session)


def _points(source: Source, count: int) -> npt.NDArray[np.float64]:
    shape = source.full_input_shape[1:] if source.batched else source.full_input_shape
    return np.random.default_rng(0).uniform(0, 1, (count, *shape)).astype(np.float32).astype(np.float64)


_HIDDEN = "neurons inside of functions, branches and loops have no value outside of them; export the network without these"


# ---- the nodes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Made:
    """Names of tensors: all watched values (N, k), and the outputs."""

    values: str
    alarm: str
    alarms: str | None


class _Writer:
    """Mutable: appends the nodes of the alarm to a file. Each trap's limits are a row, the shorter ones filled with what they hold."""

    def __init__(self, proto: onnx.ModelProto, batched: bool, traps: Sequence[TrapLimits]) -> None:
        self.proto, self.batched, self.traps = proto, batched, traps
        used = used_names(proto)
        self.alarm, self.several = (_fresh(name, used) for name in ("alarm", "alarms"))
        # No name of the file begins with it, so that none of those made of it is taken.
        stems = (f"absint_alarm{'_' * k}" for k in count())
        self.stem = next(stem for stem in stems if not any(name.startswith(stem) for name in used))
        versions = {one.version: one.domain for one in proto.opset_import if one.domain in ("", "ai.onnx")}
        self.opset = max(versions)
        self.domain = versions[self.opset]

    def write(self) -> _Made:
        before = len(self.proto.graph.node)
        values, places = self._gathered()
        rows, limits = self._rows(places)
        compared = values
        if len(self.traps) > 1:
            compared = self._node("Gather", "by_trap", values, self._constant(rows, "rows"), axis=1)
        else:
            limits = limits[0]
        fine = self._node("Less", "within", compared, self._constant(limits, "limits"))
        number = self._node("Cast", "numbers", fine, to=TensorProto.FLOAT)
        self._any(number, [1, 2] if len(self.traps) > 1 else [1], self.alarm, [])
        if len(self.traps) > 1:
            self._any(number, [2], self.several, [len(self.traps)])
        for node in list(self.proto.graph.node)[before:]:
            node.domain = self.domain
        return _Made(values, self.alarm, self.several if len(self.traps) > 1 else None)

    def _gathered(self) -> tuple[str, dict[tuple[str, int], int]]:
        """(N, k), all watched values once; and where each stands."""
        parts, places = list[str](), dict[tuple[str, int], int]()
        for tensor, entries in _entries(self.traps).items():
            parts.append(f"{self.stem}/values{len(parts)}")
            selection(self.proto, Watch(tensor, entries), parts[-1], batched=self.batched, rows=True)
            places.update({(tensor, entry): place for place, entry in enumerate(entries, len(places))})
        return (parts[0] if len(parts) == 1 else self._node("Concat", "values", *parts, axis=1)), places

    def _rows(self, places: Mapping[tuple[str, int], int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(traps, k): where each trap's values stand, in the order of the values, and what they must stay below."""
        rows, limits = [], []
        longest = max(sum(len(watch) for watch in trap.watches) for trap in self.traps)
        for trap in self.traps:
            pairs = sorted((places[neuron], threshold) for neuron, threshold in _neurons(trap))
            pairs += [pairs[0]] * (longest - len(pairs))
            rows.append([place for place, _ in pairs])
            limits.append([threshold for _, threshold in pairs])
        with np.errstate(over="ignore"):    # infinity follows the greatest number
            return np.array(rows, np.int64), next_above(np.array(limits, np.float32))

    def _any(self, number: str, axes: list[int], output: str, more: list[int]) -> None:
        """`output`: whether some number is 0."""
        label = "alarm" if output == self.alarm else "alarms"
        if self.opset >= _AXES_ARE_AN_INPUT:
            along = self._constant(np.array(axes, np.int64), f"axes_of_{label}")
            least = self._node("ReduceMin", f"least_of_{label}", number, along, keepdims=0)
        else:
            least = self._node("ReduceMin", f"least_of_{label}", number, axes=axes, keepdims=0)
        half = self._constant(np.array(_HALF, np.float32), f"half_of_{label}")
        self.proto.graph.node.append(helper.make_node("Less", [least, half], [output], name=f"{self.stem}/{label}"))
        info = helper.make_tensor_value_info(output, TensorProto.BOOL, [1, *more])
        if self.batched and not one_instance(self.proto):
            info.type.tensor_type.shape.dim[0].CopyFrom(input_of(self.proto).type.tensor_type.shape.dim[0])
        self.proto.graph.output.append(info)

    def _node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        full = f"{self.stem}/{name}"
        self.proto.graph.node.append(helper.make_node(kind, inputs, [full], name=full, **attributes))
        return full

    def _constant(self, value: npt.NDArray[Any], name: str) -> str:
        return add_constant(self.proto, value, f"{self.stem}/{name}")


def _fresh(name: str, used: set[str]) -> str:
    while name in used:
        name += "_"
    return name


# ---- what the file says of itself, and whether it is what it says ----------------------------------------------------------


def _describe(proto: onnx.ModelProto, facts: Mapping[str, Any], made: _Made, traps: int, source: Source) -> None:
    kept = [entry for entry in proto.metadata_props if entry.key != METADATA]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    text = {"schema": SCHEMA, **facts, "traps": traps, "outputs": {"alarm": made.alarm, "alarms": made.alarms},
            "meaning": "alarm: of some trap, some watched value is above its threshold in float32, or NaN",
            "input": "normalised" if source.prefix else "as the network takes it"}
    proto.metadata_props.append(onnx.StringStringEntryProto(key=METADATA, value=json.dumps(text, sort_keys=True, allow_nan=False)))


def _notes(source: Source) -> Sequence[str]:
    notes = ["the file with the alarm has several outputs; absint reads networks of one: analyse the network that it was made of, "
             "whose nodes these are"]
    if source.prefix:
        notes.insert(0, "the file with the alarm takes what the network's own file takes: inputs that are normalised already; the mean and "
                        "std that were given are not in it")
    return notes


def _confirm(found: AlarmFile, values: str, source: Source, traps: Sequence[TrapLimits]) -> None:
    """Compare the two files in onnxruntime on some points: one by one, and together where the user's own takes several.

    values: the tensor of all watched values. Raises InternalError E-CONTRADICTION, UnsupportedError E-TABOO-ONNX.
    """
    wanted, x = _entries(traps), _points(source, _POINTS)
    theirs, ours = _with_outputs(source, wanted), _with_outputs(replace(source, model=found.content, chooses=None), [values])
    first = next(iter(theirs.formats))
    for together in (False, True) if theirs.batchable else (False,):
        given = _answers(theirs, [first, *wanted], x, together)
        if given is None:
            return
        made = _answers(ours, [first, values, found.alarm], x, together)
        expected = [{tensor: given[tensor][k].reshape(-1)[[*entries]] for tensor, entries in wanted.items()} for k in range(len(x))]
        if made is None or not _same(made[values], [np.concatenate([*row.values()]) for row in expected]):
            if theirs.batchable:
                raise _refused(source, "the network holds several instances in an order of its own", "export it with batch size 1")
            raise _contradiction(source, "reads other values than those watched")
        if not _same(made[first], given[first]):
            raise _contradiction(source, "does not answer as the network does")
        if [bool(row.all()) for row in made[found.alarm]] != [_over(traps, wanted, row) for row in expected]:
            raise _contradiction(source, "raises other alarms than its values ask for")


def _answers(reference: Runtime, names: Sequence[str], x: npt.NDArray[Any], together: bool) -> dict[str, list[npt.NDArray[Any]]] | None:
    """None where several instances in one call are not kept apart."""
    try:
        return reference.values(names, x, together=together)
    except UnsupportedError:
        if not together:
            raise
        return None


def _over(traps: Sequence[TrapLimits], wanted: Mapping[str, tuple[int, ...]], row: Mapping[str, npt.NDArray[Any]]) -> bool:
    """Whether some trap has a value that is not up to its threshold."""
    at = {(tensor, entry): row[tensor][place] for tensor, entries in wanted.items() for place, entry in enumerate(entries)}
    return any(not at[neuron] <= np.float32(threshold) for trap in traps for neuron, threshold in _neurons(trap))


def _neurons(trap: TrapLimits) -> Iterator[tuple[tuple[str, int], float]]:
    """Tensor and entry of each value, and its threshold."""
    return zip(((watch.tensor, entry) for watch in trap.watches for entry in watch.entries), trap.thresholds, strict=True)


def _same(ones: Sequence[npt.NDArray[Any]], others: Sequence[npt.NDArray[Any]]) -> bool:
    """To the bit, whatever the axes."""
    return all(one.tobytes() == other.tobytes() for one, other in zip(ones, others, strict=True))


def _contradiction(source: Source, what: str) -> InternalError:
    return InternalError("E-CONTRADICTION", f"the file with the alarm {what}", where=source.path or None, hint="report it with the network")
