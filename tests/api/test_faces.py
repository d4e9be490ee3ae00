"""The public faces: thin re-exports that stay importable, whatever moves behind them."""

from __future__ import annotations

import ast
from importlib import import_module

import pytest
from places import ROOT
from test_arrows import FACES

# What the documentation and plug-ins take from each; more may be there.
PROMISED = {
    "op": {"OPS", "Composite", "Linear", "Nonlinear", "OnnxNode", "Op", "Shape", "Smoothness", "register_import", "register_op",
           "unsupported"},
    "elementwise": {"Curvature", "Elementwise", "Jump", "KernelError", "Knot", "Piece"},
    "domain": {"DOMAINS", "BackwardDomain", "Band", "Context", "Domain", "Interval", "Node", "Product", "Relaxation", "Rows", "Sense",
               "Traits", "Wrapper", "box_rows", "register_domain", "rule"},
    "graph": {"Graph", "GraphBuilder", "Node", "Source", "chain"},
    "region": {"BoxRegion", "LinfBall", "Region", "parse_eps"},
    "regions": {"L1Ball", "L2Ball", "Patches", "Photometric", "ZonotopeRegion", "ball"},
    "spec": {"Refutation", "Spec"},
    "strategy": {"STRATEGIES", "Programs", "Refutation", "Splitting", "Stage", "Strategy", "Tactic", "register_strategy",
                 "solvers_of", "strategy_of", "walker_of"},
    "training": {"METHODS", "Step", "TrainingMethod", "ball", "layer_widths", "method_of", "register_training"},
    "testing": {"ContractError", "check_domain", "check_op", "check_solver", "check_strategy", "domain_checks", "op_checks"},
}


@pytest.mark.parametrize("face", sorted(PROMISED))
def test_a_face_keeps_its_promise(face: str) -> None:
    module = import_module(f"absint.{face}")
    assert PROMISED[face] <= set(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_every_face_is_promised() -> None:
    assert set(PROMISED) >= FACES


@pytest.mark.parametrize("face", sorted(FACES))
def test_a_face_is_thin(face: str) -> None:
    """Imports and `__all__`, no code."""
    source = ast.parse((ROOT / "absint" / f"{face}.py").read_text(encoding="utf-8"))
    doc, *body = source.body
    assert isinstance(doc, ast.Expr)
    *imports, names = body
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert isinstance(names, ast.Assign)
    assert ast.unparse(names.targets[0]) == "__all__"
