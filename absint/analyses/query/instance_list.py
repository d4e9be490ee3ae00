"""Lists of queries: which files each line names, within which limit, and the hashes of all that their answers depend on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import inf, isfinite
from pathlib import Path

from absint.errors import AbsintError, InputError
from absint.model.digest import digest

_HEADER = ["onnx", "vnnlib", "timeout"]     # which the format does not have, and people write


@dataclass(frozen=True)
class Line:
    """One line of a list. onnx, vnnlib: as written.  network, query: the files.  timeout: seconds, perhaps capped.

    sha256: of network and query, where an answer is kept under these hashes; empty for a file that could not be read.
    """

    index: int
    onnx: str
    vnnlib: str
    network: Path
    query: Path
    timeout: float
    sha256: tuple[str, str] | None = None


def read_list(path: Path, cap: float = inf) -> list[Line]:
    """The lines `onnx,vnnlib,timeout` of a list, paths relative to it; timeouts at most `cap` seconds.

    Raises InputError E-INSTANCES naming every bad line.
    """
    try:
        lines = list(csv.reader(StringIO(path.read_bytes().decode("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("E-INSTANCES", f"cannot be read: {error}", where=str(path), hint="a CSV file: onnx,vnnlib,timeout") from error
    rows = [(number, [cell.strip() for cell in row]) for number, row in enumerate(lines, start=1) if any(cell.strip() for cell in row)]
    if len(rows) > 1 and [cell.lower() for cell in rows[0][1]] == _HEADER:
        rows = rows[1:]
    bad, found = [], list[Line]()
    for number, row in rows:
        limit = _seconds(row)
        if limit is None:
            bad.append(f"line {number}: {','.join(row)[:100]}")
        else:
            network, query = (Path(_file(path.parent, name)).absolute() for name in row[:2])
            found.append(Line(len(found), row[0], row[1], network, query, min(limit, cap)))
    if bad or not found:
        what = f"{len(bad)} lines are no network, query and number of seconds" if bad else "the list is empty"
        raise InputError("E-INSTANCES", what, where=str(path),
                         details=bad[:10], hint="three columns, the last a number of seconds; no header")
    return found


def _seconds(row: Sequence[str]) -> float | None:
    try:
        limit = float(row[2]) if len(row) == 3 and row[0] and row[1] else 0.0
    except ValueError:
        return None
    return limit if isfinite(limit) and limit > 0 else None


def _file(folder: Path, name: str) -> Path:
    """The file meant: benchmarks name files with or without the .gz they lie under."""
    path = folder / name
    other = path.with_name(path.name.removesuffix(".gz") if path.name.endswith(".gz") else path.name + ".gz")
    return other if not path.exists() and other.exists() else path


def hashed(lines: Sequence[Line]) -> list[Line]:
    """The lines with the hashes of all that their answers depend on, each file read once."""
    networks = {file: _model_digest(file) for file in {line.network for line in lines}}
    queries = {file: _digest(file) for file in {line.query for line in lines}}
    return [replace(one, sha256=(networks[one.network], queries[one.query])) for one in lines]


def _model_digest(file: Path) -> str:
    """Of a network with its external weights; of the file alone where it is damaged, or no front end that is known reads it.

    An answer about more bytes than these has another hash, and is none.
    """
    from absint.model.frontend import model_hash

    try:
        return model_hash(file)
    except AbsintError:
        return _digest(file)


def _digest(file: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read, which its worker will report."""
    try:
        return digest(file.read_bytes()) if file.is_file() else ""
    except OSError:
        return ""
