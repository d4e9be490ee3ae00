"""All scenarios: each module enters its own."""

from __future__ import annotations

from device import doors, laws, runs, searches, taboo, walks  # noqa: F401
from device.compared import SCENARIOS

__all__ = ["SCENARIOS"]
