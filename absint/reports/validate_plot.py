"""Evaluations of input validation as pictures: histograms of radii, and ROC curves. matplotlib is an extra."""

from __future__ import annotations

from math import isnan
from typing import Any, BinaryIO

from absint.analyses.validate.evaluation import Category, Evaluation

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito: for every eye
_LINES = ("-", "--", "-.", ":")
_BINS = 25


def draw_histograms(evaluation: Evaluation, file: BinaryIO, suffix: str, title: str) -> None:
    """One histogram a category on one axis of radii, the threshold marked, the normality p-value in its title."""
    figure = _figure((7.0, 1.2 + 1.45 * len(evaluation.categories)))
    axes = figure.subplots(len(evaluation.categories), 1, sharex=True, squeeze=False)[:, 0]
    step = float(evaluation.step)
    most = max([1, *(k for c in evaluation.categories for k in c.steps)]) * step
    for axis, category, colour in zip(axes, evaluation.categories, _COLOURS * len(evaluation.categories), strict=False):
        axis.hist([k * step for k in category.steps], bins=_BINS, range=(0, most), color=colour)
        axis.axvline(float(evaluation.rule.threshold) * step, color="black", linewidth=0.9, linestyle="--")
        axis.set_title(_headline(evaluation, category), fontsize=8, loc="left", parse_math=False)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("certified radius; dashed: calibrated threshold")
    _save(figure, file, suffix, title)


def _headline(evaluation: Evaluation, category: Category) -> str:
    p = evaluation.normality(category)
    text = f"{category.name}: {len(category)} inputs, mean {evaluation.mean(category):.4f}"
    return text if isnan(p) else f"{text}, normality p = {p:.3g}"


def draw_roc(evaluation: Evaluation, file: BinaryIO, suffix: str, title: str) -> None:
    """Share of each invalid category rejected against the share of valid inputs rejected."""
    figure = _figure((5.2, 5.0))
    axis = figure.subplots()
    for k, (name, one) in enumerate(evaluation.rocs.items()):
        axis.plot(one.false_alarms, one.detected, color=_COLOURS[(k + 1) % len(_COLOURS)], linestyle=_LINES[k % len(_LINES)],
                  label=f"{name} (AUC {one.auc:.3f})")
    axis.set_xlabel("valid inputs rejected")
    axis.set_ylabel("invalid inputs rejected")
    axis.set_xlim(-0.01, 1)
    axis.set_ylim(0, 1.01)
    axis.grid(alpha=0.3)
    for text in axis.legend(frameon=False, fontsize=8, loc="lower right").get_texts():
        text.set_parse_math(False)
    _save(figure, file, suffix, title)


def _figure(size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _save(figure: Any, file: BinaryIO, suffix: str, title: str) -> None:
    figure.suptitle(title, fontsize=10, parse_math=False)  # a file's name is no formula
    figure.savefig(file, format=suffix.lower().lstrip("."), dpi=130, metadata={"Date": None} if suffix.lower() == ".svg" else None)
