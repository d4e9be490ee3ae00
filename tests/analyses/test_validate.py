"""The validator on networks whose radii are known: y = x on two inputs, where (m + r, m - r) has the l_inf radius r."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from absint.analyses.validate import validator as validate
from absint.analyses.validate.calibration import Calibration, least_inputs, parse_rate, read_calibration
from absint.analyses.validate.validator import RadiusValidator
from absint.analyses.validate.window import Basis
from absint.errors import InputError, UsageError
from absint.model.frontend import normalised
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.numeric.statistics import clopper_pearson
from absint.verdict import Verdict

STEP = 0.0005
SIZES = [40, 7, 55, 23, 31, 12, 60, 18, 29, 44, 36, 9, 51, 27, 33, 21, 48, 15, 39, 25]     # radii in steps, and half a step more


def linear(scale=1.0):
    build = GraphBuilder("x", (2,))
    return build.graph(build.add(Gemm(scale * torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)), ("x",), "y"))


def inputs(sizes, scale=1.0):
    """(n, 2) with these radii, in steps and half a step more; class 0."""
    r = (np.asarray(sizes) + 0.5) * STEP
    return scale * np.stack([0.5 + r, 0.5 - r], 1)


def fitted(sizes=SIZES * 2, labels=None, **options):
    return RadiusValidator(linear(), "zonotope", **{"rate": "0.05", **options}).fit(inputs(sizes), labels)


def refused(code, call):
    with pytest.raises((InputError, UsageError)) as caught:
        call()
    assert caught.value.code == code
    return caught.value


def test_scores_are_the_known_radii_on_the_grid():
    found = RadiusValidator(linear(), "zonotope").score(inputs(SIZES))
    assert found.tolist() == pytest.approx([k * STEP for k in SIZES], abs=1e-12)


@pytest.mark.parametrize(("sizes", "rate", "expected", "rejected"), [
    (SIZES * 2, "0.05", 9, 2), (SIZES * 2, "0.1", 12, 4), ([20] * 40, "0.05", 20, 0), ([5] * 3 + [20] * 37, "0.05", 5, 0),
    ([5] * 2 + [20] * 38, "0.05", 20, 2), (SIZES * 2, "0.0999", 9, 2),
])
def test_the_threshold_is_the_largest_grid_value_within_the_rate(sizes, rate, expected, rejected):
    calibration = fitted(sizes, rate=rate).calibration
    assert (calibration.rule.threshold, calibration.rejected) == (expected, rejected)
    assert sum(k < expected for k in sizes) <= float(rate) * len(sizes) < sum(k < expected + 1 for k in sizes)
    assert calibration.threshold == expected * Fraction("0.0005")


def test_accept_is_at_or_above_the_threshold():
    validator = fitted()
    assert validator.calibration.rule.threshold == 9
    assert validator.accept(inputs([8, 9, 10, 0, 200])).tolist() == [False, True, True, False, True]


def test_what_one_call_does_not_prove_lowers_the_threshold(monkeypatch):
    """A domain's answers need not be monotone: bisection may pass a radius that a direct call does not prove."""
    original = RadiusValidator._proved

    def doubtful(self, center, at):
        return original(self, center, at) if at < Fraction("0.0045") else 0

    monkeypatch.setattr(RadiusValidator, "_proved", doubtful)
    calibration = fitted().calibration
    assert (calibration.rule.threshold, calibration.rejected) == (7, 0)


def test_a_tie_is_rejected_and_has_no_class():
    for mode in validate.MODES:
        decision, = fitted(SIZES * 3, mode=mode).decide(np.array([[0.5, 0.5]]))
        assert (decision.accepted, decision.predicted) == (False, None)


def test_an_input_without_a_class_is_rejected_whatever_the_engine_says(monkeypatch):
    validator, original = fitted(), validate.decided
    monkeypatch.setattr(validate, "decided", lambda problem, options: [
        replace(result, verdict=Verdict.VERIFIED) for result in original(problem, options)])
    assert validator.accept(np.array([[0.5, 0.5], [0.6, 0.4]])).tolist() == [False, True]


@pytest.mark.parametrize("labels", [None, [0] * 40])
def test_labels_are_no_need(labels):
    calibration = fitted(labels=labels).calibration
    assert calibration.rule.threshold == 9
    assert calibration.wrong == (None if labels is None else 0)


def test_misclassified_inputs_are_left_out():
    calibration = fitted([1] * 10 + SIZES * 2, labels=[1] * 10 + [0] * 40).calibration
    assert (calibration.rule.threshold, calibration.wrong, len(calibration.radii)) == (9, 10, 40)


