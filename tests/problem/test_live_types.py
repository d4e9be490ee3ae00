"""Whatever type a user hands over, the answer is a value of ours or a coded error: never a traceback, never a guess."""

from __future__ import annotations

import collections
import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from absint.engine.domain import Domain
from absint.errors import AbsintError, InternalError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.numeric.interval import Interval
from absint.problem.dataset import Dataset
from absint.problem.live import (
    array_of,
    clip_of,
    device_of,
    dtype_of,
    graph_of,
    inputs_of,
    labels_of,
    layout_of,
    norm_of,
    region_of,
)
from absint.problem.regions import InstanceRadii
from absint.problem.regions.region import LinfBall, Region
from absint.search.names import domain_of
from absint.search.strategy import Strategy


def small() -> Graph:
    build = GraphBuilder("x", (3,))
    return build.graph(build.add(Gemm(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)), ("x",)))


class Awkward:
    """An object whose conversions all raise something else."""

    def __array__(self, *_args, **_keywords):
        raise KeyError("no array")

    def __float__(self):
        raise ArithmeticError("no number")

    def __len__(self):
        raise OSError("no length")

    def __iter__(self):
        raise LookupError("no items")

    def __eq__(self, other):
        raise AssertionError("no comparison")

    __hash__ = None


def strange():
    """Values of every type that a caller may come up with, by a name."""
    numbers = [0, 1, -1, 2, 3, True, False, 10**400, -(10**400), 2**63, 0.1, 0.5, -0.0, 1e308, 1e-320, float("inf"), float("-inf"),
               float("nan"),
               1j, Fraction(1, 3), Fraction(-1, 3), Fraction(10**5000), Decimal("0.1"), Decimal("NaN"), Decimal("sNaN"),
               Decimal("Infinity"),
               Decimal("1E+999999999"), Decimal("1E-999999999")]
    scalars = [kind(1) for kind in (np.int8, np.uint64, np.float16, np.float32, np.float64, np.longdouble, np.bool_, np.complex128)]
    texts = ["", " ", "0.1", "1/3", "1/0", "1e999999999", "1e-999999999", "nan", "inf", "none", "0,1", "1,0", "0,nan", "a,b", ",", "linf",
             "L2", "zonotope",
             "zonotope:", "zonotope:max_generators=x", "zonotope:max_generators=-1", "box:a=1", ":::", "chw", "hwc:chw", "a:b:c", "cpu",
             "cuda", "cuda:99",
             "cuda:-1", "tpu", "float32", "missing.onnx", "a\0b.onnx", "x" * 300 + ".onnx", "\ud800", "\x1b[31m.onnx", "/", "."]
    others = [None, ..., NotImplemented, b"", b"0.1", bytearray(b"1"), memoryview(b"1"), Path("missing.onnx"), Path(), int, float,
              np.float32, len,
              lambda x: x, range(0), range(3), range(9), slice(3), object(), Awkward(), Exception("x"), datetime.date(2020, 1, 1), {},
              {"a": 1}, set(), {1, 2},
              frozenset(), collections.deque([0.1, 0.2, 0.3]), small(), Interval(torch.zeros(1, 3), torch.ones(1, 3)),
              InstanceRadii((Fraction(1),))]
    lists = [[], [[]], [1], [0.1, 0.2, 0.3], [[0.1, 0.2, 0.3]], [[0.1, 0.2], [0.3]], [[1, 2, 3], None], ["0.1", "0.2", "0.3"], ["a"],
             [None], [1j, 2, 3],
             [Fraction(1, 4)] * 3, [Fraction(1, 3)] * 3, [Decimal("0.1")] * 3, [2**60 + 1] * 3, [10**400] * 3, [True, False, True],
             [float("nan")] * 3,
             (0, 1), (1, 0), [0, float("inf")], (0, 1, 2), [[0, 1], [0, 1]], [torch.zeros(3)] * 2, [torch.zeros(3), torch.zeros(2)],
             [object()], [Awkward()],
             [[[[[0.5]]]]], [{}], [[0.1] * 3] * 2, ["a", "b", "c"]]
    arrays = [np.zeros(()), np.zeros(0), np.zeros(3), np.zeros((2, 3)), np.zeros((0, 3)), np.zeros((3, 3, 3)),
              np.zeros((2, 3), np.complex64), np.ones((1, 3), bool),
              np.array([0.1, None, "a"], dtype=object), np.array(["a", "b"]), np.array([b"a"]),
              np.array(["2020-01-01"], dtype="datetime64[D]"),
              np.zeros(3, dtype=[("a", "f8")]), np.ma.masked_array(np.zeros((1, 3)), [[True, False, False]]), np.full((1, 3), np.nan),
              np.array([2**63 + 1], dtype=np.uint64), np.array([[1, 0, 0]], np.uint8), np.zeros((1, 3), np.longdouble),
              np.zeros((1, 3))[::-1, ::-1]]
    tensors = [torch.zeros(()), torch.zeros(3), torch.zeros(2, 3), torch.zeros(2, 3, requires_grad=True), torch.zeros(0),
               torch.zeros(1, 3, dtype=torch.bfloat16),
               torch.zeros(1, 3, dtype=torch.complex64), torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.bool),
               torch.eye(3).to_sparse(),
               torch.zeros(3, 3).to_sparse_csr(), torch.zeros(1, 3, device="meta"), torch.full((1, 3), float("nan")),
               torch.zeros(1, 3, 1, 1),
               torch.quantize_per_tensor(torch.zeros(1, 3), 0.1, 0, torch.qint8),
               torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
               torch.tensor([2**62 + 1]), torch.float32, torch.device("cpu"), torch.nn.Linear(3, 2), torch.nn.Linear(3, 2).eval()]
    data = [Dataset(np.zeros((2, 3)), None, "d", ""), Dataset(np.zeros((2, 3)), np.array([0, 9]), "d", ""),
            Dataset(np.zeros((2, 4)), None, "d", ""),
            LinfBall(torch.zeros(1, 3), Fraction(1)), LinfBall(torch.zeros(2, 4), Fraction(1))]
    return [*numbers, *scalars, *texts, *others, *lists, *arrays, *tensors, *data]


