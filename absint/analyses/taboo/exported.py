"""Traps as a file for deployment: the network's own ONNX file with its alarm."""

from __future__ import annotations

from pathlib import Path

from absint.analyses.taboo.traps import Trap, Traps
from absint.contract.document import Json
from absint.contract.whole_files import write_whole
from absint.model.alarms import AlarmFile, with_alarm
from absint.model.graph import Graph
from absint.numeric.decimal import exact_text


def alarm_file(graph: Graph, traps: Traps) -> AlarmFile:
    """The network's file with the outputs `alarm`, and `alarms` where there are several traps.

    Raises InputError E-TABOO-MODEL for traps of another network, and as `with_alarm` does.
    """
    traps.check(graph)
    return with_alarm(graph.source, traps.traps, _facts(graph, traps))


def export_detector(graph: Graph, traps: Traps, path: str | Path) -> tuple[str, ...]:
    """Write the network with its alarm in one step. Returns what its user has to know.

    Raises as `alarm_file` does, and ResourceError E-OUT-WRITE, which leaves an old file as it was.
    """
    found = alarm_file(graph, traps)
    write_whole(Path(path), found.content)
    return found.notes


def check_export(graph: Graph, neurons: Trap) -> None:
    """Raise what an export of these neurons would raise, before hours are spent on their thresholds."""
    with_alarm(graph.source, [neurons], {})


def _facts(graph: Graph, traps: Traps) -> dict[str, Json]:
    """For the file's metadata. Neither a key nor what a key could be known by."""
    return {"rule": traps.rule, "eps": None if traps.eps is None else exact_text(traps.eps), "training_inputs": traps.inputs,
            "model_sha256": graph.source.sha256, "detector_sha256": traps.as_dict()["checksum"],
            "neurons": [len(trap) for trap in traps.traps], "an_alarm": traps.meaning}
