"""Boxes and ranges of outputs in `verify` and `bounds`: both sides of every output, exactly as written; eps is about scaled values."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from onnx_models import build, node, stored

import absint
from absint.errors import AbsintError
from absint.problem.output_range import output_range
from absint.problem.plane import plane_of, plane_values
from absint.problem.regions import L2Ball
from absint.verdict import Assurance, Verdict


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """y = (x0 + x1, relu(x0 - x1))."""
    return network(tmp_path_factory.mktemp("nets"))


def network(folder, outputs=2):
    weight = np.float32([[1, 1], [1, -1]])[:, :outputs]
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "r"), node("MatMul", "r s", "p"), node("MatMul", "a t", "q"),
             node("Add", "p q", "y")]
    keep, through = np.zeros((outputs, outputs), np.float32), np.zeros((outputs, outputs), np.float32)
    through[0, 0] = 1
    if outputs == 2:
        keep[1, 1] = 1
    return stored(folder, build(nodes, ["n", 2], {"w": weight, "s": keep, "t": through}), f"net{outputs}.onnx")


BOX = ([0.0, 0.0], [1.0, 0.5])      # y[0] in [0, 1.5], y[1] in [0, 1]


@pytest.mark.parametrize(("limits", "verdict"), [
    (("-0.01", "1.51"), Verdict.VERIFIED),
    (([-0.01, -0.01], [1.51, 1.01]), Verdict.VERIFIED),
    (([0.01, -0.01], [1.51, 1.01]), Verdict.FALSIFIED),
    (([-0.01, 0.01], [1.51, 1.01]), Verdict.FALSIFIED),
    (([-0.01, -0.01], [1.49, 1.01]), Verdict.FALSIFIED),
    (([-0.01, -0.01], [1.51, 0.99]), Verdict.FALSIFIED),
    (("-inf", "1.51"), Verdict.VERIFIED),
    (([-np.inf, -0.01], [np.inf, 0.99]), Verdict.FALSIFIED),
])
def test_every_side_of_every_output_counts(net, limits, verdict):
    check_side(net, limits, verdict)


def check_side(net, limits, verdict):
    (row,) = absint.verify(net, box=BOX, output_range=limits)
    assert row.verdict is verdict
    assert row.label is None
    assert row.predicted is None
    if verdict is Verdict.FALSIFIED:
        assert row.assurance is Assurance.REPLAYED
        x = np.array(row.witness)
        assert ((x >= BOX[0]) & (x <= BOX[1])).all()


def test_limits_are_exact():
    """A third is no float64 number, and neither is a tenth: rows are scaled so that nothing is rounded."""
    for low, high in (("0.1", "1/3"), ("-1e-9", "123456.789"), ("-0.3", "inf"), ("5", "7")):
        asked = output_range(f"{low},{high}", (1,))
        spec = asked.spec(1)
        tiny = Fraction(1, 10**40)
        least = Fraction(low)
        assert spec.unsafe(0, [least - tiny])
        assert not spec.unsafe(0, [least])
        if high != "inf":
            assert not spec.unsafe(0, [Fraction(high)])
            assert spec.unsafe(0, [Fraction(high) + tiny])
    with pytest.raises(AbsintError, match="digits"):
        output_range("0,0.12345678901234567890123", (1,))


def test_margins_are_in_units_of_the_outputs(net):
    (row,) = absint.verify(net, box=BOX, output_range=("-0.3", "2"), domain="deeppoly")
    assert 0.299 < row.margin <= 0.3       # the sets' exact distance from the nearest limit
    assert "every output within [-0.3, 2]" in absint.verify(net, box=BOX, output_range=(-0.3, 2)).run.header["property"]["text"]


def test_around_given_inputs_no_label_is_asked_for(net, tmp_path):
    np.savez(tmp_path / "a.npz", x=[[0.5, 0.25], [0.9, 0.9]], y=[0.123, 7.5])     # of a regression: labels that are no classes
    rows = absint.verify(net, tmp_path / "a.npz", eps="0.1", output_range="0.5,1.5")
    assert [row.verdict for row in rows] == [Verdict.FALSIFIED, Verdict.FALSIFIED]
    assert all(row.verdict is Verdict.VERIFIED for row in absint.verify(net, tmp_path / "a.npz", eps="0.1", output_range="-1,3"))


def test_eps_is_about_values_after_the_scale(net, tmp_path):
    """Stored 0..255, scaled to [0, 1]: eps 0.1 is a tenth of the range, as if the file had held scaled values."""
    stored_values = np.array([[51.0, 204.0], [102.0, 0.0]])
    np.savez(tmp_path / "a.npz", x=stored_values)
    np.savez(tmp_path / "b.npz", x=stored_values / 255)
    scaled = absint.bounds(net, tmp_path / "a.npz", "0.1", scale="1/255", index="0:2", domain="deeppoly")["y"]
    plain = absint.bounds(net, tmp_path / "b.npz", "0.1", index="0:2", domain="deeppoly")["y"]
    assert np.array_equal(scaled.lower, plain.lower)
    assert np.array_equal(scaled.upper, plain.upper)
    assert scaled.upper[0, 0] - scaled.lower[0, 0] == pytest.approx(0.4)      # each of the two inputs moves by 0.2
    assert plain.upper[0, 0] == pytest.approx(1.2)
    with pytest.raises(AbsintError, match="outside") as caught:
        absint.bounds(net, tmp_path / "a.npz", "0.1")
    assert "--scale 1/255" in caught.value.hint
    with pytest.raises(AbsintError, match="how a file of data is read"):
        absint.bounds(net, stored_values, "0.1", scale="1/255")


def test_a_network_of_one_output(tmp_path):
    single = network(tmp_path, 1)
    assert absint.verify(single, box=BOX, output_range=(-0.1, 1.6))[0].verdict is Verdict.VERIFIED
    with pytest.raises(AbsintError) as caught:
        absint.verify(single, box=BOX)
    assert caught.value.code == "E-CLASSES"
    assert "--output-range" in caught.value.hint


def test_bounds_over_a_box(net):
    found = absint.bounds(net, box=BOX, domain="box")["y"]
    assert found.lower.shape == (1, 2)
    assert found.upper[0].tolist() == pytest.approx([1.5, 1.0])


def test_commands(cli, net, tmp_path):
    (tmp_path / "b.csv").write_text("lower,upper\n0,1\n0,0.5\n")
    (tmp_path / "r.csv").write_text("lower,upper\n-0.1,1.6\n-inf,1.1\n")
    ran = cli("verify", net, "--box", tmp_path / "b.csv", "--output-range", tmp_path / "r.csv", "--quiet")
    assert ran.code == 0, ran.err
    assert "1 of 1 instances verified" in ran.out
    assert "y[0] within [-0.1, 1.6], y[1] within [-inf, 1.1], the box x[0] in [0, 1], x[1] in [0, 0.5]" in ran.out
    for words, code in ((("--eps", "0.1"), "E-USAGE"), (("--target", "1"), "E-USAGE"), (("--clip", "none"), "E-USAGE"),
                        (("--plane", "0"), "E-PLANE"), (("--plane", "0,1"), "E-USAGE"), (("--plot", tmp_path / "p.png"), "E-USAGE"),
                        (("--plane", "0,2", "--plot", tmp_path / "p.png"), "E-PLANE"), (("--scale", "1"), "E-USAGE")):
        ran = cli("verify", net, "--box", tmp_path / "b.csv", "--output-range", "0,2", *words)
        assert f"error[{code}]" in ran.err, ran.err
        assert "hint:" in ran.err
    for limits in ("1", "1,0", "a,b", "inf,inf", "-inf,inf", "nan,1", "0,1,2"):
        ran = cli("verify", net, "--box", tmp_path / "b.csv", "--output-range", limits)
        assert "error[E-OUTPUT-RANGE]" in ran.err, (limits, ran.err)
    assert "--output-range" in cli("verify", net, "--box", tmp_path / "b.csv").err
    # The file of limits is read, never written over.
    assert "error[E-OUT]" in cli("verify", net, "--box", tmp_path / "b.csv", "--output-range", tmp_path / "r.csv", "--out",
                                 tmp_path / "r.csv").err


def test_a_journal_is_of_the_very_limits(cli, net, tmp_path):
    (tmp_path / "b.csv").write_text("lower,upper\n0,1\n0,0.5\n")
    limits = tmp_path / "r.csv"
    limits.write_text("lower,upper\n-0.1,1.6\n-inf,1.1\n")
    words = ("verify", net, "--box", tmp_path / "b.csv", "--output-range", limits, "--quiet", "--journal", tmp_path / "j.jsonl")
    assert cli(*words).code == 0
    assert cli(*words, "--resume").code == 0
    limits.write_text("lower,upper\n-0.1,1.6\n-inf,0.9\n")
    assert "error[E-JOURNAL" in cli(*words, "--resume").err
    limits.write_text("lower,upper\n-0.1,1.6\n-inf,1.1\n")
    (tmp_path / "b.csv").write_text("lower,upper\n0,1\n0,0.75\n")
    assert "error[E-JOURNAL" in cli(*words, "--resume").err


def test_a_plane_is_what_the_network_says_there(net):
    graph = absint.load(net)
    ball = L2Ball(torch.tensor([[0.5, 0.5]], dtype=torch.float64), Fraction(1, 4))
    assert plane_of("1, 0", ball) == (1, 0)
    found = plane_values(graph, ball, (1, 0), np.array([0.5, 0.5]))
    row, column = 3, 20
    point = torch.tensor([[found.y[row], found.x[column]]], dtype=torch.float64)      # the first named input runs along x
    assert found.outputs[row, column].tolist() == graph(point)[0].tolist()
    assert found.inside[row, column] == ball.contains(0, point[0].numpy())
    assert not found.inside[0, 0]


@pytest.mark.parametrize(("suffix", "start"), [(".jpg", b"\xff\xd8\xff"), (".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_pictures_of_a_plane(cli, net, tmp_path, suffix, start):
    pytest.importorskip("matplotlib", reason="extra plots")
    (tmp_path / "b.csv").write_text("lower,upper\n0,1\n0,0.5\n")
    file = tmp_path / f"p{suffix}"
    words = ("--box", tmp_path / "b.csv", "--plane", "0,1", "--plot", file, "--quiet")
    asked = (("verify", net, *words, "--output-range", "0,1"), ("verify", net, *words, "--label", "0"), ("bounds", net, *words),
             ("bounds", network(tmp_path, 1), *words))
    for command in asked if suffix == ".svg" else asked[:1]:
        ran = cli(*command)
        assert ran.code in (0, 1), ran.err
        assert file.read_bytes().startswith(start)
        if suffix == ".svg" and "--output-range" in command:
            assert b"counterexample" in file.read_bytes()
