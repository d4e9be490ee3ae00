"""What users hand over may lie on the device, whatever device is asked for: it is brought home, and the answers are the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from bundled import digits, mnist
from fake_device import NAME
from regional import randn
from torch import Tensor, nn

import absint
from absint.analyses.verify import ProofSettings, robustness, verify
from absint.attacks.foolbox_attacks import attack, parse_attack
from absint.errors import AbsintError
from absint.problem.live import region_of
from absint.problem.problem import Problem
from absint.problem.regions import L2Ball, Patches, Photometric, ZonotopeRegion
from absint.problem.regions.region import BoxRegion, LinfBall, Region
from absint.problem.spec import Spec
from device.compared import HOST, equal, scenario
from device.runs import SLACK, F, pictures, regions, small, told


def sent(value: Any) -> Any:
    """The value with its tensors on the device."""
    return value.to(NAME) if isinstance(value, Tensor) else value


def abroad(region: Region) -> Region:
    """The region as a user states it with tensors on the device."""
    assert is_dataclass(region)
    return type(region)(**{field.name: sent(getattr(region, field.name)) for field in fields(region)})    # type: ignore[return-value]


def alike(run: Callable[[Callable[[Any], Any], str], Any], where: str = "", devices: Sequence[str] = (NAME,)) -> None:
    """`run(send, device)` finds the same whether tensors are sent to the device or not."""
    for device in devices:
        equal(run(sent, device), run(lambda value: value, device), f"{where} on {device}", SLACK)


@scenario("doors")
def inputs_labels_targets_and_radii(device: object) -> None:
    x = pictures()
    plain = absint.verify(small(), x, eps=0.05, domain="deeppoly", attack="none")
    labels = torch.tensor([one.predicted for one in plain])
    for eps in (torch.tensor(0.05), torch.tensor([0.01, 0.05, 0.02]), torch.full((3, 1, 4, 4), 0.05)):
        alike(lambda send, there, eps=eps: told(absint.verify(small(), send(x), send(labels), send(eps), domain="deeppoly", device=there,
                                                              attack="none")), f"eps of shape {tuple(eps.shape)}")
    alike(lambda send, there: told(absint.verify(small(), send(x), send(labels), 0.05, targets=send((labels + 1) % 3), domain="zonotope",
                                                 device=there, attack="none")), "targets")
    alike(lambda send, there: told(absint.verify(small(), [send(one) for one in x], list(labels), [0.01, 0.02, 0.03], domain="box",
                                                 clip=send(torch.tensor([0.0, 1.0])), device=there, attack="none")), "lists")


@scenario("doors")
def means_and_deviations(device: object) -> None:
    def run(send: Callable[[Any], Any], there: str) -> Any:
        net = absint.load(small(), mean=send(torch.tensor([0.1])), std=send(torch.tensor(0.5)))
        return told(absint.verify(net, pictures(), eps=0.05, domain="deeppoly", device=there, attack="none"))

    alike(run)


@scenario("doors")
def every_kind_of_region(device: object) -> None:
    """What a run is about lies at home, whole, and is the same set."""
    rows, instance = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64), torch.arange(3)
    for kind, make in regions().items():
        there, here = region_of(small(), abroad(make()))[0], make()
        assert {value.device.type for value in vars(there).values() if isinstance(value, Tensor)} <= {HOST}, kind
        for one, two in ((there, here), (there.take(instance[1:]), here.take(instance[1:]))):
            count = one.batch
            equal([one.hull.lower, one.hull.upper, one.center, one.lower_of(rows[:count], instance[:count], one.center)],
                  [two.hull.lower, two.hull.upper, two.center, two.lower_of(rows[:count], instance[:count], two.center)], kind)
            point = two.center[1].numpy()
            assert (one.contains(1, point), *one.project(1, point).flatten()) == (two.contains(1, point), *two.project(1, point).flatten())
    for make in (lambda: L2Ball(pictures(), F("0.1")), lambda: Photometric(pictures(), (F("0.95"), F("1.05")))):
        equal(told(absint.verify(small(), abroad(make()), domain="deeppoly", device=NAME, attack="none")),
              told(absint.verify(small(), make(), domain="deeppoly", device=NAME, attack="none")), "regions", SLACK)


@scenario("doors")
def a_witness_in_a_region_of_the_device(device: object) -> None:
    x = pictures(1)
    for make in (lambda: BoxRegion(x - 0.8, x + 0.8), lambda: LinfBall(x, torch.tensor(0.8, dtype=torch.float64), None),
                 lambda: L2Ball(x, torch.tensor([5.0], dtype=torch.float64), None), lambda: Patches(4, 4, (-1.0, 2.0)).of(x)[0]):
        found = told(absint.verify(small(), abroad(make()), domain="deeppoly"))
        assert found[0]["verdict"] == "falsified", found
        equal(found, told(absint.verify(small(), make(), domain="deeppoly")), "witness")


@scenario("doors")
def problems_put_together_by_hand(device: object) -> None:
    x, labels = pictures(), torch.tensor([0, 0, 0])
    weight, bias = torch.eye(3, dtype=torch.float64)[None].repeat(3, 1, 1), torch.full((3, 3), 0.5, dtype=torch.float64)

    def by_rows(send: Callable[[Any], Any], there: str) -> Any:
        region = BoxRegion(send(x - 0.05), send(x + 0.05))
        rows = Spec.rows(send(weight), send(bias))
        problem = Problem(small(), region, lambda index: rows.take(index.to(rows.weight.device)), (0, 1, 2))
        return told(verify(problem, ProofSettings(domain="deeppoly", device=there, attack=None)))

    def by_labels(send: Callable[[Any], Any], there: str) -> Any:
        region = BoxRegion(send(x - 0.05), send(x + 0.05))
        found = []
        for targets in (None, send(labels + 1)):
            asked = robustness(small(), region, send(labels), targets=targets)
            found += told(verify(asked, ProofSettings(domain="zonotope", device=there, attack=None)))
        return found

    alike(by_rows, "rows", (HOST, NAME))
    alike(by_labels, "labels", (HOST, NAME))


@scenario("doors")
def bounds_and_their_gradients(device: object) -> None:
    """The gradient arrives where the inputs are."""
    def run(send: Callable[[Any], Any], there: str) -> Any:
        x = send(pictures()).requires_grad_()
        radius = send(torch.tensor(0.05)).requires_grad_()
        found = absint.bounds(small(), x, radius, device=there, differentiable=True, domain="deeppoly")["y"]
        found.lower.sum().backward()
        assert x.grad is not None
        assert radius.grad is not None
        assert (x.grad.device, radius.grad.device) == (x.device, radius.device)
        return [found.lower, x.grad, radius.grad]

    alike(run)
    alike(lambda send, there: [torch.as_tensor(one) for one in vars(absint.bounds(
        small(), send(pictures()), 0.05, device=there, affine=True, domain="deeppoly")["y"].affine).values() if not isinstance(one, str)])


@scenario("doors")
def radii_and_validation(device: object) -> None:
    x, labels = digits(22)
    alike(lambda send, there: told(absint.radius(small(), send(pictures()), tolerance="0.06", norm="l2", device=there)))

    def validated(send: Callable[[Any], Any], there: str) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            more = {"domain": "box", "upper": "0.004", "tolerance": "0.002", "device": there}
            file = Path(folder) / "calibration.json"
            absint.validate_calibrate(mnist(), send(x), send(labels), rate="0.2", window=20, calibration=file, **more)
            held = absint.RadiusValidator(mnist(), "box", upper="0.004", tolerance="0.002").load_state(file)
            return [told(absint.validate_run(mnist(), send(x[:2]), calibration=file, device=there)),
                    [bool(one) for one in held.predict(send(x[:2]))[1]]]

    alike(validated)


def classifier() -> nn.Module:
    """It tells the pictures apart."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    for number, values in enumerate(module.parameters()):
        values.data = randn(*values.shape, seed=30 + number).float() / 4
    return module