def test_too_few_inputs_are_refused_and_how_many_would_do():
    error = refused("E-CALIBRATION-FEW", lambda: fitted(SIZES + SIZES[:13], rate="0.03"))
    assert "34" in error.hint
    assert fitted(SIZES + SIZES[:14], rate="0.03").calibration is not None
    refused("E-CALIBRATION-FEW", lambda: fitted(SIZES[:19], rate="0.5"))
    refused("E-CALIBRATION-FEW", lambda: fitted(SIZES * 2, labels=[0] * 19 + [1] * 21))
    assert "50" in refused("E-CALIBRATION-FEW", lambda: fitted(SIZES * 2, mode="distribution")).hint
    assert [least_inputs(Fraction(text)) for text in ("0.03", "0.05", "0.5", "1/3", "0.001")] == [34, 20, 20, 20, 1000]


def test_a_threshold_of_zero_is_refused():
    error = refused("E-CALIBRATION-ZERO", lambda: fitted([0] * 3 + SIZES * 2))
    assert "3 of 43" in error.what


@pytest.mark.parametrize("rate", ["0", "1", "-0.1", "x", "nan", "1/0", float("inf")])
def test_senseless_rates_are_refused(rate):
    refused("E-RATE", lambda: parse_rate(rate))


def test_the_interval_is_the_set_of_rates_that_the_count_does_not_contradict():
    for hits, count in ((0, 30), (2, 40), (17, 40), (40, 40)):
        low, high = clopper_pearson(hits, count)
        if hits:
            assert stats.binom.sf(hits - 1, count, low) == pytest.approx(0.025, abs=1e-9)
        if hits < count:
            assert stats.binom.cdf(hits, count, high) == pytest.approx(0.025, abs=1e-9)
    assert (clopper_pearson(0, 30)[0], clopper_pearson(40, 40)[1]) == (0.0, 1.0)


def test_false_alarms_on_other_valid_inputs_stay_within_the_rate():
    sizes = np.random.default_rng(3).gamma(5.0, 8.0, size=400).astype(int) + 1
    validator = fitted(sizes[:200].tolist(), rate="0.05")
    rejected = 1 - validator.accept(inputs(sizes[200:])).mean()
    assert 0.005 < rejected <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5


# ---- data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", validate.MODES)
@pytest.mark.parametrize(("bad", "code"), [(np.nan, "E-DATA-NAN"), (np.inf, "E-DATA-NAN"), (1.5, "E-DATA-RANGE"), (-0.1, "E-DATA-RANGE")])
def test_bad_images_are_refused_and_change_nothing(mode, bad, code):
    validator = fitted(SIZES * 3, mode=mode)
    window, broken = validator.window, inputs([40, 40])
    broken[1, 0] = bad
    for call in (validator.accept, validator.score, validator.fit):
        refused(code, lambda call=call: call(broken))
    assert validator.window is window


def test_inputs_of_another_shape_or_label_are_refused():
    validator = fitted()
    refused("E-DATA-SHAPE", lambda: validator.accept(np.zeros((3, 5))))
    refused("E-DATA-LABEL", lambda: validator.fit(inputs(SIZES), [7] * 20))
    refused("E-DATA-LABELS", lambda: validator.fit(inputs(SIZES), [0]))
    refused("E-NOT-CALIBRATED", lambda: RadiusValidator(linear(), "zonotope").accept(inputs([3])))
    refused("E-NOT-CALIBRATED", lambda: RadiusValidator(linear(), "zonotope").save_state("nowhere.json"))
    assert validator.accept(np.zeros((0, 2))).shape == (0,)


@pytest.mark.parametrize("mode", validate.MODES)
def test_another_data_range_scales_with_the_data(mode):
    wide = RadiusValidator(linear(1 / 255), "zonotope", rate="0.05", mode=mode, clip=(0.0, 255.0), upper="65.28", tolerance="0.255")
    wide.fit(inputs(SIZES * 3, 255.0))
    narrow = fitted(SIZES * 3, mode=mode)
    assert wide.calibration.rule.threshold == narrow.calibration.rule.threshold == 9
    assert float(wide.calibration.threshold) == pytest.approx(255 * float(narrow.calibration.threshold))
    tried = [3, 8, 9, 30, 60]
    assert wide.accept(inputs(tried, 255.0)).tolist() == narrow.accept(inputs(tried)).tolist()


def test_the_data_range_cuts_the_ball():
    """Class 0 wherever x0 > -.05, so everywhere in the range: without it the radius of x0 = .01 is .06."""
    build = GraphBuilder("x", (2,))
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    graph = build.graph(build.add(Gemm(weight, torch.tensor([0.1, 0.0], dtype=torch.float64)), ("x",), "y"))
    center = np.array([[0.01, 0.5]])
    assert RadiusValidator(graph, "zonotope").score(center)[0] == pytest.approx(0.2555)
    assert RadiusValidator(graph, "zonotope", clip=None).score(center)[0] == pytest.approx(0.06, abs=0.0006)
    valid = np.stack([np.linspace(0.01, 0.5, 20), np.full(20, 0.5)], 1)
    validator = RadiusValidator(graph, "zonotope", rate="0.05").fit(valid)
    assert validator.calibration.rule.threshold == 511
    assert validator.accept(center)[0]


