"""What `absint inspect` and `absint.inspect` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import MODEL_TYPES, RunOptions
from absint.contract.options import MODEL, OUTPUT, option


@dataclass(frozen=True)
class InspectOptions(RunOptions):
    """See `Inspect`."""

    net: Any = option(None, "The network.", group=MODEL, argument=True, metavar="NET.onnx", common=True, kind=Path, keyword="graph",
                      accepts=MODEL_TYPES, binds=False)
    json: bool = option(False, "Short for --format json.", group=OUTPUT, common=True, python=False, stands=("format", "json"),
                        binds=False)
