"""RNN, GRU and LSTM of ONNX: unrolled, equal to onnxruntime in every variant, and bounded; what cannot be is refused by name."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from recurrent_nets import model, recurrent

import absint
from absint.errors import UnsupportedError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.ops.recurrent import Unrolled
from absint.model.reference import runtime

START = np.random.default_rng(5).normal(size=(2, 1, 1, 3))
TWO_WAYS = {"direction": "bidirectional"}
SCALED = {"activations": ["HardSigmoid", "LeakyRelu", "ScaledTanh"], "activation_alpha": [0.3, 0.1, 1.2], "activation_beta": [0.6, 0.7]}
VARIANTS = {
    "rnn": ("RNN", {}),
    "rnn of one step": ("RNN", {"steps": 1}),
    "rnn backward": ("RNN", {"direction": "reverse", "results": (0, 1)}),
    "rnn both ways": ("RNN", {**TWO_WAYS, "activations": ["Relu", "Tanh"]}),
    "rnn clipped": ("RNN", {"clip": 0.5}),
    "rnn of two rows": ("RNN", {"batch": 2, "starts": (np.ones((1, 2, 3)) / 3, None)}),
    "rnn affine": ("RNN", {"activations": ["Affine"], "activation_alpha": [0.3], "activation_beta": [0.6]}),
    "gru": ("GRU", {}),
    "gru reset after": ("GRU", {"linear_before_reset": 1}),
    "gru reset after, no bias": ("GRU", {"linear_before_reset": 1, "bias": False}),
    "gru both ways": ("GRU", {**TWO_WAYS, "results": (0, 1)}),
    "gru with a start": ("GRU", {"starts": START}),
    "gru with a start, reset after": ("GRU", {"starts": START, "linear_before_reset": 1, "clip": 0.7}),
    "lstm": ("LSTM", {}),
    "lstm, its last cell": ("LSTM", {"results": (2,), "direction": "reverse"}),
    "lstm both ways, all results": ("LSTM", {**TWO_WAYS, "results": (0, 1, 2)}),
    "lstm with peepholes and a start": ("LSTM", {"peephole": True, "starts": START, "results": (0, 2)}),
    "lstm with peepholes": ("LSTM", {"peephole": True, "input_forget": 1}),
    "lstm clipped": ("LSTM", {"clip": 0.4, "peephole": True, "results": (0, 2)}),
    "lstm of large weights": ("LSTM", {"scale": 5.0, "steps": 5, "bias": False}),
    "lstm with other functions": ("LSTM", SCALED),
    "lstm of stated lengths": ("LSTM", {"lengths": np.array([3])}),
}


def read(proto, **keywords):
    return OnnxFrontEnd().read("net.onnx", content=proto.SerializeToString(), **keywords)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_equals_onnxruntime(name):
    """Node by node and as a whole, far from the inputs that the weights were made for, too."""
    op_type, keywords = VARIANTS[name]
    graph = read(recurrent(op_type, **keywords), check_range=(-3.0, 3.0))
    assert graph.source.node_check.nodes == graph.source.node_check.total
    x = np.random.default_rng(1).normal(size=(4, *graph.input.shape))
    theirs = runtime(graph.source).run(x)
    ours = graph(torch.as_tensor(x.astype(np.float32)).double()).detach().numpy()
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() < 1e-5


BOUNDED = [("LSTM", "deeppoly"), ("LSTM", "box"), ("GRU", "zonotope"), ("GRU", "box"), ("RNN", "deeppoly")]


@pytest.mark.parametrize(("op_type", "domain"), BOUNDED)
def test_bounds_hold_samples_and_are_no_wider_than_a_few_of_them(op_type, domain):
    graph = read(recurrent(op_type, inputs=3, hidden=4, scale=0.6, results=(1,)))
    random = np.random.default_rng(2)
    x = random.normal(size=(1, 3, 1, 3))
    (found,) = absint.bounds(graph, x, eps=0.05, domain=domain, clip=None).values()
    values = graph(torch.as_tensor(x + 0.05 * random.uniform(-1, 1, size=(500, 3, 1, 3)))).detach().numpy()
    assert (np.asarray(found.lower).reshape(-1) <= values.min(0)).all()
    assert (values.max(0) <= np.asarray(found.upper).reshape(-1)).all()
    width = (np.asarray(found.upper) - np.asarray(found.lower)).mean()
    assert width < (12 if domain == "box" else 4) * (values.max(0) - values.min(0)).mean()


def test_a_state_of_a_gru_stays_between_its_neighbours_in_boxes():
    """(1 - z) n + z h is between -1 and 1, however wide the inputs are: a sum of two products would double at every step."""
    graph = read(recurrent("GRU", steps=6, results=(1,), linear_before_reset=1))
    (found,) = absint.bounds(graph, np.zeros((1, 6, 1, 2)), eps=50, domain="box", clip=None).values()
    assert np.asarray(found.lower).min() > -1.001
    assert np.asarray(found.upper).max() < 1.001


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_layer_starts_where_another_one_ended(direction):
    """Encoder and decoder: both states are computed."""
    random = np.random.default_rng(4)
    ways = 1 + (direction == "bidirectional")
    stored = {name: (random.normal(size=(ways, 8, 2)) * 0.8).astype(np.float32) for name in "WRVS"}
    first = helper.make_node("LSTM", ["x", "W", "R"], ["", "h", "c"], hidden_size=2, direction=direction)
    second = helper.make_node("LSTM", ["x", "V", "S", "", "", "h", "c"], ["y", "", ""], hidden_size=2, direction=direction)
    graph = read(model([first, second], [3, 1, 2], stored, "y", 14), check_range=(-2.0, 2.0))
    assert graph.source.node_check.nodes == graph.source.node_check.total == 2


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_the_batch_may_come_first(name):
    """layout=1 is layout=0 between transpositions, for several rows and directions, too; and the notes tell what was compared."""
    sizes = {"batch": 2, **TWO_WAYS}
    for results in ((0,), (1,)):
        plain = read(recurrent(name, results=results, **sizes))
        first = read(recurrent(name, results=results, layout=1, shape=[2, 3, 2], **sizes))
        x = torch.randn(5, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
        one, two = plain(x), first(x.transpose(1, 2))
        turned = one.reshape(5, 3, 2, 2, 3).permute(0, 3, 1, 2, 4) if results == (0,) else one.reshape(5, 2, 2, 3).transpose(1, 2)
        assert torch.equal(two.reshape(turned.shape), turned)
        assert ["layout=0 between transpositions" in note for note in first.source.notes if "layout" in note] == [True]


def test_results_of_one_node_share_their_steps():
    one, several = (read(recurrent("LSTM", results=results)) for results in ((0,), (0, 1, 2)))
    assert len(several.nodes) <= len(one.nodes) + 8


def test_inspect_says_how_many_steps(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(recurrent("LSTM", **TWO_WAYS).SerializeToString())
    (report,) = (r for r in OnnxFrontEnd().survey(path) if r.op_type == "LSTM")
    assert isinstance(report.op, Unrolled)
    assert report.op.in_words == "unrolled, 3 steps, 2 directions"


def test_constants_are_parameters_of_a_graph():
    graph = read(recurrent("GRU"), fold=False)
    weight = graph.parameters["W"]
    other = weight.clone().requires_grad_()
    view = graph.with_parameters({"W": other})
    x = torch.ones(1, *graph.input.shape, dtype=torch.float64)
    assert torch.allclose(view(x), graph(x))
    view(x).sum().backward()
    assert bool(other.grad.any())


REFUSED = {
    "sequence_lens \\[2\\] cut": recurrent("GRU", lengths=np.array([2])),
    "the length of its sequence is not fixed": recurrent("RNN", shape=["steps", 1, 2]),
    "activation Softplus is not supported": recurrent("RNN", activations=["Softplus"]),
    "activation ThresholdedRelu lacks activation_alpha": recurrent("RNN", activations=["ThresholdedRelu"]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_unrolled_is_refused_by_name(reason):
    with pytest.raises(UnsupportedError, match=reason) as caught:
        read(REFUSED[reason])
    assert caught.value.code == "E-OP-UNSUPPORTED"
    assert ";" in caught.value.details[0]   # and what to do


def test_an_open_length_is_refused_behind_a_step_that_hides_it():
    """One more step in front of an open number of them: read at size 1, the sequence would have two."""
    proto = recurrent("RNN", shape=["steps", 1, 2])
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((1, 1, 2), np.float32), "first"))
    proto.graph.node.insert(0, helper.make_node("Concat", ["first", "x"], ["longer"], axis=0))
    proto.graph.node[1].input[0] = "longer"
    with pytest.raises(UnsupportedError, match="the length of its sequence is not fixed"):
        read(proto)


def test_executions_in_float32_are_not_claimed():
    assert not read(recurrent("LSTM")).source.float32_executions


class Layered(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
        self.cell, self.end = torch.nn.GRUCell(8, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        y, _ = self.layers(x)
        h = torch.zeros(1, 4)
        for t in range(3):
            h = self.cell(y[:, t], h)
        return self.end(h)


def test_what_torch_exports_of_layers_and_of_loops_over_cells():
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Layered().eval(), (torch.zeros(1, 3, 3),), written, dynamo=False)
    graph = OnnxFrontEnd().read("net.onnx", content=written.getvalue())
    assert graph.output.size == 2
    assert graph.source.node_check.nodes == graph.source.node_check.total
