"""An evaluation as pictures, in data: histograms of radii, and ROC curves."""

from __future__ import annotations

from math import isnan

import numpy as np

from absint.analyses.validate.evaluation import Evaluation
from absint.analyses.validate.record import Category
from absint.contract.curves import roc_figure
from absint.contract.document import Figure, Panel, Series

_BINS = 25


def histograms(evaluation: Evaluation, title: str) -> Figure:
    """One histogram a category on one axis of radii, the threshold marked, the normality p-value in its title."""
    step, last = float(evaluation.step), len(evaluation.categories) - 1
    most = max([1, *(k for c in evaluation.categories for k in c.steps)]) * step
    panels = []
    for place, category in enumerate(evaluation.categories):
        counts, edges = np.histogram([k * step for k in category.steps], bins=_BINS, range=(0.0, most))
        bars = Series("", y=tuple(map(float, counts)), edges=tuple(map(float, edges)), colour=place)
        label = "certified radius; dashed: calibrated threshold" if place == last else ""
        panels.append(Panel((bars,), _headline(category), label, marks=(float(evaluation.rule.threshold) * step,)))
    return Figure("histograms", title, tuple(panels), (7.0, 1.2 + 1.45 * len(panels)))


def _headline(category: Category) -> str:
    p = category.normality()
    text = f"{category.name}: {len(category)} inputs, mean {category.mean():.4f}"
    return text if isnan(p) else f"{text}, normality p = {p:.3g}"


def roc_curves(evaluation: Evaluation, title: str) -> Figure:
    """Share of each invalid category rejected against the share of valid inputs rejected."""
    return roc_figure({"": evaluation.rocs}, title, "valid inputs rejected", "invalid inputs rejected")
