"""Scores of images, group by group: targets, samples, fits, and the proofs and counterexamples around them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from absint.analyses.clever.asking import ScoreTask
from absint.analyses.clever.between import Sides
from absint.analyses.clever.estimates import scored
from absint.analyses.clever.maxima import Sampled
from absint.analyses.clever.options import CleverOptions
from absint.analyses.clever.record import CleverScore, TargetScore
from absint.analyses.clever.sampling import Sampling
from absint.analyses.clever.settings import Images, with_targets
from absint.analyses.clever.weibull import FEWEST
from absint.contract.analysis import Failure
from absint.contract.run import Run
from absint.errors import UnsupportedError
from absint.model.graph import Graph
from absint.model.work import work
from absint.numeric.backend import Budget, in_numeric_mode
from absint.problem.dataset import Dataset

_GROUP = 64             # images whose targets are chosen together
_TOGETHER = 16          # those that proofs and attacks take together: no record before both are through
_BELOW = 1.1            # a slope between two points that is so many times the estimate of the greatest refutes it
MASKED, NOT_A_NUMBER = "E-GRADIENT-MASKED", "E-GRADIENT-NAN"


def scores(run: Run[CleverOptions], data: Dataset) -> Iterator[CleverScore | Failure]:
    """A record of each image, skipped ones first of their group; a Failure where gradients say nothing.

    Raises UnsupportedError E-GRADIENT-MASKED or E-GRADIENT-NAN, after all Failures, where that is true of every image of the run; of
    a part of them, such as what a journal left to do, nothing is raised.
    """
    yield from in_numeric_mode(_scores(run, data))


def _scores(run: Run[CleverOptions], data: Dataset) -> Generator[CleverScore | Failure, None, None]:
    failures, kept = [], 0
    for rows in torch.arange(len(data.index)).split(_together(run)):
        for found in _group(run, data.at([int(data.index[k]) for k in rows])):
            failures += [found] if isinstance(found, Failure) else []
            kept += isinstance(found, CleverScore) and not found.skipped
            yield found
        if run.over:
            break
    if failures and not kept and len(data.index) == len(run.asked) and len({one.code for one in failures}) == 1:
        raise _error(failures[0])


def _together(run: Run[CleverOptions]) -> int:
    """Images of a group: as many as the clock allows."""
    pieces = Budget(rate=run.problem.settings.rate).pieces(8 * work(run.network))
    return min(_GROUP if run.problem.between is None else _TOGETHER, pieces)


def _error(failure: Failure) -> UnsupportedError:
    hint = ("where rounding, thresholds or a bit depth stand before or in the network, name them: --transform NAME takes gradients "
            "behind them (BPDA)" if failure.code == MASKED else "--dtype float64, a smaller --radius, or look for 0/0 in the network")
    return UnsupportedError(failure.code, f"{failure.name}: {failure.what}", where="gradients", hint=hint)


def _group(run: Run[CleverOptions], data: Dataset) -> Iterator[CleverScore | Failure]:
    asked: ScoreTask = run.problem
    center = torch.from_numpy(data.inputs).double().to(asked.settings.device)
    images = with_targets(run.network, asked.transform, center, asked.words, tuple(data.index.tolist()), asked.settings)
    labels = [None] * len(images) if data.labels is None else data.labels.tolist()
    good, skipped = _sorted(images, labels)
    yield from skipped
    if not good:
        return
    chosen = images.take(torch.tensor(good, device=center.device))
    own = [labels[k] for k in good]
    sides = None if asked.between is None else asked.between.of(run.network, chosen, run.left)
    for found in sampling_of(run.network, asked).run(chosen, run.stage):
        yield _record(run, chosen, found, own[found.row], sides)


def sampling_of(graph: Graph, asked: ScoreTask) -> Sampling:
    """Of a network, with what its evaluation costs."""
    return Sampling(graph, asked.transform, asked.settings, sum(node.size for node in graph.nodes), work(graph))


def _sorted(images: Images, labels: list[int | None]) -> tuple[list[int], list[CleverScore]]:
    """The rows that have a score, and records of those that have none."""
    good, skipped = [], []
    finite, tied = images.margin.isfinite().all(1).tolist(), (images.gap <= 0).tolist()
    for row, (name, original, label) in enumerate(zip(images.index, images.original.tolist(), labels, strict=True)):
        why = "overflow" if not finite[row] else "misclassified" if label is not None and label != original else "tie" if tied[row] else ""
        if why:
            skipped.append(CleverScore(name, label, original if finite[row] else None, why))
        else:
            good.append(row)
    return good, skipped


def _record(run: Run[CleverOptions], images: Images, found: Sampled, label: int | None, sides: Sides | None) -> CleverScore | Failure:
    asked: ScoreTask = run.problem
    name, original = images.index[found.row], int(images.original[found.row])
    batches = found.maxima.shape[1]
    short = sides is not None and found.row in sides.short
    over, spent = (found.late or short) and run.over, found.time_s + (0.0 if sides is None else sides.time_s)
    if batches < FEWEST:
        return CleverScore(name, label, original, "timeout", batches=batches, time_s=spent, cut=over)
    others = (images.target[found.row] != original).cpu()      # a class that is named may be the predicted one
    bad = _meaningless(found, others)
    if not bad:
        targets = scored(images, [found], asked.settings, asked.level)[0]
        if sides is not None:
            targets = tuple(replace(one, **more) for one, more in zip(targets, sides.found[found.row], strict=True))
        targets = tuple(one for one, other in zip(targets, others.tolist(), strict=True) if other)
        bad = _refuted(targets)
    if bad:
        return Failure(name, f"input {name}", *bad, time_s=spent)
    notes = [f"a time limit left {asked.settings.batches - batches} batches out"] if found.late else []
    notes += ["a time limit left proofs or attacks unfinished"] if short else []
    return CleverScore(name, label, original, "" if targets else "target", targets, batches, "; ".join(notes), spent, over)


def _meaningless(found: Sampled, others: Tensor) -> tuple[str, str] | tuple[()]:
    """Code and words for gradients that say nothing of the network. others: (targets,) those that are not the predicted class."""
    if not bool(found.maxima[others].isfinite().all()):
        return NOT_A_NUMBER, "gradients with NaN or infinite entries"
    if bool((found.maxima[others].amax(1) <= 0).any()) and not found.curved:
        return MASKED, "every gradient is zero, as behind rounding or a saturated output"
    if bool(found.steady[others].any()):
        return MASKED, "every gradient is the same, and the network does not follow it"
    return ()


def _refuted(targets: tuple[TargetScore, ...]) -> tuple[str, str] | tuple[()]:
    """The network changes faster between two points than any gradient says."""
    for one in targets:
        if isfinite(one.quotient) and one.quotient > _BELOW * one.estimate:
            return MASKED, (f"between two points the margin to class {one.target} changes by {one.quotient:.4g} a unit, "
                            f"and its gradients tell of {one.estimate:.4g} at most")
    return ()


__all__ = ["MASKED", "NOT_A_NUMBER", "sampling_of", "scores"]
