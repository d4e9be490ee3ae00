"""How well a network's radii tell valid inputs from misclassified and adversarial ones: the experiment of the paper.

Categories: valid, misclassified, and one for each attack, the first `count` of each in the order of the data. The threshold
is calibrated on other valid inputs, so that its false-alarm rate is measured on inputs it has not seen.
Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification, sections 3 and 4.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, nan
from typing import Any

import numpy as np
import torch

from absint.analyses.validate.record import CALIBRATION, MISCLASSIFIED, VALID, Category
from absint.analyses.validate.validator import RadiusValidator
from absint.analyses.validate.window import SlidingWindow, WindowRule, filled
from absint.attacks.foolbox_attacks import Adversarials, AttackPlan, attack, check_foolbox
from absint.errors import InputError
from absint.numeric.statistics import Roc, clopper_pearson, roc
from absint.problem.dataset import Dataset

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

    def held_out(self) -> tuple[float, tuple[float, float]]:
        """The share of the valid category that the threshold rejects, and its Clopper-Pearson interval."""
        hits, count = self.valid.rejected(self.rule.threshold), len(self.valid)
        return hits / count, clopper_pearson(hits, count)


class Experiment:
    """An evaluation category by category: `names` in order, `measured` of each, apart from the others and in any order.

    right, wrong: places of the correctly and the wrongly classified inputs in the data.
    """

    def __init__(self, validator: RadiusValidator, data: Dataset, plan: EvaluationPlan, model: Any = None) -> None:
        """See `evaluate`. Raises InputError E-DATA-*, E-EVALUATION-FEW, E-CALIBRATION-FEW, UnsupportedError E-ATTACK-MISSING."""
        if data.labels is None:
            raise InputError("E-DATA-UNLABELLED", "the data has no labels", where=data.name,
                             hint="an evaluation has to know which inputs are valid")
        if plan.attacks:
            check_foolbox()
        data.check_range(*(validator.options.clip or (-np.inf, np.inf)))
        data.check_labels(validator.graph.output.size)
        self.validator, self.data, self.plan, self.model = validator, data, plan, model
        predicted = validator.predict(torch.from_numpy(data.inputs))[0].numpy()
        self.right, self.wrong = np.flatnonzero(predicted == data.labels), np.flatnonzero(predicted != data.labels)
        if len(self.right) < plan.count + plan.calibration:
            raise InputError("E-EVALUATION-FEW", f"{len(self.right)} inputs are classified correctly, and {plan.count} valid ones and "
                             f"{plan.calibration} for calibration are asked for", where=data.name,
                             hint="give more data, or smaller --count and --calibrate")
        validator.check_enough(plan.calibration)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the categories; the first one calibrates."""
        return CALIBRATION, VALID, MISCLASSIFIED, *(one.text for one in self.plan.attacks)

    def measured(self, place: int, made: Adversarials | None = None, limit: float = inf) -> tuple[Category, Adversarials | None] | None:
        """The category at this place of `names`, and what was made for it. None where the limit (seconds) cut it short.

        made: its adversarial inputs, known already.  Raises whatever `fit`, the attack and `radius` raise.
        """
        count, chosen = self.plan.count, self.right
        if place == 0:
            return self._found(0, self.data.select(chosen[count : count + self.plan.calibration]), limit)
        if place in (1, 2):
            return self._found(place, self.data.select((chosen if place == 1 else self.wrong)[:count]), limit)
        end = time.monotonic() + limit
        made = made or self._attacked(self.plan.attacks[place - 3])
        originals = self.data.select(chosen[: made.tried])
        inputs = Dataset(made.inputs.numpy(), None, self.names[place], "", index=originals.index[made.source.numpy()])
        return self._found(place, inputs, inf if limit == inf else max(end - time.monotonic(), 1e-9), made, originals)

    def _found(self, place: int, data: Dataset, limit: float, made: Adversarials | None = None, originals: Dataset | None = None
               ) -> tuple[Category, Adversarials | None] | None:
        """Their radii, and what follows from them."""
        validator = self.validator
        if place == 0:
            data, _ = validator.valid_of(data)
        results = list(validator.in_order(data, limit)) if len(data) else []
        if limit < inf and any(result.cut for result in results):
            return None
        away = made.distances(torch.from_numpy(originals.inputs)) if made is not None and originals is not None else {}
        category = Category(place, self.names[place], validator.options.search.step, tuple(validator.steps(results)),
                            tuple(data.index.tolist()), len(data) if made is None else made.tried, sum(r.calls for r in results),
                            sum(r.time_s for r in results), away.get("linf", nan), away.get("l2", nan))
        if place:
            return category, made
        found = validator.learn(validator.calibrated(data, category.steps, 0)).calibration
        assert found is not None
        return replace(category, threshold=found.rule.threshold, alarms=found.rejected), None

    def _attacked(self, one: AttackPlan) -> Adversarials:
        """The first `count` successes, and the originals that were tried: slice by slice, as few attacks fail on most inputs."""
        validator, plan, valid = self.validator, self.plan, self.data.select(self.right)
        parts: list[Adversarials] = []
        begin = have = 0
        while have < plan.count and begin < len(valid):
            piece = torch.from_numpy(valid.inputs[begin : begin + plan.count])
            made = attack(self.model or validator.graph, piece, one, clip=validator.options.clip or _range_of(valid),
                          seed=plan.seed + begin, model_sha256=validator.graph.source.sha256)
            parts.append(Adversarials(made.inputs, made.source + begin, made.original, made.predicted, made.tried, made.provenance))
            begin, have = begin + len(piece), have + len(made.inputs)
        inputs, source, original, predicted = (torch.cat([getattr(part, name) for part in parts])[: plan.count]
                                               for name in ("inputs", "source", "original", "predicted"))
        notes = {**parts[0].provenance, "seeds": f"{plan.seed} + the first row of each slice of {plan.count}"}
        return Adversarials(inputs, source, original, predicted, begin, notes)


