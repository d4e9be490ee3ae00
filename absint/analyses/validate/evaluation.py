"""How well a network's radii tell valid inputs from misclassified and adversarial ones: the experiment of the paper.

Categories: valid, misclassified, and one for each attack, the first `count` of each in the order of the data. The threshold
is calibrated on other valid inputs, so that its false-alarm rate is measured on inputs it has not seen.
Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isnan, nan
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from absint.analyses.radius.bisection import RadiusResult
from absint.analyses.validate.calibration import clopper_pearson
from absint.analyses.validate.validator import RadiusValidator
from absint.analyses.validate.window import SlidingWindow, WindowRule, filled, normality
from absint.attacks.foolbox_attacks import Adversarials, AttackPlan, attack, check_foolbox
from absint.errors import InputError
from absint.problem.dataset import Dataset

VALID, MISCLASSIFIED = "valid", "misclassified"
_SHUFFLES = 10


@dataclass(frozen=True)
class EvaluationPlan:
    """What to evaluate. count: inputs of each category.  calibration: other valid inputs, for the threshold.

    attacks: one category each.  seed: of attacks and shuffles.  thresholds: radii in raw units, for the rejection table; those
    of the calibration are added.
    """

    attacks: tuple[AttackPlan, ...]
    count: int = 100
    calibration: int = 100
    seed: int = 0
    thresholds: tuple[Fraction, ...] = ()


@dataclass(frozen=True)
class Category:
    """Certified radii of one kind of input, in steps of the grid. index: of the originals in the data.

    tried: originals that were looked at or attacked.  linf, l2: mean distances from the originals, NaN for none.
    calls, seconds: of the search for the radii.
    """

    name: str
    steps: tuple[int, ...]
    index: tuple[int, ...]
    tried: int
    calls: int
    seconds: float
    linf: float = nan
    l2: float = nan

    def __len__(self) -> int:
        return len(self.steps)

    def rejected(self, threshold: int) -> int:
        """Inputs whose radius is below the threshold (in steps)."""
        return sum(k < threshold for k in self.steps)


@dataclass(frozen=True)
class Roc:
    """Detection of one category: share of valid inputs rejected against share of its inputs rejected, over all thresholds."""

    false_alarms: tuple[float, ...]
    detected: tuple[float, ...]
    auc: float


@dataclass(frozen=True)
class WindowCount:
    """Algorithm 2 on all categories in one order. rejected: by category; fallbacks: decisions left to the threshold."""

    order: str
    rejected: Mapping[str, int]
    fallbacks: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was measured. rule: as calibrated on `calibration` inputs; rejected: of those, by the threshold."""

    step: Fraction
    categories: tuple[Category, ...]
    thresholds: tuple[int, ...]
    rule: WindowRule
    calibration: tuple[int, int]
    interval: tuple[float, float]
    rocs: Mapping[str, Roc]
    windows: tuple[WindowCount, ...]
    adversarials: Mapping[str, Adversarials]

    @property
    def valid(self) -> Category:
        """The first category."""
        return self.categories[0]

    def mean(self, category: Category) -> float:
        """The mean radius in raw units; NaN for none."""
        return float(self.step * sum(category.steps) / len(category)) if len(category) else nan

    def normality(self, category: Category) -> float:
        """The p-value of its radii; NaN where it has none."""
        return normality([float(k * self.step) for k in category.steps])

    def held_out(self) -> tuple[float, tuple[float, float]]:
        """The share of the valid category that the threshold rejects, and its Clopper-Pearson interval."""
        hits, count = self.valid.rejected(self.rule.threshold), len(self.valid)
        return hits / count, clopper_pearson(hits, count)


