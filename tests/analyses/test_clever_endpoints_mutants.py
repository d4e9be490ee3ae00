"""Every wrong way to an endpoint or its interval is noticed by the tests named for it, which pass without it."""

from __future__ import annotations

import test_clever_endpoints
from mutants.clever_endpoints import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_clever_endpoints))
