"""VNN-LIB query files, 1.0 and 2.0, plain or gzipped. The version is what the file says, not what it is called."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from absint.errors import InputError, missing_hint
from absint.frontends import vnnlib_reader
from absint.frontends.stand_ins import stand_in
from absint.frontends.vnnlib_atoms import QueryText
from absint.frontends.vnnlib_build import Declared, build
from absint.problem.query import Query

_MAX_BYTES = 1 << 30
_GZIP = b"\x1f\x8b"
_VERSION = re.compile(r"(?>\s+|;[^\n]*)*+\(\s*(?:vnnlib-version\s*<\s*(?P<version>[^>\s]{1,20})\s*>|declare-network\b)")


class VnnlibFrontEnd:
    """Any VNN-LIB file -> Query; every fault of a file is one error whose code starts with E-VNNLIB-."""

    def read(self, path: str | Path) -> Query:
        """The query of a file.

        Raises InputError E-VNNLIB-MISSING, -EMPTY, -FORMAT, -SIZE and those of the two readers.
        """
        text, digest = _text(Path(path))
        match = _VERSION.match(text)
        old = match is None or (match["version"] or "2").startswith("1.")
        with _no_collection():
            query = _read_one(text, str(path)) if old else _read_two(text, str(path))
        return replace(query, path=str(path), sha256=digest)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of tuples live until the query is built, none in a cycle: looking for cycles among them took half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _read_one(text: str, path: str) -> Query:
    source = QueryText(path, text)
    parsed = vnnlib_reader.parse(source)
    inputs, outputs = (tuple(f"{letter}_{k}" for k in range(n)) for letter, n in (("X", parsed.inputs), ("Y", parsed.outputs)))
    return build(Declared(inputs, outputs, tuple(parsed.false)), parsed.asserts, source)


def _read_two(text: str, path: str) -> Query:
    from absint.frontends import vnnlib_two  # its library is loaded for such files only

    return vnnlib_two.read(text, path)


def _text(path: Path) -> tuple[str, str]:
    """The text, unzipped and without a byte order mark, and the SHA-256 of the file as it lies on disk."""
    where = str(path)
    if not path.is_file():
        raise InputError("E-VNNLIB-MISSING", "no such file", where=where, hint=missing_hint(path) or "check the path of the query")
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError("E-VNNLIB-MISSING", f"cannot be read: {error.strerror}", where=where, hint="check its rights") from error
    if len(raw) > _MAX_BYTES:
        raise _too_long(where)
    data = _unzipped(raw, path) if raw.startswith(_GZIP) else raw
    if len(data) > _MAX_BYTES:
        raise _too_long(where)
    if path.name.endswith(".gz") and not raw.startswith(_GZIP) and raw:
        raise InputError("E-VNNLIB-FORMAT", "ends in .gz but is not gzipped", where=where, hint="rename or fetch the file again")
    instead = stand_in(data)
    if instead is not None:
        raise InputError("E-VNNLIB-FORMAT", instead[0], where=where, hint=instead[1])
    return _decoded(data, where), hashlib.sha256(raw).hexdigest()


def _too_long(where: str) -> InputError:
    return InputError("E-VNNLIB-SIZE", f"the query is longer than {_MAX_BYTES} bytes", where=where, hint="split it into several files")


def _unzipped(raw: bytes, path: Path) -> bytes:
    """At most one byte more than is accepted, whatever the file would unpack to."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:  # what is hashed is what is read
            return stream.read(_MAX_BYTES + 1)
    except EOFError as error:
        raise InputError("E-VNNLIB-FORMAT", "the gzip stream ends early", where=str(path), hint="fetch the file again") from error
    except (OSError, zlib.error) as error:
        raise InputError("E-VNNLIB-FORMAT", f"damaged gzip file: {error}", where=str(path), hint="fetch the file again") from error


def _decoded(data: bytes, where: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("E-VNNLIB-FORMAT", f"not a text file: byte {error.start} is no UTF-8", where=where,
                         hint="give a VNN-LIB file, plain or gzipped") from error
    if "\0" in text:
        raise InputError("E-VNNLIB-FORMAT", f"not a text file: a zero byte at {text.index(chr(0))}", where=where,
                         hint="give a VNN-LIB file, plain or gzipped")
    if not text.strip():
        raise InputError("E-VNNLIB-EMPTY", "the file is empty", where=where, hint="is the file complete?")
    return text
