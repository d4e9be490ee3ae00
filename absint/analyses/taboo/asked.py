"""What `taboo detect`, `certify` and `evaluate` share: which network, and which traps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from absint.analyses.taboo.options import DETECTOR
from absint.contract.document import Json
from absint.errors import InputError, UsageError

if TYPE_CHECKING:
    from absint.analyses.taboo.traps import Traps
    from absint.contract.run import Run
    from absint.model.graph import Graph

_BLOCK = 500
NETWORK = "mnist_conv_small"     # the bundled network with more neurons
O = TypeVar("O")  # noqa: E741


@dataclass(frozen=True, eq=False)
class FoundTraps:
    """The traps of a run, and the network that they watch. name: what messages call them.  path: of their file, or None."""

    traps: Traps
    graph: Graph
    name: str
    path: Path | None = None

    @cached_property
    def watched(self) -> Graph:
        """The graph of the union's values. Raises UnsupportedError E-IMPORT-MISMATCH."""
        from absint.model.watched import watched

        return watched(self.graph, self.traps.watches)

    @property
    def facts(self) -> dict[str, Json]:
        """For the header."""
        traps = self.traps
        return {"detector": {"name": self.name, "rule": traps.rule, "eps": None if traps.eps is None else str(traps.eps),
                             "keys": len(traps), "neurons": len(traps.union), "inputs": traps.inputs}}

    @property
    def binding(self) -> Mapping[str, Json]:
        """For the journal: masks and thresholds."""
        return {"traps": self.traps.as_dict()["checksum"]}


def with_network(options: O) -> O:
    """The options with the bundled network where none is named."""
    stated: Any = options
    if stated.net is not None:
        return options
    from absint import samples

    return replace(stated, net=samples.network_path(NETWORK))  # type: ignore[no-any-return]


def check_detector(options: Any) -> None:
    """Raise UsageError E-USAGE for what is no detector, E-BATCH; InputError E-TABOO-* for a named file that is none."""
    from absint.analyses.taboo.executions import check_batch
    from absint.analyses.taboo.traps import Traps, read_traps

    check_batch(options.batch)
    given = options.detector
    if given is not None and not isinstance(given, (str, Path, Traps)):
        raise UsageError("E-USAGE", f"no detector: a {type(given).__name__}", where="--detector", hint="a file, or its Traps")
    if isinstance(given, (str, Path)):
        read_traps(given)


def traps_for(run: Run[Any]) -> FoundTraps:
    """Of the named file; of taboo.json in this folder; else, for a bundled network, quickly made of bundled images.

    Raises InputError E-TABOO-FILE, -FORMAT, -CHECKSUM, -MODEL.
    """
    from absint.analyses.taboo.traps import Traps, read_traps

    given, graph = run.options.detector, run.network
    if isinstance(given, Traps):
        found = FoundTraps(given, graph, "traps of the caller")
    elif given is not None or DETECTOR.is_file():
        path = Path(DETECTOR if given is None else given)
        found = FoundTraps(read_traps(path), graph, str(path), path)
    else:
        return FoundTraps(_quick(graph, run), graph, "made just now of bundled images with a public key")
    found.traps.check(graph, found.name)
    return found


def _quick(graph: Graph, run: Run[Any]) -> Traps:
    from absint import samples

    if samples.for_shape(graph.input.shape) is None:
        raise InputError("E-TABOO-FILE", "no detector is named, and none is in this folder", where="--detector",
                         hint="make one: absint taboo calibrate NET.onnx --data TRAINING")

    from absint.analyses.taboo.calibrating import ThresholdSettings, TrapCalibration
    from absint.analyses.taboo.keys import PUBLIC
    from absint.numeric import backend
    from absint.problem.training_data import training_data

    run.stage("calibrating on bundled images")
    options, images = run.options, training_data().train
    inputs = images.inputs(slice(None)).double().reshape(-1, *graph.input.shape)
    settings = ThresholdSettings(device=backend.device(options.device), batch=options.batch, memory=options.memory)
    making = TrapCalibration.of(graph, (PUBLIC,), inputs, settings)
    return making.traps(making.thresholds(list(making.blocks(_BLOCK))))
