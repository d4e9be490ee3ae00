"""Curves for TensorBoard: event files in a folder, written as the epochs end. The writer, tensorboardX, is an extra.

Its `SummaryWriter` writes from a thread that dies on a full disk, and then waits for it for ever: the events are written here, one by one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from absint.analyses.train.record import EpochRecord, Phase
from absint.contract.whole_files import unwritten
from absint.errors import UnsupportedError

# Tag of a scalar -> column of the record.
TAGS = {
    "error/clean": "clean_error", "error/pgd": "pgd_error", "error/verified": "verified_error",
    "averaged/clean": "mean_clean", "averaged/pgd": "mean_pgd", "averaged/verified": "mean_verified",
    "training/loss": "loss", "training/error": "train_error", "training/seconds": "seconds",
    "bounds/width": "width", "schedule/eps": "eps", "schedule/kappa": "kappa", "schedule/rate": "rate",
}
CLOSING = {f"closing/{tag.partition('/')[2]}": name for tag, name in TAGS.items() if tag.startswith("error/")}


def check_tensorboard() -> None:
    """Before training starts. Raises UnsupportedError E-PACKAGE-MISSING without tensorboardX."""
    if find_spec("tensorboardX") is None:
        raise UnsupportedError("E-PACKAGE-MISSING", "curves for TensorBoard need the package tensorboardX", where="--tensorboard",
                               hint="pip install 'absint[tensorboard]', or pip install tensorboardX")


class Board:
    """Event files in a folder. What older files there hold counts no more: each run begins with the scalars of the records that it has.

    So a run that goes on after a kill has every epoch once, also those that it trains again.
    """

    def __init__(self, folder: Path, done: Sequence[EpochRecord] = ()) -> None:
        """Raises UnsupportedError E-PACKAGE-MISSING, ResourceError E-OUT-WRITE."""
        check_tensorboard()
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer: Any = EventsWriter(str(folder / "events"), f".{os.getpid()}.{time.time_ns()}")
            # Readers drop what older files hold from this step on.
            self._write(step=0, session_log=SessionLog(status=SessionLog.START))
            ago = sum(record.seconds for record in done)
            for record in done:
                ago -= record.seconds
                self._scalars(record, ago)
            self._writer.flush()
        except OSError as error:
            raise unwritten(folder, error) from error

    def add(self, record: EpochRecord) -> None:
        """What was measured, at the step of its epoch; on disk when this returns. Raises ResourceError E-OUT-WRITE."""
        try:
            self._scalars(record)
            self._writer.flush()
        except OSError as error:
            raise unwritten(self.folder, error) from error

    def _scalars(self, record: EpochRecord, ago: float = 0.0) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record)]
        self._write(ago, step=record.epoch, summary=Summary(value=values))

    def _write(self, ago: float = 0.0, **fields: Any) -> None:
        """One event. ago: seconds before now."""
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time() - ago, **fields))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def scalars(record: EpochRecord) -> Iterator[tuple[str, float]]:
    """Tag and value of what was measured; a NaN or infinity is a gap."""
    for tag, name in (CLOSING if record.phase is Phase.FINAL else TAGS).items():
        value = getattr(record, name)
        if value is not None and isfinite(value):
            yield tag, float(value)
