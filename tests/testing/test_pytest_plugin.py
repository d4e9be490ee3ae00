"""The fixture `absint_verified` in a user's run of pytest: what passes, what fails with which words, what it costs who does not use it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ("pytester",)

TESTS = """
import absint
from absint import samples
from absint.errors import UsageError
import pytest

NET = absint.load(samples.network_path("mnist_relu_3x50"))
DATA = samples.data("mnist")
X, Y = DATA.inputs[:2].reshape(-1, 1, 28, 28), DATA.labels[:2]
QUICK = {"domain": "box", "attack": None}

def test_proved(absint_verified):
    results = absint_verified(NET, X, Y, eps="0.001", **QUICK)
    assert len(results) == 2
    assert results.document.exit_code == 0

def test_falsified(absint_verified):
    absint_verified(NET, X, Y, eps="0.3", domain="box", unknown="skip", allow_unknown=1)

def test_unknown(absint_verified):
    absint_verified(NET, X, Y, eps="0.05", **QUICK)

def test_unknown_by_choice(absint_verified):
    absint_verified(NET, X, Y, eps="0.05", unknown="skip", **QUICK)

def test_unknown_in_part(absint_verified):
    absint_verified(NET, X, Y, eps="0.05", allow_unknown=1.0, **QUICK)

def test_no_proof(absint_verified):
    absint_verified(NET, X, Y, eps="0.001", rounding=False, **QUICK)

def test_nothing(absint_verified):
    absint_verified(NET, X, (Y + 1) % 10, eps="0.001", unknown="skip", allow_unknown=1, **QUICK)

def test_misclassified_do_not_count(absint_verified):
    wrong = Y.copy()
    wrong[0] = (wrong[0] + 1) % 10
    absint_verified(NET, X, wrong, eps="0.001", **QUICK)

def test_a_wrong_call(absint_verified):
    absint_verified(NET, X, Y, eps="small")

@pytest.mark.parametrize("wrong", [{"unknown": "ignore"}, {"allow_unknown": 2}, {"allow_unknown": True}, {"allow_unknown": float("nan")}])
def test_wrong_options(absint_verified, wrong):
    with pytest.raises(UsageError, match="E-TEST-OPTION"):
        absint_verified(NET, X, Y, eps="0.001", **wrong)
"""
FAILED = {"test_falsified": "E-TEST-FALSIFIED", "test_unknown": "E-TEST-UNKNOWN", "test_no_proof": "E-TEST-UNKNOWN",
          "test_nothing": "E-TEST-NOTHING"}


def test_a_test_of_robustness_says_what_is_not_proved(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", "-rs")
    done.assert_outcomes(passed=7, failed=5, skipped=1)
    text = done.stdout.str()
    parts = {part.splitlines()[0].strip("_ "): part for part in text.split("\n___")[1:]}
    for name, code in FAILED.items():
        assert f"absint[{code}]" in parts[name]
        assert "mnist_relu_3x50.onnx" in parts[name]
        assert "Traceback" not in parts[name]
    assert "2 of 2 instances unknown (imprecise 2)" in parts["test_unknown"]
    assert "index  label  predicted  verdict" in parts["test_unknown"]
    assert "error[E-EPS]" in parts["test_a_wrong_call"]
    assert "absint/runs" not in parts["test_a_wrong_call"]       # nothing of where in absint it was raised
    assert "absint[E-TEST-UNKNOWN]" in text.split("short test summary")[1]


def test_who_does_not_use_it_pays_nothing() -> None:
    """pytest imports the plug-in in every run on a machine where absint is installed."""
    program = ("import sys, pytest; before = set(sys.modules); import absint.testing.pytest_plugin;"
               "print(*sorted(set(sys.modules) - before))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    loaded = done.stdout.split()
    assert {name for name in loaded if name.startswith("absint")} == {"absint", "absint.testing", "absint.testing.pytest_plugin"}
    assert not {"torch", "numpy", "onnx", "absint.errors"} & set(loaded)


def test_the_kit_is_where_it_was() -> None:
    import absint.testing
    from absint.testing import check_op, kit

    assert check_op is kit.check_op
    assert set(dir(absint.testing)) == set(absint.testing.__all__)
    assert all(getattr(absint.testing, name) is getattr(kit, name) for name in absint.testing.__all__)
    with pytest.raises(AttributeError):
        absint.testing.nothing  # noqa: B018
