"""Alarms on perturbed inputs, counted by hand: of which key, over whom, beside which false alarms; curves, keys against keys, promises."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from journals import killed
from traps_by_hand import hidden, rows, watching

import absint
from absint.analyses.taboo.evaluation import PerturbationPlan, TabooExperiment, place_of, save_sent
from absint.analyses.taboo.evaluation_record import PerturbedRow
from absint.analyses.taboo.evaluation_summary import Promise, Share, Transfer, curve_of, curves, promise_of, rates_of, short_names
from absint.analyses.taboo.exchangeable import HeldOut, held_out
from absint.analyses.taboo.options import PRESETS
from absint.analyses.taboo.traps import SMALLEST
from absint.attacks import foolbox_attacks
from absint.attacks.foolbox_attacks import parse_attack
from absint.attacks.perturbations import parse_perturbations
from absint.contract.record import record_of, row_of
from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.statistics import clopper_pearson

IDENTITY = [[1.0, 0.0], [0.0, 1.0]]


def experiment(found, data, *texts, **plan):
    return TabooExperiment(found, data, PerturbationPlan(parse_perturbations(texts, {}), **plan))


def measured(found, data, *texts, **plan):
    made = experiment(found, data, *texts, **plan)
    return [made.measured(place).row for place in range(len(made.plan.rows))]


def spread_inputs():
    """Answers h = relu(x); inputs of class 0 in which the second entry is background every other time."""
    draw = np.random.default_rng(5)
    values = np.stack([draw.uniform(0.5, 0.9, 60), np.where(np.arange(60) % 2, draw.uniform(0.1, 0.4, 60), 0.0)], 1)
    return hidden(IDENTITY, [0.0, 0.0], IDENTITY), rows(values.tolist(), [0] * 60)


@pytest.fixture
def spread():
    return spread_inputs()


# ---- counting -------------------------------------------------------------------------------------------------------------


def test_alarms_under_noise_are_those_of_the_perturbed_inputs(spread):
    graph, data = spread
    clean, noisy = measured(watching(graph, {0: 0.75}), data, "uniform:eps=0.2", regions=("all",))
    (plan,) = parse_perturbations(("uniform:eps=0.2",), {})
    sent = plan.sent(graph, torch.from_numpy(data.inputs), torch.from_numpy(data.labels), foolbox_attacks.Setting()).inputs.numpy()
    limit = float(np.float32(0.75))
    before, after = data.inputs[:, 0].astype(np.float32) > limit, sent[:, 0] > limit
    assert (clean.alarms, noisy.alarms) == (before.sum(), after.sum())
    assert clean.alarms != noisy.alarms
    assert (clean.n, noisy.n) == (60, 60)
    assert noisy.linf == pytest.approx(np.abs(sent - data.inputs).max(1).mean())
    assert noisy.l2 == pytest.approx(np.linalg.norm(sent - data.inputs, axis=1).mean())
    assert (clean.l2, clean.linf, clean.fooled) == (None, None, 0)


def test_a_step_up_alarms_exactly_where_it_passes_the_threshold():
    """FGSM away from class 0 lowers the first entry and raises the second one, by .1 each."""
    pytest.importorskip("foolbox")
    graph = hidden(IDENTITY, [0.0, 0.0], IDENTITY)
    data = rows([[0.9, 0.3], [0.9, 0.45], [0.9, 0.6], [0.5, 0.45]], [0, 0, 0, 0])
    clean, found = measured(watching(graph, {1: 0.5}), data, "fgsm:eps=0.1", regions=("all",))
    assert (clean.alarms, found.alarms) == (1, 3)
    assert (clean.correct, found.correct) == (4, 3)         # .4 against .55
    assert (found.fooled, found.fooled_alarms) == (1, 1)
    assert found.l2 == pytest.approx(0.1 * 2**0.5, abs=1e-6)
    assert found.linf == pytest.approx(0.1, abs=1e-6)


def test_detection_is_counted_over_all_perturbed_inputs_not_over_those_that_fool(spread):
    graph, data = spread
    clean, noisy = measured(watching(graph, {0: 0.7}), data, "sign:eps=0.05", regions=("all",))
    found = rates_of([clean, noisy])[1]
    assert noisy.fooled == 0 < noisy.alarms
    assert (found.detection.hits, found.detection.n) == (noisy.alarms, 60)
    assert found.of_fooled.rate is None
    assert found.detection.interval == clopper_pearson(noisy.alarms, 60)
    assert (found.false_alarms.hits, found.false_alarms.n) == (clean.alarms, 60)
    assert found.gain == pytest.approx((noisy.alarms - clean.alarms) / 60)
    assert found.accuracy.rate == 1.0


def test_a_network_that_is_wrong_already_is_not_fooled():
    graph = hidden(IDENTITY, [0.0, 0.0], IDENTITY)
    clean, noisy = measured(watching(graph, {0: 0.7}), rows([[0.8, 0.2], [0.8, 0.2]], [0, 1]), "uniform:eps=0.01", regions=("all",))
    assert (clean.correct, clean.fooled, noisy.correct, noisy.fooled) == (1, 0, 1, 0)
    assert (noisy.alarms, noisy.fooled_alarms) == (2, 0)


def test_each_key_has_its_own_alarms():
    graph = hidden(IDENTITY, [0.0, 0.0], IDENTITY)
    data = rows([[0.9, 0.1], [0.9, 0.8], [0.2, 0.8], [0.1, 0.1], [0.9, 0.1]], [0, 0, 1, 0, 0])
    (clean,) = measured(watching(graph, {0: 0.5}, {1: 0.5}, {0: 0.85, 1: 0.7}), data)
    assert clean.by_key == (3, 2, 4)
    assert clean.alarms == 4
    assert clean.together == ((3, 1, 3), (1, 2, 2), (3, 2, 4))
    assert clean.without == (4, 4, 4)
    (two,) = measured(watching(graph, {0: 0.5}, {1: 0.5}), data)
    assert (two.by_key, two.alarms, two.without) == ((3, 2), 4, (2, 3))


def test_a_neuron_of_two_keys_is_held_to_each_key_s_threshold():
    graph = hidden(IDENTITY, [0.0, 0.0], IDENTITY)
    (clean,) = measured(watching(graph, {0: 0.5}, {0: 0.8}), rows([[0.6, 0.0], [0.9, 0.0], [0.4, 0.0]], [0, 0, 0]))
    assert (clean.by_key, clean.alarms, clean.together, clean.without) == ((2, 1), 2, ((2, 1), (1, 1)), (1, 2))
    assert clean.ratios == pytest.approx((1.2, 1.8, 0.8), abs=1e-6)


def test_the_transfer_matrix_divides_by_the_alarms_of_the_row_s_key():
    found = Transfer("clean", "", 10, ((4, 1), (1, 2)), (2, 4))
    assert found.shares == ((1.0, 0.25), (0.5, 1.0))
    assert Transfer("clean", "", 10, ((0, 0), (0, 2)), (2, 0)).shares == ((None, None), (0.0, 1.0))


def test_a_value_on_its_threshold_is_no_alarm_but_not_sure():
    graph = hidden([[0.5, 0.25], [0.0, 1.0]], [0.0, 0.0], IDENTITY)
    inputs = [[0.5, 0.5], [0.25, 0.25], [1.0, 1.0]]
    (clean,) = measured(watching(graph, {0: 0.375}), rows(inputs, [0, 0, 0]))
    assert (clean.alarms, clean.unsteady) == (1, 1)
    assert clean.ratios[0] == 1.0


def test_nan_is_an_alarm():
    build = GraphBuilder("x", (2,))
    double = [torch.tensor(one, dtype=torch.float64) for one in ([[3e38, 3e38], [3e38, 3e38]], [[1.0, -1.0], [0.0, 1.0]])]
    zero, last = torch.zeros(2, dtype=torch.float64), "x"
    for name, weight in zip("ab", double, strict=True):
        last = build.add(Relu(), (build.add(Gemm(weight, zero), (last,), name),), f"h{name}")
    graph = build.graph(build.add(Gemm(torch.eye(2, dtype=torch.float64), zero), (last,), "y"))
    (clean,) = measured(watching(graph, {0: 0.5}, layer=1), rows([[1.0, 1.0], [0.0, 0.0]], [0, 0]))
    assert (clean.nan, clean.alarms, clean.unsteady) == (1, 1, 1)
    assert clean.ratios[0] == float("inf")
    assert clean.correct == 1           # an output that is NaN is no class
    assert record_of(PerturbedRow, json.loads(json.dumps(row_of(clean)))) == clean
    results = absint.taboo_evaluate(graph, rows([[1.0, 1.0], [0.0, 0.0]], [0, 0]), detector=watching(graph, {0: 0.5}, layer=1).traps,
                                    attack=("uniform",))
    assert any(line.startswith("W-TABOO-NAN: ") for line in results.document.warnings)


# ---- the object's support ----------------------------------------------------------------------------------------------------


def test_noise_on_the_support_leaves_the_background_and_its_alarms(spread):
    """The trap watches the background alone: only noise on all entries is detected."""
    graph, data = spread
    dark = replace(data, inputs=data.inputs * np.array([1.0, 0.0]))
    clean, everywhere, support = measured(watching(graph, {1: 0.05}), dark, "sign:eps=0.1")
    assert (clean.alarms, support.alarms) == (0, 0)
    assert 15 < everywhere.alarms < 45
    assert (everywhere.region, support.region) == ("all", "support")
    assert support.l2 == pytest.approx(0.1, abs=1e-6)


def test_the_support_is_what_differs_from_the_background(spread):
    graph, data = spread
    made = experiment(watching(graph, {0: 0.7}), data, "sign:eps=0.1", background=0.0)
    assert torch.equal(made.support("support"), torch.from_numpy(data.inputs != 0))
    assert made.support("all") is None
    found = made.measured(2).sent.inputs
    assert torch.equal(found[:, 1] == 0, torch.from_numpy(data.inputs[:, 1] == 0))
    bright = experiment(watching(graph, {0: 0.7}), replace(data, inputs=1 - data.inputs), background=1.0)
    assert torch.equal(bright.support("support"), made.support("support"))


def test_an_attack_that_cannot_be_confined_has_one_row(spread):
    graph, data = spread
    plan = PerturbationPlan(parse_perturbations(("boundary:steps=2", "sign:eps=0.1"), {}))
    assert plan.names == ("clean", "boundary:steps=2", "sign:eps=0.1", "sign:eps=0.1, support")
    with pytest.raises(UsageError) as caught:
        absint.taboo_evaluate(graph, data, detector=watching(graph, {0: 0.7}).traps, attack=("boundary",), region="support")
    assert caught.value.code == "E-ATTACK-REGION"
    noted = absint.taboo_evaluate(graph, rows([[0.9, 0.1], [0.1, 0.9]], [0, 1]), detector=watching(graph, {0: 0.7}).traps,
                                  attack=("boundary:steps=2",))
    assert any("boundary:steps=2" in note and "confined" in note for note in noted.document.notes)


# ---- curves ---------------------------------------------------------------------------------------------------------------


def a_row(ratios, alarms=0, **more):
    n = len(ratios)
    return PerturbedRow(0, "x", "all", n, n, alarms, 0, 0, 0, 0, 0, None, None, (alarms,), ((alarms,),), (0,), tuple(ratios), **more)


def test_separable_scores_have_the_whole_area_and_equal_ones_half():
    assert curve_of(a_row([-0.5, -0.2]), a_row([0.1, 0.2])).auc == 1.0
    assert curve_of(a_row([0.1, 0.2]), a_row([-0.5, -0.2])).auc == 0.0
    assert curve_of(a_row([0.1, 0.2]), a_row([0.2, 0.1])).auc == 0.5
    assert curve_of(a_row([0.1, 0.2]), a_row([float("inf")] * 2)).auc == 1.0       # NaN is the surest alarm


def test_curves_rise_and_pass_through_the_detector_itself(spread):
    graph, data = spread
    clean, noisy = measured(watching(graph, {0: 0.7, 1: 0.3}), data, "uniform:eps=0.2", regions=("all",))
    found = curve_of(clean, noisy)
    for side in (found.false_alarms, found.detected):
        assert list(side) == sorted(side)
        assert (side[0], side[-1]) == (0.0, 1.0)
    assert (clean.alarms / 60, noisy.alarms / 60) in zip(found.false_alarms, found.detected, strict=True)
    assert sum(one > 1 for one in noisy.ratios) == noisy.alarms
    pairs = [(b > a) + (b == a) / 2 for a in clean.ratios for b in noisy.ratios]
    assert found.auc == pytest.approx(np.mean(pairs), abs=1e-12)


def test_a_neuron_that_never_fires_hides_no_other():
    """Its threshold is the smallest number of float32: by differences every quiet input would be as near to an alarm as that."""
    graph, data = hidden(IDENTITY, [0.0, -1.0], IDENTITY), rows([[0.3, 0.0], [0.6, 0.0], [0.75, 0.0]], [0, 0, 0])
    (clean,) = measured(watching(graph, {0: 0.75, 1: SMALLEST}), data)
    assert clean.alarms == 0
    assert clean.ratios == pytest.approx((0.4, 0.8, 1.0), abs=1e-6)
    assert clean.ratios[2] == 1.0


def test_each_region_has_its_panel_and_long_names_are_cut_where_they_stay_apart():
    one, two, other = ("cw:initial_const=0.1,steps=1000", "cw:initial_const=1,steps=1000", "cw:initial_const=0.1,steps=9")
    assert short_names((one, two)) == {one: "cw:initial_const=0.1,st...", two: "cw:initial_const=1,step..."}
    assert short_names((one, other, "fgsm")) == {one: one, other: other, "fgsm": "fgsm"}
    made = [replace(a_row([0.1 * k, 0.2]), index=k, perturbation=name, region=region)
            for k, (name, region) in enumerate((("clean", ""), (one, "all"), (one, "support"), (two, "all")))]
    figure = curves(rates_of(made), "t")
    assert [panel.title for panel in figure.panels] == ["all entries", "the object's support"]
    assert [len(panel.series) for panel in figure.panels] == [2, 1]


# ---- held-out calibration -------------------------------------------------------------------------------------------------------


def test_held_out_calibration_promises_m_times_j_plus_one_over_n_plus_one(spread):
    assert HeldOut(3, 999).bound == Fraction(3, 1000)
    assert HeldOut(3, 999, 4).bound == Fraction(15, 1000)
    assert HeldOut(5, 3).bound == 1
    found = watching(spread[0], {0: 0.7}, {0: 0.8, 1: 0.9}, held_out={"inputs": 99, "above": 1})
    assert held_out(found.traps) == HeldOut(3, 99, 1)
    kept = replace(found.traps, traps=(replace(found.traps.traps[0], dropped=2), found.traps.traps[1]))
    assert held_out(kept) == HeldOut(5, 99, 1)             # dropping after a look at the same inputs buys nothing


def test_the_observed_rate_is_held_against_the_promise(spread):
    graph, data = spread
    (clean,) = measured(watching(graph, {0: 0.7}), data)
    assert clean.alarms > 10
    for inputs, broken in ((999, True), (1, False)):
        promise = promise_of(watching(graph, {0: 0.7}, held_out={"inputs": inputs}).traps, clean)
        assert promise.broken == broken
        assert f"1 (0 + 1) / ({inputs} + 1)" in promise.text
    silent = promise_of(watching(graph, {0: 0.7}).traps, clean)
    assert (silent.broken, silent.held) == (False, None)
    assert "not exchangeable" in silent.text


@pytest.mark.parametrize("seed", range(3))
def test_the_promise_holds_on_average_and_is_attained(seed):
    """Thresholds at the maximum of n: over many draws, a new input of the same kind passes one of m in about m / (n + 1) of them."""
    draw, n, m, times = np.random.default_rng(seed), 9, 3, 20000
    values = draw.random((times, n + 1, m))
    rate = (values[:, n] > values[:, :n].max(1)).any(1).mean()
    bound = float(HeldOut(m, n).bound)
    assert rate <= bound + 3 * (bound / times) ** 0.5
    assert rate > 0.7 * bound


@pytest.mark.parametrize(("n", "above", "m"), [(99, 0, 1), (49, 2, 1), (39, 0, 3)])
def test_inputs_of_the_same_kind_are_seldom_said_to_be_unlike(n, above, m):
    """Neurons that fire apart: the rate of a calibration is often above the promise, which is an average, and rarely too high."""
    draw, times, fresh = np.random.default_rng([n, above]), 400, 3000
    held = HeldOut(m, n, above)
    edges = np.sort(draw.random((times, n, m)), axis=1)[:, n - 1 - above]
    hits = draw.binomial(fresh, np.minimum((1 - edges).sum(1), 1))
    promises = [Promise(held, Share(int(one), fresh)) for one in hits]
    assert sum(one.observed.interval[0] > held.bound for one in promises) > 0.15 * times
    assert sum(one.broken for one in promises) < 0.05 * times + 3 * (0.05 * times) ** 0.5


# ---- the analysis ---------------------------------------------------------------------------------------------------------


def test_false_alarms_are_those_of_the_inputs_given(spread):
    graph, data = spread
    results = absint.taboo_evaluate(graph, data, detector=watching(graph, {0: 0.7}).traps, attack=("uniform:eps=0.2",), region="all")
    by_hand = measured(watching(graph, {0: 0.7}), data, "uniform:eps=0.2", regions=("all",))
    assert [replace(record, time_s=0.0) for record in results] == [replace(record, time_s=0.0) for record in by_hand]
    values = results.document.values
    loud = int((data.inputs[:, 0].astype(np.float32) > np.float32(0.7)).sum())
    assert [one["false_alarms"]["hits"] for one in values["rates"]] == [loud] * 2
    assert values["rates"][0]["detection"]["hits"] == loud > 0
    assert values["roc"].keys() == {"uniform:eps=0.2"}
    assert values["transfer"] == []
    assert json.loads(json.dumps(values, allow_nan=False)) == json.loads(json.dumps(values))
    (figure,) = results.document.figures
    assert [series.label.split(" (")[0] for series in figure.panels[0].series] == ["uniform:eps=0.2"]


def test_inputs_behind_the_thresholds_are_no_measure_of_false_alarms(spread):
    graph, data = spread
    said = []
    for sha256 in ("abc", "def", ""):
        traps = watching(graph, {0: 0.7}, training={"name": "x", "sha256": "abc", "inputs": 60}, held_out={"inputs": 999}).traps
        found = absint.taboo_evaluate(graph, replace(data, sha256=sha256), detector=traps, attack=("uniform",))
        said.append([line.partition(":")[0] for line in found.document.warnings])
    assert said == [["W-TABOO-SHIFTED", "W-TABOO-TRAINING"], ["W-TABOO-SHIFTED"], ["W-TABOO-SHIFTED"]]


def test_a_seed_fixes_every_row(spread):
    graph, data = spread
    traps = watching(graph, {0: 0.7}, {1: 0.3}).traps
    one, two, other = (absint.taboo_evaluate(graph, data, detector=traps, attack=("uniform:eps=0.2", "sign:eps=0.1"), seed=seed)
                       for seed in (1, 1, 2))
    assert [replace(record, time_s=0.0) for record in one] == [replace(record, time_s=0.0) for record in two]
    assert [record.ratios for record in one][1:] != [record.ratios for record in other][1:]


def test_rows_of_a_journal_are_not_measured_again(spread, tmp_path, monkeypatch):
    graph, data = spread
    traps, journal = watching(graph, {0: 0.7}).traps, tmp_path / "journal"
    asked = {"detector": traps, "attack": ("uniform:eps=0.2",), "journal": journal}
    first = absint.taboo_evaluate(graph, data, **asked)
    journal.write_bytes(b"".join(killed(journal)[:-1]))
    places = []
    real = TabooExperiment.measured
    monkeypatch.setattr(TabooExperiment, "measured", lambda self, place, end: places.append(place) or real(self, place, end))
    second = absint.taboo_evaluate(graph, data, **asked, resume=True)
    assert places == [2]
    assert [replace(record, time_s=0.0) for record in second] == [replace(record, time_s=0.0) for record in first]
    with pytest.raises(AbsintError):
        absint.taboo_evaluate(graph, data, **{**asked, "detector": watching(graph, {0: 0.6}).traps}, resume=True)


def test_a_row_past_its_limit_is_missing_and_the_others_are_not(spread, monkeypatch):
    from absint.numeric.backend import DeadlineError

    graph, data = spread
    real = TabooExperiment._sent

    def late(self, one, region, end):
        if one is not None and one.text.startswith("sign"):
            raise DeadlineError
        return real(self, one, region, end)

    monkeypatch.setattr(TabooExperiment, "_sent", late)
    results = absint.taboo_evaluate(graph, data, detector=watching(graph, {0: 0.7}).traps, attack=("sign:eps=0.1", "uniform:eps=0.1"),
                                    region="all")
    assert [record.perturbation for record in results] == ["clean", "uniform:eps=0.1"]
    assert results.document.exit_code == 1
    assert results.document.summary["missing"] == ["sign:eps=0.1"]
    assert [one["code"] for one in results.document.values["failures"]] == ["E-TIMEOUT"]


def test_the_clock_ends_an_attack_between_its_steps(spread):
    pytest.importorskip("foolbox")
    from absint.numeric.backend import DeadlineError

    graph, data = spread
    with pytest.raises(DeadlineError):
        experiment(watching(graph, {0: 0.7}), data, "pgd:eps=0.1").measured(1, end=0.0)


def test_sent_inputs_are_kept_with_their_provenance(spread, tmp_path):
    graph, data = spread
    found = watching(graph, {0: 0.7}, {1: 0.3})
    results = absint.taboo_evaluate(graph, data, detector=found.traps, attack=("uniform:eps=0.2",), adversarial=tmp_path / "sent")
    assert sorted(path.name for path in (tmp_path / "sent").iterdir()) == ["uniform_eps=0.2.npz", "uniform_eps=0.2_support.npz"]
    with np.load(place_of(tmp_path / "sent", "uniform:eps=0.2, support"), allow_pickle=False) as archive:
        assert np.array_equal(archive["images"], experiment(found, data, "uniform:eps=0.2").measured(2).sent.inputs.numpy())
        assert archive["alarms"].sum(0).tolist() == list(results[2].by_key)
        assert archive["source"].tolist() == list(range(60))
        notes = json.loads(str(archive["provenance"]))
    assert (notes["attack"], notes["region"], notes["seed"], notes["away_from"]) == ("uniform", "support", 0, "labels")
    again = experiment(found, data, "uniform:eps=0.2")
    save_sent(again.measured(1), again, tmp_path / "two.npz")
    with np.load(tmp_path / "two.npz") as one, np.load(tmp_path / "sent" / "uniform_eps=0.2.npz") as two:
        assert np.array_equal(one["images"], two["images"])


def test_without_foolbox_noise_is_still_evaluated(spread, monkeypatch):
    graph, data = spread
    monkeypatch.setattr(foolbox_attacks, "find_spec", lambda name: None)
    traps = watching(graph, {0: 0.7}).traps
    assert len(absint.taboo_evaluate(graph, data, detector=traps, attack=("uniform:eps=0.2", "sign:eps=0.1"))) == 5
    with pytest.raises(UnsupportedError) as caught:
        absint.taboo_evaluate(graph, data, detector=traps, attack=("uniform:eps=0.2", "fgsm:eps=0.1"))
    assert caught.value.code == "E-ATTACK-MISSING"


def test_table_1_is_as_the_paper_has_it():
    found = {text: parse_attack(text).parameters for text in PRESETS["table1"]}
    assert [text.partition(":")[0] for text in found] == ["fgsm", "fgsm", "bim", "bim", "pgd", "pgd", "cw", "cw"]
    assert [one["eps"] for one in found.values() if "eps" in one] == [0.1, 0.2, 0.1, 0.15, 0.1, 0.2]
    for text, one in found.items():
        if text.startswith(("bim", "pgd")):
            assert (one["steps"], one["rel_stepsize"]) == (10, 0.1)
        if text.startswith("cw"):
            assert (one["steps"], one["stepsize"], one["confidence"], one["binary_search_steps"]) == (1000, 0.01, 0.1, 1)
    assert [one["initial_const"] for one in found.values() if "initial_const" in one] == [0.1, 1.0]


def test_bad_questions_are_refused(spread):
    graph, data = spread
    traps = watching(graph, {0: 0.7}).traps
    other = watching(hidden([[1.0, 0.5], [0.0, 1.0]], [0.0, 0.0], IDENTITY), {0: 0.7}).traps
    for code, given in (("E-ATTACK-REGION", {"region": "edge"}), ("E-ATTACK-UNKNOWN", {"attack": ("fgms",)}),
                        ("E-TABOO-MODEL", {"detector": other}),
                        ("E-DATA-UNLABELLED", {"inputs": data.inputs}), ("E-DATA-RANGE", {"inputs": replace(data, inputs=data.inputs + 1)}),
                        ("E-NUMBERS", {"background": float("nan")})):
        with pytest.raises(AbsintError) as caught:
            absint.taboo_evaluate(graph, **{"inputs": data, "detector": traps, "attack": ("sign:eps=0.1",), **given})
        assert caught.value.code == code, given
    with pytest.raises(InputError) as caught:
        experiment(watching(graph, {0: 0.7}), data.select([]), "sign:eps=0.1")
    assert caught.value.code == "E-DATA-NONE"
