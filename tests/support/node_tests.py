"""ONNX's own node tests, put to absint: for every operator that import knows, each test passes or has a reason why not.

absint imports networks of one floating-point input, so a test runs in several forms: each floating-point input alone is
the network's input and the others are constants; and all of them are cut out of one vector. A test passes where at
least one form is imported and none gives another result than the test expects.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.reference.ops import op_pool_common

import absint.model.ops  # noqa: F401  # registers the operators
from absint.errors import AbsintError
from absint.frontends.onnx_bodies import defined_by_others
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.frontends.onnx_shapes import inner
from absint.model.op import OPS

TOLERANCE = {np.dtype(np.float16): 2e-3}  # the tests' own format rounds more than 1e-5
# What these do to integers they do to floating-point numbers, too: tests on integers are put in float32.
AS_FLOATS = {"Pad", "Trilu", "GatherND", "Max", "Min", "CumSum", "Identity", "Sum", "Where"}
# Between casts: whole numbers go in and come out as floats.
QUANTISED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
NOT_FOR_US = (
    "works on sequences, text or number formats that numpy lacks", "has no floating-point input", "has no floating-point output",
    "the expected output holds NaN or infinity", "works on tensors without entries",
)
# Where all entries are the same, onnxruntime takes the root of a variance that it rounded below 0.
NOT_A_NUMBER = {"test_mvn"}
FOUR_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}  # what the test expects is rounded


@dataclass(frozen=True)
class Outcome:
    """What became of one test. reason: None where it passed.  wrong: how far off a form was, else None.

    parts: class names of the operators it was imported as.
    """

    name: str
    op_type: str
    reason: str | None = None
    wrong: str | None = None
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """One way to run a test.

    data: of the network's input.  expected: of its output.  rows: of a symbolic batch, or 0.

    added: class names of operators that are not the test's own.
    """

    model: onnx.ModelProto
    data: np.ndarray
    expected: np.ndarray
    rows: int = 0
    added: frozenset[str] = frozenset()


_POOL = op_pool_common.pool
_FEW = 200


def pooled(padded, x_shape, kernel, strides, out_shape, kind, pads_required=None, pads=None, dilations=None, count_include_pad=0, p=1):
    """What ONNX's own `pool` gives, which walks over all windows one by one: for a tenth of the tests, most of the time of all."""
    axes = range(len(kernel))
    if math.prod(out_shape) <= _FEW or any(len(ends or ()) == 1 for ends in (pads_required, pads)) or padded.dtype.kind != "f":
        return _POOL(padded, x_shape, kernel, strides, out_shape, kind, pads_required, pads, dilations, count_include_pad, p)
    strides, dilations = strides or [1 for _ in axes], dilations if dilations is not None else [1 for _ in axes]
    required, ends = ([0] * 2 * len(kernel) if given is None else given for given in (pads_required, pads))
    places, inside = [], []
    for k in axes:
        room = x_shape[k + 2] + required[k] + required[k + len(kernel)] - (1 + (kernel[k] - 1) * dilations[k])
        at = strides[k] * np.arange(int(room / strides[k] + 1))[:, None] + dilations[k] * np.arange(kernel[k])
        inside.append(at < x_shape[k + 2] + ends[k] + ends[k + len(kernel)])
        places.append(np.minimum(at, padded.shape[k + 2] - 1))

    def windows(axis, part):     # outputs of every axis before entries of every axis
        shape = [1] * 2 * len(kernel)
        shape[axis], shape[axis + len(kernel)] = part.shape
        return part.reshape(shape)

    values = padded[(..., *(windows(k, places[k]) for k in axes))]
    there = math.prod(windows(k, inside[k]) for k in axes).astype(bool)
    if kind == "MAX" or count_include_pad != 1:
        there = there & ~np.isnan(values)
    over, outputs = tuple(range(-len(kernel), 0)), tuple(len(place) for place in places)
    if kind == "MAX":
        found = np.where(there, values, -np.inf).max(over)
    elif kind == "AVG":
        found = np.where(there, values, 0).sum(over) / there.sum(over)
    else:
        found = (np.abs(np.where(there, values, 0)) ** p).sum(over) ** (1.0 / p)
    whole = np.zeros([*x_shape[:2], *out_shape], padded.dtype)
    whole[(..., *(slice(size) for size in outputs))] = found
    return whole


