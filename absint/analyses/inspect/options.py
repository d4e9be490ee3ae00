"""What `absint inspect` and `absint.inspect` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from absint.contract.common_options import NetworkOptions
from absint.contract.options import OUTPUT, option


@dataclass(frozen=True)
class InspectOptions(NetworkOptions):
    """See `Inspect`."""

    json: bool = option(False, "Short for --format json.", group=OUTPUT, common=True, python=False, stands=("format", "json"),
                        binds=False)