def evaluate(validator: RadiusValidator, data: Dataset, plan: EvaluationPlan, model: Any = None,
             made: Mapping[str, Adversarials] | None = None) -> Evaluation:
    """Fit the validator on valid inputs that are in no category, attack, find all radii, and count.

    data: labelled, in the network's shape.  model: the user's torch module to attack instead of the graph.  made: the
    `adversarials` of an evaluation on the same network and data, by the attack's text, to be used again: another domain's
    radii are then about the same inputs.
    Raises InputError E-DATA-UNLABELLED, E-EVALUATION-FEW for data with too few correctly classified inputs, and whatever
    `fit`, the attacks and `radius` raise.
    """
    if data.labels is None:
        raise InputError("E-DATA-UNLABELLED", "the data has no labels", where=data.name,
                         hint="an evaluation has to know which inputs are valid")
    if plan.attacks:
        check_foolbox()
    data.check_range(*(validator.options.clip or (-np.inf, np.inf)))
    data.check_labels(validator.graph.output.size)
    predicted = validator.predict(torch.from_numpy(data.inputs))[0].numpy()
    right, wrong = np.flatnonzero(predicted == data.labels), np.flatnonzero(predicted != data.labels)
    if len(right) < plan.count + plan.calibration:
        raise InputError("E-EVALUATION-FEW", f"{len(right)} inputs are classified correctly, and {plan.count} valid ones and "
                         f"{plan.calibration} for calibration are asked for", where=data.name,
                         hint="give more data, or smaller --count and --calibrate")
    validator.fit(data.select(right[plan.count : plan.count + plan.calibration]))
    chosen = data.select(right[: plan.count])
    categories = [_category(VALID, validator.radii(chosen), chosen.index, len(chosen), validator),
                  _misclassified(validator, data, wrong, plan.count)]
    adversarials = {}
    for one in plan.attacks:
        found = (made or {}).get(one.text) or _attacked(validator, data.select(right), one, plan, model)
        adversarials[one.text] = found
        inputs = Dataset(found.inputs.numpy(), None, one.text, "")
        originals = data.select(right[: found.tried])
        away = found.distances(torch.from_numpy(originals.inputs))
        categories.append(_category(one.text, validator.radii(inputs), originals.index[found.source.numpy()], found.tried, validator, away))
    return _counted(validator, tuple(categories), plan, adversarials)


def _misclassified(validator: RadiusValidator, data: Dataset, wrong: npt.NDArray[np.int64], count: int) -> Category:
    chosen = data.select(wrong[:count])
    return _category(MISCLASSIFIED, validator.radii(chosen) if len(chosen) else [], chosen.index, len(chosen), validator)


def _category(name: str, found: Sequence[RadiusResult], index: npt.NDArray[np.int64], tried: int, validator: RadiusValidator,
              away: Mapping[str, float] | None = None) -> Category:
    return Category(name, tuple(validator.steps(found)), tuple(index.tolist()), tried, sum(r.calls for r in found),
                    sum(r.time_s for r in found), **(away or {}))


def _attacked(validator: RadiusValidator, valid: Dataset, one: AttackPlan, plan: EvaluationPlan, model: Any) -> Adversarials:
    """The first `count` successes, and the originals that were tried: slice by slice, as few attacks fail on most inputs."""
    parts: list[Adversarials] = []
    sha256 = validator.graph.source.sha256
    begin = have = 0
    while have < plan.count and begin < len(valid):
        piece = torch.from_numpy(valid.inputs[begin : begin + plan.count])
        made = attack(model or validator.graph, piece, one, clip=validator.options.clip or _range_of(valid), seed=plan.seed + begin,
                      model_sha256=sha256)
        parts.append(Adversarials(made.inputs, made.source + begin, made.original, made.predicted, made.tried, made.provenance))
        begin, have = begin + len(piece), have + len(made.inputs)
    inputs, source, original, predicted = (torch.cat([getattr(part, name) for part in parts])[: plan.count]
                                           for name in ("inputs", "source", "original", "predicted"))
    notes = {**parts[0].provenance, "seeds": f"{plan.seed} + the first row of each slice of {plan.count}"}
    return Adversarials(inputs, source, original, predicted, begin, notes)


def _range_of(data: Dataset) -> tuple[float, float]:
    """An attack needs a range; without one, that of the data."""
    return float(data.inputs.min()), float(data.inputs.max())


