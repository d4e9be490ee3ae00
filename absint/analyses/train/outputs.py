"""What a training leaves in its folder besides networks and checkpoint: the log, events for TensorBoard, the model card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from absint.analyses.train.card import (
    CardClosing,
    CardData,
    CardErrors,
    CardFile,
    CardMethod,
    CardNetwork,
    CardRun,
    CardSchedule,
    ModelCard,
    write_card,
)
from absint.analyses.train.log import EpochLog
from absint.analyses.train.options import TrainOptions
from absint.analyses.train.record import EpochRecord, Phase
from absint.analyses.train.task import TrainTask
from absint.analyses.train.tensorboard import Board
from absint.analyses.train.trainer import BEST, LAST, best_of
from absint.contract.run import Run

CARD, LOG, BOARD = "model-card.json", "log.csv", "tensorboard"
_FILES = (f"{BEST}.onnx", f"{BEST}.safetensors", f"{LAST}.onnx")


class EpochOutputs:
    """The log, and events where they are asked for; both begin with the epochs done before."""

    def __init__(self, options: TrainOptions, done: Sequence[EpochRecord]) -> None:
        folder = Path(options.save)
        self.log = EpochLog(folder / LOG, done)
        self.board = Board(folder / BOARD, done) if options.tensorboard else None

    def add(self, record: EpochRecord) -> None:
        """One record. Raises ResourceError E-OUT-WRITE."""
        self.log.append(record)
        if self.board is not None:
            self.board.add(record)

    def __enter__(self) -> EpochOutputs:
        return self

    def __exit__(self, *error: object) -> None:
        self.log.close()
        if self.board is not None:
            self.board.close()


def write_model_card(records: Sequence[EpochRecord], run: Run[TrainOptions]) -> Path:
    """The card of what there is. Raises ResourceError E-OUT-WRITE."""
    task: TrainTask = run.problem
    folder = Path(run.options.save)
    epochs = [one for one in records if one.phase is not Phase.FINAL]
    best, closing = best_of(epochs), [one for one in records if one.phase is Phase.FINAL]
    card = ModelCard(
        _network(task), _data(task), CardMethod(run.options.method.partition(":")[0], _method(task)), _schedule(task),
        CardRun(run.command, {"weights, order, augmentation": run.options.seed}, torch.get_num_threads(), run.options.device,
                _versions(run), sum(one.seconds for one in epochs)),
        None if best is None else CardErrors.of(best), CardErrors.of(epochs[-1]) if epochs else None,
        _closing(closing[0], task) if closing else None,
        tuple(CardFile.of(folder / name) for name in _FILES if (folder / name).exists()),
        ("the epoch that is kept was chosen by its verified error on the test inputs",))
    write_card(folder / CARD, card)
    return folder / CARD


def _closing(record: EpochRecord, task: TrainTask) -> CardClosing:
    """The closing attack tried the inputs that are classified right and not proved."""
    proofs, clean, options = record.verified_error, record.clean_error, task.options
    assert proofs is not None, "a closing evaluation is whole"
    assert clean is not None, "a closing evaluation is whole"
    tried = round((proofs - clean) * record.verified_n)
    attack = task.closing_attack
    return CardClosing(CardErrors.of(record), float(task.eps), attack.steps, attack.restarts, tried, options.certify, outward=True)


def _network(task: TrainTask) -> CardNetwork:
    graph, source = task.network.graph, task.options.model
    file = Path(str(source).rpartition(":")[0])
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if isinstance(source, str) and file.is_file() else None
    return CardNetwork(task.network.name, digest, task.network.count, graph.input.shape, graph.output.size, task.options.init)


def _data(task: TrainTask) -> CardData:
    data = task.data
    rows, columns = (*data.train.shape, 0, 0)[1:3]
    augmentation = f"pad 4, crop {rows} x {columns}, flip left to right" if task.augmented else ""
    return CardData(data.name, data.train.sha256, data.test.sha256, len(data.train), len(data.test), data.classes, task.mean, task.std,
                    augmentation, tuple(data.notes))


def _method(task: TrainTask) -> Mapping[str, Any]:
    return {**asdict(task.method), "width_weight": task.width_weight, "width_layers": task.options.width_layers,  # type: ignore[call-overload]
            "elide": task.options.elide, "domain": task.options.domain}


def _schedule(task: TrainTask) -> CardSchedule:
    one = task.schedule
    return CardSchedule(task.epochs, one.steps, task.batch, one.warm_up, one.ramp, one.curve, one.eps, (1.0, one.kappa), "Adam", one.rate,
                        tuple((drop, one.factor) for drop in one.drops))


def _versions(run: Run[TrainOptions]) -> Mapping[str, str]:
    versions: Any = run.header.get("versions") or {}
    return {str(name): str(value) for name, value in versions.items()}
