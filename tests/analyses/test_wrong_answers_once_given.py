"""Faults found by review, each with the smallest model that once gave a wrong answer."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import absint
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.zonotope import Zonotope
from absint.engine.context import Context
from absint.engine.forward import margins
from absint.errors import PluginError, UnsupportedError, UsageError
from absint.model.graph import GraphBuilder, chain
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Concat, Gather, Pad
from absint.model.ops.sigmoid import Sigmoid
from absint.model.reference import runtime
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.registry import Registry

DOMAINS = (Box(), Zonotope(), DeepPoly())


def f64(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def model(path, nodes, constants, inputs, outputs, kind=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, inputs)], [helper.make_tensor_value_info("y", kind, outputs)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_computed_operand_where_a_constant_is_needed_is_refused_not_dropped(tmp_path):
    nodes = [helper.make_node("ReduceSum", ["x"], ["v"], keepdims=0), helper.make_node("Pad", ["x", "pads", "v"], ["y"])]
    path = model(tmp_path / "pad.onnx", nodes, {"pads": np.array([0, 1, 0, 1])}, [1, 3], [1, 5])
    with pytest.raises(UnsupportedError):
        absint.load(path)


def test_a_graph_refuses_more_operands_than_an_operator_takes():
    build = GraphBuilder("x", (3,))
    other = build.add(Relu(), ("x",))
    with pytest.raises(UnsupportedError, match="E-OP-ARITY"):
        build.add(Pad(((1, 1),)), ("x", other))


def test_symbols_kept_by_a_reduction_are_not_those_of_a_node_of_that_name():
    for name in ("plain", "x|r1"):
        draw = torch.Generator().manual_seed(0)
        build = GraphBuilder("x", (4,))
        hidden = build.add(Gemm(torch.randn(4, 4, dtype=torch.float64, generator=draw)), ("x",), "h")
        first = build.add(Relu(), (hidden,), "r1")
        second = build.add(Relu(), (build.add(Gemm(torch.randn(4, 4, dtype=torch.float64, generator=draw)), (first,), "h2"),), name)
        graph = build.graph(build.add(Gemm(torch.randn(2, 4, dtype=torch.float64, generator=draw)), (second,), "y"))
        region = BoxRegion(-torch.ones(1, 4, dtype=torch.float64), torch.ones(1, 4, dtype=torch.float64))
        spec = Spec.rows(f64([[1.0, -1.0]]), f64([0.0]))
        found, _ = margins(Zonotope(max_generators=5), Context(graph, region, Numerics()), spec)
        points = torch.rand(4096, 4, dtype=torch.float64, generator=draw) * 2 - 1
        values = graph(points.sign())
        assert float(found.lower) <= float((values[:, 0] - values[:, 1]).min())
        if name == "plain":
            expected = float(found.lower)
    assert float(found.lower) == pytest.approx(expected, abs=1e-12)


def test_the_hash_of_a_model_covers_its_external_weights(tmp_path):
    path, hashes = tmp_path / "m.onnx", []
    for value in (1.0, 2.0):
        model(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.full((4, 400), value, np.float32)}, [1, 4], [1, 400])
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
        hashes.append(absint.load(path).source.sha256)
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("op", [Sigmoid(), LeakyRelu(0.01)])
def test_float32_semantics_covers_onnxruntimes_kernels(op, tmp_path):
    kind = type(op).__name__
    attributes = {"alpha": 0.01} if kind == "LeakyRelu" else {}
    graph = absint.load(model(tmp_path / "m.onnx", [helper.make_node(kind, ["x"], ["y"], **attributes)], {}, [1, 1], [1, 1]), fold=False)
    x = np.linspace(-20, 20, 4001).astype(np.float32).astype(np.float64)[:, None]
    theirs = runtime(graph.source).run(x)
    box = BoxRegion(torch.from_numpy(x), torch.from_numpy(x))
    from absint.engine.forward import boxes

    known = boxes(Context(graph, box, Numerics(float32_semantics=True))).known[graph.output.name]
    assert ((known.lower.numpy() <= theirs) & (theirs <= known.upper.numpy())).all()


def test_float32_semantics_knows_nothing_of_an_unstated_kernel():
    class Odd(Sigmoid):
        """No statement about other libraries."""

        execution = None

    build = GraphBuilder("x", (1,))
    graph = build.graph(build.add(Odd(), ("x",)))
    region = BoxRegion(f64([0.0]), f64([1.0]))
    for domain in DOMAINS:
        found, _ = margins(domain, Context(graph, region, Numerics(float32_semantics=True)), Spec.rows(f64([[1.0]]), f64([1.0])))
        assert float(found.lower) == -torch.inf


def test_float32_semantics_sees_overflow_between_operators():
    build = GraphBuilder("x", (1,))
    big = build.add(LeakyRelu(1e10), (build.add(Affine(scale=f64(1e30).squeeze()), ("x",)),))
    graph = build.graph(build.add(Affine(scale=f64(1e-30).squeeze()), (big,)))
    region = BoxRegion(f64([-1.0]), f64([1.0]))
    for domain in DOMAINS:
        found, _ = margins(domain, Context(graph, region, Numerics(float32_semantics=True)), Spec.rows(f64([[1.0]]), f64([1e12])))
        assert float(found.lower) == -torch.inf


def test_float32_semantics_refuses_narrower_casts(tmp_path):
    """What is computed in a narrower format has kernels of its own; a cast there and back is charged (test_float32_casts)."""
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT)]
    graph = absint.load(model(tmp_path / "m.onnx", nodes, {}, [1, 2], [1, 2]), fold=False, check_range=(0.0, 0.0))
    with pytest.raises(UnsupportedError, match="float16"):
        absint.verify(graph, np.zeros((1, 2)), [0], 0.0, semantics="float32")


def test_float32_semantics_refuses_kernels_that_are_expanded(tmp_path):
    graph = absint.load(model(tmp_path / "m.onnx", [helper.make_node("Softmax", ["x"], ["y"], axis=1)], {}, [1, 2], [1, 2]), fold=False)
    assert absint.verify(graph, np.array([[1.0, 0.0]]), [0], 0.0)[0].verdict.value == "verified"
    with pytest.raises(UnsupportedError, match="softmax"):
        absint.verify(graph, np.array([[1.0, 0.0]]), [0], 0.0, semantics="float32")


KERNELS = ("Elu", "Selu", "Softplus", "Softsign", "Exp", "Erf", "Sin", "HardSwish", "Atan", "Asinh", "Tanh")


@pytest.mark.parametrize(("kind", "opset"), [*((kind, 17) for kind in KERNELS), ("Mish", 18), ("Gelu", 20)])
def test_float32_semantics_covers_other_kernels_of_onnxruntime(kind, opset, tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    loaded = absint.load(path, fold=False)
    from absint.engine.forward import boxes

    for width in (1e-3, 1.0, 20.0, 85.0):
        x = np.random.default_rng(0).uniform(-width, width, (500, 4)).astype(np.float32).astype(np.float64)
        theirs, point = runtime(loaded.source).run(x), torch.from_numpy(x)
        known = boxes(Context(loaded, BoxRegion(point, point), Numerics(float32_semantics=True))).known[loaded.output.name]
        assert ((known.lower.numpy() <= theirs) & (theirs <= known.upper.numpy())).all()


def test_chain_keeps_what_was_done_to_both_graphs():
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Relu(), ("x",)))
    folded = replace(graph, source=replace(graph.source, passes=("fold-affine",), notes=("n",)))
    joined = chain(graph, folded)
    assert joined.source.passes == ("fold-affine",)
    with pytest.raises(UsageError, match="fold-affine"):
        absint.verify(joined, np.zeros((1, 2)), [0], 0.0, semantics="float32")


def test_box_charges_the_sums_of_a_repeating_gather():
    copies = 1000
    build = GraphBuilder("x", (1,))
    repeated = build.add(Gather.of(torch.zeros(copies, dtype=torch.int64)), ("x",))
    weight = torch.ones(1, copies, dtype=torch.float64)
    weight[0, 0], weight[0, -1] = 2.0**53, -(2.0**53)
    graph = build.graph(build.add(Gemm(weight), (repeated,)))
    region = BoxRegion(f64([-1.0]), f64([1.0]))
    found, _ = margins(Box(), Context(graph, region, Numerics()), Spec.rows(f64([[1.0]]), f64([0.0])))
    assert float(found.lower) <= -998


def test_a_solvers_number_verifies_nothing():
    class Trusting(Box):
        """Marks its bounds as a solver's."""

        def bounds(self, element, rows, ctx, sense):
            found = super().bounds(element, rows, ctx, sense)
            return replace(found, solver=torch.ones(len(rows), dtype=torch.bool))

    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Gemm(torch.eye(2, dtype=torch.float64)), ("x",)))
    inputs = np.array([[1.0, 0.0]])
    assert absint.verify(graph, inputs, [0], 0.01, domain="box")[0].verdict.value == "verified"
    row = absint.verify(graph, inputs, [0], 0.01, domain=Trusting())[0]
    assert (row.verdict.value, row.reason.value) == ("unknown", "solver")


