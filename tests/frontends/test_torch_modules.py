"""Torch modules as models: the graph is the module, the module stays as it was, and every refusal has its code."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

import absint
from absint.errors import AbsintError
from absint.frontends.torch_module import TorchFrontEnd

pytest.importorskip("onnxscript", reason="extra torch-export")
pytestmark = pytest.mark.usefixtures("exporter")


def settle(module, seed=0):
    """Random parameters and running statistics, in eval mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
        for part in module.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=draw) * 0.2)
                part.running_var.copy_(torch.rand(part.running_var.shape, generator=draw) + 0.5)
    return module.eval()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.second, self.last = nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Linear(12, 4)

    def forward(self, x):
        y = torch.relu(self.norm(self.first(x)))
        y = torch.relu(y + self.second(y))
        return self.last(nn.functional.avg_pool2d(y, 2).flatten(1))


class Viewed(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return torch.sigmoid(self.last(x.view(x.size(0), -1)))


class Written(nn.Module):
    """A module from a forward function."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.function(self, x)


def mlp():
    return settle(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)))


def cnn():
    return settle(nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(36, 8),
        nn.BatchNorm1d(8), nn.LeakyReLU(0.1), nn.Linear(8, 3),
    ))


MODELS = {"mlp": (mlp, (5,)), "cnn": (cnn, (1, 8, 8)), "residual": (lambda: settle(Residual()), (2, 4, 4)),
          "viewed": (lambda: settle(Viewed()), (2, 2, 2))}


def failure(*args, **options):
    with pytest.raises(AbsintError) as caught:
        absint.load(*args, **options)
    return caught.value


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_the_module(name):
    make, shape = MODELS[name]
    module = make()
    graph = absint.load(module, example_input=torch.zeros(7, *shape), check_range=(-1.0, 2.0))
    assert graph.input.shape == shape
    assert graph.source.batched
    assert type(module).__name__ in graph.source.path
    x = torch.randn(9, *shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():  # attributes such as BatchNorm's eps are float32 in ONNX
        torch.testing.assert_close(graph(x.double()), module.double()(x.double()), rtol=1e-6, atol=1e-8)


def test_constants_that_round_are_computed_at_export_and_named():
    """weight = g v / |v| depends on parameters alone, but is no exact constant."""
    module = settle(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 2)))
    graph = absint.load(module, example_input=torch.zeros(1, 4))
    assert any("computed at export" in note for note in graph.source.notes)
    assert not any("computed at export" in note for note in absint.load(mlp(), example_input=torch.zeros(1, 5)).source.notes)
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(graph(x.double()).float(), module(x).detach(), rtol=1e-5, atol=1e-6)


def test_batch_normalisation_is_not_folded_in_float32():
    module = cnn()
    types = {type(node.op).__name__ for node in absint.load(module, example_input=torch.zeros(1, 1, 8, 8), fold=False).nodes}
    assert types & {"Affine", "BatchNormalization"}


def test_verdicts_and_margins_are_those_of_the_onnx_route(tmp_path):
    module = cnn()
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    labels = module(x).argmax(1)
    torch.onnx.export(module, (x[:1],), tmp_path / "net.onnx", dynamo=True, optimize=False, verbose=False)
    graphs = [absint.load(module, example_input=x, mean=[0.1], std=[0.5]), absint.load(tmp_path / "net.onnx", mean=[0.1], std=[0.5])]
    ours, theirs = (absint.verify(graph, x, labels, "0.01", domain="deeppoly") for graph in graphs)
    assert [(r.verdict, r.margin) for r in ours] == [(r.verdict, r.margin) for r in theirs]
    assert "verified" in {r.verdict.value for r in ours}
    assert graphs[0].source.sha256 == absint.load(module, example_input=x).source.sha256


def test_the_module_stays_as_it_was():
    module = cnn()
    module[5].weight.requires_grad_(False)
    module[0].weight.grad = torch.ones_like(module[0].weight)
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    before, generator = copy.deepcopy(module.state_dict()), torch.random.get_rng_state()
    flags = [p.requires_grad for p in module.parameters()]
    example = torch.zeros(2, 1, 8, 8, requires_grad=True)
    absint.load(module, example_input=example)
    after = module.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert [p.requires_grad for p in module.parameters()] == flags
    assert torch.equal(module[0].weight.grad, torch.ones_like(module[0].weight))
    assert not any(part.training for part in module.modules())
    assert example.grad is None
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_counters_of_the_module_are_not_advanced():
    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return torch.relu(x * self.weight)

    module = Written(forward).eval()
    absint.load(module, example_input=torch.zeros(1, 3))
    assert not hasattr(module, "calls")


def test_examples_may_be_arrays_of_another_format_and_modules_float64_or_without_batch():
    assert absint.load(mlp(), example_input=(np.zeros((2, 5), dtype=np.uint8),)).input.shape == (5,)
    double = absint.load(mlp().double(), example_input=torch.zeros(1, 5))
    torch.testing.assert_close(double(torch.ones(1, 5).double()), mlp().double()(torch.ones(1, 5).double()).detach())
    single = absint.load(mlp(), example_input=torch.zeros(5))
    assert not single.source.batched


@pytest.mark.parametrize("dynamic", [False, True])
def test_exported_programs(dynamic):
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(cnn(), (torch.zeros(3 if dynamic else 1, 1, 8, 8),), dynamic_shapes=shapes)
    graph, direct = absint.load(program), absint.load(cnn(), example_input=torch.zeros(1, 1, 8, 8))
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    assert graph.source.batched
    assert torch.equal(graph(x), direct(x))


def test_training_mode_is_refused_with_every_part_named():
    module = mlp()
    module[2].train()
    error = failure(module, example_input=torch.zeros(1, 5))
    assert (error.code, error.exit_code) == ("E-MODEL-TRAINING", 3)
    assert "'2' Dropout" in error.render()
    assert "module.eval()" in error.render()
    assert module[2].training
    program = torch.export.export(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), (torch.zeros(1, 3),))
    assert failure(program).code == "E-MODEL-TRAINING"


X = torch.zeros(1, 3)
REFUSED = {
    "no example": (lambda m, x: x, None, "E-EXAMPLE-INPUT"),
    "no tensor": (lambda m, x: x, "picture.png", "E-EXAMPLE-INPUT"),
    "no axis": (lambda m, x: x, torch.tensor(1.0), "E-EXAMPLE-INPUT"),
    "no instance": (lambda m, x: x, torch.zeros(0, 3), "E-EXAMPLE-INPUT"),
    "two examples": (lambda m, x: x, (X, X), "E-MODEL-INPUTS"),
    "two outputs": (lambda m, x: (x, -x), X, "E-MODEL-OUTPUTS"),
    "a word beside the scores": (lambda m, x: {"logits": x, "name": "net"}, X, "E-MODEL-OUTPUTS"),
    "class numbers": (lambda m, x: (x * m.weight).argmax(1), X, "E-MODEL-OUTPUTS"),
    "wrong shape": (lambda m, x: torch.relu(x @ torch.ones(4, 2)), X, "E-MODEL-EXPORT"),
    "a branch on a value": (lambda m, x: x * m.weight if x.sum() > 0 else -x, X, "E-MODEL-EXPORT"),
    "a random operator": (lambda m, x: x * m.weight + torch.rand_like(x), X, "E-OP-UNSUPPORTED"),
    "dropout that is always on": (lambda m, x: nn.functional.dropout(x * m.weight, 0.5, training=True), X, "E-OP-UNSUPPORTED"),
    "an output that ignores the input": (lambda m, x: m.weight.expand(1, 3) + 0, X, "E-MODEL-OUTPUTS"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported_is_refused(case, capfd):
    function, example, code = REFUSED[case]
    error = failure(Written(function).eval(), example_input=example)
    assert error.code == code, error.render()
    assert error.hint or error.details
    assert capfd.readouterr().out == ""


def test_one_of_several_outputs_is_chosen_by_key_or_place():
    """Each is compared with what the module itself returns there; what is not analysed is said."""
    several = Written(lambda m, x: {"x": x * m.weight, "aux": (torch.relu(x), x.argmax(1))}).eval()
    graph = absint.load(several, example_input=X, output="aux.0")
    assert torch.equal(graph(torch.tensor([[-1.0, 2.0, 3.0]]).double()), torch.tensor([[0.0, 2.0, 3.0]]).double())
    assert any("'aux.0'" in note and "not analysed" in note for note in graph.source.notes)
    assert "'x_'" in failure(several, example_input=X).render()     # the input has that name already
    alone = absint.load(Written(lambda m, x: (torch.relu(x), x.argmax(1))).eval(), example_input=X)     # the only scores
    assert alone.output.size == 3


def test_two_inputs_of_forward():
    class Two(nn.Module):
        def forward(self, image, mask):
            return image * mask

    error = failure(Two().eval(), example_input=X)
    assert error.code == "E-MODEL-INPUTS"
    assert "image, mask" in error.render()


def test_integers_for_a_module_without_parameters():
    assert failure(nn.ReLU().eval(), example_input=torch.zeros(1, 3, dtype=torch.int64)).code == "E-MODEL-INPUTS"


def test_a_module_that_changes_between_calls_is_a_mismatch():
    """Exported once with one value, run with others: only the comparison with the module itself can tell."""
    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return torch.relu(x * self.weight) * self.calls

    error = failure(Written(forward).eval(), example_input=X)
    assert error.code == "E-IMPORT-MISMATCH"
    assert "the module" in error.render()


@pytest.mark.parametrize("name", ["net.pt", "NET.PTH", "net.pt2", "model.ckpt", "model.pkl"])
def test_saved_modules_are_never_opened(tmp_path, name):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    torch.save(Trap(), tmp_path / name)
    error = failure(tmp_path / name, example_input=X)
    assert error.code == "E-MODEL-PICKLE"
    assert "absint.load(module" in error.render()


def test_a_missing_exporter_is_named_with_the_command(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("absint.frontends.torch_module.find_spec", lambda name: None if name == "onnxscript" else found(name))
    error = failure(mlp(), example_input=torch.zeros(1, 5))
    assert error.code == "E-PACKAGE-MISSING"
    assert "pip install onnxscript" in error.render()


def test_objects_and_options_of_no_front_end(tmp_path):
    assert failure({"weights": 1}).code == "E-MODEL-TYPE"
    assert failure(tmp_path / "net.onnx", example_input=X).code == "E-OPTION"
    assert TorchFrontEnd().accepts(nn.ReLU())
    assert not TorchFrontEnd().accepts("net.pt")
