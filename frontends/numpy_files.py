"""Reads npy and npz files, which hold plain arrays: what is pickled in them is never loaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from absint.errors import AbsintError, InputError
from absint.frontends.data_source import AnyArray, Content, DataSource, register_reader

IMAGE_KEYS = ("images", "x", "inputs", "X")
LABEL_KEYS = ("labels", "y", "targets")

_WRITE = "write it with numpy.savez(path, images=..., labels=...)"


@register_reader(".npy")
def read_npy(source: DataSource) -> Content:
    """One array, (N, *shape)."""
    return Content(npy_array(source))


@register_reader(".npz")
def read_npz(source: DataSource) -> Content:
    """Images under one of IMAGE_KEYS, labels (if any) under one of LABEL_KEYS."""
    arrays = npz_arrays(source, (*IMAGE_KEYS, *LABEL_KEYS))
    key = first_key(arrays, IMAGE_KEYS, source)
    label_key = next((name for name in LABEL_KEYS if name in arrays), None)
    labels = None if label_key is None else arrays[label_key]
    return Content(arrays[key], labels, (f"inputs read from key '{key}'",))


def npy_array(source: DataSource) -> AnyArray:
    """The one array of an npy file."""
    if source.data[:1] == b"\x80":
        raise _pickled(source)
    if not source.data.startswith(b"\x93NUMPY"):
        raise source.fail("E-DATA-FORMAT", "not an npy file", "write it with numpy.save(path, array)")
    with numpy_faults(source):
        array: AnyArray = np.load(io.BytesIO(source.data), allow_pickle=False)
    return array


def npz_arrays(source: DataSource, keys: tuple[str, ...]) -> dict[str, AnyArray]:
    """Those of `keys` that the archive holds: one at least."""
    with _archive(source) as archive:
        wanted = [key for key in keys if key in archive.files]
        if not wanted:
            raise source.fail(
                "E-DATA-FORMAT", f"none of the keys {', '.join(keys)} is there; found: {', '.join(archive.files)}", _WRITE,
            )
        return {key: archive[key] for key in wanted}


def npz_keys(source: DataSource) -> tuple[str, ...]:
    """The names of all arrays; none is read."""
    with _archive(source) as archive:
        return tuple(archive.files)


@contextmanager
def _archive(source: DataSource) -> Iterator[Any]:
    if not source.data.startswith((b"PK\x03\x04", b"PK\x05\x06")):  # anything else numpy would take for a pickle
        raise source.fail("E-DATA-FORMAT", "not an npz file", _WRITE)
    with numpy_faults(source), np.load(io.BytesIO(source.data), allow_pickle=False) as archive:
        yield archive


def first_key(arrays: dict[str, AnyArray], keys: tuple[str, ...], source: DataSource) -> str:
    """The first of `keys` that is among the arrays."""
    found = next((key for key in keys if key in arrays), None)
    if found is None:
        what = f"none of the keys {', '.join(keys)} is there; found: {', '.join(arrays)}"
        raise source.fail("E-DATA-FORMAT", what, _WRITE)
    return found


@contextmanager
def numpy_faults(source: DataSource) -> Iterator[None]:
    """numpy's and zipfile's errors as coded ones; on damaged bytes they raise anything, tokenize.TokenError too."""
    try:
        yield
    except AbsintError:
        raise
    except zipfile.BadZipFile as error:
        raise source.fail("E-DATA-TRUNCATED", f"truncated or damaged archive: {error}", "fetch it again") from error
    except Exception as error:
        if "pickle" in str(error):
            raise _pickled(source) from error
        what = f"damaged, or shorter than its header says: {error}"
        raise source.fail("E-DATA-TRUNCATED", what, "write or fetch it again") from error


def _pickled(source: DataSource) -> InputError:
    what = "the file holds pickled Python objects, which absint never loads: unpickling runs code"
    return source.fail("E-DATA-PICKLE", what, "save a plain numeric array, e.g. numpy.stack(list_of_images)")
