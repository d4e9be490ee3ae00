"""The largest certified l_inf radius around each input, by bisection: all inputs in lockstep, one `verify` per step.

    python examples/radius_bisection.py [domain]

A page to start from; `absint.radius` does this in exact numbers, with witnesses, limits and a journal.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

import absint
from absint import samples
from absint.graph import Graph


@dataclass(frozen=True)
class Radii:
    """certified: (batch,) proved radii, 0 where nothing was.  refused: (batch,) the smallest radii not proved."""

    certified: np.ndarray
    refused: np.ndarray


def radii(graph: Graph, inputs: np.ndarray, labels: np.ndarray, *, domain: str = "zonotope", top: float = 0.1, steps: int = 8) -> Radii:
    """Bisect [0, top] in `steps` halvings. Sound: `certified` holds radii that `absint.verify` proved, nothing else."""
    certified, refused = np.zeros(len(inputs)), np.full(len(inputs), top)
    for _ in range(steps):
        middle = (certified + refused) / 2
        eps = middle.reshape(-1, *(1,) * (inputs.ndim - 1))
        results = absint.verify(graph, inputs, labels, eps, domain=domain, attack=None)
        proved = np.array([result.verdict.value == "verified" for result in results])
        certified, refused = np.where(proved, middle, certified), np.where(proved, refused, middle)
    return Radii(certified, refused)


def main() -> None:
    """Radii of the first bundled digits."""
    graph = absint.load(samples.default_network())
    data = samples.data("mnist").shaped_for(graph.input.shape)
    found = radii(graph, data.inputs[:10], data.labels[:10], domain=sys.argv[1] if len(sys.argv) > 1 else "zonotope")
    for index, (certified, refused) in enumerate(zip(found.certified, found.refused, strict=True)):
        print(f"image {index}: {certified:.5f} certified, {refused:.5f} not")


if __name__ == "__main__":
    main()
