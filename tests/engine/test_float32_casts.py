"""`--semantics float32`: a Cast to fewer digits is the identity on the reals alone; what executions err by there is charged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import absint
from absint.analyses.verify import Problem, ProofSettings, verify
from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.errors import UnsupportedError
from absint.model.graph import chain
from absint.model.ops.shape import Narrowed
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.verdict import Verdict

# The last two search for what no search finds, but not to the end of their patience, as "auto" does in one case.
DOMAINS = ("box", "zonotope", "deeppoly", "exact:nodes=20,boxes=200", "bab:nodes=40")
FLOAT, DOUBLE, HALF, BFLOAT = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16


def saved(path, nodes, given=FLOAT, size=1, stored=None):
    made = [helper.make_node(kind, inputs.split(), [output], **more) for kind, inputs, output, more in nodes]
    graph = helper.make_graph(made, "g", [helper.make_tensor_value_info("x", given, [1, size])],
                              [helper.make_empty_tensor_value_info(nodes[-1][2])],
                              [numpy_helper.from_array(value, name) for name, value in (stored or {}).items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def cast(source, target, to):
    return ("Cast", source, target, {"to": to})


def below_half(graph, low, high, domain, semantics="float32"):
    """The verdict on y < 0.5 over [low, high], without the comparison with onnxruntime, which may differ by a jump."""
    graph = replace(graph, source=replace(graph.source, model=None))
    spec = Spec.rows(-torch.ones(1, 1, 1, dtype=torch.float64), torch.tensor([[0.5]], dtype=torch.float64))
    ends = (torch.tensor([[end]], dtype=torch.float64) for end in (low, high))
    problem = Problem(graph, BoxRegion(*ends), spec.take, (0,))
    (result,) = verify(problem, ProofSettings(domain=domain, semantics=semantics, attack=None))
    return result.verdict


ROUNDED = {   # nodes, input format, an end that the last Cast rounds up to 1
    "double": ([cast("x", "c", FLOAT)], DOUBLE, 1 - 1e-9),
    "double, half way": ([cast("x", "h", FLOAT), cast("h", "c", DOUBLE)], DOUBLE, 1 - 1e-9),
    "doubled": ([("Add", "x x", "d", {}), cast("d", "c", FLOAT)], DOUBLE, 0.5 - 1e-9),
    "half": ([cast("x", "h", HALF), cast("h", "c", FLOAT)], FLOAT, 1 - 2.0**-13),
    "bfloat": ([cast("x", "h", BFLOAT), cast("h", "c", FLOAT)], FLOAT, 1 - 2.0**-10),
    "double to half": ([cast("x", "h", HALF), cast("h", "c", FLOAT)], DOUBLE, 1 - 2.0**-13),
}

@pytest.mark.parametrize(("case", "domain"), [*((case, domain) for case in ROUNDED for domain in DOMAINS), ("half", "auto")])
def test_a_jump_behind_a_narrowing_cast_is_not_verified(tmp_path, case, domain):
    """Over the reals the floor is 0; an execution at the end of the box rounds up to 1 (or might)."""
    nodes, given, end = ROUNDED[case]
    path = saved(tmp_path / "n.onnx", [*nodes, ("Floor", "c", "y", {})], given)
    graph = absint.load(path, fold=False, check_range=(0.0, 0.0))
    assert below_half(graph, 0.0, 0.25, domain) is Verdict.VERIFIED
    assert below_half(graph, 0.0, end, domain) is Verdict.UNKNOWN
    if case != "bfloat":
        value = np.array([[end]], dtype=np.float64 if given == DOUBLE else np.float32)
        assert onnxruntime.InferenceSession(path.read_bytes()).run(None, {"x": value})[0].item() == 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_over_the_reals_a_cast_costs_nothing(tmp_path, domain):
    path = saved(tmp_path / "n.onnx", [cast("x", "c", FLOAT), ("Floor", "c", "y", {})], DOUBLE)
    graph = absint.load(path, check_range=(0.0, 0.0))
    assert not any(isinstance(node.op, Narrowed) for node in graph.nodes)
    assert below_half(graph, 0.0, 0.999999, domain, "real") is Verdict.VERIFIED
    kept = absint.load(path, fold=False, check_range=(0.0, 0.0))
    assert below_half(kept, 0.0, 0.999, domain, "real") is Verdict.VERIFIED


def test_a_cast_from_float32_to_float32_is_no_cast(tmp_path):
    graph = absint.load(saved(tmp_path / "n.onnx", [cast("x", "c", FLOAT), ("Floor", "c", "y", {})]), fold=False)
    assert not any(isinstance(node.op, Narrowed) for node in graph.nodes)
    assert below_half(graph, 0.0, float(np.nextafter(np.float32(1), np.float32(0))), "box") is Verdict.VERIFIED


@pytest.mark.parametrize(("to", "kind"), [(FLOAT, torch.float32), (HALF, torch.float16), (BFLOAT, torch.bfloat16)])
@pytest.mark.parametrize("magnitude", [1e-40, 1e-9, 1e-5, 1.0, 300.0, 6e4, 1e30])
def test_the_error_bound_covers_what_casts_do(tmp_path, to, kind, magnitude):
    """Against torch's own conversions, at every magnitude: subnormal, normal, overflowing."""
    path = saved(tmp_path / "n.onnx", [cast("x", "h", to), cast("h", "y", DOUBLE)], DOUBLE, 300)
    graph = absint.load(path, fold=False, check_range=(0.0, 0.0))
    x = torch.as_tensor(np.random.default_rng(1).uniform(-magnitude, magnitude, (1, 300)))
    known = boxes(Context(graph, BoxRegion(x, x), Numerics(float32_semantics=True))).known[graph.output.name]
    theirs = x.to(kind).double()
    assert bool(((known.lower <= theirs) & (theirs <= known.upper)).all())
    if magnitude <= 300.0:
        assert bool(known.upper.isfinite().all())


