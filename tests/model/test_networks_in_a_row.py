"""Networks in a row: one graph whose reference is every model after the one before it, with what lies between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto
from onnx_models import build, node, stored
from rows_of_networks import CLASSES, IMAGE, classifier, files, generator, latents, output, pair

import absint
from absint.attacks import prove_witness
from absint.errors import InputError, UnsupportedError, UsageError
from absint.model.content_digest import graph_digest, model_digest
from absint.model.graph import Graph, GraphBuilder, chain
from absint.model.import_check import check_import
from absint.model.op import Op
from absint.model.ops.affine import Affine
from absint.model.ops.relu import Relu
from absint.model.reference import probes, runtime
from absint.model.scores import before_softmax, ending_with
from absint.model.source import Source
from absint.problem.spec import Spec
from absint.region import LinfBall, parse_eps

BETWEEN = {"rescale": lambda y: (y + 1) / 2, "as_is": lambda y: y}


def two_steps(folder: Path, z: np.ndarray, how: str) -> np.ndarray:
    """Both files, each in a session of its own."""
    return output(folder / "C.onnx", BETWEEN[how](output(folder / "G.onnx", z)).astype(np.float32).reshape(len(z), IMAGE))


def changed(graph: Graph, **parts: Source) -> Graph:
    return replace(graph, source=replace(graph.source, **parts))


# ---- one network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BETWEEN)
def test_the_graph_and_its_reference_are_both_files_after_each_other(tmp_path: Path, how: str) -> None:
    graph, z = pair(tmp_path, **{how: True}), latents()
    expected = two_steps(tmp_path, z, how)
    assert np.allclose(graph(torch.from_numpy(z).double()).numpy(), expected, atol=1e-5)
    assert np.array_equal(runtime(graph.source).run(z), expected)       # to the bit: the same kernels on the same numbers
    assert check_import(graph, -3, 3) < 1e-5


def test_what_lies_between_is_exact_where_it_can_be(tmp_path: Path) -> None:
    graph = pair(tmp_path)
    (between,) = (node.op for node in graph.nodes if isinstance(node.op, Affine))
    assert (float(between.scale), float(between.shift), between.weight_terms, between.shift_error) == (0.5, 0.5, 0, None)
    third = pair(tmp_path, rescale=True, classifier_range=(0.0, 0.1))
    (between,) = (node.op for node in third.nodes if isinstance(node.op, Affine))
    assert between.weight_terms == 0        # half of a float64 number is one
    tenth = pair(tmp_path, generator(node("Sigmoid", "m", "s"), node("Mul", "s k", "y"), k=np.array(3.0, np.float32)))
    (between,) = (node.op for node in tenth.nodes if isinstance(node.op, Affine) and node.name == "then/x")
    assert between.weight_terms == 1        # a third is none, and the operator says so


def test_every_tensor_that_both_files_name_is_compared(tmp_path: Path) -> None:
    graph = pair(tmp_path)
    reference = probes(graph.source)
    assert {"m", "y", "then/x", "then/h", "then/r", "then/y"} <= {*reference.formats, *reference.inputs}
    assert {"x", "h", "then/h", "then/s"} <= graph.tensors.keys()
    assert graph.find("h").name == "h"                                  # of the first network where both have it
    assert graph.find("s") is graph.find("then/s")                      # of the one that has it


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("batch", [1, "n"])
def test_models_of_one_instance_and_of_many_may_follow_each_other(tmp_path: Path, batch: int | str, count: int) -> None:
    graph, z = pair(tmp_path, None, classifier(batch=batch)), latents(count)
    expected = np.concatenate([two_steps(tmp_path, row[None], "rescale") for row in z])
    assert np.allclose(runtime(graph.source).run(z), expected, atol=1e-6)
    assert check_import(graph) < 1e-5


def test_operator_sets_may_differ(tmp_path: Path) -> None:
    assert check_import(pair(tmp_path, generator(opset=9), classifier(opset=17))) < 1e-5


def test_a_flat_output_is_an_image_in_row_major_order(tmp_path: Path) -> None:
    graph = pair(tmp_path, None, classifier(shape=(1, 2, 3)))
    assert graph.find("then/x").shape == (1, 2, 3)
    assert any("(1, 2, 3)" in note for note in graph.source.notes)
    z = latents()
    image = ((output(tmp_path / "G.onnx", z) + 1) / 2).reshape(-1, 1, 2, 3)
    assert np.allclose(runtime(graph.source).run(z), output(tmp_path / "C.onnx", image), atol=1e-6)
    assert check_import(graph) < 1e-5


def test_normalisation_stays_the_last_ones_own(tmp_path: Path) -> None:
    g, c = files(tmp_path)
    graph = absint.load(c, compose=g, rescale=True, mean="0.25", std="0.5")
    z = latents()
    given = (((output(g, z) + 1) / 2).astype(np.float64) - 0.25) / 0.5
    assert np.allclose(runtime(graph.source).run(z), output(c, given.astype(np.float32)), atol=1e-5)
    assert check_import(graph) < 1e-5
    first = absint.load(c, compose=absint.load(g, mean=1.0), rescale=True)      # the first one's stays before it
    whole = absint.load(pair(tmp_path), mean=1.0)                               # of a row that is one already, the row's
    for raw in (first, whole):
        assert len(raw.source.prefix) == len(raw.source.parts[0].prefix) == 2
        assert np.allclose(runtime(raw.source).run(z + 1), two_steps(tmp_path, z, "rescale"), atol=1e-4)
        assert check_import(raw) < 1e-5


def test_a_float64_network_is_rounded_where_it_hands_over(tmp_path: Path) -> None:
    """The reference rounds to the next model's format; the graph is compared there, and goes on from there."""
    graph = pair(tmp_path, generator(dtype=TensorProto.DOUBLE))
    assert not graph.source.float32_executions
    assert check_import(graph, -3, 3) < 1e-5
    as_is = pair(tmp_path, generator(dtype=TensorProto.DOUBLE), as_is=True)
    assert check_import(as_is, -3, 3) < 1e-5
    # Just above 1 before the handover, 1 behind it: what a step makes of it is another number.
    ending = node("Mul", "m zero", "z"), node("Add", "z one", "y")
    above = generator(*ending, dtype=TensorProto.DOUBLE, zero=np.array(0.0), one=np.array(1 + 1e-12))
    stepped = build([node("Ceil", "x", "y")], ["n", IMAGE])
    graph = pair(tmp_path, above, stepped, as_is=True)
    assert check_import(graph) < 1e-9
    assert runtime(graph.source).run(latents(1)).tolist() == [[1.0] * IMAGE]


