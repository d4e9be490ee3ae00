"""The relations of the input-validation paper on real data: acceptance checks 2 to 6 of its reproduction.

Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification, sections 3 and 4.
"""

from __future__ import annotations

from fractions import Fraction

import exact
import numpy as np
import pytest
import torch
from places import SHARED

import absint
from absint import samples
from absint.analyses.validate.evaluation import EvaluationPlan, evaluate
from absint.analyses.validate.validator import RadiusValidator
from absint.attacks.foolbox_attacks import parse_attack
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.problem.data_frontend import read_data

IMAGES = SHARED / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
ATTACKS = ("fgsm:eps=0.1", "fgsm:eps=0.05", "cw", "hopskipjump:steps=10,max_gradient_eval_steps=500")
COUNT = 40


@pytest.fixture(scope="module")
def found():
    pytest.importorskip("foolbox", reason="the extra `attacks` is not installed")
    if not IMAGES.exists():
        pytest.skip("the MNIST test images are not beside this checkout")
    graph = absint.load(samples.network_path("mnist_relu_3x50"))
    plan = EvaluationPlan(tuple(map(parse_attack, ATTACKS)), count=COUNT, calibration=200)
    return evaluate(RadiusValidator(graph, "zonotope", rate="0.05"), read_data(IMAGES).shaped_for(graph.input.shape), plan)


def test_means_are_ordered(found):
    valid, mis, strong, weak, cw, hop = (category.mean() for category in found.categories)
    assert valid >= 2 * mis
    assert valid > strong > weak > cw >= hop


def test_the_threshold_keeps_its_rate_on_other_inputs(found):
    rate, _ = found.held_out()
    assert rate <= 0.05 + 2 * (0.05 * 0.95 / COUNT) ** 0.5


def test_the_threshold_rejects_what_is_invalid(found):
    _, mis, _, weak, cw, hop = (category.rejected(found.rule.threshold) / COUNT for category in found.categories)
    assert min(cw, hop) >= 0.95
    assert min(mis, weak) >= 0.5
    assert found.rocs["cw"].auc >= 0.97


def tiny(random: np.random.Generator) -> Graph:
    build = GraphBuilder("x", (2,))
    first, bias, last = (torch.from_numpy(random.normal(size=size)) for size in ((4, 2), 4, (3, 4)))
    hidden = build.add(Relu(), (build.add(Gemm(first, bias), ("x",)),))
    return build.graph(build.add(Gemm(last), (hidden,)))


def exactly_robust(graph: Graph, center: np.ndarray, radius: Fraction, label: int) -> bool:
    """In rationals: the label's output stays the strict maximum over the ball met with [0, 1]."""
    lower = [max(Fraction(float(c)) - radius, Fraction(0)) for c in center]
    upper = [min(Fraction(float(c)) + radius, Fraction(1)) for c in center]
    rows = [[Fraction(int(k == label) - int(k == other)) for k in range(3)] for other in range(3) if other != label]
    return all(exact.minimum(graph, lower, upper, row, Fraction(0)) > 0 for row in rows)


@pytest.mark.parametrize("domain", ["zonotope", "deeppoly", "auto"])
def test_certified_radii_are_at_most_the_exact_ones(domain):
    random = np.random.default_rng(1)
    reached = 0
    for _ in range(8):
        graph, center = tiny(random), random.random(size=(1, 2))
        (result,) = absint.radius(graph, center, upper="0.5", tolerance="0.02", domain=domain)
        assert result.certified == 0 or exactly_robust(graph, center[0], result.certified, result.predicted)
        step = Fraction("0.5") / 2**5
        reached += exactly_robust(graph, center[0], step, result.predicted) and result.certified > 0
    assert reached >= 4, "the radii are vacuous"
