"""`bounds` as an analysis: records the moment they are known, limits, journals, forms in Python."""

from __future__ import annotations

import json
from contextlib import closing
from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from journals import killed

import absint
from absint import api, samples
from absint.analyses.bounds import widths
from absint.analyses.bounds.analysis import BoundsAnalysis
from absint.analyses.bounds.record import BoundsRecord, BoundsRow, TensorBounds, WidthsRow
from absint.analyses.bounds.widths import BoundingSettings, groups_of
from absint.contract.analysis import Failure, Item
from absint.contract.record import lines_of, record_of, row_of
from absint.errors import AbsintError
from absint.numeric.backend import DeadlineError
from absint.problem.regions import ball
from absint.search.names import domain_of
from absint.verdict import Reason

pytestmark = pytest.mark.usefixtures("warm")

NET = str(samples.network_path("mnist_relu_3x50"))


@pytest.fixture(scope="module")
def graph():
    return absint.load(NET)


@pytest.fixture(scope="module")
def inputs(graph):
    return samples.data("mnist").shaped_for(graph.input.shape).inputs[:7]


@pytest.fixture
def late(monkeypatch):
    """Domains of these classes find no bounds in time, for batches that hold more instances than that."""
    def make(*names):
        real = widths.tensor_bounds

        def bounds(domain, ctx, wanted):
            if type(domain).__name__ in names:
                raise DeadlineError
            return real(domain, ctx, wanted)

        monkeypatch.setattr(widths, "tensor_bounds", bounds)

    return make


def calls(monkeypatch):
    real, sizes = widths.tensor_bounds, []

    def counted(domain, ctx, wanted):
        sizes.append(ctx.batch)
        return real(domain, ctx, wanted)

    monkeypatch.setattr(widths, "tensor_bounds", counted)
    return sizes


def codes(call):
    with pytest.raises(AbsintError) as caught:
        call()
    return caught.value.code


# ---- records -------------------------------------------------------------------------------------------------------


def test_a_record_is_there_before_the_next_batch_is_bounded(graph, inputs, monkeypatch):
    sizes = calls(monkeypatch)
    seen = []
    with closing(api.stream("bounds", graph, inputs, 0.01, domain="box,zonotope")) as records:
        for record in records:
            seen.append((record.domain, record.input, len(sizes)))
    assert [(domain, k) for domain, k, _ in seen] == [(domain, k) for domain in ("box", "zonotope") for k in range(7)]
    assert sizes == [1, 2, 4] * 2
    assert [count for _, _, count in seen[:7]] == [1, 2, 2, 3, 3, 3, 3]


def test_groups_grow_and_keep_to_what_is_asked(graph):
    options = BoundingSettings(domain_of("box"))
    assert [len(group) for group in groups_of(graph, ["logits"], options, 11)] == [1, 2, 4, 4]
    assert [k for group in groups_of(graph, ["logits"], options, 1000) for k in group] == list(range(1000))
    assert [len(group) for group in groups_of(graph, ["logits"], BoundingSettings(domain_of("box"), batch=3), 7)] == [3, 3, 1]
    little = BoundingSettings(domain_of("box"), memory=1)
    assert {len(group) for group in groups_of(graph, ["logits"], little, 5)} == {1}


def test_a_journal_holds_every_bit(graph, inputs):
    (record,) = api.stream("bounds", graph, inputs[:1], 0.01, tensors="all", domain="deeppoly")
    again = record_of(BoundsRecord, json.loads(json.dumps(row_of(record), allow_nan=False)))
    assert (again.index, again.domain, again.input, again.reason) == (record.index, record.domain, record.input, None)
    assert again.tensors.keys() == record.tensors.keys()
    for name, one in record.tensors.items():
        two = again.tensors[name]
        assert one.lower.shape == two.lower.shape == graph.find(name).shape
        assert (one.lower == two.lower).all()
        assert (one.upper == two.upper).all()
        assert (one.undecided is None) == (two.undecided is None)
        assert one.undecided is None or (one.undecided == two.undecided).all()
    assert any(one.undecided is not None and 0 < one.undecided.sum() < one.undecided.size for one in record.tensors.values())


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (1, 2, 3)])
def test_infinite_bounds_and_odd_shapes_survive(shape):
    values = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)
    one = TensorBounds(np.where(values % 2 == 0, -inf, values), np.full(shape, inf), values % 3 == 0)
    two = TensorBounds.from_dict(json.loads(json.dumps(one.as_dict(), allow_nan=False)))
    for name in ("lower", "upper", "undecided"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), strict=True)


@pytest.mark.parametrize("broken", [
    {"tensors": {"y": {}}}, {"tensors": 3}, {"reason": "tired"}, {"index": "x"},
    {"tensors": {"y": {"shape": [2], "lower": [1.0], "upper": [1.0, 2.0], "undecided": None}}},
    {"tensors": {"y": {"shape": [1], "lower": ["x"], "upper": [1.0], "undecided": None}}}])