# ---- more than two, and others' models --------------------------------------------------------------------------------------


def middle(folder: Path) -> Path:
    return stored(folder, build([node("Gemm", "x w", "h"), node("Sigmoid", "h", "y")], ["n", IMAGE],
                                {"w": np.eye(IMAGE, dtype=np.float32)[::-1] * 3}), "M.onnx")


def test_three_in_a_row_are_the_same_whatever_is_joined_first(tmp_path: Path) -> None:
    g, c = files(tmp_path)
    m = middle(tmp_path)
    one, two, three = map(absint.load, (g, m, c))
    left, right = chain(chain(one, two), three), chain(one, chain(two, three))
    assert [node.name for node in left.nodes] == [node.name for node in right.nodes]
    assert [part.names for part in left.source.parts] == [part.names for part in right.source.parts] == ["", "then/", "then/then/"]
    assert left.source.sha256 == right.source.sha256
    z = latents()
    expected = output(c, output(m, output(g, z)))
    for graph in (left, right, absint.load(c, compose=[g, m])):
        assert np.array_equal(runtime(graph.source).run(z), expected)
        assert np.allclose(graph(torch.from_numpy(z).double()).numpy(), expected, atol=1e-5)
        assert check_import(graph) < 1e-5


def test_a_network_after_itself(tmp_path: Path) -> None:
    m = absint.load(middle(tmp_path))
    graph = m.then(m).then(m).then(m)
    assert len(graph.source.parts) == 4
    assert check_import(graph) < 1e-5
    x = np.random.default_rng(0).random((3, IMAGE)).astype(np.float32)
    assert np.array_equal(runtime(graph.source).run(x), output(tmp_path / "M.onnx", output(tmp_path / "M.onnx", output(
        tmp_path / "M.onnx", output(tmp_path / "M.onnx", x)))))


def test_a_torch_module_before_a_file(tmp_path: Path) -> None:
    _, c = files(tmp_path)
    module = torch.nn.Sequential(torch.nn.Linear(4, IMAGE), torch.nn.Tanh()).eval()
    graph = absint.load(c, compose=module, rescale=True, example_input=torch.zeros(1, 4))
    assert graph.source.runs
    z = latents()
    given = ((module(torch.from_numpy(z)).detach().numpy() + 1) / 2).astype(np.float32)
    assert np.allclose(runtime(graph.source).run(z), output(c, given), atol=1e-5)
    last = absint.load(torch.nn.Sequential(torch.nn.Linear(IMAGE, 2)).eval(), compose=tmp_path / "G.onnx", as_is=True)
    assert last.output.shape == (2,)        # its example is what the first one gives
    assert check_import(last) < 1e-5


