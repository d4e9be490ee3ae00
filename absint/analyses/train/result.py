"""What `absint.train` returns."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from absint.analyses.train.record import EpochRecord
from absint.contract.results import Results
from absint.model.frontend import load_model
from absint.model.graph import Graph


class Trained(Results[EpochRecord]):
    """The records of a training, and the network that it kept."""

    @property
    def folder(self) -> Path:
        """Where everything was written."""
        return Path(self.run.options.save)

    @property
    def path(self) -> Path:
        """The ONNX file of the epoch with the least verified error."""
        return self.folder / "best.onnx"

    @cached_property
    def graph(self) -> Graph:
        """That network, read from its file as any other is."""
        return load_model(self.path)
