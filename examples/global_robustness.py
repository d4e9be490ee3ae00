"""How often a bundled classifier is right, and stays right, on all that the bundled generators of digits can draw.

    python examples/global_robustness.py [draws]
"""

from __future__ import annotations

import sys

import absint


def main(draws: int) -> None:
    """Intervals of both, the worst class at each radius, and the nearest images that are misread."""
    right = absint.global_correctness(draws=100 * draws)
    for row in right.document.values["classes"]:
        counted = f"{row['right']} of {row['counted']} draws"
        print(f"digit {row['class']}: right with probability {row['low']:.4f} to {row['high']:.4f}, {counted}")
    robust = absint.global_robustness(draws=draws, eps="0.01,0.1")
    for row in robust.document.summary["worst"]:
        print(f"radius {row['eps']}: the worst class keeps its digit with probability {row['low']:.3f} to {row['high']:.3f}")
    near = [one for one in robust if one.distance]
    for one in sorted(near, key=lambda one: one.distance or 0.0)[:3]:
        print(f"draw {one.draw} of digit {one.label} is taken for a {one.taken} at a latent {one.distance:.3g} away")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
