"""Unsound variants of the way from a candidate to a witness, each with the claims that must notice it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_models as models
import torch

from absint.attacks import Search, falsify, proof, prove_witness, witness
from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.passes import apply_passes
from absint.numeric.backend import numeric_mode
from absint.numeric.decimal import parse_eps
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.spec import Spec
from mutants.planting import claims_into, into

CLAIMS, MUTANTS = {}, {}
claim, mutant = claims_into(CLAIMS), into(MUTANTS)


def t(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def rows(weight, bias, disjunct=None, strict=None):
    return Spec.rows(weight[None], bias[None], None if disjunct is None else torch.tensor(disjunct),
                     None if strict is None else torch.tensor(strict))


def chain(*ops):
    build, last = GraphBuilder("x", (1,)), "x"
    for op in ops:
        last = build.add(op, (last,))
    return build.graph(last)


def proved(graph, region, spec, at):
    with numeric_mode(), torch.no_grad():
        return prove_witness(graph, region, spec, 0, np.array([at]))


ABOVE = t([-1.0])       # unsafe where y >= bias


@claim
def what_floats_alone_show_is_no_witness(folder):
    """x + 1 - 1 at three quarters of a rounding: floats say a whole one, the exact-real network does not reach it."""
    graph = chain(Gemm(t([1.0]), t(1.0)), Gemm(t([1.0]), t(-1.0)))
    spec, at = rows(ABOVE, t(2.0**-52)), 1.5 * 2.0**-53
    assert proved(graph, BoxRegion(t([0.0]), t([1.0])), spec, at) is None

    def attack(graph, region, spec, search):
        return t([at])

    with numeric_mode():
        found = falsify(graph, BoxRegion(t([0.0]), t([1.0])), spec, attack, Search(torch.device("cpu")))
    assert not found.witnesses
    assert found.ambiguous == {0}


@claim
def rounded_coefficients_prove_no_tie(folder):
    """0.1 + 0.2, added by a pass, is not the number that the network adds up to."""
    graph = apply_passes(chain(Gemm(t([1.0]), t(0.1)), Affine(shift=t(0.2))))
    total = float(t(0.1) + t(0.2))
    assert proved(graph, BoxRegion(t([0.0]), t([1.0])), rows(ABOVE, t(total)), 0.0) is None


@claim
def the_model_itself_must_violate(folder):
    """x + 1 - 1 at 1e-9: real arithmetic violates, the float32 model returns 0."""
    ones = np.ones((1, 1), np.float32)
    nodes = [models.node("Gemm", "x w b", "h"), models.node("Gemm", "h w c", "y")]
    constants = {"w": ones, "b": np.ones(1, np.float32), "c": -np.ones(1, np.float32)}
    graph = models.imported(folder, nodes, [1, 1], constants, fold=False)
    region, spec = BoxRegion(t([0.0]), t([1.0])), rows(ABOVE, t(1e-12))
    assert proved(graph, region, spec, 0.5) is not None
    assert proved(graph, region, spec, 1e-9) is None


@claim
def a_witness_lies_in_the_exact_set(folder):
    graph = models.imported(folder, [models.node("MatMul", "x w", "y")], [1, 1], {"w": np.ones((1, 1), np.float32)})
    ball = LinfBall(t([0.5]), parse_eps("0.1"), None)
    for region, spec in ((ball, rows(ABOVE, t(0.2))), (BoxRegion(t([0.1]), t([0.6])), rows(ABOVE, t(0.2)))):
        for at in (0.3, 0.6, 0.6000001, 9.0):
            found = proved(graph, region, spec, at)
            assert found is not None
            assert region.contains(0, np.array(found.point))
            assert found.point[0] <= 0.6


@claim
def a_strict_row_at_zero_is_no_violation(folder):
    graph, region = chain(Relu()), BoxRegion(t([-1.0]), t([-0.5]))
    assert proved(graph, region, rows(t([1.0]), t(0.0)), -0.7) is not None
    assert proved(graph, region, rows(t([1.0]), t(0.0), strict=[True]), -0.7) is None


@claim
def every_row_of_a_conjunction_must_hold(folder):
    graph, region = chain(Relu()), BoxRegion(t([0.0]), t([1.0]))
    slab = t([1.0], [-1.0])
    assert proved(graph, region, rows(slab, t(-0.4, 0.2), [0, 0]), 0.3) is not None
    assert proved(graph, region, rows(slab, t(-0.4, 0.2), [0, 0]), 0.5) is None
    assert proved(graph, region, rows(slab, t(-0.4, 0.2), [0, 1]), 0.5) is not None


@mutant("what_floats_alone_show_is_no_witness")
def no_proof(patch):
    patch(witness, "_proved", lambda graph, spec, instance, point: bool(
        spec.take(torch.tensor([instance])).margin(spec.values(graph(torch.from_numpy(point)[None]))) <= 0))


@mutant("what_floats_alone_show_is_no_witness")
def proof_without_rounding(patch):
    original = proof.Numerics
    patch(proof, "Numerics", lambda: original(rounding=False))


@mutant("what_floats_alone_show_is_no_witness")
def an_open_point_counts(patch):
    patch(witness, "in_rationals", lambda graph, spec, instance, point: True)


@mutant("rounded_coefficients_prove_no_tie")
def every_coefficient_counts_as_exact(patch):
    patch(Gemm, "faithful", property(lambda self: True))


@mutant("the_model_itself_must_violate")
def no_replay(patch):
    patch(Spec, "violated_exactly", lambda self, instance, output: True)


@mutant("a_witness_lies_in_the_exact_set")
def fed_point_unchecked(patch):
    def inside(region, instance, candidate, reference):
        yield reference.round(region.project(instance, candidate))

    patch(witness, "_inside", inside)


@mutant("a_witness_lies_in_the_exact_set")
def candidate_as_it_is(patch):
    patch(witness, "_inside", lambda region, instance, candidate, reference: iter([candidate]))


@mutant("a_strict_row_at_zero_is_no_violation")
def strictness_forgotten(patch):
    original = witness._proved
    patch(witness, "_proved", lambda graph, spec, instance, point: original(
        graph, replace(spec, strict=torch.zeros_like(spec.strict)), instance, point))


@mutant("every_row_of_a_conjunction_must_hold")
def one_row_suffices(patch):
    original = witness._proved
    patch(witness, "_proved", lambda graph, spec, instance, point: original(
        graph, replace(spec, disjunct=torch.arange(len(spec.disjunct))), instance, point))
