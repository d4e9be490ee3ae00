"""More calls of `tests/project/test_hints.py`: graphs and chains, their parameters, encodings for solvers, watched neurons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hint_calls import rows
from hint_files import model_of, value_of
from hint_files_read import node

import absint
from absint.analyses.taboo.calibrating import ThresholdSettings, TrapCalibration
from absint.analyses.taboo.observing import Observer
from absint.analyses.taboo.traps import read_traps
from absint.encode.network import encode
from absint.engine.context import Context
from absint.engine.float32_executions import check_executions
from absint.engine.forward import boxes
from absint.model.chains import with_numbers
from absint.model.frontend import load_model
from absint.model.graph import GraphBuilder, chain
from absint.model.ops.normalise import Softmax
from absint.model.ops.pad import Pad
from absint.model.ops.relu import Relu
from absint.model.scores import ending_with
from absint.model.watched import Watch, watched
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.solvers import Model, Session

Call = Callable[[dict[str, str]], Any]
FOUR = np.arange(16, dtype="f4").reshape(4, 4)


@cache
def _read(path: str, **options: Any) -> Any:
    return absint.load(path, **options)


def read(words: dict[str, str], word: str = "NET", **options: Any) -> Any:
    return _read(words[word], **options)


def _held(*nodes: onnx.NodeProto, outputs: Any = ("n", 4), inputs: Any = ("n", 4), fold: bool = False, **stored: Any) -> Any:
    """A network of these nodes and constants."""
    model = model_of(list(nodes), [value_of(name, value) for name, value in stored.items()], inputs, outputs)
    return load_model("made.onnx", content=model.SerializeToString(), fold=fold)


# ---- graphs ------------------------------------------------------------------------------------------------------------------


def _chained(one: str, two: str, *between: Any) -> Call:
    return lambda words: chain(read(words, one), read(words, two), between)


def _with_a_network_between(words: dict[str, str]) -> None:
    build = GraphBuilder("x", (4,))
    middle = build.graph(build.add(Softmax(0), ("x",), "y"))
    assert chain(chain(read(words, "SAMESIZE"), middle), read(words)).output.shape == (3,)


def _padded(words: dict[str, str], *, computed: bool) -> None:
    build = GraphBuilder("x", (3,))
    build.add(Pad(((1, 1),)), ("x", build.add(Relu(), ("x",))) if computed else ("x",))


def _on_inputs(count: int) -> Call:
    return lambda words: GraphBuilder("x", (count,)).add(read(words).nodes[1].op, ("x",), "y")


def _before_colours(*shape: int) -> Call:
    def call(words: dict[str, str]) -> Any:
        sizes = np.array([-1, *shape])
        first = _held(node("Gemm", "x w", "g"), node("Reshape", "g s"), outputs=("n", *shape), w=np.ones((4, 18), "f4"), s=sizes)
        return chain(first, read(words, "COLOURS"))

    return call


def _ending(tensor: str, **options: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        graph = _held(node("Gemm", "x w", "m"), node("Add", "m b", "s"), node("Relu", "s"), w=FOUR, b=FOUR[0], **options)
        return ending_with(graph, tensor)

    return call


def _watched(tensor: str, entry: int) -> Call:
    return lambda words: watched(read(words, fold=False), [Watch(tensor, (entry,))])


def _executed(**options: Any) -> Call:
    return lambda words: check_executions(_held(node("Gemm", "x w", "m"), node("Add", "m b", "s"), node("Relu", "s"), w=FOUR, b=FOUR[0],
                                                **options))


GRAPHS = [
    *rows("E-OP-ARITY", ("an input that absint needs as a constant is computed in this model: export with constant folding",
                         lambda words: _padded(words, computed=True), lambda words: _padded(words, computed=False))),
    *rows("E-OP-UNSUPPORTED",
          ("build a network of it with GraphBuilder, and chain that one", _chained("SAMESIZE", "NET", Softmax(0)), _with_a_network_between),
          ("load it with output=NAME, the tensor in front of it", _chained("INDEXNET", "NET"),
           lambda words: chain(absint.load(words["INDEXNET"], output="h"), read(words)))),
    *rows("E-SHAPE",
          ("check the shapes in the model", _on_inputs(5), _on_inputs(4)),
          ("end the first network with the shape that the second one takes", _before_colours(18), _before_colours(2, 3, 3))),
    *rows("E-TENSOR",
          ("name the tensor behind that one, or import with fold=False", _ending("m", fold=True), _ending("s", fold=True)),
          ("name the tensor behind that one, or import with fold=False", _ending("m", fold=True), _ending("m")),
          ("make the mask for this network", _watched("x", 0), _watched("r", 0))),
    *rows("E-TABOO-EMPTY", ("make the mask for this network", _watched("r", 9), _watched("r", 3))),
    *rows("E-SEMANTICS", ("load it with fold=False for float32 semantics", _executed(fold=True), _executed())),
]


# ---- parameters --------------------------------------------------------------------------------------------------------------


def _given(**values: Any) -> Call:
    """The network with these numbers in place of its own."""
    return lambda words: read(words, fold=False).with_parameters({name: torch.as_tensor(value) for name, value in values.items()})


def _sloped(stored: Any, given: Any, *, trained: bool = False) -> Call:
    def call(words: dict[str, str]) -> Any:
        graph = _held(node("PRelu", "x s"), s=np.array(stored, "f4"))
        return graph.with_parameters({} if given is None else {"s": torch.tensor(given, requires_grad=trained)})

    return call


def _stored(value: float) -> Call:
    return lambda words: with_numbers(Path(words["NET"]).read_bytes(), {"a": torch.full((4, 4), value)})


PARAMETERS = rows(
    "E-PARAMETER",
    ("known: {}{}{}", _given(nothing=1.0), _given(a=np.ones((4, 4)))),
    ("give each the shape that the file's constant has", _given(a=np.ones((3, 3))), _given(a=np.ones((4, 4)))),
    ("leave its constants out of the parameters", _sloped([0.25], [0.5], trained=True), _sloped([0.25], None)),
    ("leave its constants out of the parameters", _sloped([0.1, 0.2, 0.3, 0.4], [0.5] * 4), _sloped([0.1, 0.2, 0.3, 0.4], None)),
    ("take an earlier checkpoint", _stored(float("nan")), _stored(0.5)),
)


# ---- solvers -----------------------------------------------------------------------------------------------------------------


def _session(low: float = 0.0, *solvers: str) -> None:
    """Bounds that change."""
    model = Model.of([[1.0, 1.0]], (np.zeros(1), np.ones(1)), (np.zeros(2), np.ones(2)), np.ones(2))
    with Session(model, solvers) as session:
        session.set_bounds(np.array([0]), np.array([low]), np.array([1.0]))


def _encoded(words: dict[str, str], *, float32: bool = False, shift: float = 0.0) -> None:
    """Boxes around a point; shift: of the upper bounds of the first layer, which leaves nothing where it is far enough."""
    graph = read(words)
    ctx = boxes(Context(graph, BoxRegion(torch.zeros(1, 4).double(), torch.ones(1, 4).double()), Numerics()))
    first = graph.nodes[1].name
    known = {**ctx.known, first: replace(ctx.known[first], upper=ctx.known[first].upper + shift)}
    encode(replace(ctx, known=known, numerics=Numerics(float32_semantics=float32)), 0)


SOLVED = [
    *rows("E-SOLVER-NONE", ("for example highs", lambda words: _session(), lambda words: _session(0.0, "highs"))),
    *rows("E-SOLVER-MODEL", ("start a session with a wider model", lambda words: _session(-1.0, "highs"),
                             lambda words: _session(0.5, "highs"))),
    *rows("E-SOLVER-SEMANTICS", ("leave out --semantics float32", lambda words: _encoded(words, float32=True), _encoded)),
    *rows("E-SOLVER-VOID", ("leave the instance out: it is decided already", lambda words: _encoded(words, shift=-1e9), _encoded)),
]


# ---- watched neurons ---------------------------------------------------------------------------------------------------------


def _fired(weight: float, *inputs: tuple[float, float], rule: str = "lite", **settings: Any) -> Call:
    """Thresholds of one neuron that sums two inputs."""
    def call(words: dict[str, str]) -> None:
        graph = _held(node("Gemm", "x w", "z"), node("Relu", "z", "h"), node("Gemm", "h v"), inputs=("n", 2), outputs=("n", 2),
                      w=np.full((2, 1), weight, "f4"), v=np.ones((1, 2), "f4"))
        given = torch.tensor(inputs, dtype=torch.float64).reshape(-1, 2)
        found = TrapCalibration.of(graph, ("k",), given, ThresholdSettings(rule=rule, **settings))
        found.thresholds(list(found.blocks(9)))

    return call


def _observed(end: float) -> Call:
    def call(words: dict[str, str]) -> None:
        graph = read(words, "TABOO", fold=False)
        Observer(graph, read_traps(words["TRAPS"])).seen(torch.full((2, 4), 0.5), end)

    return call


_WIDE = {"rule": "certified", "clip": None}

WATCHED = [
    *rows("E-TABOO-FEW", ("give one training input at least", _fired(1.0), _fired(1.0, (0.5, 0.5)))),
    *rows("E-TABOO-NAN", ("no threshold is above them: leave these inputs out, or repair the network", _fired(1e30, (0, 0), (1e9, 1e9)),
                          _fired(1e30, (0, 0)))),
    *rows("E-TABOO-THRESHOLD", ("a smaller radius, or a more precise domain", _fired(1e30, (0, 0), eps="1e10", **_WIDE),
                                _fired(1e30, (0, 0), eps="1", **_WIDE))),
    *rows("E-TIMEOUT", ("give --total-timeout more seconds", _observed(0.0), _observed(float("inf")))),
]


# ---- queries -----------------------------------------------------------------------------------------------------------------


def _limited(place: str, limit: int, query: str = "QUERY", net: str = "NET") -> Call:
    """A query where so little is allowed."""
    def call(words: dict[str, str]) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, limit)
            return absint.verify_query(words[net], words[query], domain="box", attack=None)

    return call


_BYTES, _BOUNDS, _SCORES = "absint.frontends.vnnlib._MAX_BYTES", "absint.frontends.vnnlib_build._MAX_ENTRIES", \
    "absint.analyses.query.class_index._WEIGHTS"

QUERIED = rows(
    "E-VNNLIB-SIZE",
    ("split it into several files", _limited(_BYTES, 9), _limited(_BYTES, 1 << 30)),
    ("at most {} bounds in all; split the query into several files", _limited(_BOUNDS, 3), _limited(_BOUNDS, 1 << 25)),
    ("at most {}; split the query into several files", _limited(_SCORES, 1, "INDEXQ", "INDEXNET"),
     _limited(_SCORES, 1 << 25, "INDEXQ", "INDEXNET")),
)