def test_numeric_mode_lasts_until_the_last_thread_leaves():
    inside, leave, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        with numeric_mode():
            inside.set()
            leave.wait(10)
            seen.append(torch.backends.mkldnn.matmul.fp32_precision)

    before = torch.backends.cudnn.enabled
    with numeric_mode():
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(10)
    assert not torch.backends.cudnn.enabled
    leave.set()
    thread.join()
    assert seen == ["ieee"]
    assert torch.backends.cudnn.enabled == before


def test_a_plug_in_cannot_replace_a_built_in_that_was_not_loaded_yet():
    class Impostor:
        """Not the zonotope."""

    registry: Registry[type] = Registry("domain", "absint.domains")
    with pytest.raises(PluginError, match="taken"):
        registry.add("zonotope", Impostor)


def test_a_large_output_does_not_hide_a_wrong_small_one(tmp_path):
    from absint.model.import_check import check_import

    weight = {"w": np.array([[1e6, 1.0]], np.float32)}
    path = model(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], weight, [1, 1], [1, 2])
    graph = absint.load(path)
    wrong = GraphBuilder("x", (1,))
    fake = wrong.graph(wrong.add(Gemm(torch.tensor([[1e6], [1.5]], dtype=torch.float64)), ("x",)), graph.source)
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):
        check_import(fake)