def bare(*ops: Op, size: int = IMAGE) -> Graph:
    builder = GraphBuilder("x", (size,))
    name = "x"
    for op in ops:
        name = builder.add(op, (name,))
    return builder.graph(name)


def test_without_one_model_there_is_no_reference(tmp_path: Path) -> None:
    graph = absint.load(files(tmp_path)[0]).then(bare(Relu()), as_is=True)
    assert not graph.source.runs
    assert graph.source.sha256 == ""
    with pytest.raises(UsageError) as caught:
        runtime(graph.source)
    assert caught.value.code == "E-RUNTIME-NONE"
    (result,) = absint.verify(graph, latents(1), clip=None, eps=0.001)
    assert result.verdict.value in ("verified", "unknown")


def test_parts_of_a_row_have_no_reference(tmp_path: Path) -> None:
    graph = pair(tmp_path)
    assert not graph.upto("then/r").source.runs
    view = graph.with_parameters({})
    assert not view.source.runs


# ---- classes ----------------------------------------------------------------------------------------------------------------


def test_the_last_network_may_end_in_argmax(tmp_path: Path) -> None:
    graph = pair(tmp_path, None, classifier(node("ArgMax", "s", "y", axis=1, keepdims=0)))
    assert graph.output.shape == (CLASSES,)
    assert graph.source.chooses is not None
    z = latents()
    scores, index = runtime(graph.source).run(z), runtime(graph.source.whole).run(z)
    assert np.array_equal(scores.argmax(1), index.reshape(-1))
    assert check_import(graph) < 1e-5
    assert any(caveat.startswith("E-MODEL-ARGMAX") for caveat in graph.source.caveats)
    with pytest.raises(UnsupportedError) as caught:
        graph.then(absint.load(tmp_path / "C.onnx"), as_is=True)
    assert caught.value.code == "E-OP-UNSUPPORTED"


def test_a_query_about_the_class_index_runs_the_whole_row(tmp_path: Path) -> None:
    graph = pair(tmp_path, None, classifier(node("ArgMax", "s", "y", axis=1, keepdims=0)))
    z = latents(1)
    (index,) = runtime(graph.source.whole).run(z).reshape(-1).astype(int)
    lines = [f"(declare-const X_{k} Real)\n(assert (>= X_{k} {float(v)!r}))\n(assert (<= X_{k} {float(v)!r}))" for k, v in enumerate(z[0])]
    query = tmp_path / "q.vnnlib"
    query.write_text("\n".join([*lines, "(declare-const Y_0 Real)", f"(assert (>= Y_0 {index}))", f"(assert (<= Y_0 {index}))"]))
    found = absint.verify_query(graph, query)
    assert found.answer.value == "sat"
    assert found.witness.outputs == (float(index),)
    query.write_text(query.read_text().replace(f"Y_0 {index}", f"Y_0 {(index + 1) % CLASSES}"))
    assert absint.verify_query(graph, query).answer.value == "unsat"


def test_scores_before_the_last_softmax(tmp_path: Path) -> None:
    graph = pair(tmp_path, None, classifier(node("Softmax", "s", "y", axis=1)))
    assert before_softmax(graph) == "then/s"
    z = latents()
    whole = runtime(graph.source).run(z)
    for name in ("then/s", "s"):
        cut = ending_with(graph, name)
        scores = runtime(cut.source).run(z)
        assert np.allclose(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), whole, atol=1e-6)
        assert check_import(cut) < 1e-5
    inner = ending_with(graph, "m")             # within the first network: the second one is gone
    assert len(inner.source.parts) == 1
    assert check_import(inner) < 1e-5


# ---- a planted fault is seen -----------------------------------------------------------------------------------------------


def _swapped(graph: Graph) -> Graph:
    one, two = graph.source.parts
    return changed(graph, parts=(replace(one, model=two.model), replace(two, model=one.model)))


def _rescale_left_out(graph: Graph) -> Graph:
    one, two = graph.source.parts
    return changed(graph, parts=(one, replace(two, prefix=tuple(op for op in two.prefix if not isinstance(op, Affine)))))


def _rescale_left_out_of_the_graph(graph: Graph) -> Graph:
    none = Affine(scale=torch.ones((), dtype=torch.float64))
    return replace(graph, nodes=tuple(replace(n, op=none) if isinstance(n.op, Affine) else n for n in graph.nodes))


def _second_left_out(graph: Graph) -> Graph:
    return changed(graph, parts=graph.source.parts[:1])


def _another_second(graph: Graph) -> Graph:
    one, two = graph.source.parts
    other = classifier(v=2 * np.ones((8, CLASSES), np.float32)).SerializeToString()
    return changed(graph, parts=(one, replace(two, model=other)))


