"""Pictures, in data, that more than one analysis shows."""

from __future__ import annotations

from collections.abc import Mapping

from absint.contract.document import Figure, Panel, Series
from absint.numeric.statistics import Roc


def roc_figure(groups: Mapping[str, Mapping[str, Roc]], title: str, usual: str, others: str) -> Figure:
    """A panel for each group, under its name, and in it a curve for each name, with its area.

    usual, others: what the axes say of the inputs rejected there.
    """
    panels = []
    for place, (group, rocs) in enumerate(groups.items()):
        lines = tuple(Series(f"{name} (AUC {one.auc:.3f})", one.false_alarms, one.detected, colour=number + 1)
                      for number, (name, one) in enumerate(rocs.items()))
        label = usual if place == len(groups) - 1 else ""
        panels.append(Panel(lines, group, label, others, (-0.01, 1.0), (0.0, 1.01), legend=True))
    return Figure("roc", title, tuple(panels), (5.2, 0.6 + 4.4 * max(1, len(panels))))
