"""Networks in a row: what one hands over must be what the next one expects, in range and in shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_models import node, stored
from rows_of_networks import files, generator, latents, output

import absint
from absint.errors import InputError, UnsupportedError, UsageError
from absint.model.composition import codomain
from absint.model.graph import Graph, GraphBuilder, chain
from absint.model.import_check import check_import
from absint.model.ops.affine import Affine
from absint.model.ops.normalise import Softmax
from absint.model.ops.relu import Relu
from absint.model.reference import runtime


def test_a_range_that_does_not_fit_is_refused_with_both_flags(tmp_path: Path) -> None:
    one, two = map(absint.load, files(tmp_path))
    with pytest.raises(InputError) as caught:
        one.then(two)
    assert caught.value.code == "E-COMPOSE-RANGE"
    assert "[-1, 1]" in caught.value.what
    assert "[0, 1]" in caught.value.what
    for word in ("--rescale", "--as-is", "rescale=True", "as_is=True"):
        assert word in caught.value.hint
    one.then(two, classifier_range=(-1, 1))
    one.then(two, classifier_range=None)
    one.then(two, as_is=True)
    wrong = [{"classifier_range": given} for given in ("0,1", (1, 0), (0, np.inf), (0, 1, 2), (None, 1))]
    for how in (*wrong, {"rescale": True, "as_is": True}, *({"rescale": True, "classifier_range": given} for given in (None, (1, 1)))):
        with pytest.raises(UsageError):
            one.then(two, **how)
    with pytest.raises(InputError) as caught:
        one.then(tmp_path / "C.onnx")
    assert caught.value.code == "E-MODEL-TYPE"


RANGES = {
    "tanh": ([node("Tanh", "m", "y")], {}, (-1, 1)),
    "sigmoid": ([node("Sigmoid", "m", "y")], {}, (0, 1)),
    "clip": ([node("Clip", "m lo hi", "y")], {"lo": np.array(-0.5, np.float32), "hi": np.array(2, np.float32)}, (-0.5, 2)),
    "relu": ([node("Relu", "m", "y")], {}, (0, np.inf)),
    "none": ([node("Identity", "m", "y")], {}, (-np.inf, np.inf)),
    "tanh made to fit": ([node("Tanh", "m", "t"), node("Mul", "t k", "u"), node("Add", "u k", "y")], {"k": np.array(0.5, np.float32)},
                         (0, 1)),
    "reshaped": ([node("Tanh", "m", "t"), node("Reshape", "t k", "y")], {"k": np.array([-1, 2, 3])}, (-1, 1)),
    "a dense layer behind it": ([node("Tanh", "m", "t"), node("MatMul", "t k", "y")], {"k": np.full((6, 6), 0.5, np.float32)}, (-3, 3)),
    "softmax": ([node("Softmax", "m", "y", axis=1)], {}, (0, 1)),
    "both sides": ([node("Tanh", "m", "t"), node("Mul", "t t", "q"), node("Neg", "q", "y")], {}, (-1, 1)),
}


@pytest.mark.parametrize("name", RANGES)
def test_the_range_follows_from_the_functions_at_the_end(tmp_path: Path, name: str) -> None:
    ending, more, expected = RANGES[name]
    graph = absint.load(stored(tmp_path, generator(*ending, **more)))
    low, high = codomain(graph.nodes)
    if name == "both sides":
        assert expected[0] <= low <= -1 + 1e-6
        assert 0 <= high <= 1 + 1e-6
    else:
        assert (low, high) == pytest.approx(expected, abs=1e-6)
    found = graph(torch.randn((200, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20)
    assert low - 1e-6 <= float(found.min())
    assert float(found.max()) <= high + 1e-6


@pytest.mark.parametrize("name", ["relu", "none"])
def test_an_unbounded_range_cannot_be_rescaled(tmp_path: Path, name: str) -> None:
    ending, more, _ = RANGES[name]
    one, two = map(absint.load, files(tmp_path, generator(*ending, **more)))
    for how in ({}, {"rescale": True}):
        with pytest.raises(InputError) as caught:
            one.then(two, **how)
        assert caught.value.code == "E-COMPOSE-RANGE"
        assert "--as-is" in caught.value.hint
    assert check_import(one.then(two, as_is=True)) < 1e-5


@pytest.mark.parametrize("expects", [(0.0, 2.0**-1010), (0.0, 1e305), (2.0**1010, 2.0**1010 * (1 + 2.0**-40))])
def test_a_rescaling_whose_constants_are_no_normal_numbers_is_refused(tmp_path: Path, expects: tuple[float, float]) -> None:
    """Their rounding would be no small part of them, and is not charged."""
    one, two = map(absint.load, files(tmp_path))
    with pytest.raises(InputError) as caught:
        one.then(two, rescale=True, classifier_range=expects)
    assert caught.value.code == "E-COMPOSE-RANGE"


def test_what_fits_needs_no_word_and_is_not_touched(tmp_path: Path) -> None:
    one, two = map(absint.load, files(tmp_path, generator(node("Sigmoid", "m", "y"))))
    for graph in (one.then(two), one.then(two, rescale=True)):
        assert not any(isinstance(n.op, Affine) for n in graph.nodes)


def test_operators_between_are_part_of_the_reference(tmp_path: Path) -> None:
    one, two = map(absint.load, files(tmp_path))
    graph, z = chain(one, two, between=(Relu(), Affine(scale=torch.tensor(0.25, dtype=torch.float64)))), latents()
    given = np.maximum(output(tmp_path / "G.onnx", z), 0) / 4
    assert np.array_equal(runtime(graph.source).run(z), output(tmp_path / "C.onnx", given))
    assert check_import(graph, -3, 3) < 1e-5
    with pytest.raises(UnsupportedError) as caught:
        chain(one, two, between=(Softmax(-1),))
    assert caught.value.code == "E-OP-UNSUPPORTED"


@pytest.mark.parametrize(("first", "second"), [((5,), (6,)), ((3, 4), (4, 3)), ((12,), (3, 2, 2)), ((3, 2, 2), (12,)), ((2, 6), (3, 4))])
def test_shapes_that_do_not_meet_are_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    def net(shape: tuple[int, ...]) -> Graph:
        builder = GraphBuilder("x", shape)
        return builder.graph(builder.add(Relu(), ("x",)))

    with pytest.raises(InputError) as caught:
        chain(net(first), net(second))
    assert caught.value.code == "E-SHAPE"
