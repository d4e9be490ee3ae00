"""Channels first or last: what operators say, and what patches, radii, normalisation, data and pictures make of it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import imported, node

import absint
from absint.analyses.verify import ProofSettings
from absint.analyses.verify.patches import verify_patches
from absint.errors import UsageError
from absint.model.frontend import normalised
from absint.model.graph import Graph, chain
from absint.model.input_axes import axes_of
from absint.model.layout import Axes, Layout, agreed, parse_layout, readings
from absint.model.reference import runtime
from absint.problem.regions import Patches
from absint.problem.regions.region import LinfBall
from absint.verdict import Verdict

CHW, HWC = Layout.CHW, Layout.HWC
Read = Callable[..., Graph]
TO_CHW = [0, 3, 1, 2]
NORM = {name: np.ones(3, dtype=np.float32) for name in ("s", "b", "m", "v")}


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return partial(imported, tmp_path)


def conv_first(*before: Any, last: str = "x") -> list[Any]:
    return [*before, node("Conv", f"{last} w", "c"), node("Flatten", "c", "y")]


W = {"w": weights(2, 3, 2, 2)}
FIRST: dict[str, tuple[list[Any], list[int], dict[str, np.ndarray], Axes | None]] = {
    "conv": (conv_first(), [1, 3, 3, 3], W, Axes((3, 3, 3), 0)),
    "tf2onnx": (conv_first(node("Transpose", "x", "t", perm=TO_CHW), last="t"), [1, 3, 3, 3], W, Axes((3, 3, 3), 2)),
    "padded": (conv_first(node("Transpose", "x", "t", perm=TO_CHW), node("Pad", "t p", "q"), last="q"), [1, 3, 3, 3],
               {**W, "p": np.array([0, 0, 1, 0, 0, 0, 0, 1])}, Axes((3, 3, 3), 2)),
    "shifted and scaled": (conv_first(node("Sub", "x a", "d"), node("Mul", "d a", "m"), node("Relu", "m", "r"), last="r"), [1, 3, 3, 3],
                           {**W, "a": weights(3, 1, 1)}, Axes((3, 3, 3), 0)),
    "flat rows": (conv_first(node("Reshape", "x s", "t"), last="t"), [1, 27], {**W, "s": np.array([1, 3, 3, 3])}, Axes((3, 3, 3), 0)),
    "flat rows, channels last": (conv_first(node("Reshape", "x s", "i"), node("Transpose", "i", "t", perm=TO_CHW), last="t"), [1, 27],
                                 {**W, "s": np.array([1, 3, 3, 3])}, Axes((3, 3, 3), 2)),
    "height and width exchanged": (conv_first(node("Transpose", "x", "t", perm=[0, 1, 3, 2]), last="t"), [1, 3, 4, 3], W,
                                   Axes((3, 4, 3), 0)),
    "colours reversed": (conv_first(node("Gather", "x i", "g", axis=3), node("Transpose", "g", "t", perm=TO_CHW), last="t"), [1, 4, 4, 3],
                         {**W, "i": np.array([2, 1, 0])}, Axes((4, 4, 3), 2)),
    "grey": (conv_first(node("Unsqueeze", "x a", "u"), last="u"), [1, 4, 5], {"w": weights(2, 1, 2, 2), "a": np.array([1])},
             Axes((1, 4, 5), 0)),
    "max-pool": ([node("MaxPool", "x", "p", kernel_shape=[2, 2]), node("Flatten", "p", "y")], [1, 3, 3, 3], {}, Axes((3, 3, 3), 0)),
    "max-pool behind an identity": ([node("Identity", "x", "i"), node("MaxPool", "i", "p", kernel_shape=[2, 2]), node("Flatten", "p", "y")],
                                    [1, 3, 3, 3], {}, Axes((3, 3, 3), 0)),
    "average pool": ([node("AveragePool", "x", "p", kernel_shape=[2, 2]), node("Flatten", "p", "y")], [1, 3, 3, 3], {},
                     Axes((3, 3, 3), 0)),
    "global pool": ([node("Transpose", "x", "t", perm=TO_CHW), node("GlobalAveragePool", "t", "p"), node("Flatten", "p", "y")],
                    [1, 3, 3, 3], {}, Axes((3, 3, 3), 2)),
    "interpolated": ([node("Resize", "x n z", "r", mode="linear"), node("Flatten", "r", "y")], [1, 3, 3, 3],
                     {"n": np.array([], dtype=np.float32), "z": np.array([1, 2, 2, 1], dtype=np.float32)}, Axes((3, 3, 3), 2)),
    "space to depth": ([node("SpaceToDepth", "x", "d", blocksize=2), node("Flatten", "d", "y")], [1, 4, 4, 4], {}, Axes((4, 4, 4), 0)),
    "batch norm": ([node("BatchNormalization", "x s b m v", "n"), node("Flatten", "n", "y")], [1, 3, 3, 3], NORM, Axes((3, 3, 3), 0)),
    "instance norm": ([node("InstanceNormalization", "x s b", "n"), node("Flatten", "n", "y")], [1, 3, 3, 3],
                      {k: NORM[k] for k in "sb"}, Axes((3, 3, 3), 0)),
    "transposed conv": ([node("ConvTranspose", "x w", "c"), node("Flatten", "c", "y")], [1, 3, 3, 3], {"w": weights(3, 2, 2, 2)},
                        Axes((3, 3, 3), 0)),
    "one-dimensional": ([node("Conv", "x w", "c"), node("Flatten", "c", "y")], [1, 3, 5], {"w": weights(2, 3, 2)}, Axes((3, 5), 0)),
    "fully connected": ([node("Flatten", "x", "f"), node("MatMul", "f w", "y")], [1, 3, 3, 3], {"w": weights(27, 2)}, None),
    "features are no channels": ([node("Flatten", "x", "f"), node("BatchNormalization", "f s b m v", "y")], [1, 3, 3, 3],
                                 {name: np.ones(27, dtype=np.float32) for name in "sbmv"}, None),
    "readers that contradict": ([node("Transpose", "x", "t", perm=TO_CHW), node("Conv", "t w", "a"), node("Conv", "x w", "b"),
                                 node("Add", "a b", "c"), node("Flatten", "c", "y")], [1, 3, 3, 3], W, None),
    "mixed before": (conv_first(node("MatMul", "x k", "t"), last="t"), [1, 3, 3, 3], {**W, "k": weights(3, 3)}, None),
}


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("fold", [True, False])
def test_the_operators_that_read_the_input_tell_its_axes(read: Read, name: str, fold: bool) -> None:
    nodes, shape, constants, expected = FIRST[name]
    graph = read(nodes, shape, constants, fold=fold)
    assert axes_of(graph) == expected
    assert axes_of(normalised(graph, 0.5, 2)) == expected


def test_a_network_behind_another_still_tells(read: Read) -> None:
    before = read([node("Mul", "x k", "y")], [1, 3, 3, 3], {"k": weights(1)})
    assert axes_of(chain(before, read(*FIRST["max-pool"][:3]))) == Axes((3, 3, 3), 0)


# ---- radii and normalisation ---------------------------------------------------------------------------------------------

LAST = FIRST["tf2onnx"][:3]
NETS = {"first": (FIRST["conv"][:3], 1), "last": (LAST, 3)}
DENSE = FIRST["fully connected"][:3]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("eps", [["0.01", "0.02", "0.04"], [0.01, 0.02, 0.04]])
def test_radii_per_channel_follow_the_network(read: Read, name: str, eps: Any) -> None:
    (nodes, shape, constants), axis = NETS[name]
    graph = read(nodes, shape, constants)
    center = np.random.default_rng(1).uniform(0.2, 0.8, (2, 3, 3, 3))
    found = absint.bounds(graph, center, eps, tensors=["x"], domain="box")["x"]
    radii = np.array([0.01, 0.02, 0.04]).reshape([3 if k == axis else 1 for k in range(4)])
    assert (found.lower <= center - radii).all()
    assert (found.upper >= center + radii).all()
    np.testing.assert_allclose(found.upper - found.lower, np.broadcast_to(2 * radii, center.shape), rtol=1e-12)


@pytest.mark.parametrize(("layout", "axis"), [("chw", 0), ("hwc", 2)])
def test_radii_per_channel_as_told(layout: str, axis: int) -> None:
    radii = (Fraction(0), Fraction("0.1"), Fraction("0.2"))
    region = LinfBall(torch.full((1, 3, 3, 3), 0.5, dtype=torch.float64), radii, layout=layout)
    point = np.full((3, 3, 3), 0.5)
    at = [0, 0, 0]
    at[axis] = 2
    point[tuple(at)] = 0.65
    assert region.contains(0, point)
    assert region.take(torch.tensor([0])).contains(0, point)
    point[tuple(at)] = 0.9
    inside = region.project(0, point)    # at the rim, where rationals decide
    assert region.contains(0, inside)
    assert inside[tuple(at)] == pytest.approx(0.7)
    at[axis], point = 1, np.full((3, 3, 3), 0.5)
    point[tuple(at)] = 0.65
    assert not region.contains(0, point)
    assert float(region.hull.upper[(0, *at)]) == pytest.approx(0.6)


def test_radii_per_channel_that_could_go_along_two_axes_are_refused(read: Read) -> None:
    graph, center = read(*DENSE), np.full((1, 3, 3, 3), 0.5)
    with pytest.raises(UsageError, match="E-LAYOUT") as caught:
        absint.verify(graph, center, [0], ["0.1", "0.2", "0.3"])
    assert "--layout" in str(caught.value.hint)
    same = [absint.bounds(graph, center, eps)["y"] for eps in (["0.1"] * 3, "0.1")]     # no matter along which axis
    assert np.array_equal(same[0].lower, same[1].lower)
    one, two = (absint.bounds(graph, center, ["0.1", "0.2", "0.3"], layout=layout)["y"] for layout in ("chw", "hwc"))
    assert not np.array_equal(one.lower, two.lower)
    with pytest.raises(UsageError, match="E-DATA-LAYOUT"):
        absint.bounds(graph, center, ["0.1", "0.2", "0.3"], layout="nchw")


@pytest.mark.parametrize("name", NETS)
def test_normalisation_by_channel_is_what_onnxruntime_computes(read: Read, name: str) -> None:
    (nodes, shape, constants), axis = NETS[name]
    inner = read(nodes, shape, constants)
    mean, std = [0.1, 0.2, 0.4], [0.5, 0.25, 2.0]
    x = np.random.default_rng(2).random((4, 3, 3, 3))
    m, s = (np.array(v).reshape([3 if k == axis else 1 for k in range(4)]) for v in (mean, std))
    expected = runtime(inner.source).run((x - m) / s)
    np.testing.assert_allclose(normalised(inner, mean, std)(torch.as_tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_normalisation_by_channel_of_an_unknown_order_is_refused(read: Read) -> None:
    graph = read(*DENSE)
    with pytest.raises(UsageError, match="E-LAYOUT"):
        normalised(graph, [0.1, 0.2, 0.3])
    x = torch.rand(2, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert torch.allclose(normalised(graph, [0.1, 0.2, 0.3], 1, HWC)(x), graph(x - mean))
    assert torch.allclose(normalised(graph, [0.1, 0.2, 0.3], 1, CHW)(x), graph(x - mean[:, None, None]))
    with pytest.raises(UsageError, match="E-LAYOUT"):
        normalised(read(*LAST), [0.1, 0.2, 0.3], 1, CHW)    # the operators say otherwise


# ---- patches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "patches", "last"), [
    ((3, 3, 3), Patches(2, 1, layout="chw"), False), ((3, 3, 3), Patches(2, 1, layout="hwc"), True), ((1, 3, 4), Patches(2, 1), False),
    ((3, 4, 1), Patches(2, 1), True), ((4, 4, 3), Patches(2, 3, image=(4, 4)), True), ((3, 4, 4), Patches(2, 3, image=(4, 4)), False),
    ((48,), Patches(1, 2, image=(4, 4), layout="hwc"), True), ((48,), Patches(1, 2, image=(4, 4), layout="chw"), False),
    ((48,), Patches(1, 2, layout=Axes((4, 4, 3), 2)), True), ((4, 5), Patches(3, 1), False), ((20,), Patches(3, 1, image=(4, 5)), False),
])
def test_a_patch_frees_all_channels_of_its_pixels(shape: tuple[int, ...], patches: Patches, last: bool) -> None:
    x = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    region, owner = patches.of(x)
    rows, columns = patches.image or (shape if len(shape) == 2 else patches.picture(shape).spatial)
    channels = x[0].numel() // (rows * columns)
    places = [(t, le) for t in range(rows - patches.height + 1) for le in range(columns - patches.width + 1)]
    assert patches.positions(shape) == places
    assert owner.tolist() == [k for k in range(2) for _ in places]
    for k, (top, left) in enumerate(places * 2):
        free = np.zeros((rows, columns, channels), dtype=bool)
        free[top : top + patches.height, left : left + patches.width] = True
        mask = torch.as_tensor((free if last else np.moveaxis(free, 2, 0)).reshape(shape))
        assert torch.equal(region.lower[k], torch.where(mask, 0.0, x[owner[k]]))
        assert torch.equal(region.upper[k], torch.where(mask, 1.0, x[owner[k]]))


@pytest.mark.parametrize(("shape", "patches", "code"), [
    ((3, 4, 4), Patches(1, 1), "E-LAYOUT"), ((4, 4, 3), Patches(2, 2), "E-LAYOUT"), ((3, 3, 3), Patches(1, 1, image=(3, 3)), "E-LAYOUT"),
    ((48,), Patches(1, 1, image=(4, 4)), "E-LAYOUT"), ((1, 4, 1), Patches(1, 1), "E-LAYOUT"), ((48,), Patches(1, 1), "E-PATCH"),
    ((3, 5), Patches(1, 1, layout=Axes((3, 5), 0)), "E-PATCH"), ((3, 4, 4), Patches(1, 1, image=(3, 3)), "E-PATCH"),
    ((3, 4, 5), Patches(4, 5, layout="hwc"), "E-PATCH"), ((2, 3, 4, 4), Patches(1, 1, layout="chw"), "E-PATCH"),
    ((3, 4, 4), Patches(1, 1, layout="nchw"), "E-DATA-LAYOUT"),
])
def test_a_patch_is_refused_where_the_picture_is_not_known(shape: tuple[int, ...], patches: Patches, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        patches.of(torch.zeros(1, *shape, dtype=torch.float64))
    assert caught.value.code == code


def pixel_sum(shape: tuple[int, int, int], last: bool, *, dense: bool) -> tuple[list[Any], list[int], dict[str, np.ndarray]]:
    """Score 1 is the sum over the channels of pixel (1, 1), score 0 is 2.5: only a patch of all three channels changes the class."""
    weight = np.zeros((*shape, 2), dtype=np.float32)
    weight[(1, 1, slice(None), 1) if last else (slice(None), 1, 1, 1)] = 1
    bias = np.array([2.5, 0], dtype=np.float32)
    ends = [node("Flatten", "x", "f"), node("Gemm", "f v b", "y")]
    if dense:
        return ends, [1, *shape], {"v": weight.reshape(-1, 2), "b": bias}
    # The same behind a convolution that copies its channels.
    eye = np.eye(3, dtype=np.float32)[:, :, None, None]
    inside = [node("Transpose", "x", "t", perm=TO_CHW)] if last else []
    back = [node("Transpose", "c", "i", perm=[0, 2, 3, 1])] if last else []
    nodes = [*inside, node("Conv", "t e" if last else "x e", "c"), *back, node("Flatten", "i" if last else "c", "f"), ends[1]]
    return nodes, [1, *shape], {"v": weight.reshape(-1, 2), "b": bias, "e": eye}


@pytest.mark.parametrize("shape", [(3, 3, 3), (4, 4, 3), (3, 4, 4)])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_no_patch_is_verified_that_onnxruntime_refutes(read: Read, shape: tuple[int, int, int], dense: bool, last: bool) -> None:
    if shape[2 if last else 0] != 3:
        shape = (shape[2], shape[1], shape[0])
    graph = read(*pixel_sum(shape, last, dense=dense))
    x = np.zeros((1, *shape), dtype=np.float32)
    x[(0, 1, 1) if last else (0, slice(None), 1, 1)] = 1
    assert runtime(graph.source).run(x)[0].argmax() == 1
    patches = Patches(1, 1, layout=("hwc" if last else "chw") if dense else None)
    center, label = torch.zeros(1, *shape, dtype=torch.float64), torch.tensor([0])
    (found,) = verify_patches(graph, center, label, patches, ProofSettings("deeppoly"))
    assert found.verdict is Verdict.FALSIFIED
    other = Patches(1, 1, layout="chw" if last else "hwc")
    if dense:       # another question, and its answer: a pixel of the other reading holds one channel at most of those summed
        (found,) = verify_patches(graph, center, label, other, ProofSettings("deeppoly"))
        assert found.verdict is Verdict.VERIFIED
        with pytest.raises(UsageError, match="E-LAYOUT"):
            verify_patches(graph, center, label, Patches(1, 1), ProofSettings("deeppoly"))
    else:
        with pytest.raises(UsageError, match="E-LAYOUT"):
            verify_patches(graph, center, label, other, ProofSettings("deeppoly"))


# ---- what is told --------------------------------------------------------------------------------------------------------


def test_words_of_the_option() -> None:
    told = {text: parse_layout(text) for text in ("auto", "chw", "hwc:chw", "auto:hwc")}
    assert [(one.word, one.network) for one in told.values()] == [(None, None), (CHW, None), (HWC, CHW), (None, HWC)]
    for bad in ("", "nchw", "chw:", "chw:hwc:chw", "CHW"):
        with pytest.raises(UsageError, match="E-DATA-LAYOUT"):
            parse_layout(bad)


def test_what_operators_say_and_what_is_told_must_agree() -> None:
    first = Axes((3, 3, 3), 0)
    assert agreed((3, 3, 3), first, CHW) == first
    assert agreed((3, 3, 3), None, HWC) is HWC
    assert agreed((3, 3, 3), first, None) == first
    assert agreed((3, 3, 3), CHW, first) == first
    assert agreed((1, 3, 3), Axes((1, 3, 3), 0), HWC) == Axes((1, 3, 3), 0)     # one channel has no order
    for known, told in ((first, HWC), (CHW, HWC), (first, Axes((3, 3, 3), 2)), (Axes((27,), 0), first)):
        with pytest.raises(UsageError, match="E-LAYOUT"):
            agreed((3, 3, 3), known, told)


def test_readings_are_narrowed_by_what_a_caller_knows() -> None:
    first, last = Axes((3, 4, 4), 0), Axes((3, 4, 4), 2)
    assert readings((3, 4, 4), None) == [first, last]
    assert readings((3, 4, 4), None, count=3) == [first]
    assert readings((3, 4, 4), None, image=(3, 4)) == [last]
    assert readings((3, 4, 4), HWC, count=3) == []
    assert readings((1, 28, 28), None) == [Axes((1, 28, 28), 0)]
    assert readings((12,), None, count=3) == []
    assert readings((12,), HWC, count=3) == [Axes((4, 3), 1)]