def _counted(validator: RadiusValidator, categories: tuple[Category, ...], plan: EvaluationPlan,
             adversarials: Mapping[str, Adversarials]) -> Evaluation:
    calibration = validator.calibration
    assert calibration is not None
    step, rule = validator.options.search.step, calibration.rule
    asked = {-(-threshold // step) for threshold in plan.thresholds}
    rocs = {c.name: roc(categories[0].steps, c.steps) for c in categories[1:] if len(c)}
    window = filled(rule, calibration.radii)
    windows = () if window is None else tuple(window_counts(window, categories, plan.seed))
    return Evaluation(step, categories, tuple(sorted({*map(int, asked), rule.threshold})), rule,
                      (calibration.rejected, len(calibration.radii)), calibration.interval, rocs, windows, adversarials)


def roc(valid: Sequence[int], invalid: Sequence[int]) -> Roc:
    """Reject below the threshold, for every threshold. The area is that of the trapezoids: ties count half.

    valid, invalid: radii, none of them empty. Non-decreasing from (0, 0) to (1, 1).
    """
    ends = np.unique([*valid, *invalid])
    cuts = np.append(ends, ends[-1] + 1)
    alarms, found = (np.searchsorted(np.sort(np.asarray(side)), cuts, side="left") / len(side) for side in (valid, invalid))
    area = float(((alarms[1:] - alarms[:-1]) * (found[1:] + found[:-1]) / 2).sum())
    return Roc(tuple(alarms.tolist()), tuple(found.tolist()), area)


def window_counts(window: SlidingWindow, categories: Sequence[Category], seed: int) -> list[WindowCount]:
    """Algorithm 2 on all inputs: category after category, then shuffled ten times."""
    owners = [(c.name, k) for c in categories for k in c.steps]
    orders = [("sequence", np.arange(len(owners)))]
    for number in range(_SHUFFLES):
        orders.append((f"shuffle {number}", np.random.default_rng(seed + number).permutation(len(owners))))
    return [_window_count(name, window, [owners[k] for k in order], [c.name for c in categories]) for name, order in orders]


def _window_count(order: str, window: SlidingWindow, stream: Sequence[tuple[str, int]], names: Sequence[str]) -> WindowCount:
    rejected, fallbacks = dict.fromkeys(names, 0), 0
    for name, steps in stream:
        accepted, basis, window = window.decide(steps)
        rejected[name] += not accepted
        fallbacks += basis.value == "threshold"
    return WindowCount(order, rejected, fallbacks)


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """JSON-ready, without the radii."""
    def number(value: float) -> float | None:
        return None if isnan(value) else value

    rate, interval = evaluation.held_out()
    rows = [{
        "category": c.name, "inputs": len(c), "tried": c.tried, "mean_radius": number(evaluation.mean(c)),
        "mean_radius_first10": number(evaluation.mean(Category(c.name, c.steps[:10], c.index[:10], c.tried, 0, 0.0))),
        "normality_p": number(evaluation.normality(c)), "mean_linf": number(c.linf), "mean_l2": number(c.l2),
        "auc": evaluation.rocs[c.name].auc if c.name in evaluation.rocs else None,
        "rejected_at_threshold": c.rejected(evaluation.rule.threshold), "calls": c.calls, "seconds": round(c.seconds, 3),
    } for c in evaluation.categories]
    return {
        "threshold": float(evaluation.rule.threshold * evaluation.step), "sigma0": float(evaluation.rule.sigma0 * evaluation.step),
        "calibration": {"rejected": evaluation.calibration[0], "inputs": evaluation.calibration[1], "interval": list(evaluation.interval)},
        "held_out": {"false_alarms": rate, "interval": list(interval)}, "categories": rows,
        "rejection": [{"threshold": float(k * evaluation.step), **{c.name: c.rejected(k) for c in evaluation.categories}}
                      for k in evaluation.thresholds],
        "windows": [{"order": w.order, "rejected": dict(w.rejected), "fallbacks": w.fallbacks} for w in evaluation.windows],
    }
