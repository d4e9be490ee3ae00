"""An axis 0 of size 1 is moved, merged and dropped like any other: what exporters write of attention, tokens, windows and scalars."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from one_instance import MODULES, exported, graph_of, module_of
from onnx_models import build, compare, imported, node, stored, weights

import absint
from absint.errors import AbsintError
from absint.frontends import onnx_translate
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.graph import GraphBuilder
from absint.model.input_axes import axes_of
from absint.model.ops.assemble import Each
from absint.model.ops.conv import Conv
from absint.model.reference import runtime

WITHOUT_BATCH = tuple(name for name in MODULES if module_of(name)[1].dim() != 1 + len(MODULES[name]()[1]))
OPEN = tuple(name for name in MODULES if name not in WITHOUT_BATCH)
# Whose axis 0 no node moves or merges: instances go together, and nothing is to be said.
APART = ("mixer", "squeeze", "one number a row")


@pytest.fixture
def read(tmp_path):
    return partial(imported, tmp_path)


def points(graph, count, seed=2):
    return torch.rand((count, *graph.input.shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_module(name, x):
    module, example = module_of(name)
    with torch.no_grad():
        return torch.stack([module(one.float().reshape(example.shape)).double().flatten() for one in x])


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_is_the_module_and_keeps_instances_apart(name):
    graph, x = graph_of(name), points(graph_of(name), 5)
    assert graph.input.shape == tuple(module_of(name)[1].shape[name not in WITHOUT_BATCH:])
    y = graph(x)
    torch.testing.assert_close(y.flatten(1), of_module(name, x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y, torch.cat([graph(one[None]) for one in x]))
    assert runtime(graph.source).run(x.numpy()).shape == tuple(y.shape)
    assert all(part.shape != () for part in graph.nodes)


@pytest.mark.parametrize("name", OPEN)
def test_an_open_batch_size_gives_the_same_graph_and_says_where_it_is_one(name):
    graph, fixed = graph_of(name, free=True), graph_of(name)
    x = points(graph, 70)
    torch.testing.assert_close(graph(x), fixed(x), rtol=1e-12, atol=1e-12)
    said = [note for note in graph.source.notes if "batch size is open" in note]
    assert len(said) == (name not in APART)
    assert runtime(graph.source).batchable == (name in APART)
    np.testing.assert_allclose(runtime(graph.source).run(x.numpy()), graph(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_bounds_hold_on_samples_and_do_not_depend_on_the_batch(name):
    graph = graph_of(name)
    center, output = points(graph, 2), graph.output.name
    shift = 0.02 * (2 * points(graph, 40, 3) - 1)
    for domain in ("box",) if "encoder" in name else ("box", "deeppoly"):
        both = absint.bounds(graph, center, "0.02", domain=domain, tensors=output, clip="none")[output]
        for k, middle in enumerate(center):
            y = graph(middle + shift)
            assert bool(((torch.as_tensor(both.lower)[k] <= y) & (y <= torch.as_tensor(both.upper)[k])).all())
            alone = absint.bounds(graph, middle[None], "0.02", domain=domain, tensors=output, clip="none")[output]
            np.testing.assert_allclose(alone.lower[0], both.lower[k], rtol=1e-4, atol=1e-5)


def test_the_other_exporter_gives_the_same_bounds():
    """Of one module, by torch.export: other nodes, the same network."""
    module, example = module_of("fused projections")
    graphs = [absint.load(module, example_input=example), graph_of("fused projections")]
    x = points(graphs[0], 1)
    torch.testing.assert_close(graphs[0](x), graphs[1](x), rtol=1e-6, atol=1e-8)
    found = [absint.bounds(graph, x, "0.01", domain="deeppoly", tensors=graph.output.name)[graph.output.name] for graph in graphs]
    np.testing.assert_allclose(found[0].lower, found[1].lower, rtol=1e-4, atol=1e-5)


def test_a_module_on_one_picture_takes_its_example_whole():
    module, example = module_of("a picture")
    graph = absint.load(module, example_input=example)
    assert graph.input.shape == (3, 4, 4)
    assert not graph.source.batched
    x = points(graph, 4)
    torch.testing.assert_close(graph(x), of_module("a picture", x), rtol=1e-4, atol=1e-5)


# ---- files by hand ----------------------------------------------------------------------------------------------------------


def test_numbers_without_axes(read):
    """Of a vector, by indices without axes; they meet tensors with axes, and come back."""
    nodes = [node("Gather", "x one", "a"), node("Gather", "x two", "b"), node("Mul", "a b", "c"), node("Add", "c x", "d"),
             node("ReduceMax", "d", "e", keepdims=0), node("Max", "e a", "f"), node("Unsqueeze", "f axes", "g"),
             node("Concat", "g x", "y", axis=0)]
    graph = read(nodes, [4], {"one": np.array(1), "two": np.array(-1), "axes": np.array([0])})
    assert graph.output.shape == (5,)
    compare(graph)


@pytest.mark.parametrize("nodes", [
    [node("ReduceSum", "x", "y", keepdims=0)],
    [node("Squeeze", "x", "s"), node("Gather", "s one", "y")],
    [node("Squeeze", "x", "s"), node("MatMul", "s s", "y")],
    [node("Relu", "x", "r"), node("ReduceMean", "r", "m", keepdims=0), node("Exp", "m", "e"), node("Sub", "e m", "y")],
    [node("ReduceMin", "x", "m", keepdims=0), node("Where", "true m m", "w"), node("Clip", "w zero", "y")],
])
def test_a_result_without_axes(read, nodes):
    graph = read(nodes, [1, 5], {"one": np.array(3), "true": np.array(True), "zero": np.float32(0)})
    assert graph.output.shape == (1,)
    compare(graph)


def test_matrices_of_other_ranks_are_aligned_from_the_right(read):
    nodes = [node("Reshape", "x s", "a"), node("Relu", "a", "r"), node("Slice", "r zero one zero", "b"), node("Squeeze", "b zero", "c"),
             node("MatMul", "a c", "y")]
    compare(read(nodes, [1, 18], {"s": np.array([2, 3, 3]), "zero": np.array([0]), "one": np.array([1])}))


def test_a_vector_times_a_matrix_and_back(read):
    nodes = [node("Squeeze", "x zero", "v"), node("Relu", "v", "r"), node("Reshape", "x s", "m"), node("Slice", "r zero two zero", "h"),
             node("MatMul", "h m", "a"), node("MatMul", "m a", "y")]
    graph = read(nodes, [1, 6], {"zero": np.array([0]), "two": np.array([2]), "s": np.array([2, 3])})
    assert graph.output.shape == (2,)
    compare(graph)


def test_instances_that_would_meet_at_the_end_of_a_batch(read):
    """Everybody adds what the last of the batch has: the last one itself would not notice that others were there."""
    constants = {"s": np.array([-1]), "e": np.array([2**62]), "a": np.array([0])}
    graph = read([node("Relu", "x", "r"), node("Slice", "r s e a", "b"), node("Add", "r b", "y")], ["N", 6], constants)
    compare(graph)
    assert any("batch size is open" in note for note in graph.source.notes)


def test_without_the_pinned_batch_size_they_do_meet(read, monkeypatch):
    monkeypatch.setattr(onnx_translate, "one_at_a_time", lambda file: file)
    with pytest.raises((AssertionError, AbsintError)):
        test_instances_that_would_meet_at_the_end_of_a_batch(read)


def test_a_fixed_batch_of_three_is_still_one_instance(read):
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("MaxPool", "r", "p", kernel_shape=[2, 2]),
             node("GlobalAveragePool", "p", "g"), node("Flatten", "g", "y")]
    graph = read(nodes, [3, 2, 5, 5], {"w": weights(4, 2, 2, 2)})
    assert graph.input.shape == (3, 2, 5, 5)
    assert graph.output.shape == (3, 4)
    assert any("all 3x2x5x5 numbers are one instance" in note for note in graph.source.notes)
    compare(graph)


@pytest.mark.parametrize(("channels", "known"), [(2, 1), (1, None)])
def test_channels_of_several_pictures_are_not_the_pictures(read, channels, known):
    """With one channel, the axis that counts pictures is as good as the channels': nothing is said."""
    graph = read([node("Conv", "x w", "c"), node("Relu", "c", "y")], [3, channels, 3, 3], {"w": weights(2, channels, 2, 2)})
    axes = axes_of(graph)
    assert (None if axes is None else axes.channels) == known