def test_computing_in_halves_is_refused(tmp_path):
    nodes = [cast("x", "h", HALF), ("Add", "h h", "d", {}), cast("d", "y", FLOAT)]
    graph = absint.load(saved(tmp_path / "n.onnx", nodes), fold=False, check_range=(0.0, 0.0))
    with pytest.raises(UnsupportedError, match="float16"):
        below_half(graph, 0.0, 0.1, "box")


def test_a_float64_network_before_another_is_refused(tmp_path):
    """Between them lies a conversion that neither file tells of."""
    first = absint.load(saved(tmp_path / "a.onnx", [("Neg", "x", "y", {})], DOUBLE), fold=False)
    second = absint.load(saved(tmp_path / "b.onnx", [("Floor", "x", "y", {})]), fold=False)
    with pytest.raises(UnsupportedError) as caught:
        below_half(chain(first, second), -0.2, -0.1, "box")
    assert caught.value.code == "E-SEMANTICS"
    assert below_half(chain(second, second), 0.1, 0.2, "box") is Verdict.VERIFIED


@pytest.mark.parametrize(("mean", "std", "end", "domain"), [
    *((*scaled, domain) for scaled in ((None, ["0.5"], 0.5 - 1e-9), (["0"], ["1"], 1 - 1e-9), (["-1"], None, -1e-9))
      for domain in DOMAINS),
])
def test_normalised_inputs_are_rounded_to_the_models_format(tmp_path, domain, mean, std, end):
    """mean and std are applied in front of the file: what comes out is rounded to float32, whatever the scale."""
    graph = absint.load(saved(tmp_path / "n.onnx", [("Floor", "x", "y", {})]), fold=False, mean=mean, std=std, check_range=(0.0, 0.5))
    assert below_half(graph, end - 0.25, end, domain) is Verdict.UNKNOWN
    assert below_half(graph, end - 0.25, end - 0.125, domain) is Verdict.VERIFIED


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("domain", DOMAINS)
def test_integers_beyond_24_bits_are_rounded_by_a_cast(tmp_path, domain, kind):
    """2^24 + 1 where x > 1/2: over the reals the network says so, every execution gives 2^24."""
    path = saved(tmp_path / "net.onnx", [("Greater", "x h", "c", {}), ("Where", "c a b", "i", {}), cast("i", "y", FLOAT)],
                 stored={"h": np.array([[0.5]], np.float32), "a": np.array([[2**24 + 1]], kind), "b": np.array([[2**24 + 3]], kind)})
    graph = absint.load(path, fold=False)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"x": np.array([[0.75]], np.float32)})
    assert found.item() == 2.0**24
    problem = replace(graph, source=replace(graph.source, model=None))
    spec = Spec.rows(torch.ones(1, 1, 1, dtype=torch.float64), torch.tensor([[-(2.0**24) - 0.5]], dtype=torch.float64))
    region = BoxRegion(*(torch.tensor([[end]], dtype=torch.float64) for end in (0.6, 0.9)))

    def verdict(semantics):
        options = ProofSettings(domain=domain, semantics=semantics, attack=None)
        return verify(Problem(problem, region, spec.take, (0,)), options)[0].verdict

    assert domain == "box" or verdict("real") is Verdict.VERIFIED
    assert verdict("float32") is Verdict.UNKNOWN