def test_what_is_no_record_is_refused(broken):
    row = {"index": 0, "domain": "box", "input": 0, "tensors": {}, "reason": None, "time_s": 0.0, **broken}
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        BoundsRecord.from_dict(row)


def test_lines_for_people():
    found = TensorBounds(np.arange(24.0).reshape(4, 6), np.arange(24.0).reshape(4, 6) + 1 / 3, None)
    lines = lines_of(BoundsRow(0, "box", 7, "y", found, None))
    assert len(lines) == 21
    assert (lines[7]["entry"], lines[7]["lower"], lines[7]["upper"]) == ("1,1", "7", "7.333334")
    assert lines[20] == {"domain": "box", "input": "7", "tensor": "y", "entry": "... 4 more"}
    (line,) = lines_of(BoundsRow(0, "box", 7, "y", found, "timeout"))
    assert (line["entry"], line["lower"], line["upper"], line["width"]) == ("every", "-inf", "inf", "timeout")
    assert BoundsAnalysis().row_kind(BoundsAnalysis.Options(stats=True)) is WidthsRow


# ---- limits --------------------------------------------------------------------------------------------------------


def test_an_input_whose_limit_passed_costs_no_other_one(cli, late):
    late("Zonotope")
    words = ("bounds", NET, "--index", "3,4", "--domain", "zonotope,box", "--quiet")
    done = cli(*words, "--format", "jsonl")
    assert done.code == 1
    assert "the limit of 60 s passed for 2 of 4 inputs" in done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["domain"], row["input"], row["reason"]) for row in rows] == [
        ("zonotope", 3, "timeout"), ("zonotope", 4, "timeout"), ("box", 3, None), ("box", 4, None)]
    assert set(rows[0]["lower"]) == {"-inf"}
    assert len(rows[0]["upper"]) == 10
    text = cli(*words, "--stats").out
    assert "zonotope" in text
    widths_of = json.loads(cli(*words, "--stats", "--format", "json").out)["widths"]
    assert {row["domain"] for row in widths_of} == {"box"}


def test_the_limit_of_the_whole_keeps_what_is_known(cli, clock, monkeypatch, tmp_path):
    real = widths.tensor_bounds

    def bounds(domain, ctx, wanted):
        if type(domain).__name__ != "Box":
            clock.now += 100.0
            raise DeadlineError
        return real(domain, ctx, wanted)

    monkeypatch.setattr(widths, "tensor_bounds", bounds)
    path = tmp_path / "b.npz"
    done = cli("bounds", NET, "--domain", "box,zonotope", "--total-timeout", "50", "--out", path)
    assert done.code == 5
    assert "error[E-TIMEOUT]" in done.err
    assert done.out.count("box ") >= 10
    with np.load(path) as archive:
        assert np.isfinite(archive["box/logits.lower"]).all()
        assert (archive["zonotope/logits.upper"] == inf).all()


def test_a_killed_process_is_an_item_out_of_time():
    item = Item(5, "box, input 9", payload=("box", 2, 9))
    record = BoundsAnalysis().failed(item, Failure(5, item.name, "E-TIMEOUT", "killed", 3.0))
    assert (record.index, record.domain, record.input, record.reason, record.tensors) == (5, "box", 9, Reason.TIMEOUT, {})
    assert BoundsAnalysis().failed(item, Failure(5, item.name, "E-CRASH", "died")) is None


def test_a_resumed_run_ends_with_the_same_bits(cli, tmp_path):
    words = ("bounds", NET, "--index", "0:7", "--domain", "box,deeppoly", "--tensor", "gemm_7", "--quiet", "--format", "json")
    journal = tmp_path / "j.jsonl"
    whole = json.loads(cli(*words, "--journal", journal).out)["bounds"]
    lines = killed(journal)
    for kept in (2, 3, 6, 9, 13):
        journal.write_bytes(b"".join(lines[:kept]))
        assert json.loads(cli(*words, "--journal", journal, "--resume").out)["bounds"] == whole
    cli(*words[:-2], "--eps", "0.02", "--journal", journal, "--resume").fails(3, "E-JOURNAL")


def test_processes_find_the_same(cli):
    words = ("bounds", NET, "--index", "0:2", "--domain", "box", "--quiet", "--format", "jsonl")
    one, two = (sorted(cli(*words, *more).out.splitlines()) for more in ((), ("--executor", "processes")))
    assert len(one) == len(two) == 2
    for a, b in zip(map(json.loads, one), map(json.loads, two), strict=True):
        np.testing.assert_allclose(a["lower"], b["lower"], rtol=1e-12)


# ---- Python --------------------------------------------------------------------------------------------------------


