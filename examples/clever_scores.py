"""CLEVER scores of the first bundled digits between a proved radius and, with Foolbox, the nearest counterexample found.

    python examples/clever_scores.py [radius]
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import absint
from absint import samples


def main() -> None:
    """One line a target: proved <= distance <= attacked, and the estimate beside them."""
    graph = absint.load(samples.default_network())
    data = samples.data("mnist").shaped_for(graph.input.shape)
    attack = "" if find_spec("foolbox") else "none"
    found = absint.clever(graph, data.inputs[:4], labels=data.labels[:4], norm="l2", targets="runner-up,least", certify="deeppoly",
                          attack=attack, radius=float(sys.argv[1]) if len(sys.argv) > 1 else 2.0, batches=20, samples=50)
    for record in found:
        for one in record.targets:
            attacked = "not attacked" if one.attacked is None else f"attacked {one.attacked:.3f}"
            print(f"image {record.index}, {record.predicted} or {one.target}: certified {one.certified:.3f}, score {one.score:.3f}, "
                  f"{attacked} {one.flag}")
    print(f"estimate above an attack: {found.document.summary['above_attack']} of {found.document.summary['attacked']}")


if __name__ == "__main__":
    main()
