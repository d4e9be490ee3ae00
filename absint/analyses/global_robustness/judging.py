"""Blocks of draws, classified; in a sequential run only until a class's interval is narrow enough."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, inf, isfinite

from absint.analyses.global_robustness.correctness_record import CorrectnessBlock
from absint.analyses.global_robustness.counting import Count, prefix
from absint.analyses.global_robustness.options import GlobalCorrectnessOptions
from absint.analyses.global_robustness.pairs import JudgedPair
from absint.analyses.global_robustness.task import GlobalTask
from absint.contract.analysis import Item
from absint.contract.run import Run
from absint.search.classified import Classified, classified

KEPT = 36       # draws of a block that lead least, or are wrong


def blocks(run: Run[GlobalCorrectnessOptions]) -> list[Item]:
    """Of all pairs in turn: index = number of the block * pairs + pair, whatever the number of draws."""
    task: GlobalTask = run.problem
    found = []
    for number in range(ceil(task.draws / run.options.block)):
        for pair in task.pairs:
            first, count = _span(number, run)
            found.append(Item(number * len(task.pairs) + pair.place, f"class {pair.label}, draws {first} to {first + count - 1}"))
    return found


def _span(number: int, run: Run[GlobalCorrectnessOptions]) -> tuple[int, int]:
    """The first draw of a block, and how many it has."""
    task: GlobalTask = run.problem
    first = number * run.options.block
    return first, min(run.options.block, task.draws - first)


def of_pair(found: Mapping[int, CorrectnessBlock], pair: JudgedPair,
            run: Run[GlobalCorrectnessOptions]) -> tuple[list[CorrectnessBlock], Count]:
    """The blocks that count, and what they add up to."""
    task: GlobalTask = run.problem
    pairs, size = len(task.pairs), run.options.block
    whole = {index: block for index, block in found.items() if not block.skipped and block.draws == _span(index // pairs, run)[1]}
    counted = prefix(whole, (number * pairs + pair.place for number in range(ceil(task.draws / size))))
    return counted, Count(task.draws, sum(block.draws for block in counted), sum(block.right for block in counted),
                          sum(block.wrong for block in counted))


def judged(items: Sequence[Item], run: Run[GlobalCorrectnessOptions]) -> Iterator[CorrectnessBlock]:
    """The record of each block, in order; none of those that the time did not suffice for."""
    task: GlobalTask = run.problem
    found: dict[int, CorrectnessBlock] = dict(run.done)
    for item in items:
        if run.over:
            return
        pair = task.pairs[item.index % len(task.pairs)]
        first, count = _span(item.index // len(task.pairs), run)
        record = CorrectnessBlock(item.index, pair.classifier, pair.generator, pair.label, first, 0, 0, 0, {}, (), skipped=True)
        if not _narrow(found, pair, run):
            run.stage(item.name)
            made = _block(item.index, pair, first, count, run)
            if made is None:
                return
            record = made
        found[item.index] = record
        yield record


def _narrow(found: Mapping[int, CorrectnessBlock], pair: JudgedPair, run: Run[GlobalCorrectnessOptions]) -> bool:
    """Whether nothing more needs to be drawn."""
    task: GlobalTask = run.problem
    if task.width is None:
        return False
    low, high = of_pair(found, pair, run)[1].interval(task.rest_of(pair), sequential=True)
    return high - low <= task.width


def _block(index: int, pair: JudgedPair, first: int, count: int, run: Run[GlobalCorrectnessOptions]) -> CorrectnessBlock | None:
    """None where the time was up."""
    task: GlobalTask = run.problem
    begin = time.monotonic()
    found = classified(pair.graph, task.latents(pair, first, count), pair.label, end=run.end, memory=task.memory, batch=task.batch,
                       device=task.device)
    if found.done < count:
        return None
    wrong = found.wrong.nonzero().flatten().tolist()
    mistaken = {str(first + slot): int(found.predicted[slot]) for slot in wrong}
    return CorrectnessBlock(index, pair.classifier, pair.generator, pair.label, first, count, int(found.right.sum()), len(wrong), mistaken,
                            tuple((first + slot, margin) for slot, margin in lowest(found, KEPT)), time_s=time.monotonic() - begin)


def lowest(found: Classified, most: int) -> list[tuple[int, float]]:
    """Places of the points that lead least, and by how much; -inf where a score is no number."""
    margins = [margin if isfinite(margin) else -inf for margin in found.margin.tolist()]
    return sorted(enumerate(margins), key=lambda one: (one[1], one[0]))[:most]