def test_concat_takes_any_number_of_operands():
    build = GraphBuilder("x", (2,))
    assert build.graph(build.add(Concat(0), ("x", "x", "x"))).output.shape == (6,)


@pytest.mark.parametrize(("raised", "reason"), [(MemoryError(), "memory")])
def test_running_out_of_memory_halves_the_batch_and_gives_up_one_by_one(raised, reason):
    class Hungry(Box):
        """Fails beyond two instances, and always on the third input."""

        def start(self, node, ctx):
            if ctx.batch > 2 or bool((ctx.region.center[:, 0] == 0.5).any()):
                raise raised
            return super().start(node, ctx)

    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Gemm(torch.eye(2, dtype=torch.float64)), ("x",)))
    inputs = np.array([[1.0, 0.0], [0.9, 0.0], [0.5, 0.0], [0.8, 0.0], [0.7, 0.0]])
    rows = absint.verify(graph, inputs, [0] * 5, 0.01, domain=Hungry(), attack=None)
    assert [r.index for r in rows] == list(range(5))
    assert [r.verdict.value for r in rows] == ["verified", "verified", "unknown", "verified", "verified"]
    assert rows[2].reason.value == reason


def test_a_time_limit_gives_unknown_never_a_verdict():
    import time

    class Slow(Box):
        """Sleeps."""

        def start(self, node, ctx):
            time.sleep(0.05)
            return super().start(node, ctx)

    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Gemm(torch.eye(2, dtype=torch.float64)), ("x",)))
    rows = absint.verify(graph, np.array([[1.0, 0.0]]), [0], 0.01, domain=Slow(), timeout=0.01)
    assert (rows[0].verdict.value, rows[0].reason.value) == ("unknown", "timeout")


def test_a_witness_needs_the_proof_and_the_replay(tmp_path, monkeypatch):
    from absint.attacks import witness

    path = model(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.eye(2, dtype=np.float32)}, [1, 2], [1, 2])
    graph = absint.load(path)
    inputs = np.array([[0.5, 0.4]])
    assert absint.verify(graph, inputs, [0], 0.2, domain="box")[0].verdict.value == "falsified"
    monkeypatch.setattr(witness, "_proved", lambda *_: False)
    row = absint.verify(graph, inputs, [0], 0.2, domain="box")[0]
    assert (row.verdict.value, row.reason.value) == ("unknown", "ambiguous")


def test_the_data_range_means_its_decimals():
    from fractions import Fraction

    from absint.problem.regions.region import LinfBall

    ball = LinfBall(torch.full((1, 1), 0.2, dtype=torch.float64), Fraction(1, 2), (0.1, 0.7))
    assert Fraction(float(ball.hull.lower)) <= Fraction(1, 10)
    assert Fraction(float(ball.hull.upper)) >= Fraction(7, 10)
    inside = ball.project(0, np.array([-1.0]))
    assert ball.contains(0, inside)
    assert Fraction(float(inside[0])) >= Fraction(1, 10)


def test_workers_that_flush_subnormals_are_refused():
    import subprocess
    import sys

    program = """
import torch
torch.set_num_threads(2)
torch.set_flush_denormal(True)
(torch.ones(1 << 20) * 2).sum()  # the pool starts with flushing on
from absint.numeric.backend import numeric_mode
from absint.errors import ResourceError
try:
    with numeric_mode():
        x = torch.ones(1 << 20, dtype=torch.float64)
        x[::64] = 1e-310
        print("kept" if bool((x * 0.5).all()) else "flushed")
except ResourceError as error:
    print(error.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() in (["E-FLUSH"], ["kept"])
