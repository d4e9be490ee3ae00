"""`absint validate` cut short and continued: the same calibration, decisions and evaluation as in one go, and no half of a file."""

from __future__ import annotations

import json

import pytest
from conftest import RELU
from journals import kept

from absint.analyses.validate import validator as module
from absint.analyses.validate.evaluation import Experiment
from absint.analyses.validate.validator import RadiusValidator
from absint.cli.main import main
from absint.runs.interrupts import INTERRUPTED

CALIBRATE = ["calibrate", "--index", "0:50", "--rate", "0.05"]
WATCH = ["run", "--mode", "distribution", "--index", "60:72", "--format", "json"]
EVALUATE = ["evaluate", "--count", "4", "--calibrate", "30", "--rate", "0.05", "--attack", "fgsm:eps=0.2", "--attack", "deepfool",
            "--format", "json"]


@pytest.fixture
def validate(cli):
    return lambda command, *arguments: cli("validate", command, RELU, "--quiet", *arguments)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrated") / "calibration.json"
    assert main(["validate", "calibrate", RELU, "--quiet", "--index", "0:60", *CALIBRATE[3:], "--calibration", str(path)]) == 0
    return path.read_bytes()


@pytest.fixture
def calibrated(calibration, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_bytes(calibration)
    return path


@pytest.fixture
def interrupted(monkeypatch):
    """The call ends in a Ctrl-C behind so many of the things that a generator yields."""

    def run(owner, name, count, call):
        original = getattr(owner, name)

        def cut(*arguments, **options):
            for place, got in enumerate(original(*arguments, **options)):
                if place == count:
                    raise KeyboardInterrupt
                yield got

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, cut)
            return call()

    return run


def plain(text):
    """A document without what differs from run to run."""
    whole = json.loads(text)
    for part in (whole["header"], whole["summary"]):
        for name in ("command", "started", "seconds", "calibration"):
            part.pop(name, None)
    rows = [*whole.get("decisions", ()), *whole.get("categories", ()), *whole.get("tables", {}).get("detection", ())]
    for row in rows:
        for name in ("time_s", "seconds"):
            row.pop(name, None)
    return whole


def test_an_interrupted_calibration_writes_nothing_and_is_continued(validate, interrupted, monkeypatch, tmp_path):
    whole, path, journal = tmp_path / "whole.json", tmp_path / "c.json", tmp_path / "j"
    assert validate(*CALIBRATE, "--calibration", whole).code == 0
    words = [*CALIBRATE, "--calibration", path, "--journal", journal]
    done = interrupted(module, "radii", 20, lambda: validate(*words, "--format", "json"))
    assert done.code == INTERRUPTED
    assert not path.exists()
    assert "calibration" not in json.loads(done.out)
    assert len(json.loads(done.out)["radii"]) == 20 == len(kept(journal))
    asked, original = [], RadiusValidator.searched
    monkeypatch.setattr(RadiusValidator, "searched", lambda self, data, limit: asked.extend(data.index) or original(self, data, limit))
    assert validate(*words, "--resume").code == 0
    assert len(asked) == 49 - 20
    assert path.read_bytes() == whole.read_bytes()


def test_one_journal_of_radii_serves_every_rate(validate, tmp_path):
    journal, one, two = tmp_path / "j", tmp_path / "1.json", tmp_path / "2.json"
    assert validate(*CALIBRATE, "--calibration", one, "--journal", journal).code == 0
    words = [*CALIBRATE[:3], "--rate", "0.2"]
    assert validate(*words, "--calibration", one, "--journal", journal, "--resume").code == 0
    assert validate(*words, "--calibration", two).code == 0
    assert one.read_bytes() == two.read_bytes()
    validate(*words, "--tolerance", "0.01", "--journal", journal, "--resume").fails(3, "E-JOURNAL-MISMATCH]")


def test_a_calibration_without_time_writes_nothing(validate, tmp_path):
    path = tmp_path / "c.json"
    path.write_text("what was there")
    done = validate(*CALIBRATE, "--calibration", path, "--total-timeout", "1e-6")
    assert done.code == 1
    assert "none: 49 of 49 inputs have no radius yet" in done.out
    assert path.read_text() == "what was there"


