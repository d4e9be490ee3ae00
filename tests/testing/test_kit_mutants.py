"""Every unsound plug-in fails the checks named for it, and the honest plug-in that it was made from passes all of them."""

from __future__ import annotations

import pytest
from mutants import plugins

from absint.testing.kit import domain_checks, op_checks

CHECKS = dict(domain_checks())
SLIPS = ("TypeError", "AttributeError", "NameError", "KeyError", "IndexError", "it raised")


def noticed(lines):
    """Whether unsoundness was noticed. A crash is no notice: it would hide a mutant that is merely broken."""
    return any(not any(slip in line for slip in SLIPS) for line in lines)


@pytest.mark.parametrize("check", CHECKS)
def test_the_example_domain_passes(check):
    assert CHECKS[check].failures(plugins.domain({})()) == []


@pytest.mark.parametrize("name", plugins.DOMAINS)
def test_an_unsound_domain_is_noticed(name):
    changes, killers = plugins.DOMAINS[name]
    subject = plugins.domain(changes)()
    survived = [check for check in killers if not noticed(CHECKS[check].failures(subject))]
    assert not survived, f"'{name}' survives {survived}"


def test_a_change_that_does_not_apply_is_an_error():
    with pytest.raises(AssertionError, match="stands 0 times"):
        plugins.domain({"no such line": ""})


@pytest.mark.parametrize("name", plugins.HONEST)
def test_an_honest_operator_passes(name):
    make, reference = plugins.HONEST[name]
    subject = make()
    assert [line for _, check in op_checks(subject, None, reference) for line in check.failures(subject)] == []


@pytest.mark.parametrize("name", plugins.OPERATORS)
def test_a_lying_operator_is_noticed(name):
    make, reference, killers = plugins.OPERATORS[name]
    subject = make()
    checks = dict(op_checks(subject, None, reference))
    survived = [check for check in killers if not noticed(checks[f"nonlinear/{check}-float64"].failures(subject))]
    assert not survived, f"'{name}' survives {survived}"