def evaluate(validator: RadiusValidator, data: Dataset, plan: EvaluationPlan, model: Any = None,
             made: Mapping[str, Adversarials] | None = None) -> Evaluation:
    """Fit the validator on valid inputs that are in no category, attack, find all radii, and count.

    data: labelled, in the network's shape.  model: the user's torch module to attack instead of the graph.  made: the
    `adversarials` of an evaluation on the same network and data, by the attack's text, to be used again: another domain's
    radii are then about the same inputs.
    Raises InputError E-DATA-UNLABELLED, E-EVALUATION-FEW for data with too few correctly classified inputs, and whatever
    `fit`, the attacks and `radius` raise.
    """
    experiment = Experiment(validator, data, plan, model)
    categories, adversarials = [], {}
    for place, name in enumerate(experiment.names):
        found = experiment.measured(place, (made or {}).get(name))
        assert found is not None    # without a limit
        categories.append(found[0])
        if found[1] is not None:
            adversarials[name] = found[1]
    return counted(validator, categories, plan, adversarials)


def _range_of(data: Dataset) -> tuple[float, float]:
    """An attack needs a range; without one, that of the data."""
    return float(data.inputs.min()), float(data.inputs.max())


def counted(validator: RadiusValidator, measured: Sequence[Category], plan: EvaluationPlan,
            adversarials: Mapping[str, Adversarials] | None = None) -> Evaluation:
    """What the categories say together. measured: of the calibration and of the valid inputs, and others that there are."""
    calibration, *categories = measured
    assert calibration.threshold is not None
    assert calibration.alarms is not None
    step, rule = calibration.step, validator.rule(calibration.steps, calibration.threshold)
    asked = {-(-threshold // step) for threshold in plan.thresholds}
    rocs = {c.name: roc(categories[0].steps, c.steps) for c in categories[1:] if len(c)}
    window = filled(rule, calibration.steps)
    windows = () if window is None else tuple(window_counts(window, categories, plan.seed))
    hits = (calibration.alarms, len(calibration))
    return Evaluation(step, tuple(categories), tuple(sorted({*map(int, asked), rule.threshold})), rule, hits, clopper_pearson(*hits), rocs,
                      windows, adversarials or {})


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
    rate, interval = evaluation.held_out()
    names = ("category", "inputs", "tried", "mean_radius", "mean_radius_first10", "normality_p", "mean_linf", "mean_l2")
    rows = []
    for c in evaluation.categories:
        row = c.as_dict()
        rows.append({**{name: row[name] for name in names}, "auc": evaluation.rocs[c.name].auc if c.name in evaluation.rocs else None,
                     "rejected_at_threshold": c.rejected(evaluation.rule.threshold), "calls": row["calls"], "seconds": row["seconds"]})
    return {
        "threshold": float(evaluation.rule.threshold * evaluation.step), "sigma0": float(evaluation.rule.sigma0 * evaluation.step),
        "calibration": {"rejected": evaluation.calibration[0], "inputs": evaluation.calibration[1], "interval": list(evaluation.interval)},
        "held_out": {"false_alarms": rate, "interval": list(interval)}, "categories": rows,
        "rejection": [{"threshold": float(k * evaluation.step), **{c.name: c.rejected(k) for c in evaluation.categories}}
                      for k in evaluation.thresholds],
        "windows": [{"order": w.order, "rejected": dict(w.rejected), "fallbacks": w.fallbacks} for w in evaluation.windows],
    }
