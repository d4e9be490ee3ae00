"""ONNX's own node tests: for every operator that import knows, each passes or docs/operators.md tells why not."""

from __future__ import annotations

import importlib.util
import sys

import node_tests
import numpy as np
import onnx
import pytest
from places import ROOT

from absint.model.op import OPS

DOCS = ROOT / "docs"
# The others are of a stranger's plug-in. Which ones have tests is not asked here: to make all of them takes seconds of every collection.
MINE = [name for name in OPS.names() if onnx.defs.has(name)]
EXPANDED = ["CenterCropPad", "RotaryEmbedding", "Shrink", "SwiGLU"]     # operators that ONNX defines by others, of few tests


@pytest.fixture(autouse=True)
def _tested(request):
    op_type = request.node.callspec.params.get("op_type") if hasattr(request.node, "callspec") else None
    if op_type is not None and not node_tests.tests_by_operator()[op_type]:
        pytest.skip("onnx tests it under another name")


@pytest.mark.parametrize("op_type", [*MINE, *EXPANDED])
def test_no_form_of_any_test_gives_another_result(op_type):
    wrong = [f"{o.name}: {o.wrong}" for o in node_tests.outcomes(op_type) if o.wrong is not None]
    assert not wrong


@pytest.mark.parametrize("op_type", [*MINE, *EXPANDED])
def test_operator_passes_at_least_one_of_its_tests(op_type):
    outcomes = node_tests.outcomes(op_type)
    if {o.name for o in outcomes} <= node_tests.NOT_A_NUMBER:
        pytest.skip("onnxruntime gives NaN on its inputs")
    if all(o.reason in node_tests.NOT_FOR_US for o in outcomes):
        pytest.skip("none of its tests is about floating-point tensors")
    assert any(o.reason is None for o in outcomes)


@pytest.mark.parametrize("kind", ["MAX", "AVG", "LPPOOL"])
@pytest.mark.parametrize("counted", [0, 1])
def test_pools_of_many_windows_are_onnxs_own(kind, counted, monkeypatch):
    """Padded by what the operators pad with, strided, dilated, with windows that end beyond the padding."""
    monkeypatch.setattr(node_tests, "_FEW", 0)
    draw = np.random.default_rng(3)
    for x_shape, kernel, strides, pads, dilations in (
        ((2, 3, 6), (3,), [2], [1, 1], [1]), ((1, 2, 6, 5), (2, 3), [1, 2], [1, 0, 1, 2], [2, 1]),
        ((1, 1, 4, 5, 6), (2, 2, 3), [2, 1, 2], [0, 1, 1, 1, 0, 1], [1, 2, 1]),
    ):
        count = len(kernel)
        around = [(0, 0), (0, 0), *zip(pads[:count], pads[count:], strict=True)]
        padded = np.pad(draw.normal(size=x_shape).astype(np.float32), around, constant_values=0 if counted else np.nan)
        required = [*pads[:-1], pads[-1] + (count == 1)]     # as `ceil_mode` has it: the last window ends beyond the padding
        out_shape = [int((x_shape[k + 2] + required[k] + required[k + count] - 1 - (kernel[k] - 1) * dilations[k]) / strides[k] + 1)
                     for k in range(count)]
        given = (padded, x_shape, kernel, strides, out_shape, kind, required, pads, dilations, counted, 2)
        np.testing.assert_allclose(node_tests.pooled(*given), node_tests._POOL(*given), rtol=1e-6, atol=1e-7)


def test_at_least_sixty_operators():
    assert len(OPS.names()) >= 60


def test_the_table_in_the_docs_is_current():
    """Every test that is not passed stands there with its reason, so that none is lost unseen."""
    spec = importlib.util.spec_from_file_location("make_operators", DOCS / "make_operators.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if f"onnx {onnx.__version__}" not in (DOCS / "operators.md").read_text(encoding="utf-8"):
        pytest.skip("the table was made with another version of onnx")
    assert module.TARGET.read_text(encoding="utf-8") == module.document(), "run: python docs/make_operators.py"
