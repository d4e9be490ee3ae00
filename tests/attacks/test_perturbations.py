"""Perturbed inputs, all of them: noise, attacks that may change the object's support alone, and attacks that find nothing."""

from __future__ import annotations

import pytest
import torch
from bundled import digits, mnist

from absint.attacks.foolbox_attacks import Setting, attack, parse_attack
from absint.attacks.perturbations import NOISES, parse_perturbation, parse_perturbations
from absint.errors import UsageError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm

pytest.importorskip("foolbox", reason="the extra `attacks` is not installed")

EPS = 0.1
CONFINED = ("uniform:eps=0.2", "sign:eps=0.2", "fgsm:eps=0.2", "bim:eps=0.2", "pgd:eps=0.2,steps=5", "deepfool:steps=20",
            "cw:binary_search_steps=2,steps=20", "ddn:steps=20", "ead:steps=20", "fmn:steps=20")


def linear(weight, bias=(0.0, 0.0)):
    build = GraphBuilder("x", (len(weight[0]),))
    op = Gemm(torch.tensor(weight, dtype=torch.float64), torch.tensor(bias, dtype=torch.float64))
    return build.graph(build.add(op, ("x",), "y"))


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


# ---- noise ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_of_its_seed_and_of_at_most_eps(name):
    inputs, none = torch.full((6, 1, 5, 5), 0.5, dtype=torch.float64), torch.zeros(6, dtype=torch.int64)
    one, two, other = (parse_perturbation(f"{name}:eps={EPS}").sent(mnist(), inputs, none, Setting(seed=seed)).inputs for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    gap = (one - inputs).abs()
    assert bool((gap <= EPS + 1e-7).all())
    assert float(gap.max()) > 0.9 * EPS
    assert torch.equal(one, one.float().double())       # a number that can be sent
    wider = parse_perturbation(f"{name}:eps={2 * EPS}").sent(mnist(), inputs, none, Setting(seed=3)).inputs
    assert torch.allclose(wider - inputs, 2 * (one - inputs), atol=1e-6)


def test_signs_are_full_steps_both_ways_and_uniform_noise_fills_between():
    inputs, none = torch.full((400, 4), 0.5, dtype=torch.float64), torch.zeros(400, dtype=torch.int64)
    signs, uniform = ((parse_perturbation(f"{name}:eps={EPS}").sent(mnist(), inputs, none, Setting()).inputs - inputs) / EPS
                      for name in ("sign", "uniform"))
    assert torch.allclose(signs.abs(), torch.ones_like(signs), atol=1e-6)
    assert 0.4 < float((signs > 0).double().mean()) < 0.6
    assert [0.2 < float(((low <= uniform) & (uniform < low + 0.5)).double().mean()) < 0.3 for low in (-1.0, -0.5, 0.0, 0.5)] == [True] * 4


def test_noise_stays_in_the_data_range():
    inputs = torch.tensor([[0.0, 0.05, 0.95, 1.0]] * 20, dtype=torch.float64)
    found = parse_perturbation("sign:eps=0.3").sent(mnist(), inputs, torch.zeros(20, dtype=torch.int64), Setting()).inputs
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)


def test_eps_is_read_as_decimal_or_fraction():
    assert parse_perturbation("uniform:eps=8/255").eps == 8 / 255
    assert parse_attack("fgsm:eps=1/4").parameters["eps"] == 0.25
    for text in ("fgsm:eps=1/0", "fgsm:eps=a/b", "bim:steps=1/2", "uniform:steps=3"):
        with pytest.raises(UsageError) as caught:
            parse_perturbation(text)
        assert caught.value.code == "E-ATTACK-OPTION"
    with pytest.raises(UsageError) as caught:
        parse_perturbation("unifrom")
    assert caught.value.code == "E-ATTACK-UNKNOWN"
    assert "uniform" in caught.value.hint


def test_a_preset_stands_for_its_rows_and_each_row_is_there_once():
    found = parse_perturbations(("fgsm:eps=0.2", "both"), {"both": ("sign:eps=0.1", "fgsm:eps=0.2")})
    assert [one.text for one in found] == ["fgsm:eps=0.2", "sign:eps=0.1"]


# ---- attacks --------------------------------------------------------------------------------------------------------------


def test_a_step_of_eps_in_every_entry_is_as_long_as_that():
    graph, inputs = linear([[1.0, -2.0, 3.0, 1.0], [0.0, 1.0, 1.0, -1.0]]), torch.full((3, 4), 0.5, dtype=torch.float64)
    found = parse_perturbation(f"fgsm:eps={EPS}").sent(graph, inputs, torch.zeros(3, dtype=torch.int64), Setting()).inputs
    assert torch.allclose((found - inputs).norm(dim=1), torch.full((3,), EPS * 2, dtype=torch.float64), atol=1e-6)
    assert torch.equal((found - inputs).sign(), torch.tensor([[-1.0, 1.0, -1.0, -1.0]] * 3, dtype=torch.float64))     # y1 - y0 grows


@pytest.mark.parametrize(("text", "reach"), [("bim:eps=0.2", 0.2), ("bim:eps=0.2,steps=5", 0.1), ("bim:eps=0.2,steps=20", 0.2)])
def test_bim_makes_ten_steps_of_a_tenth_inside_the_ball(text, reach):
    graph, inputs, looks = linear([[1.0, -2.0], [0.0, 1.0]]), row(0.5, 0.5), []
    plan = parse_perturbation(text)
    found = plan.sent(graph, inputs, torch.tensor([0]), Setting(look=lambda: looks.append(0))).inputs
    assert torch.allclose((found - inputs).abs(), torch.full((1, 2), reach, dtype=torch.float64), atol=1e-6)
    assert len(looks) == plan.plan.parameters["steps"] + 1      # and one to see whether it succeeded
    assert parse_attack("bim").parameters == {"eps": 0.1, "steps": 10, "rel_stepsize": 0.1}


