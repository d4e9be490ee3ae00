"""`global correctness` as an analysis: how often a classifier is right on what generators draw. The blocks are decided in `judging`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.global_robustness.correctness_record import CorrectnessBlock
from absint.analyses.global_robustness.options import GlobalCorrectnessOptions
from absint.contract.analysis import Analysis, Item
from absint.contract.document import Document, Json
from absint.contract.run import Run
from absint.errors import UsageError

if TYPE_CHECKING:
    from absint.analyses.global_robustness.task import GlobalTask


class GlobalCorrectness(Analysis[GlobalCorrectnessOptions, CorrectnessBlock]):
    """How often a classifier is right on everything that a generator can draw, class by class, with exact intervals.

    Each class's generator is given random latents. An image counts as right where the classifier's output of the class is proved to be
    the strict maximum, in exact arithmetic, as wrong where another one is proved to be above it; ties within rounding are neither. The
    intervals of all classes of a classifier hold at once, and the worst class comes first: a classifier is delta-correct only if every
    class is. A run that ends early counts the longest complete prefix of the draws.
    Without arguments: a bundled classifier and the bundled generators of digits.

    Exit code 0: all draws were decided, or every class's interval became narrow enough. 1: a limit or an error left some out.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = GlobalCorrectnessOptions
    Record = CorrectnessBlock
    records: ClassVar[str] = "blocks"
    positional: ClassVar[tuple[str, ...]] = ("net", "generator")

    def check(self, options: GlobalCorrectnessOptions) -> None:
        """What is wrong whatever the networks."""
        from absint.analyses.global_robustness.asking import check_global

        check_global(options)
        if options.block < 1:
            raise UsageError("E-BATCH", f"a block holds at least 1 draw, not {options.block}", where="--block", hint="for example 1000")
        block = min(options.block, options.draws)
        if (options.sequential or options.stop_width is not None) and options.draws % block:
            raise UsageError("E-GLOBAL-DRAWS", f"{options.draws} draws are no whole number of blocks of {block}", where="--draws",
                             hint="a sequential run may go on with more draws: let them be a multiple of --block")

    def resolved(self, options: GlobalCorrectnessOptions) -> GlobalCorrectnessOptions:
        """With bundled networks where none are named."""
        from absint.analyses.global_robustness.bundled import with_bundled

        made = with_bundled(options)
        sequential = made.sequential or made.stop_width is not None
        return replace(made, block=min(made.block, made.draws)) if sequential else made

    def reads(self, options: GlobalCorrectnessOptions) -> Mapping[str, Path]:
        """Generators."""
        from absint.analyses.global_robustness.pairs import files_read

        return dict(files_read(options))

    def apart(self, options: GlobalCorrectnessOptions) -> bool:
        """Where to stop rests on the draws before."""
        return options.stop_width is None

    def prepare(self, run: Run[GlobalCorrectnessOptions]) -> GlobalTask:
        """Networks and draws."""
        from absint.analyses.global_robustness.asking import task_of

        return task_of(run)

    def items(self, run: Run[GlobalCorrectnessOptions]) -> Sequence[Item]:
        """Blocks of draws, of every class in turn."""
        from absint.analyses.global_robustness.judging import blocks

        return blocks(run)

    def about(self, run: Run[GlobalCorrectnessOptions]) -> Mapping[str, Json]:
        """Networks, draws, and what the intervals are."""
        from absint.analyses.global_robustness.asking import described

        return described(run.problem, run.options)

    def binding(self, run: Run[GlobalCorrectnessOptions]) -> Mapping[str, Json]:
        """Networks and numbers drawn."""
        from absint.analyses.global_robustness.asking import bound_to

        return bound_to(run.problem)

    def opening(self, run: Run[GlobalCorrectnessOptions], count: int) -> str:
        """What is drawn."""
        task: GlobalTask = run.problem
        return f"correctness on {task.draws} draws of each of {len(task.pairs)} generators and classifiers"

    def decide(self, items: Sequence[Item], run: Run[GlobalCorrectnessOptions]) -> Iterator[CorrectnessBlock]:
        """One block after the other."""
        from absint.analyses.global_robustness.judging import judged

        yield from judged(items, run)

    def cut(self, record: CorrectnessBlock) -> bool:
        """What was not drawn is nothing to keep."""
        return record.skipped

    def word(self, record: CorrectnessBlock) -> str:
        """Whether it was drawn."""
        return "not needed" if record.skipped else "counted"

    def document(self, records: Sequence[CorrectnessBlock], run: Run[GlobalCorrectnessOptions]) -> Document:
        """The worst class, then all."""
        from absint.analyses.global_robustness.correctness_summary import summed_up

        return summed_up(records, run)

    def finish(self, records: Sequence[CorrectnessBlock], document: Document, run: Run[GlobalCorrectnessOptions]) -> Sequence[str]:
        """Pictures, where --grid asks for them."""
        from absint.analyses.global_robustness.grids import draw_lowest

        return draw_lowest(records, run)
