"""Reads npy and npz files, which hold plain arrays: what is pickled in them is never loaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from absint.errors import AbsintError, InputError, UsageError
from absint.frontends.data_source import AnyArray, Content, DataSource, register_reader
from absint.problem.several_inputs import Named, joined

# What people call inputs and their labels, in the order of preference; of an archive with both parts the test part.
PAIRS = (("images", "labels"), ("x", "y"), ("inputs", "targets"), ("X", "y"), ("x_test", "y_test"), ("X_test", "y_test"),
         ("test_images", "test_labels"), ("images_test", "labels_test"), ("data", "target"), ("features", "labels"), ("arr_0", "arr_1"))
LABEL_KEYS = tuple(dict.fromkeys(("labels", "y", "targets", "target", *(labels for _, labels in PAIRS))))
_LOOSE = ("labels", "y", "targets", "target")     # labels that need not be called as their inputs are
_WORDS = (("images", "labels"), ("image", "label"), ("inputs", "targets"), ("data", "labels"), ("data", "target"), ("features", "labels"),
          ("x", "y"), ("X", "y"), ("X", "Y"), ("arr_0", "arr_1"))

_WRITE = "write it with numpy.savez(path, images=..., labels=...)"


@register_reader(".npy")
def read_npy(source: DataSource) -> Content:
    """One array, (N, *shape)."""
    return Content(npy_array(source))


@register_reader(".npz")
def read_npz(source: DataSource) -> Content:
    """The array that is asked for, else one that PAIRS name, else the only one; labels, if any, under the name that goes with it."""
    keys = npz_keys(source)
    images, labels = chosen_keys(keys, source)
    arrays = npz_arrays(source, (images, *(() if labels is None else (labels,))))
    others = [key for key in keys if key not in arrays]
    aside = (f"arrays not read: {', '.join(others[:8])}{', ...' if len(others) > 8 else ''}; --key NAME or NAME,LABELS reads others",)
    known = () if labels is None else (f"labels read from key '{labels}'",)
    return Content(arrays[images], None if labels is None else arrays[labels],
                   (f"inputs read from key '{images}'", *known, *(aside if others else ())), followed=("key",))


def chosen_keys(keys: Sequence[str], source: DataSource) -> tuple[str, str | None]:
    """Of the arrays' names that of the inputs, and that of the labels where there are some and they are asked for.

    Raises UsageError E-DATA-KEY for a name that is not there, InputError E-DATA-FORMAT where no name tells.
    """
    stated, labelled = source.reading.key, source.reading.labelled
    if stated is not None:
        images, labels = _stated(stated, keys, source)
    elif len(keys) == 1 and keys[0] not in LABEL_KEYS:
        images, labels = keys[0], None
    else:
        found = next(((one, two) for one, two in PAIRS if one in keys), None)
        if found is None:
            known = ", ".join(dict.fromkeys(one for one, _ in PAIRS))
            raise source.fail("E-DATA-FORMAT", f"none of the keys {known} is there; found: {', '.join(keys)}",
                              f"say which holds the inputs: --key NAME, or --key NAME,LABELS; or {_WRITE}")
        images, labels = found[0], next((key for key in (found[1], *_LOOSE) if key in keys), None)
    return images, labels if labelled else None


def _stated(stated: str, keys: Sequence[str], source: DataSource) -> tuple[str, str | None]:
    """'NAME', with the labels that its own name leads to, or 'NAME,LABELS'."""
    name, comma, other = (stated, "", "") if stated in keys else stated.partition(",")
    name, other = (part if part in keys else part.strip() for part in (name, other))
    missing = [part for part in (name, *((other,) if comma else ())) if part not in keys]
    if missing:
        raise UsageError("E-DATA-KEY", f"{source.path.name} holds no array '{missing[0]}'", where="--key",
                         hint=f"it holds {', '.join(keys[:20])}{', ...' if len(keys) > 20 else ''}")
    if comma:
        return name, other
    partners = [name.replace(one, two) for one, two in _WORDS if one in name]
    return name, next((key for key in partners if key in keys and key != name), None)


def read_named(source: DataSource, inputs: Named) -> Content:
    """Rows of all inputs, joined from one array each under its name; labels, if any, under one of LABEL_KEYS that is no input.

    uint8 values are divided by 255, input by input. Raises InputError E-DATA-INPUTS for an input without an array.
    """
    keys = npz_keys(source)
    label_key = next((name for name in LABEL_KEYS if name in keys and name not in inputs), None)
    arrays = npz_arrays(source, (*inputs, *(() if label_key is None else (label_key,))))
    labels = None if label_key is None else arrays.pop(label_key)
    wrong = [f"'{name}': {array.dtype}" for name, array in arrays.items() if array.dtype.kind not in "uifb" or array.dtype.itemsize > 8]
    if wrong:
        raise source.fail("E-DATA-FORMAT", f"arrays of types that are not supported: {', '.join(wrong)}", "store uint8 or float64")
    scaled = [name for name, array in arrays.items() if array.dtype == np.uint8]
    values = {name: array.astype(np.float64) / (255.0 if name in scaled else 1.0) for name, array in arrays.items()}
    divided = (f"uint8 values of '{name}' divided by 255" for name in scaled)
    notes = (f"inputs read from keys {', '.join(map(repr, inputs))}, joined", *divided)
    return Content(joined(values, inputs, str(source.path)), labels, notes)


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
        raise source.fail("E-DATA-TRUNCATED", f"truncated or damaged archive: {error}", "write or fetch it again") from error
    except Exception as error:
        if "pickle" in str(error):
            raise _pickled(source) from error
        what = f"damaged, or shorter than its header says: {error}"
        raise source.fail("E-DATA-TRUNCATED", what, "write or fetch it again") from error


def _pickled(source: DataSource) -> InputError:
    what = "the file holds pickled Python objects, which absint never loads: unpickling runs code"
    return source.fail("E-DATA-PICKLE", what, "save a plain numeric array, e.g. numpy.stack(list_of_images)")
