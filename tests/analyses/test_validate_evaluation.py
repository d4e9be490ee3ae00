"""Attacks, ROC curves, and the paper's experiment in small on a bundled network."""

from __future__ import annotations

import io
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from absint import samples
from absint.analyses.validate.evaluation import EvaluationPlan, evaluate, summary
from absint.analyses.validate.figures import histograms, roc_curves
from absint.analyses.validate.record import Category
from absint.analyses.validate.validator import RadiusValidator
from absint.attacks import foolbox_attacks
from absint.attacks.foolbox_attacks import ATTACK_KINDS, attack, parse_attack
from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.model.frontend import load_model
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.numeric.statistics import roc
from absint.problem.dataset import Dataset
from absint.reports.figures import draw

pytest.importorskip("foolbox", reason="the extra `attacks` is not installed")

SMALL = {"fgsm": "fgsm:eps=0.2", "pgd": "pgd:eps=0.2,steps=5", "cw": "cw:binary_search_steps=3,steps=20", "deepfool": "deepfool:steps=20",
         "hopskipjump": "hopskipjump:steps=2,initial_gradient_eval_steps=20,max_gradient_eval_steps=50", "boundary": "boundary:steps=50",
         "bim": "bim:eps=0.2", "ddn": "ddn:steps=20", "ead": "ead:steps=20", "fmn": "fmn:steps=20"}
CW = "cw:binary_search_steps=3,steps=40"


@pytest.fixture(scope="module")
def graph():
    return load_model(samples.network_path("mnist_relu_3x50"))


@pytest.fixture(scope="module")
def data(graph):
    return samples.data("mnist").shaped_for(graph.input.shape)


@pytest.fixture(scope="module")
def evaluation(graph, data):
    validator = RadiusValidator(graph, "zonotope", rate="0.05")
    plan = EvaluationPlan(tuple(map(parse_attack, ("fgsm:eps=0.1", CW))), count=25, calibration=60,
                          thresholds=tuple(Fraction(k, 200) for k in range(1, 9)))
    return evaluate(validator, data, plan)


# ---- attacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ATTACK_KINDS)
def test_adversarial_inputs_are_in_range_and_change_the_answer(graph, data, name):
    inputs = torch.from_numpy(data.inputs[:12])
    found = attack(graph, inputs, parse_attack(SMALL[name]), seed=5)
    assert 0 < len(found.inputs) <= 12 == found.tried
    assert found.inputs.dtype == torch.float64
    assert bool(((found.inputs >= 0) & (found.inputs <= 1)).all())
    assert torch.equal(found.predicted, graph(found.inputs).argmax(1))
    assert torch.equal(found.original, graph(inputs[found.source]).argmax(1))
    assert bool((found.predicted != found.original).all())
    if name in ("fgsm", "bim", "pgd"):
        assert found.distances(inputs)["linf"] <= 0.2 + 1e-6


@pytest.mark.parametrize("name", ["pgd", "hopskipjump", "boundary"])
def test_a_seed_fixes_the_attack_and_leaves_the_generator_alone(graph, data, name):
    inputs, plan = torch.from_numpy(data.inputs[:12]), parse_attack(SMALL[name])
    one = attack(graph, inputs, plan, seed=1)
    before = torch.get_rng_state()
    two, three = attack(graph, inputs, plan, seed=1), attack(graph, inputs, plan, seed=2)
    assert torch.equal(one.inputs, two.inputs)
    assert len(one.inputs)
    assert one.inputs.shape != three.inputs.shape or not torch.equal(one.inputs, three.inputs)
    assert torch.equal(before, torch.get_rng_state())


def test_what_does_not_change_the_answer_is_no_adversarial_input(graph, data):
    found = attack(graph, torch.from_numpy(data.inputs[:10]), parse_attack("fgsm:eps=0"))
    assert (len(found.inputs), found.tried) == (0, 10)
    assert np.isnan(found.distances(torch.from_numpy(data.inputs[:10]))["l2"])


def test_adversarial_inputs_are_in_range_to_the_last_bit(graph, data):
    """float32(0.8) is above 0.8."""
    inputs = torch.from_numpy(data.inputs[:12]).clamp(max=0.8)
    found = attack(graph, inputs, parse_attack("fgsm:eps=0.2"), clip=(0.0, 0.8))
    assert len(found.inputs)
    assert float(found.inputs.max()) == 0.8


def test_a_module_is_attacked_like_a_graph():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    inputs = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module[1].weight.copy_(torch.eye(3, 4))
        module[1].bias.zero_()
    found = attack(module, inputs.double(), parse_attack("deepfool"))
    assert len(found.inputs) >= 6
    assert torch.equal(found.predicted, module(found.inputs.float()).argmax(1))


