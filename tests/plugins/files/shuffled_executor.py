"""An executor as a stranger would write it: one file, for every analysis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from absint.contract.analysis import Analysis, Item
from absint.contract.run import Run
from absint.runs.executors import Executor, register_executor

ABSINT_CONTRACT = 1


@register_executor("shuffled")
class Shuffled(Executor):
    """Items in random order, a few at a time: what is known when a run is interrupted is a fair sample of the whole.

    The order is the same every time. The analysis batches within each handful only.
    """

    handful = 16

    def records(self, analysis: Analysis[Any, Any], run: Run[Any], items: Sequence[Item]) -> Iterator[Any]:
        """Records as the analysis yields them; items that time does not reach have none."""
        order = Random(len(items)).sample(items, len(items))
        for start in range(0, len(order), self.handful):
            if run.over:
                return
            handful = order[start:start + self.handful]
            run.stage(f"items {start + 1} to {start + len(handful)} of a random order")
            yield from analysis.decide(handful, run)