# ---- how often the engine is asked ----------------------------------------------------------------------------------


def test_threshold_mode_asks_once_and_radius_mode_nine_times(monkeypatch):
    validator = fitted(SIZES * 3)
    asked = []
    original = validate.decided
    monkeypatch.setattr(validate, "decided", lambda problem, options: asked.append(len(problem.index)) or original(problem, options))
    monkeypatch.setattr(validate, "radii", lambda *a, **k: pytest.fail("threshold mode looks for a radius"))
    validator.accept(inputs(SIZES))
    assert asked == [20]
    monkeypatch.undo()
    assert {result.calls for result in validator.radii(inputs(SIZES))} == {9}


def test_answers_do_not_depend_on_the_batch():
    validator = fitted()
    tried = inputs([3, 8, 9, 10, 50, 1])
    whole = validator.accept(tried)
    assert [bool(validator.accept(tried[k : k + 1])[0]) for k in range(6)] == whole.tolist()
    assert validator.accept(tried[::-1].copy()).tolist() == whole.tolist()[::-1]


# ---- mode distribution ----------------------------------------------------------------------------------------------

NORMAL = [int(k) for k in np.round(30 + 6 * stats.norm.ppf((np.arange(1, 61) - 0.5) / 60))]
STREAM = [35, 2, 28, 0, 40, 17, 31, 1, 22, 26, 3, 30]


def test_a_sequence_may_be_cut_anywhere(tmp_path):
    one, two = (fitted(NORMAL, mode="distribution") for _ in range(2))
    whole = one.decide(inputs(STREAM))
    parts = [*two.decide(inputs(STREAM[:5])), *two.decide(inputs(STREAM[5:6]))]
    two.save_state(tmp_path / "state.json")
    three = RadiusValidator(linear(), "zonotope", rate="0.05", mode="distribution").load_state(tmp_path / "state.json")
    parts += three.decide(inputs(STREAM[6:]))
    assert [(d.accepted, d.basis, d.radius) for d in parts] == [(d.accepted, d.basis, d.radius) for d in whole]
    assert three.window == one.window
    assert {d.accepted for d in whole} == {True, False}


def test_the_window_holds_the_last_accepted_radii():
    validator = fitted(NORMAL, mode="distribution")
    before = validator.window.steps
    decisions = validator.decide(inputs(STREAM))
    accepted = [k for k, d in zip(STREAM, decisions, strict=True) if d.accepted]
    assert validator.window.steps == (*before, *accepted)[-50:]
    assert {Basis.RADIUS, Basis.NORMALITY} <= {d.basis for d in decisions}
    assert [d.radius for d in decisions] == [Fraction("0.0005") * k for k in STREAM]


def test_sigma0_is_the_smallest_grid_radius_that_reaches_it():
    assert fitted(NORMAL, sigma0="0.0141").calibration.rule.sigma0 == 29
    assert fitted(NORMAL, sigma0="0.014").calibration.rule.sigma0 == 28
    chosen = fitted(NORMAL).calibration.rule.sigma0
    assert sum(k < chosen for k in NORMAL) <= 0.13 * 60 < sum(k < chosen + 1 for k in NORMAL)


def test_a_short_calibration_has_no_window(tmp_path):
    fitted().save_state(tmp_path / "c.json")
    validator = RadiusValidator(linear(), "zonotope", rate="0.05", mode="distribution")
    assert "40" in refused("E-CALIBRATION-FEW", lambda: validator.load_state(tmp_path / "c.json")).what
    assert validator.calibration is None


# ---- the file -------------------------------------------------------------------------------------------------------


def test_a_saved_calibration_is_read_back(tmp_path):
    validator = fitted(NORMAL)
    validator.save_state(tmp_path / "c.json")
    assert read_calibration(tmp_path / "c.json") == validator.calibration
    loaded = RadiusValidator(linear(), "zonotope", rate="0.05").load_state(tmp_path / "c.json")
    assert loaded.accept(inputs(STREAM)).tolist() == validator.accept(inputs(STREAM)).tolist()
    assert [p.name for p in tmp_path.iterdir()] == ["c.json"]


def edits(content):
    for path in (("rule", "threshold"), ("rule", "sigma0"), ("rejected",), ("rate",), ("shown", "threshold"), ("binding", "model_sha256"),
                 ("radii", 0), ("window", 3), ("checksum",), ("schema",), ("binding", "domain")):
        changed = json.loads(json.dumps(content))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = place[path[-1]] + 1 if isinstance(place[path[-1]], (int, float)) else "0.04"
        yield ".".join(map(str, path)), changed


