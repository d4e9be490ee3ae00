"""`absint.validate_calibrate`, `validate_run` and `validate_evaluate` on a network whose radii are known: y = x on two inputs."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

import absint
from absint.analyses.validate import validator as module
from absint.analyses.validate.calibration import read_calibration
from absint.analyses.validate.record import Basis, Decision
from absint.analyses.validate.validator import RadiusValidator
from absint.errors import InputError, UsageError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.problem.regions import ball

SIZES = [40, 7, 55, 23, 31, 12, 60, 18, 29, 44, 36, 9, 51, 27, 33, 21, 48, 15, 39, 25] * 3     # in steps, and half a step more
NORMAL = [int(k) for k in np.round(30 + 6 * stats.norm.ppf((np.arange(1, 61) - 0.5) / 60))]
DRIFT = [45, 46, 44, 47, 46, 45, 20, 19, 18, 21, 20, 17, 16, 19]
STREAM = [35, 2, 28, 0, 40, 17, 31, 1, 22, 26, 3, 30]


@pytest.fixture
def graph():
    build = GraphBuilder("x", (2,))
    return build.graph(build.add(Gemm(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)), ("x",), "y"))


def inputs(sizes):
    r = (np.asarray(sizes) + 0.5) * 0.0005
    return np.stack([0.5 + r, 0.5 - r], 1)


@pytest.mark.parametrize("labels", [None, [0] * 59 + [1]])
def test_a_calibration_is_that_of_the_validator(graph, tmp_path, labels):
    path = tmp_path / "c.json"
    found = absint.validate_calibrate(graph, inputs(SIZES), labels, rate="0.05", calibration=path)
    validator = RadiusValidator(graph, "zonotope", rate="0.05").fit(inputs(SIZES), labels)
    assert read_calibration(path) == validator.calibration
    assert found.document.values["calibration"] == validator.calibration.as_dict()
    assert tuple(int(record.certified / Fraction("0.0005")) for record in found) == validator.calibration.radii
    assert [record.index for record in found] == list(range(60 if labels is None else 59))


@pytest.mark.parametrize("mode", ["threshold", "distribution"])
def test_decisions_are_those_of_the_validator(graph, tmp_path, mode):
    path, state, kept = tmp_path / "c.json", tmp_path / "s.json", tmp_path / "t.json"
    absint.validate_calibrate(graph, inputs(SIZES), calibration=path)
    found = absint.validate_run(graph, inputs(STREAM), calibration=path, mode=mode, state=state)
    validator = RadiusValidator(graph, "zonotope", mode=mode).load_state(path)
    wanted = validator.decide(inputs(STREAM))
    validator.save_state(kept)
    assert [(d.index, d.accepted, d.basis, d.radius) for d in found] == [(d.index, d.accepted, d.basis, d.radius) for d in wanted]
    assert state.read_bytes() == kept.read_bytes()
    assert found.document.exit_code == 1
    assert {d.accepted for d in found} == {True, False}


def test_a_resumed_window_is_the_one_that_the_journal_left(graph, tmp_path):
    """On a stream whose answers depend on the window: from a fresh one, what follows the sixth input is decided otherwise."""
    path, journal = tmp_path / "c.json", tmp_path / "j"
    absint.validate_calibrate(graph, inputs(NORMAL), calibration=path)
    options = {"calibration": path, "mode": "distribution"}

    def told(decisions):
        return [(d.accepted, d.basis) for d in decisions]

    whole = told(absint.validate_run(graph, inputs(DRIFT), **options))
    assert whole[6:] != told(absint.validate_run(graph, inputs(DRIFT[6:]), **options)), "this stream shows nothing"
    with closing(absint.stream("validate.run", graph, inputs(DRIFT), journal=journal, **options)) as stream:
        parts = told(decision for decision, _ in zip(stream, range(6), strict=False))
    rest = absint.validate_run(graph, inputs(DRIFT), journal=journal, resume=True, **options)
    assert parts == whole[:6]
    assert told(rest) == whole


@pytest.mark.parametrize(("mode", "source"), [("threshold", "decided"), ("distribution", "radii")])
def test_a_decision_is_out_before_the_next_batch_is_asked_about(graph, tmp_path, monkeypatch, mode, source):
    path = tmp_path / "c.json"
    absint.validate_calibrate(graph, inputs(SIZES), calibration=path)
    known, original = [], getattr(module, source)

    def watched(*arguments, **options):
        for result in original(*arguments, **options):
            known.append(result.index)
            yield result

    monkeypatch.setattr(module, source, watched)
    with closing(absint.stream("validate.run", graph, inputs(STREAM), calibration=path, mode=mode, batch=3)) as stream:
        first = next(stream)
        assert (first.index, first.accepted) == (0, True)
        assert set(known) <= {0, 1, 2}


def test_a_decision_is_read_back_as_it_was_written():
    for made in (Decision(3, True, 7, Basis.PROOF, None, 0.25), Decision(4, False, None, Basis.NORMALITY, Fraction(23, 2000), 0.5)):
        assert Decision.from_dict(made.as_dict()) == made
    with pytest.raises(TypeError):
        Decision.from_dict({**made.as_dict(), "accepted": "False"})


def test_what_does_not_fit_is_refused(graph, tmp_path):
    path, region = tmp_path / "c.json", ball("linf", torch.from_numpy(inputs(SIZES)), Fraction("0.1"), None)
    for code, call in (
        ("E-CALIBRATION-FEW", lambda: absint.validate_calibrate(graph, inputs(STREAM), calibration=path)),
        ("E-CALIBRATION-ZERO", lambda: absint.validate_calibrate(graph, inputs([0] * 9 + SIZES), calibration=path)),
        ("E-USAGE", lambda: absint.validate_run(graph, inputs(STREAM))),
        ("E-USAGE", lambda: absint.validate_run(graph, inputs(STREAM), calibration=path, domain="box")),
        ("E-DATA-UNLABELLED", lambda: absint.validate_evaluate(graph, inputs(SIZES), count=5, calibrate=40)),
        ("E-RATE", lambda: absint.validate_calibrate(graph, inputs(SIZES), rate=[1])),
        ("E-NORM", lambda: absint.validate_calibrate(graph, inputs(SIZES), norm="l7")),
        ("E-USAGE", lambda: absint.validate_calibrate(graph, region, calibration=path)),
    ):
        with pytest.raises((InputError, UsageError)) as caught:
            call()
        assert caught.value.code == code
    assert not path.exists()


def test_the_validator_is_found_where_users_import_it_from():
    import absint.analyses.validate as package

    assert package.RadiusValidator is absint.RadiusValidator is RadiusValidator
    assert package.Decision is Decision
    assert all(hasattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError):
        package.Nothing  # noqa: B018


@pytest.mark.parametrize("name", ["calibrate", "run", "evaluate", "record", "options"])
def test_what_help_reads_loads_no_torch(name):
    look = f"import sys, absint.analyses.validate.{name}; print(sorted({{'torch', 'numpy', 'scipy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.strip() == "[]"
