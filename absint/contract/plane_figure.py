"""The picture of two inputs of a region, in data: what the network says there, the region's outline, and points of interest."""

from __future__ import annotations

from collections.abc import Mapping

from absint.contract.document import Field, Figure, Panel, Series


def plane_figure(name: str, titles: tuple[str, str], axes: tuple[int, int], field: Field, points: Mapping[str, tuple[float, float]]
                 ) -> Figure:
    """titles: of the picture, and above the axes.  axes: the inputs that vary.

    points: what to call a point -> its place in the plane, the most important one last.
    """
    left, right, below, above = field.x[0], field.x[-1], field.y[0], field.y[-1]
    outline = Series("", (left, right, right, left, left), (below, below, above, above, below), dashed=True, colour=6)
    marks = tuple(Series(label, (x,), (y,), marked=True, joined=False, colour=3 * (number + 1))
                  for number, (label, (x, y)) in enumerate(points.items()))
    panel = Panel((outline, *marks), titles[1], f"input {axes[0]}", f"input {axes[1]}", legend=True, field=field)
    return Figure(name, titles[0], (panel,), (6.4, 5.4))
