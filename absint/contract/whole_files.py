"""Files that are there whole or as they were: what a kill or a full disk leaves behind is never half a file."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from absint.errors import ResourceError


def write_whole(path: Path, content: bytes) -> None:
    """Put the content there in one step, on disk when this returns. Raises ResourceError E-OUT-WRITE; the old file is then kept."""
    partial: Path | None = None
    try:
        # No NamedTemporaryFile: an interrupt that meets its finaliser, which is Python's, is printed there and lost.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        partial = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(_mode(path))
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise unwritten(path, error) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def unwritten(path: Path, error: OSError) -> ResourceError:
    """What is said of a file that could not be written."""
    return ResourceError("E-OUT-WRITE", f"cannot be written: {error.strerror or error}", where=str(path),
                         hint="free some space or give another folder, then run again with --resume")


def _mode(path: Path) -> int:
    """Of the file that is replaced; of a new one what the process gives new files (a temporary one is its owner's alone)."""
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """The name itself, too, outlives a power cut, where the system has folders that can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
