"""Images in either order reach networks in either order: data files, pictures, and the command line around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import build, node, stored

from absint.attacks.witness_files import WitnessInfo, save_witnesses
from absint.errors import AbsintError, UsageError
from absint.model.frontend import load_model
from absint.model.layout import Axes, Known, Layout
from absint.problem.data_frontend import read_data
from absint.problem.dataset import Dataset
from absint.problem.regions.region import LinfBall
from absint.verdict import InstanceResult, Verdict

CHW, HWC = Layout.CHW, Layout.HWC
TO_CHW = [0, 3, 1, 2]


def images(*shape: int, layout: Layout | None = None) -> Dataset:
    values = np.random.default_rng(shape).random((2, *shape))
    return Dataset(values, np.array([0, 1]), "images", "", layout=layout)


def moved(data: Dataset, source: int, target: int) -> np.ndarray:
    return np.moveaxis(data.inputs, source, target)


# data shape, what its file tells, network's shape, what its operators tell, --layout -> (source axis, target axis), None: as it lies
WAYS: list[tuple[Any, ...]] = [
    ((3, 3, 3), None, (3, 3, 3), CHW, "hwc", (3, 1)),           # equal sizes are no reason to leave the order
    ((3, 3, 3), None, (3, 3, 3), HWC, "hwc", None),
    ((3, 3, 3), None, (3, 3, 3), HWC, "chw", (1, 3)),
    ((3, 3, 3), None, (3, 3, 3), None, "hwc:chw", (3, 1)),
    ((3, 3, 3), None, (3, 3, 3), None, "auto", None),
    ((3, 3, 3), CHW, (3, 3, 3), HWC, "auto", (1, 3)),           # a PNG folder for a network with channels last
    ((3, 3, 3), CHW, (3, 3, 3), None, "hwc", (1, 3)),           # the file tells its own order, so the word is the network's
    ((3, 5, 4), CHW, (5, 4, 3), None, "auto", (1, 3)),
    ((3, 5, 7), None, (5, 7, 3), HWC, "auto", (1, 3)),
    ((5, 7, 3), None, (3, 5, 7), None, "auto", (3, 1)),
    ((4, 4, 3), None, (4, 4, 3), None, "hwc", None),
    ((28, 28), None, (1, 28, 28), None, "hwc", None),
    ((1, 28, 28), CHW, (28, 28, 1), None, "auto", None),
    ((3, 4, 4), None, (48,), None, "auto", None),               # as it lies, unless something tells otherwise
    ((4, 4, 3), None, (48,), Axes((3, 4, 4), 0), "auto", (3, 1)),
    ((3, 4, 4), CHW, (48,), Axes((4, 4, 3), 2), "auto", (1, 3)),
    ((3, 4, 4), CHW, (48,), None, "hwc", (1, 3)),
    ((3, 4, 4), None, (48,), None, "chw:chw", None),
]


@pytest.mark.parametrize(("shape", "own", "target", "network", "word", "axes"), WAYS)
def test_images_reach_the_network_in_its_order(shape: Any, own: Layout | None, target: Any, network: Known, word: str,
                                               axes: Any) -> None:
    data = images(*shape, layout=own)
    shaped = data.shaped_for(target, word, network)
    assert np.array_equal(shaped.inputs, (data.inputs if axes is None else moved(data, *axes)).reshape(2, *target))
    assert any("reordered" in note for note in shaped.notes) == (axes is not None)
    again = shaped.shaped_for(target, "auto", network)
    assert np.array_equal(again.inputs, shaped.inputs)


@pytest.mark.parametrize("word", ["hwc", "hwc:chw", "hwc:hwc", "chw:hwc", "auto"])
@pytest.mark.parametrize("network", [CHW, HWC, None])
def test_flat_rows_are_images_in_the_order_that_is_told(word: str, network: Layout | None) -> None:
    flat, told = images(36), word.split(":")
    seen = {"chw": CHW, "hwc": HWC}.get(told[-1] if len(told) == 2 else "")
    target = (3, 3, 4) if (network or seen or CHW) is CHW else (3, 4, 3)
    if word != "auto" and network is None and seen is None:
        with pytest.raises(UsageError, match="E-LAYOUT"):
            flat.shaped_for(target, word)
        return
    if network is not None and seen is not None and network is not seen:
        with pytest.raises(UsageError, match="E-LAYOUT"):
            flat.shaped_for(target, word, network)
        return
    first = flat.inputs.reshape(2, 3, 3, 4) if told[0] == "chw" else np.moveaxis(flat.inputs.reshape(2, 3, 4, 3), 3, 1)
    expected = first if (network or seen) is CHW else np.moveaxis(first, 1, 3)
    if word == "auto":
        expected = flat.inputs.reshape(2, *target)
    assert np.array_equal(flat.shaped_for(target, word, network).inputs, expected)


@pytest.mark.parametrize(("shape", "own", "target", "network", "word", "code"), [
    ((3, 5, 7), None, (3, 5, 7), CHW, "hwc", "E-LAYOUT"), ((3, 5, 7), None, (3, 5, 7), None, "hwc:chw", "E-LAYOUT"),
    ((3, 3, 3), None, (3, 3, 3), None, "hwc", "E-LAYOUT"), ((3, 3, 3), CHW, (3, 3, 3), None, "auto", "E-LAYOUT"),
    ((3, 3, 3), CHW, (3, 3, 3), CHW, "hwc", "E-LAYOUT"), ((3, 4, 4), CHW, (48,), None, "auto", "E-LAYOUT"),
    ((5, 3, 3), None, (3, 5, 3), HWC, "auto", "E-DATA-SHAPE"), ((3, 5, 3), None, (3, 3, 5), CHW, "auto", "E-DATA-SHAPE"),
    ((3, 5, 7), None, (5, 7, 3), None, "auto", "E-DATA-SHAPE"), ((3, 3, 3), None, (3, 3, 3), CHW, "bgr", "E-DATA-LAYOUT"),
    ((3, 4, 4), CHW, (3, 16), None, "auto", "E-LAYOUT"), ((48,), None, (48,), None, "chw:hwc", "E-LAYOUT"),
])
def test_an_order_that_is_open_or_contradicts_is_refused(shape: Any, own: Any, target: Any, network: Known, word: str, code: str) -> None:
    with pytest.raises(AbsintError) as caught:
        images(*shape, layout=own).shaped_for(target, word, network)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(("shape", "target", "word", "axes"), [
    ((4, 4, 3), (4, 4, 3), "hwc", Axes((4, 4, 3), 2)), ((4, 4, 3), (3, 4, 4), "hwc", Axes((3, 4, 4), 0)),
    ((4, 4, 3), (4, 4, 3), "auto", None),
    ((27,), (3, 3, 3), "chw:hwc", Axes((3, 3, 3), 2)), ((1, 28, 1), (1, 28, 1), "hwc", None),
    ((48,), (48,), "hwc", HWC), ((48,), (48,), "auto:chw", CHW), ((48,), (48,), "auto", None),
])
def test_the_data_and_what_is_told_settle_the_networks_axes(shape: Any, target: Any, word: str, axes: Axes | None) -> None:
    assert images(*shape).shaped_for(target, word).axes == axes


def test_a_folder_of_pictures_feeds_both_kinds_of_network(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(5).integers(0, 255, (3, 3, 3), dtype=np.uint8)
    (tmp_path / "0").mkdir()
    image.fromarray(pixels).save(tmp_path / "0" / "a.png")
    data = read_data(tmp_path)
    assert np.array_equal(data.shaped_for((3, 3, 3), network=HWC).inputs[0], pixels / 255)
    assert np.array_equal(data.shaped_for((3, 3, 3), network=CHW).inputs[0], np.moveaxis(pixels, 2, 0) / 255)


@pytest.mark.parametrize(("low", "high", "hint"), [(-0.42, 2.82, "--clip none"), (0, 255, "divide by 255"), (-1, 1, "--mean, --std"),
                                              (0, 1.5, "range")])
def test_the_hint_about_a_range_fits_the_values(low: float, high: float, hint: str) -> None:
    values = np.array([[low, high]])
    with pytest.raises(AbsintError, match="E-DATA-RANGE") as caught:
        Dataset(values, None, "x", "").check_range(0, 1)
    assert hint in str(caught.value.hint)
    with pytest.raises(AbsintError, match="E-REGION") as caught:
        LinfBall(torch.tensor(values), torch.tensor(0.1))
    assert hint in str(caught.value.hint)


# ---- pictures of witnesses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nodes", "layout", "drawn"), [
    ([node("Flatten", "x", "f"), node("Gemm", "f v", "y")], None, False),
    ([node("Flatten", "x", "f"), node("Gemm", "f v", "y")], HWC, True),
    ([node("Transpose", "x", "t", perm=TO_CHW), node("MaxPool", "t", "p", kernel_shape=[1, 1]), node("Flatten", "p", "f"),
      node("Gemm", "f v", "y")], None, True),
])
def test_a_picture_is_drawn_only_where_the_channels_are_known(tmp_path: Path, nodes: list[Any], layout: Known, drawn: bool) -> None:
    image = pytest.importorskip("PIL.Image")
    graph = load_model(stored(tmp_path, build(nodes, [1, 5, 5, 3], {"v": np.ones((75, 2), dtype=np.float32)})))
    point = np.zeros((5, 5, 3))
    point[0, 0, 2] = 1
    out = save_witnesses(tmp_path / "w", graph, [InstanceResult(0, Verdict.FALSIFIED, label=0, witness=tuple(point.reshape(-1)))],
                         WitnessInfo(axes=layout))
    assert any(file.suffix == ".png" for file in out.files) == drawn
    assert any("--layout" in note for note in out.notes) != drawn
    if drawn:
        with image.open(tmp_path / "w" / "witness_00000.png") as picture:
            assert np.asarray(picture)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(("shape", "own"), [((3, 4, 4), None), ((4, 4, 3), None), ((3, 4, 5), None), ((3, 4, 4), CHW)])
@pytest.mark.parametrize("target", [(3, 4, 4), (4, 4, 3), (3, 16), (5, 4, 3)])
def test_orders_that_are_proposed_fit(shape: Any, own: Any, target: Any) -> None:
    """No advice on --layout leads to the next error."""
    given = images(*shape, layout=own)
    for network in (CHW, HWC, None) if np.prod(shape) == np.prod(target) else ():
        for word in ("auto", "chw", "hwc", "chw:chw", "chw:hwc", "hwc:chw", "hwc:hwc"):
            try:
                given.shaped_for(target, word, network)
            except AbsintError as error:
                hint = error.hint or ""
                left = "auto" if hint.startswith("leave --layout away") else ""
                for other in filter(None, [left, *hint.partition("these fit: ")[2].split(", ")]):
                    given.shaped_for(target, other, network)