@cache
def tests_by_operator():
    """Claimed operator -> its tests of a single node."""
    with warnings.catch_warnings(), patch.object(op_pool_common, "pool", pooled):
        warnings.simplefilter("ignore")
        loaded = load_model_tests(kind="node")
    found = {name: [] for name in (*OPS.names(), *defined_by_others())}
    for case in loaded:
        nodes = case.model.graph.node
        single = len(nodes) == 1 and nodes[0].domain in ("", "ai.onnx") and not case.model.functions
        # Expansions of functions are tests of those.
        if single and nodes[0].op_type in found and "_expanded" not in case.name:
            found[nodes[0].op_type].append(case)
    return found


def arrays(case):
    """Inputs and outputs of a test; what is no tensor stays as it is."""
    found = stored(case)
    op_type, kind = case.model.graph.node[0].op_type, getattr(found[1][0], "dtype", np.dtype(object))
    if op_type not in AS_FLOATS or kind.kind not in "iu":
        return found
    # Those of the output's type; the others are indices and the like.
    data = {"Pad": 1, "Trilu": 1, "GatherND": 1, "CumSum": 1}.get(op_type, len(found[0]))
    inputs = [v.astype(np.float32) if k < data and v.dtype == kind else v for k, v in enumerate(found[0])]
    return inputs, [v.astype(np.float32) for v in found[1]]


def stored(case):
    """The test's own numbers."""
    return tuple([numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else np.asarray(v) if isinstance(v, np.generic) else v
                  for v in values] for values in case.data_sets[0])


def is_float(value):
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f"


def is_numeric(value):
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.isbuiltin == 1


def forms(case) -> Iterator[Form]:
    """Every form of a test; the first is the one whose refusal is quoted."""
    inputs, outputs = arrays(case)
    node = case.model.graph.node[0]
    names = [i.name for i in case.model.graph.input]
    if node.op_type in QUANTISED:
        yield between_casts(case, inputs, names, outputs[0])
        return
    free = [k for k, value in enumerate(inputs) if is_float(value)]
    # Other outputs than the first are left out, but for the parts of a Split.
    wanted = [(o.name, value) for o, value in zip(case.model.graph.output, outputs, strict=True)]
    for name, expected in wanted if node.op_type == "Split" else wanted[:1]:
        for k in free:
            x, others = inputs[k], {n: v for n, v in zip(names, inputs, strict=True) if n != names[k]}
            yield Form(assembled(case, [], names[k], list(x.shape), others, name, x.dtype), x, expected)
            if x.ndim > 1 and x.shape[0] > 1:
                yield Form(assembled(case, [], names[k], ["N", *x.shape[1:]], others, name, x.dtype), x, expected, len(x))
        if len(free) > 1 and len({inputs[k].dtype for k in free}) == 1:
            yield joined(case, inputs, names, free, (name, expected))


def between_casts(case, inputs, names, expected):
    """Input 0 is the network's, cast to its own type behind it; the result is cast to float32."""
    x, node = inputs[0], case.model.graph.node[0]
    others = [numpy_helper.from_array(np.asarray(v), n) for n, v in zip(names[1:], inputs[1:], strict=True) if n]
    nodes = [helper.make_node("Cast", ["given"], [names[0]], to=helper.np_dtype_to_tensor_dtype(x.dtype)), node,
             helper.make_node("Cast", [node.output[0]], ["result"], to=onnx.TensorProto.FLOAT)]
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("given", onnx.TensorProto.FLOAT, x.shape)],
                              [helper.make_empty_tensor_value_info("result")], others)
    model = helper.make_model(graph, opset_imports=case.model.opset_import, ir_version=case.model.ir_version)
    return Form(model, x.astype(np.float32), np.asarray(expected), added=frozenset({"Truncate", "Narrowed"}))


def joined(case, inputs, names, free, output):
    """All floating-point inputs cut out of one vector by Slice and Reshape."""
    others = {n: v for k, (n, v) in enumerate(zip(names, inputs, strict=True)) if k not in free}
    ends = np.cumsum([0, *(inputs[k].size for k in free)])
    before = []
    for k, start, end in zip(free, ends, ends[1:], strict=False):
        name = names[k]
        others |= {f"{name}_a": np.array([start]), f"{name}_z": np.array([end]), f"{name}_s": np.array(inputs[k].shape, np.int64)}
        before += [helper.make_node("Slice", ["all", f"{name}_a", f"{name}_z"], [f"{name}_flat"]),
                   helper.make_node("Reshape", [f"{name}_flat", f"{name}_s"], [name])]
    model = assembled(case, before, "all", [int(ends[-1])], others, output[0], inputs[free[0]].dtype)
    return Form(model, np.concatenate([inputs[k].reshape(-1) for k in free]), output[1], added=frozenset({"Gather", "Reshape"}))


