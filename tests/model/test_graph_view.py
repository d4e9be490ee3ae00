"""What a prompt and a notebook show of graphs, and of values that hold tensors: a few lines whatever their size, no markup of a file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from bundled import mnist

from absint.model.graph import Graph, GraphBuilder, Source
from absint.model.graph_view import neurons, parameters
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Concat
from absint.numeric.interval import Interval
from absint.problem.dataset import Dataset
from absint.problem.regions import InstanceRadii, L2Ball, ZonotopeRegion
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.spec import Spec

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m\u202e\ud800" + "y" * 5000


def deep(nodes=600, name="n"):
    build = GraphBuilder("x", (2,))
    last = "x"
    for k in range(nodes):
        last = build.add(Relu() if k % 2 else Gemm(torch.eye(2, dtype=torch.float64)), (last,), f"{name}{k}", (f"{name}{k}/out",))
    return build.graph(last)


def test_a_summary_tells_what_the_network_is():
    graph = mnist()
    shown = repr(graph)
    for part in ("mnist_relu_3x50.onnx", "1x28x28 -> 10", f"{len(graph.nodes)} nodes", "150 neurons", "Relu x 3", graph.source.sha256[:12]):
        assert part in shown
    assert neurons(graph.nodes) == 3 * 50
    assert parameters(graph.nodes) == sum(c.numel() for node in graph.nodes for c in node.op.constants())
    assert repr(graph.nodes[-1]) == f"<Node {graph.output.name}: Gemm({graph.output.inputs[0]}) -> 10>"


@pytest.mark.parametrize("graph", [
    deep(), deep(3, HOSTILE), replace(deep(4), source=Source(path="p" * 9000, sha256="s" * 9000)), GraphBuilder("x", ()).graph("x"),
    GraphBuilder(HOSTILE, (1,) * 500).graph(HOSTILE),
], ids=["deep", "hostile", "long", "scalar", "axes"])
def test_it_stays_short_and_safe_whatever_the_network(graph: Graph):
    for shown in (repr(graph), repr(graph.nodes[0]), repr(graph.nodes[-1])):
        assert len(shown) < 1000
        assert shown.isprintable()
        shown.encode()


def test_a_node_of_many_inputs_is_one_line():
    build = GraphBuilder("x", (1,))
    graph = build.graph(build.add(Concat(0), tuple("x" for _ in range(1000))))
    assert len(repr(graph.output)) < 300
    assert len(graph._repr_html_()) < 3000


class Tags(HTMLParser):
    """Which tags a browser would see, and how many rows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


def test_a_table_escapes_names_and_is_capped():
    for graph in (deep(), deep(3, HOSTILE)):
        page = graph._repr_html_()
        seen = Tags()
        seen.feed(page)
        assert set(seen.found) <= {"p", "table", "tr", "th", "td"}
        assert len(page) < 40_000
        page.encode()
    page = deep()._repr_html_()
    assert "... 561 more" in page
    assert "n599" in page      # the output is always shown
    assert page.count("<tr>") == 1 + 40 + 1
    assert deep(10)._repr_html_().count("<tr>") == 1 + 11


@pytest.mark.parametrize("value", [
    LinfBall(torch.zeros(100, 784), Fraction(1, 10)), LinfBall(torch.zeros(1, 784), Fraction(1, 10**6000)),
    L2Ball(torch.zeros(2, 3), torch.ones(2)),
    LinfBall(torch.zeros(500, 2), InstanceRadii((Fraction(1, 3),) * 500)), BoxRegion(torch.zeros(9, 9, 9), torch.ones(9, 9, 9)),
    ZonotopeRegion(torch.zeros(2, 3), torch.zeros(2, 4, 3)), Spec.robust(torch.arange(9), 10),
    Interval(torch.zeros(9, 9), torch.ones(9, 9)),
    Dataset(np.zeros((50, 9)), np.zeros(50, int), "d" * 900, "s" * 900), mnist(),
], ids=lambda value: type(value).__name__)
def test_values_that_hold_tensors_show_shapes_not_numbers(value):
    shown = repr(value)
    assert len(shown) < 500
    assert "\n" not in shown
    assert "tensor(" not in shown
    assert "array(" not in shown


def test_a_region_shows_its_radius_and_shape():
    assert repr(LinfBall(torch.zeros(2, 3), Fraction(1, 10))) == "LinfBall(center=float32(2, 3), eps=1/10, clip=(0.0, 1.0), layout=None)"
    assert repr(L2Ball(torch.zeros(1, 3), Fraction(1, 2), None)).startswith("L2Ball(")
