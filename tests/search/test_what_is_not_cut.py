"""`bab` alone says which operators keep the relaxation of the root, where that leaves an instance open; nobody else does."""

import pytest
import torch
from case_splits import Root

import absint
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion

POINT = torch.tensor([[0.5, 0.5, 0.5]])


def network(*layers):
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), *layers, torch.nn.Linear(8, 2)).eval()
    for place, parameter in enumerate(net.parameters()):
        parameter.data = torch.cos(1.7 * torch.arange(parameter.numel()) + place).reshape(parameter.shape)
    return net


def loaded(*layers):
    return absint.load(network(*layers), example_input=POINT)


def open_notes(domain, *layers):
    net, graph = network(*layers), loaded(*layers)
    label = int(net(POINT).argmax())
    (found,) = absint.verify(graph, POINT.numpy(), [label], "5", clip=None, domain=domain, attack="none")
    return found.verdict.value, " ".join(found.notes)


@pytest.mark.parametrize("domain", ["bab:nodes=20", "bab"])
def test_curved_networks_are_not_cut_and_that_is_said(domain):
    verdict, notes = open_notes(domain, torch.nn.Sigmoid())
    assert verdict == "unknown"
    assert "no cut of Sigmoid" in notes


def test_what_is_cut_is_not_named():
    graph = loaded(torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.Tanh())
    region = BoxRegion(-torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64))
    assert Root(graph, region, Numerics()).net.uncut == ["Tanh"]


def test_others_do_not_say_it():
    _, notes = open_notes("auto:undecided=1", torch.nn.Sigmoid())
    assert "no cut of" not in notes