def assembled(case, before, name, shape, others, output, dtype):
    """The test's node behind `before`, with one input and everything else stored."""
    constants = [numpy_helper.from_array(np.asarray(v), n) for n, v in others.items() if n]
    given = helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
    graph = helper.make_graph([*before, case.model.graph.node[0]], "test", [given],
                              [helper.make_empty_tensor_value_info(output)], constants)
    return helper.make_model(graph, opset_imports=case.model.opset_import, ir_version=case.model.ir_version)


def refusal(error):
    """The part of an error that tells why a node was refused."""
    if error.code in ("E-OP-UNSUPPORTED", "E-MODEL-SHAPE") and error.details:
        return error.details[0].split("  ")[-1].split("; ")[0]
    return error.what if error.code != "E-IMPORT-MISMATCH" else f"{error.what}: {error.details[0]}"


def attempt(form, path, tolerance):
    """(reason, wrong, parts) of one form."""
    path.write_bytes(form.model.SerializeToString())
    low, high = (float(form.data.min()), float(form.data.max())) if form.data.size else (0.0, 1.0)
    front = OnnxFrontEnd()
    try:
        graph = front.read(path, fold=False, check_range=(low, high))
    except AbsintError as error:
        if error.code != "E-IMPORT-RUNTIME":
            wrong = refusal(error) if error.code == "E-IMPORT-MISMATCH" else None
            return refusal(error), wrong, ()
        graph = front.read(path, fold=False, check=False)  # onnxruntime lacks some versions that the tests have
    parts = tuple(type(n.op).__name__ for n in graph.nodes[1:] if type(n.op).__name__ not in form.added)
    if form.rows and any("batch size is open" in note for note in graph.source.notes):
        return "takes all rows as one instance", None, ()
    x = torch.as_tensor(form.data.astype(np.float64))
    found = (graph(x) if form.rows else graph(x.reshape(1, *graph.input.shape))[0]).numpy()
    expected = form.expected.astype(np.float64)
    expected = expected if form.rows else expected.reshape(inner(expected.shape))
    if found.shape != expected.shape:
        return None, f"shape {found.shape}, expected {expected.shape}", parts
    known = np.isfinite(expected)
    if not known.all():
        return NOT_FOR_US[3], None, ()
    scale = np.abs(expected).max(initial=0) or 1.0
    error = np.abs(found - expected).max(initial=0) / scale
    limit = TOLERANCE.get(form.data.dtype, tolerance)
    return None, None if error <= limit else f"off by {error:.2g} of the scale", parts


def outcome(case, path):
    """Run all forms of a test."""
    op_type = case.model.graph.node[0].op_type
    inputs, outputs = arrays(case)
    if not all(is_numeric(v) for v in (*inputs, *outputs)):
        return Outcome(case.name, op_type, NOT_FOR_US[0])
    if not any(is_float(v) for v in inputs) and op_type not in QUANTISED:
        return Outcome(case.name, op_type, NOT_FOR_US[1])
    if not is_float(outputs[0]) and op_type not in QUANTISED:
        return Outcome(case.name, op_type, NOT_FOR_US[2])
    if any(v.size == 0 and v.dtype.kind == "f" for v in (*inputs, *outputs)):
        return Outcome(case.name, op_type, NOT_FOR_US[4])
    if case.name in NOT_A_NUMBER:
        return Outcome(case.name, op_type, "onnxruntime gives NaN on constant inputs; the import check refuses it")
    results = []
    for form in forms(case):
        # A symbolic batch is only tried where the rows together are refused.
        if not form.rows or results[-1][0] is not None:
            results.append(attempt(form, path, 5e-4 if case.name in FOUR_DIGITS else 1e-5))
    wrong = next((w for _, w, _ in results if w is not None), None)
    parts = tuple(sorted({part for reason, _, parts in results if reason is None for part in parts}))
    done = any(reason is None for reason, _, _ in results)
    if op_type == "Split":  # every part must come out
        done = sum(reason is None for reason, _, _ in results) == len(outputs)
    return Outcome(case.name, op_type, None if done else results[0][0], wrong, parts)


@cache
def outcomes(op_type):
    """All outcomes of one operator's tests."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(outcome(case, Path(folder) / "net.onnx") for case in tests_by_operator()[op_type])
