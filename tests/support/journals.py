"""Journals as tests look at them: the records, and the lines that are no records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIAL = b'{"absint_'


def kept(journal: Path) -> list[dict[str, Any]]:
    """The records of the whole lines, as they stand there."""
    return [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1] if not line.startswith(SPECIAL)]


def killed(journal: Path) -> list[bytes]:
    """The lines of a journal whose run had no end: the first one, and the records. The journal is left like that."""
    lines = journal.read_bytes().splitlines(keepends=True)
    left = [lines[0], *(line for line in lines[1:] if not line.startswith(SPECIAL))]
    journal.write_bytes(b"".join(left))
    return left