def test_a_file_edited_by_hand_is_refused(tmp_path):
    path = tmp_path / "c.json"
    fitted(NORMAL).save_state(path)
    content = json.loads(path.read_text())
    for name, changed in edits(content):
        path.write_text(json.dumps(changed))
        refused("E-CALIBRATION-FORMAT" if name == "schema" else "E-CALIBRATION-CHECKSUM", lambda: read_calibration(path))
    path.write_text(json.dumps({k: v for k, v in content.items() if k != "checksum"}))
    refused("E-CALIBRATION-CHECKSUM", lambda: read_calibration(path))
    path.write_text(json.dumps(content, indent=7))      # the same content, laid out anew
    assert isinstance(read_calibration(path), Calibration)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", "[" * 100000, '{"schema": "absint-calibration/2"}', "\udcff"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    refused("E-CALIBRATION-FORMAT", lambda: read_calibration(path))


def test_a_missing_file_is_refused(tmp_path):
    refused("E-CALIBRATION-FILE", lambda: read_calibration(tmp_path / "none.json"))
    refused("E-OUT", lambda: fitted().save_state(tmp_path / "none" / "c.json"))


def test_a_device_or_folder_is_not_replaced_and_a_link_is_followed(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link.json"
    os.mkfifo(pipe)
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real" / "c.json")
    validator = fitted()
    for place in (pipe, tmp_path / "real"):
        refused("E-OUT", lambda place=place: validator.save_state(place))
    assert pipe.is_fifo()
    validator.save_state(link)
    assert link.is_symlink()
    assert read_calibration(tmp_path / "real" / "c.json") == validator.calibration


def other_weight():
    build = GraphBuilder("x", (2,))
    weight = torch.eye(2, dtype=torch.float64)
    weight[0, 1] = 2**-40
    return build.graph(build.add(Gemm(weight, torch.zeros(2, dtype=torch.float64)), ("x",), "y"))


@pytest.mark.parametrize("graph", [linear(2.0), other_weight(), normalised(linear(), 0.5), normalised(linear(), 0.25, 0.5)])
def test_the_calibration_of_another_model_is_refused(tmp_path, graph):
    fitted().save_state(tmp_path / "c.json")
    validator = RadiusValidator(graph, "zonotope", rate="0.05")
    refused("E-CALIBRATION-MODEL", lambda: validator.load_state(tmp_path / "c.json"))
    assert validator.calibration is None


@pytest.mark.parametrize(("domain", "options", "name"), [
    ("box", {}, "domain"), ("zonotope", {"norm": "l2"}, "norm"), ("zonotope", {"clip": None}, "clip"),
    ("zonotope", {"clip": (0, 2)}, "clip"), ("zonotope", {"upper": "0.255"}, "upper"), ("zonotope", {"tolerance": "0.002"}, "tolerance"),
    ("zonotope", {"dtype": "float64"}, "dtype"),
])
def test_a_calibration_with_other_settings_is_refused(tmp_path, domain, options, name):
    fitted().save_state(tmp_path / "c.json")
    validator = RadiusValidator(linear(), domain, rate="0.05", **options)
    error = refused("E-CALIBRATION-SETTINGS", lambda: validator.load_state(tmp_path / "c.json"))
    assert any(line.startswith(name) for line in error.details)


def test_options_of_the_domain_are_bound(tmp_path):
    from absint.search.names import domain_of

    fitted().save_state(tmp_path / "c.json")
    validator = RadiusValidator(linear(), domain_of("zonotope:max_generators=7"), domain_text="zonotope", rate="0.05")
    error = refused("E-CALIBRATION-SETTINGS", lambda: validator.load_state(tmp_path / "c.json"))
    assert [line.split(":")[0] for line in error.details] == ["domain_options"]


@pytest.mark.parametrize(("options", "code"), [
    ({"mode": "both"}, "E-MODE"), ({"window": 5}, "E-WINDOW"), ({"upper": "0"}, "E-RADIUS"), ({"tolerance": "-1"}, "E-EPS"),
    ({"windows": 50}, "E-OPTION"), ({"rate": 2}, "E-RATE"), ({"timeout": 0}, "E-TIMEOUT"),
])
def test_senseless_options_are_refused(options, code):
    refused(code, lambda: RadiusValidator(linear(), "zonotope", **options))


def test_an_input_without_time_is_rejected():
    validator = fitted()
    hasty = RadiusValidator(linear(), "zonotope", rate="0.05", timeout=1e-9)
    hasty.calibration = validator.calibration
    assert not hasty.accept(inputs([60, 60])).any()