def test_names_to_arrays(graph, inputs):
    found = absint.bounds(graph, inputs, 0.01, tensors=["logits", "relu_4"], domain=["box", domain_of("zonotope")])
    assert list(found) == ["box/logits", "box/relu_4", "zonotope/logits", "zonotope/relu_4"]
    assert found["box/relu_4"].lower.shape == (7, 50)
    assert found["box/logits"].lower.dtype == np.float64
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    np.testing.assert_array_equal(again["bounds"]["box/logits"]["lower"], found["box/logits"].lower)


def test_radii_of_every_kind_mean_the_same(graph, inputs):
    wanted = absint.bounds(graph, inputs, "0.01")["logits"]
    region = ball("linf", torch.as_tensor(inputs, dtype=torch.float64), Fraction(1, 100), (0.0, 1.0), None)
    for given in ((inputs, 0.01), (inputs, Fraction(1, 100)), (inputs, ["0.01"] * 7), (torch.as_tensor(inputs), "1/100"), (region,)):
        found = absint.bounds(graph, *given)["logits"]
        np.testing.assert_allclose(found.lower, wanted.lower, rtol=1e-9)
        assert (found.lower <= found.upper).all()
    assert codes(lambda: absint.bounds(graph, inputs)) == "E-EPS"
    assert codes(lambda: absint.bounds(graph, region, 0.01)) == "E-EPS"


def test_one_radius_an_input(graph, inputs):
    wide = absint.bounds(graph, inputs[:2], [0.0, 0.05])["logits"]
    width = (wide.upper - wide.lower).max(1)
    assert width[0] < 1e-9 < width[1]


def test_gradients(graph, inputs):
    center = torch.as_tensor(inputs[:2], dtype=torch.float64).requires_grad_()
    eps = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    found = absint.bounds(graph, center, eps, domain="deeppoly", differentiable=True)["logits"]
    plain = absint.bounds(graph, inputs[:2], 0.01, domain="deeppoly")["logits"]
    np.testing.assert_allclose(found.lower.detach().numpy(), plain.lower, rtol=1e-9)
    found.lower.sum().backward()
    assert float(center.grad.abs().sum()) > 0
    assert float(eps.grad) < 0      # a larger radius lowers the bound
    one = absint.bounds(graph, center, eps, domain="deeppoly", differentiable=True, index="1")["logits"]
    np.testing.assert_allclose(one.lower.detach().numpy(), plain.lower[1:], rtol=1e-9)


def test_coefficients(graph, inputs):
    found = absint.bounds(graph, inputs[:2], 0.01, domain="deeppoly", tensors=["logits", "gemm_5"], affine=True)
    x = torch.as_tensor(inputs[:2], dtype=torch.float64)
    values = graph.evaluate(x, ["logits", "gemm_5"])
    for name, one in found.items():
        below = np.einsum("bochw,bchw->bo", one.affine.lower_weight, inputs[:2]) + one.affine.lower_bias
        assert (below <= values[name].numpy() + 1e-9).all()
        assert np.abs(one.affine.lower_weight).max() > 0
        assert one.lower.shape == below.shape
    assert codes(lambda: absint.bounds(graph, inputs[:2], 0.01, domain="box", affine=True)) == "E-AFFINE"
    assert codes(lambda: absint.bounds(graph, inputs[:2], 0.01, differentiable=True, journal="j")) == "E-USAGE"


@pytest.mark.parametrize(("wrong", "code"), [
    ({"tensors": 5}, "E-TENSOR"), ({"tensors": ["logit"]}, "E-TENSOR"), ({"domain": None}, "E-DOMAIN-UNKNOWN"),
    ({"domain": []}, "E-DOMAIN-UNKNOWN"), ({"domain": ["box", 3]}, "E-DOMAIN-UNKNOWN"), ({"eps": {}}, "E-EPS"), ({"norm": "l7"}, "E-NORM"),
    ({"clip": "q"}, "E-CLIP"), ({"dtype": "int"}, "E-DTYPE"), ({"timeout": -1}, "E-TIMEOUT"), ({"batch": 0}, "E-BATCH"),
    ({"layout": "zz"}, "E-DATA-LAYOUT"), ({"brightness": "x"}, "E-RANGE"), ({"brightness": "0.1", "norm": 2}, "E-USAGE")])
def test_wrong_values_are_coded(graph, inputs, wrong, code):
    assert codes(lambda: absint.bounds(graph, inputs, **{"eps": 0.01, **wrong})) == code


def test_inspect_in_python(graph):
    found, of_file = absint.inspect(graph), absint.inspect(NET)
    assert found.problem is None
    assert [node.name for node in found.nodes] == [node.name for node in graph.nodes] == [node.name for node in of_file.nodes]
    assert (len(found.file_nodes), len(of_file.file_nodes)) == (0, 10)
    assert found.sha256 == of_file.sha256
