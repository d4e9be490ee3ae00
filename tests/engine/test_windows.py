"""Rows of early convolutions within their windows: the bounds of whole images, from less work, and every slip is noticed."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from convolutional import convolutions

from absint.domains.deeppoly import DeepPoly
from absint.engine.backward import walk, windows
from absint.engine.backward.windows import Places, WindowedWalk, windows_below
from absint.engine.context import Context
from absint.engine.forward import analyse, boxes
from absint.errors import PluginError
from absint.model.window import Window
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion

NETS = ("plain", "strided", "residual", "linear", "grouped", "uneven", "line", "solid", "pool", "average", "scaled")
WIDTHS = (0.0, 1e-3, 0.05, 0.3)


def analysed(name, numerics, *, within):
    """What DeepPoly knows of a network of every kind, with windows or with whole images."""
    graph = convolutions(name)
    generator = torch.Generator().manual_seed(3)
    center = torch.rand(len(WIDTHS), *graph.input.shape, dtype=torch.float64, generator=generator)
    radius = torch.tensor(WIDTHS, dtype=torch.float64).reshape(-1, *(1,) * len(graph.input.shape))
    region = BoxRegion(center - radius, center + radius)
    with pytest.MonkeyPatch.context() as patch:
        if not within:
            patch.setattr(walk, "windows_below", lambda *a, **k: None)
        with numeric_mode(), torch.no_grad():   # with gradients, rows are whole images
            ctx = analyse(DeepPoly(), Context(graph, region, numerics)).ctx
    return graph, region, ctx


def used(graph):
    """The nodes whose rows go within windows."""
    return [node.name for node in graph.nodes if len(node.shape) > 1 and windows_below(graph, node, "x", whole_stop=False) is not None]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("numerics", [Numerics(), Numerics(torch.float32)], ids=["double", "single"])
def test_bounds_are_those_of_whole_images(name, numerics):
    graph, _, found = analysed(name, numerics, within=True)
    expected = analysed(name, numerics, within=False)[2]
    assert len(used(graph)) >= 1
    close = 1e-12 if numerics.dtype is torch.float64 else 1e-5
    for node in graph.nodes:
        for side in ("lower", "upper"):
            one, two = getattr(found.known[node.name], side), getattr(expected.known[node.name], side)
            assert torch.allclose(one, two, rtol=close, atol=close)


@pytest.mark.parametrize("name", NETS)
def test_bounds_hold_and_are_better_than_boxes(name):
    graph, region, found = analysed(name, Numerics(), within=True)
    check_holds(graph, region, found)
    loose = boxes(Context(graph, region, Numerics()))
    widths = [[float((ctx.known[name].upper - ctx.known[name].lower).sum()) for ctx in (loose, found)] for name in used(graph)]
    assert any(tight < wide for wide, tight in widths)


def check_holds(graph, region, found):
    """At corners and inside: of the entries that the region's ends reach exactly, none lies outside."""
    generator = torch.Generator().manual_seed(5)
    lower, upper = region.hull.lower, region.hull.upper
    share = torch.rand(24, *lower.shape, dtype=torch.float64, generator=generator)
    share[:16] = share[:16].round()
    for part in share:
        values = graph.evaluate(lower + part * (upper - lower), [node.name for node in graph.nodes])
        for name, value in values.items():
            slack = 1e-12 * (1 + value.abs())
            assert bool((value >= found.known[name].lower - slack).all() and (value <= found.known[name].upper + slack).all()), name


def test_windows_of_a_chain():
    """3 x 3, then stride 2: 1, 3, then (3 - 1) 2 + 3 entries, from twice the position less the padding."""
    graph = convolutions("strided")
    last = [node for node in graph.nodes if isinstance(node.op, windows.Linear) and len(node.shape) == 3][-1]
    found = windows_below(graph, last, "x", whole_stop=False)
    assert found is not None
    assert found[last.name] == Window((1, 1), (0, 0), (1, 1))
    assert found["x"] == Window((2, 2), (-3, -3), (7, 7))


def test_a_window_as_large_as_the_image_is_the_image():
    graph = convolutions("small")
    assert used(graph) == [node.name for node in graph.nodes[:3]]
    found = windows_below(graph, graph.nodes[1], "x", whole_stop=False)
    assert found == {graph.nodes[1].name: Window.of_one(2), "x": None}


def test_windows_join():
    one, two = Window((2,), (-1,), (3,)), Window((2,), (0,), (4,))
    assert one.joined(two) == Window((2,), (-1,), (5,))
    assert Window((2,), (-1,), (5,)).rims(two) == [(1, 0)]
    assert one.joined(Window((1,), (0,), (1,))) is None


def test_regions_beyond_their_hull_have_whole_inputs():
    graph = convolutions("plain")
    node = next(node for node in graph.nodes if node.name == used(graph)[-1])
    found = windows_below(graph, node, "x", whole_stop=True)
    assert found is None or found["x"] is None


def unmasked(patch):
    patch(WindowedWalk, "_inside", lambda self, node, window: torch.ones(1, dtype=self.num.dtype))


def shifted(patch):
    real = Window.through
    patch(Window, "through", lambda self, stride, begin, reach: real(self, stride, tuple(b - 1 for b in begin), reach))


def unstrided(patch):
    real = Window.through

    def through(self, stride, begin, reach):
        found = real(self, stride, begin, reach)
        return Window(self.scale, found.low, found.size)

    patch(Window, "through", through)


def others_place(patch):
    real = Places._index
    patch(Places, "_index", lambda self, window, shape: real(self, window, shape).flip(0))


def misplaced(patch):
    patch(Window, "rims", lambda self, inner: [(0, m - n) for m, n in zip(self.size, inner.size, strict=True)])


def wrapped(patch):
    """Padding read from the other side of the image."""
    real = Places._index
    patch(Places, "_index", lambda self, window, shape: real(self, window, shape) % torch.Size(shape).numel())


FAULTS = {"unmasked": (unmasked, "linear"), "shifted": (shifted, "plain"), "unstrided": (unstrided, "strided"),
          "of another place": (others_place, "plain"), "misplaced": (misplaced, "residual"), "wrapped": (wrapped, "plain")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, monkeypatch):
    plant, name = FAULTS[fault]
    expected = analysed(name, Numerics(), within=False)[2]
    plant(monkeypatch.setattr)
    with suppress(PluginError):  # the engine itself notices bounds that exclude proved ones
        graph, _, found = analysed(name, Numerics(), within=True)
        assert any(not torch.allclose(found.known[n.name].lower, expected.known[n.name].lower, rtol=1e-9, atol=1e-9) for n in graph.nodes)
