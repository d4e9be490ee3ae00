"""`absint radius --exact`: both ends meet, above every relaxation's radius, and nothing rests on a solver's word."""

from __future__ import annotations

import json
from fractions import Fraction
from math import inf

import numpy as np
import onnx
import pytest
from conftest import save
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import absint
from absint.analyses.radius import bisection
from absint.errors import UsageError
from absint.numeric.decimal import exact_text

UPPER, TOLERANCE = "1", "0.01"
STEP = Fraction(1, 128)


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Two inputs, two hidden layers of six, three classes; and inputs for it. Offsets keep it from exact ties."""
    folder, found = tmp_path_factory.mktemp("exact"), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        weights = {f"w{k}": rng.normal(0, 1, shape).astype(np.float32) for k, shape in enumerate([(6, 2), (6, 6), (3, 6)])}
        weights |= {f"b{k}": rng.normal(0, 0.3, size).astype(np.float32) for k, size in enumerate([6, 6, 3])}
        nodes = [helper.make_node("Gemm", ["x", "w0", "b0"], ["a"], transB=1), helper.make_node("Relu", ["a"], ["b"]),
                 helper.make_node("Gemm", ["b", "w1", "b1"], ["c"], transB=1), helper.make_node("Relu", ["c"], ["d"]),
                 helper.make_node("Gemm", ["d", "w2", "b2"], ["y"], transB=1)]
        constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
        found.append((save(folder / f"{seed}.onnx", nodes, constants, ["n", 2], ["n", 3]), rng.random((4, 2))))
    return found


@pytest.fixture(scope="module")
def exact(nets):
    """Path, inputs and exact radii of every network."""
    return [(path, inputs, radii(absint.load(path), inputs, exact=True)) for path, inputs in nets]


def radii(graph, inputs, **options):
    return absint.radius(graph, inputs, upper=UPPER, tolerance=TOLERANCE, **options)


def test_the_ends_meet_above_every_relaxation(exact):
    met = gained = 0
    for path, inputs, found in exact:
        graph = absint.load(path)
        for domain in ("zonotope", "deeppoly"):
            for loose, tight in zip(radii(graph, inputs, domain=domain), found, strict=True):
                assert loose.certified <= tight.certified < tight.refuted
                gained += loose.certified < tight.certified
        for one in found:
            assert one.reason is None
            assert one.refuted - one.certified <= 2 * STEP if one.refuted < inf else one.certified == 1 - STEP
            met += one.refuted < inf
    assert met >= 3
    assert gained >= 4, "elsewhere the test says nothing"


def test_no_point_of_a_grid_contradicts_an_exact_radius(exact):
    for path, inputs, radii_found in exact:
        session = ReferenceEvaluator(onnx.load(path))
        for found, center in zip(radii_found, inputs, strict=True):
            reach = float(found.certified)
            axes = [np.linspace(max(0.0, c - reach), min(1.0, c + reach), 41) for c in center]
            grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2).astype(np.float32)
            (outputs,) = session.run(None, {"x": grid})
            runner_up = np.delete(outputs, found.predicted, axis=1).max(1)
            assert (outputs[:, found.predicted] >= runner_up - 1e-5).all()


def test_the_command_is_the_python_function(cli, exact, data_file):
    path, inputs, expected = exact[0]
    options = ["--data", data_file(x=inputs), "--quiet", "--upper", UPPER, "--tolerance", TOLERANCE, "--format", "json"]
    document = json.loads(cli("radius", path, "--exact", *options).out)
    assert [(row["certified_exact"], row["refuted_exact"]) for row in document["radii"]] == [
        (str(_text(found.certified)), None if found.refuted == inf else _text(found.refuted)) for found in expected]
    assert document["header"]["domain"]["name"] == "exact"
    assert document["header"]["numerics"]["attack"] == "pgd"
    other = json.loads(cli("radius", path, "--exact", "--solver", "scipy", "--base", "zonotope", "--timeout-lp", "9", *options).out)
    assert other["header"]["domain"]["options"].items() >= {"solver": "scipy", "base": "zonotope", "timeout_lp": 9.0}.items()
    assert [row["certified_exact"] for row in other["radii"]] == [row["certified_exact"] for row in document["radii"]]
    without = json.loads(cli("radius", path, "--exact", "--attack", "none", *options).out)
    assert without["header"]["numerics"]["attack"] == "none"


def _text(value):
    return exact_text(value)


def test_the_journal_is_bound_to_the_solver(cli, nets, data_file, tmp_path):
    path, inputs = nets[0]
    options = ["radius", path, "--exact", "--data", data_file(x=inputs[:1]), "--quiet", "--tolerance", "0.1", "--journal", tmp_path / "j"]
    assert cli(*options).code == 0
    assert cli(*options, "--resume").code == 0
    cli(*options, "--resume", "--solver", "scipy").fails(3, "E-JOURNAL-MISMATCH]")


def test_what_contradicts_exact_is_refused(cli, nets):
    path, inputs = nets[0]
    cli("radius", path, "--exact", "--domain", "zonotope").fails(2, "E-USAGE]")
    cli("radius", path, "--domain", "zonotope", "--solver", "highs").fails(2, "E-DOMAIN-OPTION]")
    with pytest.raises(UsageError, match="exact"):
        radii(path, inputs, exact=True, domain="exact")
    with pytest.raises(UsageError, match="solver's word"):
        radii(path, inputs, domain="milp", accept_solver=True)


@pytest.mark.parametrize(("options", "attack"), [({"exact": True}, "pgd"), ({"exact": True, "attack": None}, None), ({}, None)])
def test_exact_searches_for_witnesses_unless_told_otherwise(nets, monkeypatch, options, attack):
    asked = []
    monkeypatch.setattr(bisection, "radii", lambda graph, inputs, search, **_: asked.append(search.verify.attack) or iter(()))
    radii(nets[0][0], nets[0][1], **options)
    assert asked == [attack]
