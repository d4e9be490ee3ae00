"""What the conformance kit says: progress, the count, the registered name, and a sentence for every failure."""

from __future__ import annotations

import re

import pytest
import torch
from mutants import plugins

from absint.engine.domain import DOMAINS
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Identity
from absint.numeric.interval import Interval
from absint.solvers import Solver
from absint.testing.kit import ContractError, check_domain, check_op, check_solver, domain_checks, op_checks
from absint.testing.report import Check, KitClaim, registered


class Silent(DOMAINS.get("box")):
    """An assertion that says nothing."""

    def bounds(self, element, rows, ctx, sense):
        if rows.weight is not None:
            raise AssertionError
        return super().bounds(element, rows, ctx, sense)


@pytest.fixture
def named(monkeypatch):
    """A registered unsound domain, whose class has another name; forgotten afterwards."""

    class Tight(DOMAINS.get("box")):
        def bounds(self, element, rows, ctx, sense):
            found = super().bounds(element, rows, ctx, sense)
            return Interval(found.lower + 1e-12, found.upper)

    monkeypatch.setitem(DOMAINS._entries, "mine", Tight)
    return Tight


def test_progress_goes_to_stderr_and_the_count_to_stdout(capsys):
    check_op(Identity(), ((3,),))
    out, err = capsys.readouterr()
    names = [name for name, _ in op_checks(Identity(), ((3,),))]
    assert out == f"'Identity' passed: {len(names)} checks\n"
    shown = [f"[{k:2}/{len(names)}] 'Identity' {name} ..." for k, name in enumerate(names, 1)]
    assert [line.split(" ok ")[0] for line in err.splitlines()] == shown


def test_quiet_shows_nothing(capsys):
    check_op(Identity(), ((3,),), quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_failure_is_a_sentence_with_the_registered_name(named):
    lines = dict(domain_checks())["rows/products"].failures(named())
    assert lines[0].startswith("rows/products: domain 'mine' breaks the claim that a single product has bounds that contain it")
    for part in (r"inputs up to 1\.0", r"weights up to 1\.0", "through 'y = x' in float64", r"\d+ of \d+ lower bounds are wrong",
                 r"the lower bound is \S+ and the exact value \S+, off by", "look at `linear` and `bounds`"):
        assert re.search(part, lines[0]), part
    assert all(line.startswith("rows/products: also ") for line in lines[1:4])
    assert "more like these" in lines[-1]


def test_a_node_and_its_operator_are_named(named):
    text = "\n".join(line for name in ("net/gemm", "net/relu") for line in dict(domain_checks())[name].failures(named()))
    assert "net 'gemm' at magnitude 1e-30 in float64" in text
    subject = plugins.domain(plugins.DOMAINS["radii keep the coefficients' signs"][0])()
    assert re.search(r"bounds of node '\S+' \(Gemm\)", "\n".join(dict(domain_checks())["net/gemm"].failures(subject)))


def test_what_a_plugin_raises_is_told_with_its_place():
    for name in ("net/gemm", "rows/boxes", "batch"):
        lines = dict(domain_checks())[name].failures(Silent())
        assert "it raised AssertionError: without a message (in bounds, test_kit_reports.py:" in lines[0]
        assert "`raise AssertionError`" in lines[0]


def test_every_failed_check_is_counted_and_listed(named, capsys):
    with pytest.raises(ContractError) as caught:
        check_domain(named)
    count = len(domain_checks())
    failed = capsys.readouterr().err.count("FAILED")
    assert 10 < failed < count
    assert caught.value.code == "E-CONTRACT"
    assert caught.value.what == f"{failed} of {count} checks failed"
    assert caught.value.where == "domain 'mine'"
    assert len({line.split(":")[0] for line in caught.value.details}) == failed


def test_a_refusal_of_what_fits_is_a_failure():
    from absint.errors import UnsupportedError

    class Refusing(DOMAINS.get("box")):
        def linear(self, node, args, ctx):
            raise UnsupportedError("E-DTYPE", "not today")

    assert "UnsupportedError" in dict(domain_checks())["net/gemm"].failures(Refusing())[0]


def test_names():
    assert registered(DOMAINS.get("zonotope")()) == "domain 'zonotope'"
    assert registered(Relu()) == "operator 'Relu'"
    assert registered(Silent()) == "'Silent'"
    assert DOMAINS.name_of(Silent) is None


def test_a_claim_is_the_first_sentence_of_its_docstring():
    def find(subject):
        """Bounds hold
        here. More words.
        """
        yield f"for {subject}"

    assert KitClaim(find, "this").text == "bounds hold here"
    assert Check("c", KitClaim(find, "that")).failures(3)[0].endswith(": for 3; look at that")
    for _, check in domain_checks():
        assert check.claim.text != "it works"


def test_a_solver_is_reported_in_the_same_way(capsys):
    class Broken(Solver):
        def check(self):
            raise NotImplementedError

        def start(self, model):
            raise RuntimeError("no engine")

    with pytest.raises(ContractError) as caught:
        check_solver(Broken())
    assert caught.value.where == "'Broken'"
    assert any(line.startswith("optimum: 'Broken' breaks the claim that the optimum is found") for line in caught.value.details)
    assert "optimum ... FAILED" in capsys.readouterr().err


def test_box_rows_is_sound_for_unit_rows_with_a_bias_and_for_ragged_ones():
    from absint.engine.domain import Numerics, Rows, box_rows

    box = Interval(torch.tensor([[0.1, 0.2], [1.0, 2.0]]).double(), torch.tensor([[0.1, 0.3], [1.5, 2.0]]).double())
    rows = Rows("x", torch.tensor([0, 1, 1]), torch.tensor([[1.0, -1], [2, 0], [0, 1]]).double(), None, torch.tensor([0.1, 0, 0]).double())
    found = box_rows(box, rows, Numerics())
    assert torch.allclose(found.lower, torch.tensor([-0.1, 2.0, 2.0]).double(), atol=1e-12)
    assert torch.allclose(found.upper, torch.tensor([0.0, 3.0, 2.0]).double(), atol=1e-12)