FAULTS = [_swapped, _rescale_left_out, _rescale_left_out_of_the_graph, _second_left_out, _another_second]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_import_check_sees_a_wrong_reference(tmp_path: Path, fault) -> None:
    graph = fault(pair(tmp_path))
    with pytest.raises((UnsupportedError, InputError)) as caught:
        check_import(graph)
    assert caught.value.code in ("E-IMPORT-MISMATCH", "E-IMPORT-RUNTIME")


# ---- witnesses ---------------------------------------------------------------------------------------------------------------


def _question(graph: Graph, z: np.ndarray) -> tuple[LinfBall, Spec]:
    point = torch.from_numpy(z.astype(np.float64))
    label = graph(point).argmax(1)
    return LinfBall(point, parse_eps("2"), None), Spec.robust(label, CLASSES)


def _elsewhere(graph: Graph, region: LinfBall, label: int) -> np.ndarray:
    """A point of the region of another class."""
    share = np.random.default_rng(0).random((4000, *graph.input.shape))
    low, high = (end.numpy()[0] for end in (region.hull.lower, region.hull.upper))
    points = low + (high - low) * share
    return points[(graph(torch.from_numpy(points)).argmax(1) != label).numpy()][0]


def test_a_witness_is_replayed_by_both_models(tmp_path: Path) -> None:
    graph = pair(tmp_path)
    region, spec = _question(graph, latents(1))
    label = int(graph(region.center).argmax())
    found = prove_witness(graph, region, spec, 0, _elsewhere(graph, region, label))
    assert found is not None
    fed = np.array([found.point], dtype=np.float32)
    assert np.allclose(two_steps(tmp_path, fed, "rescale")[0], found.output)
    assert int(np.argmax(found.output)) != label
    assert found.distance == 0


@pytest.mark.parametrize("which", [0, 1])
def test_no_witness_that_one_of_the_models_denies(tmp_path: Path, which: int) -> None:
    """A second network, or a first, in which nothing ever changes: the graph is wrong about it, the replay is not."""
    graph = pair(tmp_path)
    region, spec = _question(graph, latents(1))
    label = int(graph(region.center).argmax())
    point = _elsewhere(graph, region, label)
    steady = {f"{'v' if which else 'w'}": np.zeros((8, CLASSES) if which else (5, 4), np.float32)}
    more = {"c": 5 * np.eye(CLASSES, dtype=np.float32)[label]} if which else {}
    other = classifier(node("Add", "s c", "y"), **steady, **more) if which else generator(**steady)
    parts = list(graph.source.parts)
    parts[which] = replace(parts[which], model=other.SerializeToString())
    denied = changed(graph, parts=tuple(parts))
    if which == 0:      # it gives one image whatever comes; what the classifier says of it is the label that is asked about
        label = int(runtime(denied.source).run(point[None]).argmax())
        spec = Spec.robust(torch.tensor([label]), CLASSES)
        point = _elsewhere(graph, region, label)
    assert prove_witness(graph, region, spec, 0, point) is not None
    assert prove_witness(denied, region, spec, 0, point) is None


def test_verify_says_replayed(tmp_path: Path) -> None:
    results = absint.verify(pair(tmp_path), latents(4), clip=None, eps=2.0)
    found = [result for result in results if result.verdict.value == "falsified"]
    assert found
    assert all(result.assurance.value == "replayed" for result in found)
    for result in found:
        point = np.array([result.witness], dtype=np.float32)
        assert int(two_steps(tmp_path, point, "rescale").argmax()) != result.label


# ---- hashes --------------------------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_all_files_in_order_and_of_what_lies_between(tmp_path: Path) -> None:
    graph = pair(tmp_path)
    one, two = (absint.load(tmp_path / name).source.sha256 for name in ("G.onnx", "C.onnx"))
    assert [part.sha256 for part in graph.source.parts] == [one, two]
    assert graph.source.files == {"networks": [{"path": str(tmp_path / name), "sha256": sha}
                                               for name, sha in (("G.onnx", one), ("C.onnx", two))]}
    variants = [graph, pair(tmp_path, as_is=True), pair(tmp_path, rescale=True, classifier_range=(0, 2)),
                absint.load(tmp_path / "C.onnx", compose=tmp_path / "G.onnx", as_is=True, mean=0.5),
                absint.load(tmp_path / "C.onnx", compose=absint.load(tmp_path / "G.onnx", mean=0.5), as_is=True)]
    for digest in (graph_digest, model_digest):
        assert len({digest(each) for each in variants} | {one, two}) == len(variants) + 2
    (tmp_path / "other").mkdir()
    other = pair(tmp_path / "other", generator(b=np.zeros(5, np.float32)))
    assert len({graph.source.sha256, other.source.sha256, one, two}) == 4
    assert pair(tmp_path).source.sha256 == graph.source.sha256
