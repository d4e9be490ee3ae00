"""`train` as an analysis: an item is an epoch, and the last one the evaluation that closes it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.train.options import TrainOptions
from absint.analyses.train.record import EpochRecord, Phase
from absint.contract.analysis import Analysis, Item
from absint.contract.document import Document, Json
from absint.contract.run import Run

if TYPE_CHECKING:
    from absint.analyses.train.task import TrainTask

JOURNAL = "journal.jsonl"


class Train(Analysis[TrainOptions, EpochRecord]):
    """Train a network whose bounds are part of the loss, and write it as ONNX: nominal, PGD, IBP, constrained IBP.

    Every epoch is measured on test inputs: errors clean, under attack, and by bounds that are rounded outward. The epoch with the least
    verified error is kept. --save names the folder of networks (best.onnx), checkpoint, log.csv, curves and model card.
    A training that was interrupted or killed goes on with --resume, to the same bits on the same number of threads.
    Without arguments a small network is trained on bundled images.

    Exit code 0: trained and measured. 1: the limit of the run ended it before. 2 usage, 3 bad input, 4 unsupported, 5 resource or a loss
    that is no number, 70 internal error, 130 interrupted.
    """

    Options = TrainOptions
    Record = EpochRecord
    records: ClassVar[str] = "epochs"
    positional: ClassVar[tuple[str, ...]] = ("model", "data")
    returns: ClassVar[str] = "absint.analyses.train.result:Trained"

    def check(self, options: TrainOptions) -> None:
        """What is wrong whatever the data."""
        from absint.analyses.train.task import check_options

        check_options(options)
        if options.tensorboard:
            from absint.analyses.train.tensorboard import check_tensorboard

            check_tensorboard()

    def placed(self, options: TrainOptions) -> TrainOptions:
        """With a journal, and curves where they can be drawn, in the folder of the training."""
        folder = Path(options.save)
        plots = folder if options.plots is None and find_spec("matplotlib") is not None else options.plots
        return replace(options, journal=folder / JOURNAL if options.journal is None else options.journal, plots=plots)

    def apart(self, options: TrainOptions) -> bool:
        """Each epoch begins where the one before ended."""
        return False

    def prepare(self, run: Run[TrainOptions]) -> TrainTask:
        """Data and network; and the folder, which the journal lies in."""
        from absint.analyses.train.task import output_folder, task_of

        task = task_of(run.options)
        output_folder(run.options)
        return task

    def items(self, run: Run[TrainOptions]) -> Sequence[Item]:
        """Epochs, and the closing evaluation."""
        task: TrainTask = run.problem
        return [*(Item(k, f"epoch {k + 1}") for k in range(task.epochs)), Item(task.epochs, "closing evaluation")]

    def about(self, run: Run[TrainOptions]) -> Mapping[str, Json]:
        """Network, data, schedule."""
        from absint.analyses.train.summary import about

        return about(run)

    def binding(self, run: Run[TrainOptions]) -> Mapping[str, Json]:
        """As the checkpoint is bound."""
        task: TrainTask = run.problem
        return {"task": dict(task.bound)}

    def opening(self, run: Run[TrainOptions], count: int) -> str:
        """What is trained on what."""
        from absint.analyses.train.summary import opening

        return opening(run)

    def word(self, record: EpochRecord) -> str:
        """What progress counts."""
        return "closed" if record.phase is Phase.FINAL else "epochs"

    def decide(self, items: Sequence[Item], run: Run[TrainOptions]) -> Iterator[EpochRecord]:
        """Epochs in order. One that the limit of the run cuts is in the checkpoint."""
        from absint.analyses.train.outputs import EpochOutputs
        from absint.analyses.train.trainer import TimeOverError, Trainer

        task: TrainTask = run.problem
        trainer = Trainer(task, run.stage, run.end, run.note, resume=run.options.resume)
        with EpochOutputs(run.options, [one for one in trainer.records if one.index < items[0].index]) as outputs:
            for item in items:
                try:
                    record = trainer.epoch(item.index) if item.index < task.epochs else self._closing(trainer, item, run)
                except TimeOverError:
                    return
                if record is None:
                    return
                outputs.add(record)
                yield record

    def _closing(self, trainer: Any, item: Item, run: Run[TrainOptions]) -> EpochRecord | None:
        """Of the best network, read from its file; None where time is over."""
        from absint.analyses.train.evaluation import closing
        from absint.analyses.train.trainer import final_record

        begin = time.monotonic()
        run.stage("closing evaluation")
        content, numbers = trainer.best()
        found = closing(run.problem, content, numbers, run.end)
        eps = float(run.problem.eps)
        return final_record(trainer.records, item.index, found, eps, time.monotonic() - begin) if found.whole else None

    def document(self, records: Sequence[EpochRecord], run: Run[TrainOptions]) -> Document:
        """Errors of the network kept, with exact intervals; curves."""
        from absint.analyses.train.summary import document

        return document(records, run)

    def finish(self, records: Sequence[EpochRecord], document: Document, run: Run[TrainOptions]) -> Sequence[str]:
        """The model card, also of a training that was interrupted."""
        if not records:
            return ()
        from absint.analyses.train.outputs import write_model_card

        return (f"written: {write_model_card(records, run)}",)

    def value(self, records: Sequence[EpochRecord], document: Document, run: Run[TrainOptions]) -> Any:
        """The trained network's file, graph and records."""
        from absint.analyses.train.result import Trained

        return Trained(tuple(records), document, run)
