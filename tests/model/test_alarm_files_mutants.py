"""Every fault of files with an alarm is noticed by the tests named for it."""

from __future__ import annotations

import test_alarm_files
import test_alarm_files_refused
import test_taboo_exported
from mutants.alarm_files import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_alarm_files, test_alarm_files_refused, test_taboo_exported))