@scenario("doors", slow=True)
def a_module_on_the_device(device: object) -> None:
    module = classifier().to(NAME)
    net = absint.load(module, example_input=sent(pictures(1).float()))
    assert next(module.parameters()).device.type == NAME, "the user's module stays where it was"
    equal(net(pictures()).float(), classifier()(pictures().float()), "outputs", 1e-6)
    equal(told(absint.verify(module, sent(pictures()), eps=0.02, domain="deeppoly", attack="none", device=NAME)),
          told(absint.verify(net, pictures(), eps=0.02, domain="deeppoly", attack="none")), "module", SLACK)


@scenario("doors")
def adversarial_inputs(device: object) -> None:
    """Of a network, and of the user's own module wherever it lies."""
    module, x = classifier(), pictures(6).float()

    def made(send: Callable[[Any], Any], model: Any, plan: str) -> Any:
        found = attack(model, send(x), parse_attack(plan))
        assert found.tried == len(x)
        return [found.inputs, found.source, found.original, found.predicted, found.distances(send(x))]

    for plan in ("fgsm:eps=0.3", "pgd:eps=0.3,steps=3", "cw:steps=2,binary_search_steps=1", "deepfool:steps=3",
                 "hopskipjump:steps=1,initial_gradient_eval_steps=4,max_gradient_eval_steps=8", "boundary:steps=4"):
        here = made(lambda value: value, module, plan)
        equal(made(sent, module, plan), here, plan)
        equal(made(sent, classifier().to(NAME), plan), here, plan)


@scenario("doors")
def parts_on_two_devices(device: object) -> None:
    """A coded message, not torch's."""
    x = pictures()
    for code, make in (("E-REGION", lambda: BoxRegion(sent(x), x)), ("E-REGION", lambda: ZonotopeRegion(sent(x), x[:, None])),
                       ("E-SPEC", lambda: Spec.rows(sent(torch.zeros(1, 2, 3, dtype=torch.float64)), torch.zeros(1, 2)))):
        with pytest.raises(AbsintError) as caught:
            make()
        assert caught.value.code == code
        assert NAME in str(caught.value)
