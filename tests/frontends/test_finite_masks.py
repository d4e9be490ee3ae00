"""Masks of finite numbers in front of a softmax, as exporters write them: as tight as masks of -inf, and what is left is not dropped."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import test_masks_of_infinity as infinite
import torch
from onnx_models import node, weights

from absint.model.import_check import check_import

N, D = infinite.N, infinite.D
CAUSAL = infinite.CAUSAL
FILLS = {"-1e4": -1e4, "-1e9": -1e9, "least of float32": float(np.finfo(np.float32).min)}
CENTRE = torch.linspace(-1, 1, N * D, dtype=torch.float64).reshape(N, D)


@cache
def network(fill, *, selected=False):
    """The attention of the tests of -inf behind another mask."""
    if selected:
        between, constants = [node("Where", "c below s", "m"), infinite.SOFTMAX], {"c": CAUSAL, "below": np.float32(fill)}
    else:
        between, constants = [node("Add", "s k", "m"), infinite.SOFTMAX], {"k": np.where(CAUSAL, fill, 0).astype(np.float32)}
    return infinite.read([*infinite.SCORES, *between, *infinite.VALUES], {"q": weights(D, D), "o": weights(N * D, 2), **constants})


@cache
def width(fill, domain):
    graph = infinite.network("added") if fill == -np.inf else network(fill)
    found = infinite.bounds(graph, (CENTRE - 0.1).numpy(), (CENTRE + 0.1).numpy(), domain)
    return float(found.width.max()), found


@pytest.mark.parametrize("domain", ["zonotope", "deeppoly"])
@pytest.mark.parametrize("name", FILLS)
def test_bounds_are_those_behind_minus_infinity(name, domain):
    wide, found = width(FILLS[name], domain)
    assert wide < 1.01 * width(-np.inf, domain)[0]
    draws = torch.rand(200, N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    values = infinite.truth(CENTRE + 0.2 * (draws.round(decimals=0) - 0.5))
    assert bool((found.lower <= values).all() and (values <= found.upper).all())


@pytest.mark.parametrize("name", FILLS)
def test_selected_or_added_it_is_what_the_runtime_computes(name):
    for selected in (False, True):
        check_import(network(FILLS[name], selected=selected), -3.0, 3.0)


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
@pytest.mark.parametrize("fill", [-5.0, -20.0, -40.0])
def test_what_a_mask_leaves_is_enclosed(fill, domain):
    """A masked entry keeps exp(fill) of a share, and takes it from the others."""
    mask = np.where(CAUSAL, fill, 0).astype(np.float32)
    graph = infinite.read([node("Add", "x k", "m"), infinite.SOFTMAX, node("Identity", "p", "y")], {"k": mask[None]}, (1, N, N))
    found = infinite.bounds(graph, np.full((N, N), -1.0), np.full((N, N), 2.0), domain)
    draws = torch.rand(400, N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x = torch.where(draws > 0.7, 2.0, torch.where(draws < 0.3, -1.0, draws * 3 - 1))
    shares = torch.softmax(x + torch.from_numpy(mask).double(), -1)
    assert bool((found.lower <= shares).all() and (shares <= found.upper).all())
    hidden = torch.from_numpy(CAUSAL)
    assert bool((found.upper[0][hidden] >= shares.amax(0)[hidden]).all())
    assert float(found.upper[0][hidden].max()) < 1.01 * np.exp(fill + 3)


def logarithms(fill, *, selected):
    mask = np.array([[0, 1, 0, 1, 0]], np.bool_)
    between = [node("Where", "c below a", "m")] if selected else [node("Add", "a k", "m")]
    constants = {"c": mask, "below": np.float32(fill)} if selected else {"k": np.where(mask, fill, 0).astype(np.float32)}
    nodes = [node("MatMul", "x q", "a"), *between, node("LogSoftmax", "m", "y", axis=-1)]
    return infinite.read(nodes, {"q": weights(4, 5), **constants}, ("N", 4)), mask


@pytest.mark.parametrize("name", FILLS)
def test_logarithms_behind_a_mask_are_the_runtime_s_and_bounded(name):
    """Actions that are not allowed, as policies mask them. The sum of exponentials beside a masked entry is beyond any float."""
    for selected in (False, True):
        graph, mask = logarithms(FILLS[name], selected=selected)
        check_import(graph, -3.0, 3.0)
        found = infinite.bounds(graph, np.full(4, -0.1), np.full(4, 0.1), "deeppoly")
        draws = torch.rand(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).round(decimals=1) * 0.2 - 0.1
        values = graph(draws)
        assert bool((found.lower <= values).all() and (values <= found.upper).all())
        seen = torch.from_numpy(~mask[0])
        assert float(found.width[0][seen].max()) < 1.0
        assert bool(found.width.isfinite().all())


def test_logits_far_apart_overflow_nowhere():
    """Of one class the sum of exponentials of what others are above it is beyond any float, without a mask."""
    q = (weights(4, 5) * 1000).astype(np.float32)
    graph = infinite.read([node("MatMul", "x q", "a"), node("LogSoftmax", "a", "y", axis=-1)], {"q": q}, ("N", 4))
    check_import(graph, -3.0, 3.0)
    found = infinite.bounds(graph, np.full(4, 0.9), np.full(4, 1.1), "deeppoly")
    assert bool(found.width.isfinite().all())