def test_names_of_the_file_survive_the_views(tmp_path):
    """A moved axis of size 1 moves no entry: another shape is all that is left of it, under its name."""
    nodes = [node("Relu", "x", "r"), node("Transpose", "r", "t", perm=[1, 0, 2]), node("Squeeze", "t a", "s"), node("MatMul", "s w", "y")]
    graph = OnnxFrontEnd().read(stored(tmp_path, build(nodes, [1, 3, 4], {"a": np.array([1]), "w": weights(4, 2)})))
    assert [type(part.op).__name__ for part in graph.nodes] == ["Input", "Relu", "Reshape", "Reshape", "Gemm"]
    assert [part.shape for part in graph.nodes if part.name in "ts"] == [(3, 1, 4), (3, 4)]


def test_a_refusal_names_its_reason_and_not_the_batch_axis(tmp_path):
    with pytest.raises(AbsintError) as caught:
        OnnxFrontEnd().read(stored(tmp_path, build([node("Transpose", "x", "t"), node("GridSample", "t g", "y")], [1, 3, 4, 2],
                                                   {"g": weights(2, 3, 3, 2)}, opset=16)))
    assert "is not one for each image" in caught.value.render()
    assert "moves the batch axis" not in caught.value.render()


def test_files_are_exported_once():
    assert exported("mixer") is exported("mixer")


def test_an_operator_on_each_picture_is_what_it_expands_into():
    kernel = torch.as_tensor(weights(2, 1, 2, 2, dtype=np.float64))
    each = Each(Conv(kernel, None, (1, 1), ((0, 1), (1, 0)), (1, 1)), 3)
    builder = GraphBuilder("x", (3, 1, 3, 3))
    graph = builder.graph(builder.add(each, ("x",), "y"))
    x = points(graph, 4)
    assert graph.output.shape == each.output_shape((3, 1, 3, 3)) == (3, 2, 3, 3)
    torch.testing.assert_close(graph(x), each.forward(x))
