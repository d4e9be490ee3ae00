"""`taboo calibrate` as an analysis: thresholds for the neurons that keys make taboo, block by block, and the detector file of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.taboo.asked import with_network
from absint.analyses.taboo.calibrate_record import ThresholdBlock
from absint.analyses.taboo.options import TabooCalibrateOptions
from absint.contract.analysis import Analysis, Item
from absint.contract.document import Document, Json
from absint.contract.run import Run

if TYPE_CHECKING:
    from absint.analyses.taboo.calibrate_task import TabooTask
    from absint.analyses.taboo.calibrating import TrapCalibration
    from absint.model.graph import Graph


class TabooCalibrate(Analysis[TabooCalibrateOptions, ThresholdBlock]):
    """Make neurons taboo by secret keys, find their thresholds on training inputs, and write the detector file.

    Rule lite puts each threshold above every float32 execution on the training inputs: none of them ever alarms. Rule certified puts
    it above everything within eps of them, so that an alarm proves a larger distance. Inputs held out tell the rate of false alarms.
    The files are written when every block is done: an interrupted run leaves none, and its journal continues.
    Without arguments: a bundled network and images, and a public key.

    Exit code 0: written. 1: the limit of the run left blocks out, and nothing is written. 2 usage, 3 bad input, 4 unsupported,
    5 resource, 70 internal error, 130 interrupted.
    """

    Options = TabooCalibrateOptions
    Record = ThresholdBlock
    records: ClassVar[str] = "blocks"
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "labels")

    def check(self, options: TabooCalibrateOptions) -> None:
        """What is wrong whatever the network."""
        from absint.analyses.taboo.calibrate_asked import check_options

        check_options(options)

    def resolved(self, options: TabooCalibrateOptions) -> TabooCalibrateOptions:
        """With a bundled network and images where none are named, and the parts of a folder."""
        from absint.analyses.taboo.calibrate_asked import check_options
        from absint.analyses.taboo.calibrate_data import with_data

        check_options(options)      # before data are read
        return with_data(with_network(options))

    def suits(self, graph: Graph) -> None:
        """Rectified neurons, in float32."""
        from absint.engine.float32_executions import check_executions
        from absint.model.watched import rectified

        rectified(graph)
        check_executions(graph)

    def suited(self, graph: Graph, options: TabooCalibrateOptions) -> None:
        """And the bundled images, where no inputs are named: said before anything makes them fit."""
        from absint.analyses.taboo.calibrate_data import check_fit, taken_for_none

        self.suits(graph)
        check_fit(options, graph, bundled=taken_for_none(options.data))

    def prepare(self, run: Run[TabooCalibrateOptions]) -> TabooTask:
        """Keys, masks and data."""
        from absint.analyses.taboo.calibrate_asked import asked_of

        return asked_of(run)

    def items(self, run: Run[TabooCalibrateOptions]) -> Sequence[Item]:
        """Blocks of training inputs."""
        count, size = len(run.problem.training), run.options.block
        return [Item(number, f"inputs {start} to {min(start + size, count) - 1}") for number, start in enumerate(range(0, count, size))]

    def about(self, run: Run[TabooCalibrateOptions]) -> Mapping[str, Json]:
        """Keys by their numbers alone, the rule, and what thresholds mean."""
        from absint.analyses.taboo.calibrate_report import described

        return described(run)

    def binding(self, run: Run[TabooCalibrateOptions]) -> Mapping[str, Json]:
        """The neurons, by a hash: keys are in no journal."""
        from absint.analyses.taboo.calibrate_report import masks_hash

        making: TrapCalibration = run.problem.making
        return {"masks": masks_hash(making), "domain": None if making.domain is None else repr(making.domain)}

    def opening(self, run: Run[TabooCalibrateOptions], count: int) -> str:
        """What is watched, and which inputs."""
        task: TabooTask = run.problem
        public = "; the key is public: anyone can make this mask, give --keys FILE" if task.public else ""
        return (f"thresholds of {len(task.making.union)} of {task.making.total} neurons on {len(task.training)} inputs of "
                f"{task.training.name}, rule {run.options.rule}{public}")

    def word(self, record: ThresholdBlock) -> str:
        """Whether the domain had time for all that it was asked."""
        return "open" if record.open else "bounded"

    def decide(self, items: Sequence[Item], run: Run[TabooCalibrateOptions]) -> Iterator[ThresholdBlock]:
        """One block after the other."""
        making: TrapCalibration = run.problem.making
        yield from making.blocks(run.options.block, [item.index for item in items], tuple(run.done.values()), run.timeout, run.end)

    def document(self, records: Sequence[ThresholdBlock], run: Run[TabooCalibrateOptions]) -> Document:
        """Thresholds, masks and false alarms; nothing where blocks are missing."""
        from absint.analyses.taboo.calibrate_report import reported

        return reported(records, run)

    def finish(self, records: Sequence[ThresholdBlock], document: Document, run: Run[TabooCalibrateOptions]) -> Sequence[str]:
        """The files, where there are thresholds: those of half of the inputs are none."""
        from absint.analyses.taboo.calibrate_asked import write

        return write(document, run)