def test_a_saved_set_states_where_it_comes_from(graph, data):
    found = attack(graph, torch.from_numpy(data.inputs[:10]), parse_attack("fgsm:eps=0.2"), seed=4, model_sha256=graph.source.sha256)
    file = io.BytesIO()
    found.save(file)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        assert np.array_equal(archive["images"], found.inputs.numpy())
        assert np.array_equal(archive["labels"], found.original.numpy())
        notes = json.loads(str(archive["provenance"]))
    assert notes["attack"] == "fgsm"
    assert notes["parameters"] == {"eps": 0.2}
    assert (notes["seed"], notes["model_sha256"]) == (4, graph.source.sha256)
    assert {"foolbox", "torch", "numpy"} <= set(notes["versions"])


@pytest.mark.parametrize(("text", "code"), [
    ("fsgm", "E-ATTACK-UNKNOWN"), ("fgsm:epsilon=1", "E-ATTACK-OPTION"), ("fgsm:eps=-1", "E-ATTACK-OPTION"),
    ("cw:steps=many", "E-ATTACK-OPTION"),
    ("fgsm:eps=nan", "E-ATTACK-OPTION"), ("hopskipjump:constraint=l7", "E-ATTACK-OPTION"), ("fgsm:eps=inf", "E-ATTACK-OPTION"),
])
def test_senseless_attacks_are_refused(text, code):
    with pytest.raises(UsageError) as caught:
        parse_attack(text)
    assert caught.value.code == code


def test_inputs_outside_the_range_or_of_one_class_are_refused(graph, data):
    inputs = torch.from_numpy(data.inputs[:3])
    for bad, plan, code in ((inputs + 2, "fgsm", "E-DATA-RANGE"), (inputs * np.nan, "fgsm", "E-DATA-RANGE"),
                            (inputs[:1].repeat(3, 1, 1, 1), "boundary", "E-ATTACK-FAILED")):
        with pytest.raises(AbsintError) as caught:
            attack(graph, bad, parse_attack(plan))
        assert caught.value.code == code


def test_without_foolbox_the_extra_is_named(monkeypatch, graph, data):
    monkeypatch.setattr(foolbox_attacks, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as caught:
        attack(graph, torch.from_numpy(data.inputs[:3]), parse_attack("fgsm"))
    assert caught.value.code == "E-ATTACK-MISSING"
    assert "absint[attacks]" in caught.value.hint


# ---- counting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_area_counts_pairs_and_ties_by_half(seed):
    draw = np.random.default_rng(seed)
    valid, invalid = draw.integers(3, 12, 40).tolist(), draw.integers(0, 8, 25).tolist()
    pairs = [(v > k) + (v == k) / 2 for v in valid for k in invalid]
    found = roc(valid, invalid)
    assert found.auc == pytest.approx(np.mean(pairs), abs=1e-12)
    for side in (found.false_alarms, found.detected):
        assert list(side) == sorted(side)
        assert (side[0], side[-1]) == (0.0, 1.0)


def test_the_area_of_separated_and_of_equal_radii():
    assert roc([5, 6], [1, 2]).auc == 1.0
    assert roc([1, 2], [5, 6]).auc == 0.0
    assert roc([3, 3], [3]).auc == 0.5


def test_categories_are_the_first_of_the_data(evaluation, graph, data):
    predicted = graph(torch.from_numpy(data.inputs)).argmax(1).numpy()
    right, wrong = (np.flatnonzero(same).tolist() for same in (predicted == data.labels, predicted != data.labels))
    valid, mis, *attacked = evaluation.categories
    assert [c.name for c in evaluation.categories] == ["valid", "misclassified", "fgsm:eps=0.1", CW]
    assert list(valid.originals) == right[:25]
    assert list(mis.originals) == wrong[:25]
    for category in attacked:
        found = evaluation.adversarials[category.name]
        assert len(category) == len(found.inputs) <= 25
        assert [data.labels[k] for k in category.originals] == found.original.tolist()
        assert set(category.originals) <= set(right)
        assert len(category) == 25 or category.tried == len(right)    # slice by slice until there are enough
    assert attacked[0].tried > 25
    assert len(attacked[1]) == 25 < attacked[1].tried     # one of the first 25 is never found adversarial


def planted(sizes, labels):
    """Inputs of y = x whose radii are known, in steps and half a step more, all of class 0."""
    r = (np.asarray(sizes) + 0.5) * 0.0005
    return Dataset(np.stack([0.5 + r, 0.5 - r], 1), np.array(labels), "planted", "")


def test_every_category_is_counted_on_its_own_inputs():
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Gemm(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)), ("x",), "y"))
    wrong, valid, other = list(range(12)), list(range(100, 110)), list(range(20, 80))
    data = planted([*wrong, *valid, *other, 400], [1] * 12 + [0] * 71)
    validator = RadiusValidator(graph, "zonotope", rate="0.05")
    found = evaluate(validator, data, EvaluationPlan((), count=10, calibration=60, thresholds=(Fraction("0.0525"), Fraction("0.0526"))))
    assert [list(c.steps) for c in found.categories] == [valid, wrong[:10]]
    assert [list(c.originals) for c in found.categories] == [list(range(12, 22)), list(range(10))]
    assert validator.calibration.radii == tuple(other)
    assert (found.rule.threshold, found.calibration) == (23, (3, 60))
    assert found.thresholds == (23, 105, 106)
    assert [found.valid.rejected(k) for k in found.thresholds] == [0, 5, 6]
    assert found.valid.mean() == pytest.approx(104.5 * 0.0005)
    assert found.rocs["misclassified"].auc == 1.0