@pytest.mark.parametrize("count", [0, 5, 11])
def test_an_interrupted_window_goes_on_from_where_it_was(validate, calibrated, interrupted, tmp_path, count):
    state, kept, journal = tmp_path / "s", tmp_path / "t", tmp_path / "j"
    whole = validate(*WATCH, "--calibration", calibrated, "--state", state)
    words = [*WATCH, "--calibration", calibrated, "--state", kept, "--journal", journal]
    done = interrupted(RadiusValidator, "watched", count, lambda: validate(*words))
    assert done.code == INTERRUPTED
    assert not kept.exists()
    again = validate(*words, "--resume")
    assert plain(again.out) == plain(whole.out)
    assert again.code == whole.code
    assert kept.read_bytes() == state.read_bytes() != calibrated.read_bytes()


def test_decisions_that_rest_on_others_are_bound_to_them(validate, calibrated, tmp_path):
    journal = tmp_path / "j"
    words = [*WATCH, "--calibration", calibrated, "--journal", journal]
    validate(*words)
    for other in ("60:73", "61:72", "61,60"):
        changed = [other if word == "60:72" else word for word in words]
        assert "inputs_sha256" in validate(*changed, "--resume").fails(3, "E-JOURNAL-MISMATCH]").err
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:4] + lines[5:]))
    torn = validate(*words, "--resume")
    assert torn.code == 3
    assert "error[E-JOURNAL-CORRUPT]" in torn.err
    assert "input 63" in torn.err
    journal.write_text("".join(lines))
    state = tmp_path / "state.json"
    validate("run", "--mode", "distribution", "--index", "60:62", "--calibration", calibrated, "--state", state)
    changed = [state if word == calibrated else word for word in words]
    assert "calibration" in validate(*changed, "--resume").fails(3, "E-JOURNAL-MISMATCH]").err
    validate(*WATCH, "--calibration", calibrated, "--executor", "processes").fails(2, "E-EXECUTOR]")


def test_a_state_may_replace_the_calibration_it_came_from(validate, calibrated, tmp_path):
    whole = plain(validate(*WATCH, "--calibration", calibrated).out)["decisions"]
    parts = []
    for index in ("60:64", "64:72"):
        words = [index if word == "60:72" else word for word in WATCH]
        parts += plain(validate(*words, "--calibration", calibrated, "--state", calibrated).out)["decisions"]
    assert parts == whole


def test_an_interrupted_evaluation_measures_what_is_missing(validate, interrupted, monkeypatch, tmp_path):
    pytest.importorskip("foolbox")
    from absint.analyses.validate.evaluate import ValidateEvaluate

    whole, measured, original = plain(validate(*EVALUATE).out), [], Experiment.measured
    monkeypatch.setattr(Experiment, "measured", lambda self, place, **more: measured.append(place) or original(self, place, **more))
    for count in (1, 3):
        journal, sets = tmp_path / f"j{count}", tmp_path / f"sets{count}"
        words = [*EVALUATE, "--journal", journal, "--adversarial", sets]
        done = interrupted(ValidateEvaluate, "decide", count, lambda words=words: validate(*words))
        assert done.code == INTERRUPTED
        assert len(json.loads(done.out)["summary"]["missing"]) == 5 - count
        assert "roc" in json.loads(done.out) or count < 2
        measured.clear()
        again = validate(*words, "--resume")
        assert measured == list(range(count, 5))
        assert plain(again.out) == whole
        assert sorted(path.name for path in sets.iterdir()) == ["deepfool.npz", "fgsm_eps=0.2.npz"]
    late = validate(*EVALUATE, "--journal", journal, "--resume", "--adversarial", tmp_path / "other")
    assert "no adversarial inputs of fgsm:eps=0.2, deepfool" in late.err
    validate(*EVALUATE, "--seed", "1", "--journal", journal, "--resume").fails(3, "E-JOURNAL-MISMATCH]")
