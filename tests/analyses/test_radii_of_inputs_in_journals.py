"""Radii stated input by input go by the place among the chosen inputs: a journal answers no other choice, whatever the property is."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import build, node, stored

import absint
from absint.errors import InputError
from absint.verdict import Verdict

INPUTS, RADII = np.full((3, 2), 0.5), np.array([[0.3], [0.1]])


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return graph_of_two(tmp_path_factory.mktemp("nets"))


def graph_of_two(folder):
    """y = (x0 + 1, x1)."""
    nodes, constants = [node("Gemm", "x w b", "y")], {"w": np.eye(2, dtype=np.float32), "b": np.float32([1, 0])}
    return absint.load(stored(folder, build(nodes, ["n", 2], constants)))


@pytest.mark.parametrize("within", [(0.35, 1.65), None])
def test_another_choice_of_inputs_is_another_run(graph, tmp_path, within):
    check_choice(graph, tmp_path, within)


def check_choice(graph, folder, within):
    def verdicts(index, **more):
        property_ = {"labels": [0, 0, 0]} if within is None else {"output_range": ([0.35, 0.35], [1.65, 0.65])}
        found = absint.verify(graph, INPUTS, eps=RADII, index=index, journal=folder / f"{within}.jsonl", **property_, **more)
        return {row.index: row.verdict for row in found}

    first = verdicts("0:2")
    assert first[1] is Verdict.VERIFIED
    assert verdicts("0:2", resume=True) == first
    with pytest.raises(InputError, match="inputs: journal"):
        verdicts("1:3", resume=True)    # input 1 would be asked about the larger radius, which no output range holds in
