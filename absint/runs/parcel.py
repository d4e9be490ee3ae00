"""What workers on other machines are sent: the run, resolved and whole, with the plug-ins that it needs, under its hash.

Nothing of it is read there a second time: network, reference, inputs and question are those that were checked here, so that no file needs
to exist there, and none can be another one there. What a parcel does not hold are files that an analysis reads item by item
(`Analysis.files`): those go along with the item.

A parcel is pickled: it goes to workers that this run has started in a cluster of the user's, and names nothing that was not loaded here.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from absint.contract.analysis import Analysis, Item
from absint.contract.run import Run
from absint.errors import InputError, UnsupportedError, UsageError
from absint.registry import load_plugin, plugin_content, plugin_packages
from absint.runs.processes import needed_plugins, unsendable

_OPTION = "--executor ray"
# What the run itself does with its records and limits is no business of a worker's.
_OWN = {"plugin": (), "executor": "local", "processes": None, "address": None, "out": (), "format": None, "journal": None, "resume": False,
        "quiet": True}


@dataclass(frozen=True)
class SentFile:
    """A file: where it lies here, its hash, its bytes."""

    path: str
    sha256: str
    content: bytes


@dataclass(frozen=True)
class Parcel:
    """plugins: to be loaded before anything else is.  content: the pickled analysis and run.  versions: what both ends need to be."""

    plugins: tuple[SentFile, ...]
    content: bytes
    sha256: str
    versions: Mapping[str, str]


def silent(text: str) -> None:
    """Nobody watches a worker."""


def packed(analysis: Analysis[Any, Any], run: Run[Any], threads: int) -> Parcel:
    """The parcel of a run. threads: of a worker. Raises UsageError E-EXECUTOR naming what cannot be sent, InputError E-FILE-READ."""
    from ray import cloudpickle

    options = replace(run.options, **_OWN, threads=threads)
    lean = replace(run, options=options, stated=None, done={}, stage=silent)
    try:
        content: bytes = cloudpickle.dumps((analysis, lean))
    except Exception as error:  # whatever a user's object raises
        raise unsendable(", ".join(_unsendable(options) or _unsendable(lean)) or "the run", error, _OPTION) from error
    plugins = tuple(_sent_plugin(Path(file)) for file in needed_plugins(analysis, run, content))
    return Parcel(plugins, content, digest(content), _needed_versions())


def _needed_versions() -> dict[str, str]:
    """What both ends need to have alike. Also packages of plug-ins that nobody named: one may hold a rule for a domain and an operator."""
    from absint.runs.header import versions

    return {**versions(), **{f"the plug-in package {name}": version for name, version in plugin_packages().items()}}


def _sent_plugin(path: Path) -> SentFile:
    """The bytes that were run here. Raises InputError E-FILE-READ."""
    content = plugin_content(path)
    return sent_file(path) if content is None else SentFile(os.path.abspath(path), digest(content), content)


def _unsendable(value: Any) -> list[str]:
    """The fields of a dataclass that cannot be pickled."""
    from ray import cloudpickle

    bad = []
    for one in fields(value):
        try:
            cloudpickle.dumps(getattr(value, one.name))
        except Exception:
            bad.append(one.name)
    return bad


def packed_items(items: Sequence[Item]) -> bytes:
    """Raises UsageError E-EXECUTOR naming the item that cannot be sent."""
    from ray import cloudpickle

    try:
        return bytes(cloudpickle.dumps(list(items)))
    except Exception as error:
        bad = next((item for item in items if _unsendable(item)), items[0])
        raise unsendable(f"item {bad.index} {bad.name}".rstrip(), error, _OPTION) from error


def sent_file(path: Path) -> SentFile:
    """A file as it is now. Raises InputError E-FILE-READ."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("E-FILE-READ", f"cannot be read: {error.strerror}", where=str(path),
                         hint="the workers are sent this file: check its path and rights") from error
    return SentFile(os.path.abspath(path), digest(content), content)


def digest(content: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(content).hexdigest()


# ---- the other end -------------------------------------------------------------------------------------------------------


def opened(parcel: Parcel, folder: Path) -> tuple[Analysis[Any, Any], Run[Any]]:
    """The analysis and the run. folder: for plug-ins that do not lie here as they lie there.

    Raises UnsupportedError E-RAY-VERSIONS where other versions would compute, InputError E-RAY-HASH for other bytes than were sent,
    UsageError E-EXECUTOR where this process cannot make what was sent, and whatever plug-ins raise.
    """
    own = _needed_versions()
    names = {**parcel.versions, **own}
    different = [f"{name} {own.get(name, 'missing')}, where the run was started {parcel.versions.get(name, 'missing')}" for name in names
                 if own.get(name) != parcel.versions.get(name)]
    if different:
        raise UnsupportedError("E-RAY-VERSIONS", f"other versions are installed: {'; '.join(different)}", hint=SAME_VERSIONS)
    for place, plugin in enumerate(parcel.plugins):
        load_plugin(here(plugin, folder / str(place)))
    found: tuple[Analysis[Any, Any], Run[Any]] = _unpacked(parcel.content, parcel.sha256)
    return found


SAME_VERSIONS = "install the same versions on every node, from one constraints.txt or one container image"


def unpacked_items(content: bytes) -> list[Item]:
    """Raises what `opened` does."""
    found: list[Item] = _unpacked(content, digest(content))
    return found


def _unpacked(content: bytes, sha256: str) -> Any:
    from ray import cloudpickle

    if digest(content) != sha256:
        raise InputError("E-RAY-HASH", "what arrived is not what was sent", hint="run again with --resume; see the node's memory")
    try:
        return cloudpickle.loads(content)
    except Exception as error:      # whatever a class that is not here, or is another one here, raises
        raise UsageError("E-EXECUTOR", f"what was sent cannot be read: {type(error).__name__}: {error}", where=_OPTION,
                         hint="define classes in a module that every node can import, or in a file given to --plugin") from error


def here(file: SentFile, folder: Path) -> Path:
    """The file where it lay, if the same bytes lie there (a file system that nodes share), or else in the folder, looked at again."""
    there = Path(file.path)
    try:
        if digest(there.read_bytes()) == file.sha256:
            return there
    except OSError:
        pass
    written = folder / there.name
    folder.mkdir(parents=True, exist_ok=True)
    written.write_bytes(file.content)
    if digest(written.read_bytes()) != file.sha256:
        raise InputError("E-RAY-HASH", "what arrived is not what was sent", where=str(there),
                         hint="run again with --resume; see the node's memory and disk")
    return written


@contextmanager
def at_hand(files: Sequence[SentFile]) -> Iterator[Mapping[Path, Path]]:
    """Where each file lies while the block runs, by where it lay where the run was started."""
    if not files:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="absint-") as folder:
        yield {Path(file.path): here(file, Path(folder) / file.sha256[:32]) for file in files}
