"""Nodes that ONNX defines by others are expanded: the graph is what onnxruntime computes of the node, and bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx_models import build, node, weights

from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import tensor_bounds
from absint.errors import InputError, UnsupportedError
from absint.frontends.onnx_bodies import defined_by_others
from absint.frontends.onnx_functions import still_means
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion

COSINE, SINE, PLACES = weights(1, 3, 2), weights(1, 3, 2, seed=1), np.array([[2, 0, 1]])
CAUSAL = np.tril(np.ones((3, 3), np.bool_))
HIDDEN = np.where(CAUSAL, 0, -np.inf).astype(np.float32)
HEADS = {"q_num_heads": 2, "kv_num_heads": 2}


def attention(constants=None, *, inputs="q k v", outputs="y", heads=(2, 2), **attributes):
    """Of queries, keys and values that one tensor holds side by side."""
    sizes = np.array([4 * heads[0], 4 * heads[1], 4 * heads[1]])
    nodes = [node("Split", "x sizes", "q k v", axis=-1), helper.make_node("Attention", inputs.split(" "), outputs.split(" "), **attributes)]
    return nodes, [1, 3, int(sizes.sum())], {"sizes": sizes, **(constants or {})}


def one(op_type, shape, constants=None, **attributes):
    constants = constants or {}
    return [node(op_type, " ".join(["x", *constants]), "y", **attributes)], shape, constants


# name -> (opsets, (nodes, shape of 'x', constants))
NODES = {
    "attention": ((23, 24), attention(**HEADS)),
    "attention, causal": ((23, 24), attention(is_causal=1, **HEADS)),
    "attention, masked by numbers": ((23,), attention({"m": weights(3, 3)}, inputs="q k v m", **HEADS)),
    "attention, masked by truths": ((23,), attention({"m": CAUSAL}, inputs="q k v m", **HEADS)),
    "attention, masked by -inf": ((23,), attention({"m": HIDDEN}, inputs="q k v m", **HEADS)),
    "attention, shared keys": ((23,), attention(heads=(4, 2), q_num_heads=4, kv_num_heads=2, is_causal=1, scale=0.3)),
    "attention, capped": ((23,), attention(softcap=2.0, **HEADS)),
    "attention, what came before": ((24,), attention({"pk": weights(1, 2, 2, 4), "pv": weights(1, 2, 2, 4, seed=1)},
                                                     inputs="q k v  pk pv", outputs="y k2 v2", **HEADS)),
    "rotary embedding": ((23, 24), one("RotaryEmbedding", [1, 2, 3, 4], {"c": COSINE, "s": SINE})),
    "rotary embedding of a part": ((23,), one("RotaryEmbedding", [1, 2, 3, 6], {"c": COSINE, "s": SINE}, rotary_embedding_dim=4)),
    "rotary embedding by places": ((23,), one("RotaryEmbedding", [1, 3, 8], {"c": weights(5, 2), "s": weights(5, 2, seed=1), "p": PLACES},
                                              num_heads=2, interleaved=1)),
    "center crop and pad": ((18, 24), one("CenterCropPad", [1, 4, 3], {"n": np.array([6, 2])}, axes=[-2, -1])),
    "shrink": ((9, 18), one("Shrink", [1, 4], lambd=0.3, bias=0.1)),
    "shrink by default": ((13,), one("Shrink", [1, 4])),
    "cast like": ((21,), one("CastLike", [1, 4], {"t": np.zeros(1, np.float32)})),
}
CASES = [pytest.param(opset, *case, id=f"{name} {opset}") for name, (opsets, case) in NODES.items() for opset in opsets]


def read(nodes, shape, constants, opset, **options):
    return OnnxFrontEnd().read("made.onnx", content=build(nodes, shape, constants, opset=opset).SerializeToString(), **options)


def bounds_hold(graph, radius=0.05):
    """At random points and vertices, in three domains."""
    random = torch.Generator().manual_seed(11)
    centre = torch.rand(1, *graph.input.shape, generator=random, dtype=torch.float64)
    share = torch.rand(300, *graph.input.shape, generator=random, dtype=torch.float64)
    share[::2] = share[::2].round()
    region = BoxRegion(centre - radius, centre + radius)
    x = torch.minimum(torch.maximum(centre + radius * (2 * share - 1), centre - radius), centre + radius)
    with numeric_mode(), torch.no_grad():
        y = graph(x)
        for domain in ("box", "zonotope", "deeppoly"):
            found = tensor_bounds(DOMAINS.get(domain)(), Context(graph, region, Numerics()), (graph.output.name,))[graph.output.name]
            assert bool((found.lower <= y + 1e-12).all() and (y <= found.upper + 1e-12).all()), domain
            assert bool(found.lower.isfinite().all() and found.upper.isfinite().all()), domain


@pytest.mark.parametrize(("opset", "nodes", "shape", "constants"), CASES)
def test_a_node_is_what_onnxruntime_computes_of_it(opset, nodes, shape, constants):
    graph = read(nodes, shape, constants, opset)
    coverage = graph.source.node_check
    assert coverage.nodes == coverage.total == len(nodes)   # a node counts as one, whatever it is expanded into
    bounds_hold(graph)


def test_a_row_that_is_masked_as_a_whole_is_refused():
    with pytest.raises(UnsupportedError, match="masked by -inf"):
        read(*attention({"m": np.zeros((3, 3), np.bool_)}, inputs="q k v m", **HEADS), 23)


def test_operands_that_no_used_result_reads_may_be_missing():
    graph = read(*attention(outputs="a   y", qk_matmul_output_mode=1, **HEADS), 23)
    assert "y" in graph.output.tensors
    bounds_hold(graph)


def test_an_open_batch_stays_open():
    nodes, shape, constants = attention(is_causal=1, **HEADS)
    graph = read(nodes, ["n", *shape[1:]], constants, 23)
    assert not any("batch size" in note for note in graph.source.notes)


def test_inside_a_function_of_the_model():
    """Types of what is inside are known when the function has been expanded."""
    nodes, shape, constants = attention(is_causal=1, **HEADS)
    model = build([nodes[0], helper.make_node("F", ["q", "k", "v"], ["y"], domain="own")], shape, constants, opset=23, domains=("own",))
    inner = helper.make_node("Attention", ["a", "b", "c"], ["d"], is_causal=1, **HEADS)
    model.functions.append(helper.make_function("own", "F", ["a", "b", "c"], ["d"], [inner], [helper.make_opsetid("", 23)]))
    graph = OnnxFrontEnd().read("made.onnx", content=model.SerializeToString())
    bounds_hold(graph)


def test_an_operator_of_a_later_opset_is_told_by_it():
    """torch writes torch.onnx.ops.attention into files of any opset."""
    nodes, shape, constants = attention(**HEADS)
    with pytest.raises(UnsupportedError) as caught:
        read(nodes, shape, constants, 18)
    assert "is an operator of opset 23, and the model names opset 18; export with opset 23 or newer" in caught.value.details[0]
    assert read(nodes, shape, constants, 23).output.shape == (3, 8)


def test_parts_without_entries_are_joined_to_others():
    nodes = [node("Split", "x sizes", "a b", axis=-1), node("Relu", "a", "r"), node("Concat", "r b", "y", axis=-1)]
    graph = read(nodes, [1, 3], {"sizes": np.array([3, 0])}, 18)
    x = torch.tensor([[-1.0, 0.5, 2.0]], dtype=torch.float64)
    assert torch.equal(graph(x), x.clamp(min=0))
    cut = [node("Slice", "x s e a", "y")]
    with pytest.raises(InputError, match="no entries"):
        read(cut, [1, 3], {"s": np.array([3]), "e": np.array([9]), "a": np.array([1])}, 18)


def meanings_are_told_apart():
    same = [("Cast", 21, 24), ("Reshape", 13, 24), ("Relu", 13, 24), ("Where", 18, 9)]
    other = [("ReduceMean", 13, 18), ("Softmax", 11, 13), ("Squeeze", 11, 13), ("Clip", 6, 11), ("ReduceMean", 18, 13), ("Shrink", 18, 7),
             ("CastLike", 18, 9)]
    assert [case for case in same if not still_means(*case)] == []
    assert [case for case in other if still_means(*case)] == []


def test_a_body_is_read_where_its_operators_mean_what_they_did():
    meanings_are_told_apart()


def test_what_is_defined_by_others_has_no_entry_and_no_reason_to_be_refused():
    names = defined_by_others()
    assert {"Attention", "RotaryEmbedding", "CenterCropPad", "Shrink", "SwiGLU"} <= set(names)
    assert not {"Softmax", "LayerNormalization", "Bernoulli", "DynamicQuantizeLinear", "SequenceMap", "CastLike", "Range"} & set(names)


def test_a_node_that_is_no_valid_one_is_told():
    with pytest.raises(UnsupportedError):
        read([node("Attention", "x", "y")], [1, 3, 8], {}, 23)
    with pytest.raises(UnsupportedError):
        read([node("CenterCropPad", "x x", "y")], [1, 3, 8], {}, 18)


def test_reduced_precision_inside_is_what_the_file_says():
    """Computed in float32 between casts where the file's numbers are float16."""
    model = build(*attention(softmax_precision=TensorProto.FLOAT, **HEADS), opset=23)
    graph = OnnxFrontEnd().read("made.onnx", content=model.SerializeToString())
    bounds_hold(graph)
