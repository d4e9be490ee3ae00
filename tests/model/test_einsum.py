"""Einsum: any equation of computed operands and constants, at any batch size; what it says is what the runtime computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_models import build, compare, imported, node, stored, weights

import absint
from absint.errors import AbsintError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.ops.einsum import Einsum

# Equation, and its operands: the shape of a constant, or of a computed tensor with its batch axis as 0.
EQUATIONS = {
    "a weight for each channel": ("bchw,cd->bdhw", (0, 2, 2, 1), (2, 3)),
    "a weight in front": ("oi,bi->bo", (3, 4), (0, 4)),
    "scores of attention": ("bqd,bkd->bqk", (0, 2, 2), (0, 3, 2)),
    "heads in the middle": ("bqhd,bkhd->bhqk", (0, 2, 2, 1), (0, 2, 2, 1)),
    "outer product": ("bi,bj->bij", (0, 2), (0, 2)),
    "a form of three": ("bi,oij,bj->bo", (0, 2), (3, 2, 2), (0, 2)),
    "two weights one behind the other": ("bi,ij,jk->bk", (0, 4), (4, 2), (2, 3)),
    "entry by entry": ("bij,bij->bij", (0, 2, 2), (0, 2, 2)),
    "a weight entry by entry": ("bij,ij->bij", (0, 2, 2), (2, 2)),
    "a weight along a label that goes": ("bi,jk->bik", (0, 4), (3, 2)),
    "diagonal": ("bii->bi", (0, 2, 2)),
    "trace": ("bii->b", (0, 2, 2)),
    "sum and move": ("bijk->bki", (0, 2, 1, 2)),
    "dots": ("...i,ij->...j", (0, 2, 2), (2, 3)),
    "dots in the middle, no arrow": ("b...i, b...i", (0, 2, 2), (0, 2, 2)),
    "an axis of size 1": ("bij,bij->bi", (0, 2, 1), (0, 2, 2)),
    "capitals": ("aB,BA->aA", (0, 4), (4, 2)),
}


def network(equation, *shapes, batch="n"):
    """Each computed operand is a matrix times the input; the result is flat."""
    nodes, constants, names = [], {}, []
    for k, shape in enumerate(shapes):
        name = f"p{k}"
        names.append(name)
        if shape[0] != 0:
            constants[name] = weights(*shape, seed=k)
            continue
        constants |= {f"w{k}": weights(3, int(np.prod(shape[1:])), seed=k), f"s{k}": np.array(shape)}
        nodes += [node("MatMul", f"x w{k}", f"h{k}"), node("Reshape", f"h{k} s{k}", name)]
    return [*nodes, helper.make_node("Einsum", names, ["y"], "sum", equation=equation)], [batch, 3], constants


@pytest.mark.parametrize("case", EQUATIONS)
def test_an_equation_is_what_the_runtime_makes_of_it(tmp_path, case):
    graph = imported(tmp_path, *network(*EQUATIONS[case]))
    assert graph.source.batched
    compare(graph)


def test_bounds_hold_at_every_corner(tmp_path):
    graph = imported(tmp_path, *network(*EQUATIONS["heads in the middle"]))
    corners = torch.cartesian_prod(*[torch.tensor([0.4, 0.6], dtype=torch.float64)] * 3)
    values = graph(corners).flatten(1).numpy()
    for domain in ("box", "zonotope", "deeppoly"):
        found = absint.bounds(graph, np.full((1, 3), 0.5), "0.1", domain=domain)[graph.output.name]
        assert (values >= np.ravel(found.lower)).all()
        assert (values <= np.ravel(found.upper)).all()


def test_a_tensor_and_itself_is_its_square(tmp_path):
    """Two operands that nobody knows to be one give products below zero."""
    nodes = [node("MatMul", "x w", "h"), helper.make_node("Einsum", ["h", "h"], ["y"], equation="bi,bi->b")]
    graph = imported(tmp_path, nodes, ["n", 3], {"w": weights(3, 4)})
    found = absint.bounds(graph, np.zeros((1, 3)), "0.5", clip=None, domain="box")[graph.output.name]
    assert float(np.ravel(found.lower)[0]) > -1e-12     # what a sum of four may err by


def test_a_batch_that_is_moved_is_followed_for_one_instance(tmp_path):
    graph = imported(tmp_path, *network("bi,bj->ijb", (0, 2), (0, 3)))
    assert any("moves or merges that axis" in note for note in graph.source.notes)
    assert graph.output.size == 6


@pytest.mark.parametrize(("equation", "word"), [("bi,ij->bjk", "not one"), ("bi->bi", "not one"), ("bi,ij->bjj", "repeats"),
                                                ("b,ij->bj", "axes"), ("b.i,ij->bj", "axes"), ("....i,ij->bj", "not one")])
def test_an_equation_that_is_none_is_refused(tmp_path, equation, word):
    """Before onnxruntime, which says the same of all of them."""
    path = stored(tmp_path, build(*network(equation, (0, 4), (4, 2))))
    with pytest.raises(AbsintError) as caught:
        OnnxFrontEnd().read(path, check=False)
    assert word in caught.value.render()


def test_sizes_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(AbsintError) as caught:
        OnnxFrontEnd().read(stored(tmp_path, build(*network("bi,ij->bj", (0, 4), (3, 2)))), check=False)
    assert "sizes 4 and 3" in caught.value.render()


def test_the_operator_alone_is_torch_s():
    weight, x = torch.as_tensor(weights(3, 2)).double(), torch.as_tensor(weights(5, 2, 3)).double()
    op = Einsum(((0, 1), (1, 2)), (2, 0), (None, weight))
    assert op.output_shape((2, 3)) == (2, 2)
    assert torch.allclose(op.forward(x), torch.einsum("nij,jk->nki", x, weight))
    assert Einsum(((0,), (0,)), (), (None, None)).forward(x[:, 0], x[:, 1]).shape == (5, 1)