def test_the_calibration_is_on_other_inputs(evaluation, data):
    assert evaluation.calibration[1] == 60
    assert set(evaluation.valid.originals) == set(range(26)) - {8}    # input 8 is the misclassified one
    rate, (low, high) = evaluation.held_out()
    assert low <= rate <= high
    assert rate <= 0.05 + 2 * (0.05 * 0.95 / 25) ** 0.5


def test_invalid_inputs_have_smaller_radii(evaluation):
    valid, mis, fgsm, cw = (category.mean() for category in evaluation.categories)
    assert valid >= 2 * mis
    assert valid > fgsm > cw
    assert evaluation.rocs[CW].auc >= 0.97
    assert evaluation.categories[3].rejected(evaluation.rule.threshold) >= 0.95 * 25


def test_rejections_grow_with_the_threshold(evaluation):
    for category in evaluation.categories:
        counts = [category.rejected(k) for k in evaluation.thresholds]
        assert counts == sorted(counts)
    assert evaluation.rule.threshold in evaluation.thresholds


def test_algorithm_2_is_counted_in_sequence_and_shuffled(evaluation):
    assert [w.order for w in evaluation.windows] == ["sequence", *(f"shuffle {k}" for k in range(10))]
    for count in evaluation.windows:
        assert all(0 <= count.rejected[c.name] <= len(c) for c in evaluation.categories)


def test_a_category_is_read_back_as_it_was_written(evaluation):
    for category in evaluation.categories:
        row = json.loads(json.dumps(category.as_dict(), allow_nan=False))
        found = Category.from_dict(row)
        assert found.as_dict() == row
        assert (found.steps, found.originals, found.name, found.step) == (category.steps, category.originals, category.name, category.step)
        assert row["inputs"] == len(category)
        shown = next(one for one in summary(evaluation)["categories"] if one["category"] == category.name)
        assert shown.items() >= {key: row[key] for key in ("mean_radius", "normality_p", "mean_linf", "calls")}.items()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("make", [histograms, roc_curves])
def test_pictures_are_written(evaluation, make, suffix):
    pytest.importorskip("matplotlib")
    file, figure = io.BytesIO(), make(evaluation, "a $ title")
    draw(figure, file, suffix)
    assert file.getvalue().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    if suffix == ".svg":
        assert file.getvalue().count(b"<path") > 10


def test_a_histogram_counts_every_input_and_marks_the_threshold(evaluation):
    figure = histograms(evaluation, "t")
    for category, panel in zip(evaluation.categories, figure.panels, strict=True):
        assert sum(panel.series[0].y) == len(category)
        assert panel.marks == (float(evaluation.rule.threshold * evaluation.step),)
    assert [series.label.split(" (")[0] for series in roc_curves(evaluation, "t").panels[0].series] == list(evaluation.rocs)


def test_an_evaluation_needs_labels_and_enough_inputs(graph, data):
    from dataclasses import replace

    validator = RadiusValidator(graph, "zonotope", rate="0.05")
    for bad, plan, code in ((replace(data, labels=None), EvaluationPlan(()), "E-DATA-UNLABELLED"),
                            (data, EvaluationPlan((), count=60, calibration=60), "E-EVALUATION-FEW")):
        with pytest.raises(InputError) as caught:
            evaluate(validator, bad, plan)
        assert caught.value.code == code
