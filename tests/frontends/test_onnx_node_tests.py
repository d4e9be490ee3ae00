"""ONNX's own node tests: for every operator that import knows, each passes or docs/operators.md tells why not."""

from __future__ import annotations

import importlib.util
import sys

import node_tests
import onnx
import pytest
from places import ROOT

from absint.model.op import OPS

DOCS = ROOT / "docs"
# The others are of a stranger's plug-in. Which ones have tests is not asked here: to make all of them takes seconds of every collection.
MINE = [name for name in OPS.names() if onnx.defs.has(name)]


@pytest.fixture(autouse=True)
def _tested(request):
    op_type = request.node.callspec.params["op_type"] if hasattr(request.node, "callspec") else None
    if op_type is not None and not node_tests.tests_by_operator()[op_type]:
        pytest.skip("onnx tests it under another name")


@pytest.mark.parametrize("op_type", MINE)
def test_no_form_of_any_test_gives_another_result(op_type):
    wrong = [f"{o.name}: {o.wrong}" for o in node_tests.outcomes(op_type) if o.wrong is not None]
    assert not wrong


@pytest.mark.parametrize("op_type", MINE)
def test_operator_passes_at_least_one_of_its_tests(op_type):
    outcomes = node_tests.outcomes(op_type)
    if all(o.reason in node_tests.NOT_FOR_US for o in outcomes):
        pytest.skip("none of its tests is about floating-point tensors")
    assert any(o.reason is None for o in outcomes)


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
