"""Every operator under the whole conformance kit; every name that import knows is covered."""

from __future__ import annotations

import pytest
import torch

import absint.model.ops  # noqa: F401  # registers the operators
from absint.model.families.linear import Linear
from absint.model.graph import GraphBuilder
from absint.model.op import OPS
from absint.model.ops.gemm import Gemm
from absint.model.ops.pool import MaxPool, PoolingWindow
from absint.testing.kit import ContractError, check_op, op_checks
from contract.operators import COVERED, INSTANCES


@pytest.mark.parametrize("name", INSTANCES)
def test_operator_keeps_its_contract(name):
    op, shapes = INSTANCES[name]()
    check_op(op, shapes)


def test_every_imported_operator_is_covered():
    mine = {name for name in OPS.names() if getattr(OPS.get(name), "__module__", "").startswith("absint.model.ops") or
            getattr(getattr(OPS.get(name), "__self__", None), "__module__", "").startswith("absint.model.ops")}
    missing = sorted(mine - set(COVERED))
    assert not missing, f"add an instance to tests/contract/operators.py for {missing}"
    assert set(COVERED.values()) <= set(INSTANCES)


def test_max_pool_expands_to_its_own_value():
    pool = MaxPool(PoolingWindow((2, 3), (2, 1), ((1, 0), (1, 1)), (1, 1), False))
    build = GraphBuilder("x", (2, 5, 4))
    graph = build.graph(build.add(pool, ("x",)))
    x = torch.randn(7, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 3
    padded = torch.nn.functional.pad(x, (1, 1, 1, 0), value=-torch.inf)
    assert torch.equal(graph(x), torch.nn.functional.max_pool2d(padded, (2, 3), (2, 1)))
    assert torch.equal(graph(x), pool.forward(x))


def test_every_failure_is_listed_at_once():
    class Wrong(Gemm):
        """|L| without the absolute value, and an adjoint that is not the transpose."""

        def apply_abs(self, *rs):
            return self.apply(*rs)

        def adjoint(self, y, shapes):
            return (2 * super().adjoint(y, shapes)[0],)

    with pytest.raises(ContractError) as caught:
        check_op(Wrong(torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)), ((2,),))
    text = str(caught.value)
    assert "linear/apply_abs" in text
    assert "linear/adjoint" in text
    assert caught.value.code == "E-CONTRACT"


def test_checks_have_names_for_parametrize():
    for make in INSTANCES.values():
        op, shapes = make()
        names = [name for name, _ in op_checks(op, shapes)]
        assert len(names) == len(set(names)) == (11 if isinstance(op, Linear) else 21)