@pytest.mark.parametrize("name", ["bim", "pgd"])
def test_iterated_attacks_stay_in_their_ball(name):
    inputs, labels = digits(20)
    found = parse_perturbation(f"{name}:eps=0.15").sent(mnist(), inputs, labels, Setting()).inputs
    assert float((found - inputs).abs().max()) <= 0.15 + 1e-6
    assert float((found - inputs).abs().max()) > 0.14
    assert (mnist()(found).argmax(1) == labels).sum() < (mnist()(inputs).argmax(1) == labels).sum()


def test_attacks_go_away_from_the_label_not_from_the_answer():
    """An input that is classified wrongly is not driven back to its label."""
    graph, inputs = linear([[1.0], [-1.0]]), row(-0.5)     # answer 1, label 0
    found = parse_perturbation("fgsm:eps=0.1").sent(graph, inputs, torch.tensor([0]), Setting(clip=(-1.0, 1.0))).inputs
    assert float(found) == pytest.approx(-0.6)


@pytest.mark.parametrize("text", CONFINED)
def test_outside_of_the_support_every_bit_stays(text):
    inputs, labels = digits(12)
    inputs = torch.where(inputs > 0, inputs, 1 / 3)        # a background that float32 does not hold
    support = inputs != 1 / 3
    found = parse_perturbation(text).sent(mnist(), inputs, labels, Setting(support=support)).inputs
    assert torch.equal(found[~support], inputs[~support])
    assert bool(((found != inputs.float().double()) & support).any())
    assert bool(((found >= 0) & (found <= 1)).all())


@pytest.mark.parametrize("text", ["deepfool", "cw:steps=60,initial_const=10", "ddn:steps=60"])
def test_the_attack_itself_searches_in_the_support_alone(text):
    """Only the first entry may change, and a step that is split between both entries would not be long enough in the first one."""
    graph, inputs = linear([[1.0, 1.0], [0.0, 0.0]], (-0.5, 0.0)), row(0.6, 0.3).repeat(2, 1)
    support = torch.tensor([[True, False]] * 2)
    found = parse_perturbation(text).sent(graph, inputs, torch.tensor([0, 0]), Setting(support=support))
    assert graph(found.inputs).argmax(1).tolist() == [1, 1]
    assert torch.equal(found.inputs[:, 1], inputs[:, 1])
    assert not bool(found.gave_up.any())
    both = parse_perturbation(text).sent(graph, inputs, torch.tensor([0, 0]), Setting())
    cut = torch.where(support, both.inputs, inputs)
    assert graph(cut).argmax(1).tolist() == [0, 0]          # the claim is not empty


def test_an_attack_that_starts_from_another_input_cannot_be_confined():
    inputs, labels = digits(4)
    plan = parse_perturbation("boundary:steps=5")
    assert not plan.confinable
    with pytest.raises(UsageError) as caught:
        plan.sent(mnist(), inputs, labels, Setting(support=inputs != 0))
    assert caught.value.code == "E-ATTACK-REGION"


def test_an_attack_that_starts_elsewhere_starts_at_an_answer_that_is_not_the_label():
    inputs, labels = digits(12)
    found = parse_perturbation("boundary:steps=5").sent(mnist(), inputs, labels, Setting())
    assert bool((mnist()(found.inputs).argmax(1) != labels).all())


@pytest.mark.parametrize("text", ["cw:binary_search_steps=1,steps=5,initial_const=0.0001", "ead:binary_search_steps=1,steps=5",
                                  "ddn:steps=1", "fmn:steps=1"])
def test_an_attack_that_finds_nothing_sends_its_last_step_and_no_black_image(text):
    """Foolbox returns zeros then (C&W, EAD), or the input itself; zeros are of class 1 here, and were never sent by anyone."""
    graph, inputs = linear([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], (0.0, 0.5)), torch.full((2, 3), 0.9, dtype=torch.float64)
    found = parse_perturbation(text).sent(graph, inputs, torch.tensor([0, 0]), Setting())
    assert found.gave_up.tolist() == [True, True]
    assert float((found.inputs - inputs).abs().max()) < 0.2
    assert len(attack(graph, inputs, parse_attack(text)).inputs) == 0
    assert graph(torch.zeros(1, 3, dtype=torch.float64)).argmax(1).tolist() == [1]


@pytest.mark.parametrize("text", ["pgd:eps=0.1,steps=3", "cw:binary_search_steps=2,steps=10", "deepfool:steps=5"])
def test_attacks_are_of_their_seed(text):
    inputs, labels = digits(6)
    one, two = (parse_perturbation(text).sent(mnist(), inputs, labels, Setting(seed=2)) for _ in range(2))
    assert torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.gave_up, two.gave_up)


def test_where_a_thing_comes_from_is_told():
    for text in ("sign:eps=0.1", "fgsm:eps=0.1"):
        notes = parse_perturbation(text).provenance(Setting((0.0, 0.5), 7), "abc")
        assert (notes["attack"], notes["parameters"], notes["seed"], notes["clip"]) == (text.partition(":")[0], {"eps": 0.1}, 7, [0.0, 0.5])