def only_coded(call, kind=object):
    """The call's result, which has the type promised, or None for a coded error."""
    try:
        found = call()
    except InternalError:
        raise
    except AbsintError as error:
        said = error
    else:
        assert isinstance(found, kind), found
        return found
    assert said.code.startswith("E-")
    assert len(said.render().encode()) < 2000
    return None


GENERATORS = [lambda: (n for n in range(3)), lambda: iter([0.1]), lambda: map(str, range(3))]


def accepted(function, kind, values=None):
    """How many of the strange values a function takes."""
    found = [only_coded(lambda v=value: function(v), kind) for value in (values or [*strange(), *(make() for make in GENERATORS)])]
    return sum(value is not None for value in found)


CASES = {
    "array": (lambda v: array_of(v, "numbers"), torch.Tensor),
    "array with history": (lambda v: array_of(v, "numbers", differentiable=True), torch.Tensor),
    "inputs": (lambda v: inputs_of(small(), v), torch.Tensor),
    "labels": (lambda v: labels_of(small(), v, 2), (torch.Tensor, type(None))),
    "norm": (norm_of, str),
    "clip": (clip_of, (tuple, type(None))),
    "domain": (domain_of, (Domain, Strategy)),
    "dtype": (dtype_of, torch.dtype),
    "device": (device_of, torch.device),
    "layout": (layout_of, (str, type(None))),
    "eps": (lambda v: region_of(small(), torch.zeros(2, 3), v)[0].hull and region_of(small(), torch.zeros(2, 3), v)[0], Region),
    "eps of three inputs": (lambda v: region_of(small(), torch.zeros(3, 3), v)[0], Region),
    "eps in l2": (lambda v: region_of(small(), torch.zeros(2, 3), v, 2)[0], Region),
    "inputs of a region": (lambda v: region_of(small(), v, 0.1)[0], Region),
    "norm of a region": (lambda v: region_of(small(), torch.zeros(2, 3), 0.1, v)[0], Region),
    "clip of a region": (lambda v: region_of(small(), torch.zeros(2, 3), 0.1, clip=v)[0], Region),
    "layout of a region": (lambda v: region_of(small(), torch.zeros(2, 3), 0.1, layout=v)[0], Region),
    "layout of data": (lambda v: region_of(small(), Dataset(np.zeros((2, 3)), None, "d", ""), 0.1, layout=v)[0], Region),
    "mean": (lambda v: graph_of(small(), mean=v), Graph),
    "std": (lambda v: graph_of(small(), std=v), Graph),
    "layout of a normalisation": (lambda v: graph_of(small(), mean=0.5, layout=v), Graph),
}


@pytest.mark.parametrize("name", CASES)
def test_any_value_is_taken_or_refused_with_a_code(name):
    assert accepted(*CASES[name]) > 0


def test_any_model_is_taken_or_refused_with_a_code(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "text.onnx").write_text("no model")
    files = [tmp_path, tmp_path / "folder.onnx", str(tmp_path / "text.onnx")]
    assert accepted(graph_of, Graph, [v for v in [*strange(), *files] if not isinstance(v, torch.nn.Linear)]) == 1


@pytest.mark.parametrize("option", ["fold", "check", "check_range", "nonsense"])
def test_any_option_of_a_model_is_taken_or_refused_with_a_code(option):
    for value in strange():
        assert only_coded(lambda v=value: graph_of("missing.onnx", **{option: v})) is None


def test_any_example_is_taken_or_refused_with_a_code():
    training, module = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2).eval()
    assert only_coded(lambda: graph_of(training, torch.zeros(1, 3))) is None
    few = [1, "a", None, [[0.1, 0.2], [0.3]], np.array(["a"]), {}, torch.zeros(0), lambda: 0, Awkward()]
    assert only_coded(lambda: graph_of(module, inputs=torch.zeros(1, 3, dtype=torch.complex64))) is None
    for value in few:
        assert only_coded(lambda v=value: graph_of(module, v)) is None
        assert only_coded(lambda v=value: graph_of(module, inputs=v)) is None


def test_data_frames_are_arrays():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.4], "c": [0.5, 0.6]})
    assert torch.equal(inputs_of(small(), frame), torch.tensor(frame.to_numpy()))
    assert torch.equal(labels_of(small(), pandas.Series([0, 2]), 2), torch.tensor([0, 2]))
    frame["d"] = ["x", "y"]
    assert only_coded(lambda: inputs_of(small(), frame)) is None
