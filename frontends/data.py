"""Reads labelled inputs from IDX, npz, npy and CSV files and image folders; a stranger's format is one decorated function.

    @register_reader(".tsv")
    def read_tsv(source: Source) -> Content: ...

A reader gets the (unzipped) bytes and returns plain arrays; scaling, labels and checks are the same for all formats. The
reader registered as "folder" gets folders: their path, no bytes.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from absint.errors import AbsintError, InputError, PluginError, UsageError, missing_hint
from absint.frontends.csv_files import label_cells
from absint.frontends.data_source import READERS, AnyArray, Content, DataSource, register_reader
from absint.frontends.limit_files import csv_limits, npz_limits
from absint.frontends.numpy_files import LABEL_KEYS, first_key, npy_array, npz_arrays, npz_keys, read_named
from absint.frontends.stand_ins import stand_in
from absint.model.digest import digest
from absint.problem.boxes import EntryLimits
from absint.problem.data_frontend import AS_USUAL, Reading
from absint.problem.dataset import Dataset, FloatArray, IntArray

_GZIP_MAGIC = b"\x1f\x8b"
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_ARRAYS = "numpy.savez(new, images=inputs, labels=labels)"
CONVERTED = {    # what people have -> what it is, and the line of Python that makes a file of it that is read
    ".parquet": ("a Parquet table", "pandas.read_parquet(path).to_csv(new, index=False)"),
    ".feather": ("a Feather table", "pandas.read_feather(path).to_csv(new, index=False)"),
    **dict.fromkeys((".xlsx", ".xls"), ("an Excel sheet", "pandas.read_excel(path).to_csv(new, index=False)")),
    ".tsv": ("a table of tabs", "call it .csv, whose cells may stand apart by tabs"),
    ".json": ("a JSON document", "pandas.read_json(path).to_csv(new, index=False)"),
    **dict.fromkeys((".pt", ".pth"), ("a file of torch.save, a pickle that may run code", f"inputs, labels = torch.load(path); {_ARRAYS}")),
    **dict.fromkeys((".h5", ".hdf5"), ("an HDF5 file", f"{_ARRAYS}, with arrays read by h5py.File(path)")),
    ".tfrecord": ("a file of TensorFlow records", f"{_ARRAYS}, with arrays of its tf.data.TFRecordDataset"),
}
_LIMITS = "limits are a file: CSV with a line an entry under the header 'lower,upper', or npz with these arrays"
_COLUMN = "labels are class numbers counted from 0; in another column: --label-column NAME, or -1 for the last, or none"
_SIGNATURES = ((b"PK", ".npz"), (b"\x93NUMPY", ".npy"), (b"\x00\x00", ".idx"),
               (b"\x80", ".pickle"))  # first bytes -> reader


class DataFrontEnd:
    """Any data file -> Dataset; every fault of a file is one InputError whose code starts with E-DATA-."""

    def read(self, path: str | Path, labels_path: str | Path | None = None, reading: Reading = AS_USUAL) -> Dataset:
        """The inputs of `path`, labelled by `labels_path`, else by the file itself or its IDX sibling, else not.

        uint8 values become float64(value) / 255.0, and a note says so; all other values are kept. `reading.scale` stands in place of
        that: stored values times the exact number, each rounded to float64.
        A folder goes to the reader registered as "folder".
        Raises InputError E-DATA-MISSING, -EMPTY, -TRUNCATED, -FORMAT, -PICKLE, -RAGGED, -CELL, -LABELS, -SHAPE, -INPUTS; UsageError
        E-DATA-KEY, E-DATA-COLUMN.
        """
        content, labelling = _read(Path(path), None if labels_path is None else Path(labels_path), reading)
        values, scaling = _to_float(content.images, reading.scale)
        assert content.sha256 is not None
        labels: Any = content.labels
        return Dataset(values, labels, str(path), content.sha256, (*content.notes, *scaling, *labelling), layout=content.layout)

    def limits(self, path: Path, count: int) -> EntryLimits:
        """Least and greatest values of `count` entries each, of an npz or a CSV file. Raises InputError E-BOX-FORMAT, E-DATA-..."""
        if not path.exists():
            raise InputError("E-DATA-MISSING", "no such file", where=str(path), hint=missing_hint(path) or _LIMITS)
        source, _ = opened(path)
        if path.is_dir():
            raise source.fail("E-BOX-FORMAT", "a folder is no file of limits", "give an npz or a CSV file")
        name = _format_of(source)
        if name == ".npz":
            return npz_limits(source, count)
        if name in (".csv", ".txt"):
            return csv_limits(source)
        raise source.fail("E-BOX-FORMAT", f"limits are not read from '{name}' files",
                          "npz with arrays lower and upper, CSV with these columns, or a VNN-LIB query for a box")


def read_content(path: Path, labels_path: Path | None = None) -> Content:
    """What a file or folder holds, as it is stored: uint8 stays uint8. Labels, if any, are (N,) int64; sha256 and name are set.

    Raises as `DataFrontEnd.read` does.
    """
    content, labelling = _read(path, labels_path, AS_USUAL)
    return replace(content, notes=(*content.notes, *labelling))


def _read(path: Path, labels_path: Path | None, reading: Reading) -> tuple[Content, tuple[str, ...]]:
    """The content, and a note on labels from a file of their own."""
    source, raw = opened(path)
    source = replace(source, reading=reading)
    name, inputs = _format_of(source), reading.inputs or {}
    parted = name == ".npz" and not set(npz_keys(source)).isdisjoint(inputs)
    content = read_named(source, inputs) if parted else _read_with(name, source)
    check_followed(content, source)
    check_values(content.images, source)
    labelling: tuple[str, ...] = ()
    sha256 = content.sha256 or digest(raw)
    separate = labels_path if labels_path is not None else _idx_sibling(source.path)
    if not reading.labelled:
        return replace(content, labels=None, sha256=sha256, name=content.name or str(path)), ()
    stored = None if labels_path is not None else content.labels
    labels = None if stored is None else whole_labels(stored, source, table="label_column" in content.followed)
    if separate is not None:
        labels, raw = _read_labels(separate)
        sha256 = digest(sha256.encode(), raw)
        labelling = (f"labels read from {separate.name}",)
    if labels is not None and len(labels) != len(content.images):
        what = f"{len(content.images)} inputs but {len(labels)} labels"
        raise source.fail("E-DATA-LABELS", what, "are inputs and labels of the same split?")
    return replace(content, labels=labels, sha256=sha256, name=content.name or str(path)), labelling


def check_followed(content: Content, source: DataSource) -> None:
    """Raise UsageError E-DATA-KEY or -COLUMN for a choice that files of this kind do not offer: it would silently mean nothing."""
    if source.reading.key is not None and "key" not in content.followed:
        raise UsageError("E-DATA-KEY", f"{source.path.name} holds no arrays by name", where="--key", hint="leave --key away")
    if source.reading.label_column is not None and "label_column" not in content.followed:
        raise UsageError("E-DATA-COLUMN", f"{source.path.name} is no table with a column of labels", where="--label-column",
                         hint="leave --label-column away; labels in a file of their own: --labels FILE")


def _read_with(name: str, source: DataSource) -> Content:
    """What the reader of that name returns; whatever a stranger's reader raises becomes one coded message."""
    reader = READERS.get(name)
    try:
        content = reader(source)
    except AbsintError:
        raise
    except Exception as error:
        what = f"the reader for '{name}' raised {type(error).__name__}: {error}"
        hint = "--debug shows the traceback"
        raise PluginError("E-PLUGIN-RAISED", what, where=str(source.path), hint=hint) from error
    if not isinstance(content, Content) or not isinstance(content.images, np.ndarray):
        what = f"the reader for '{name}' must return Content with arrays, got {type(content).__name__}"
        raise PluginError("E-PLUGIN-CONTRACT", what, where=str(source.path))
    return content


# --- files ----------------------------------------------------------------------------------------------------------


def opened(path: Path) -> tuple[DataSource, bytes]:
    """The file, unzipped, and its bytes as they lie on disk; a folder as it is. Raises E-DATA-MISSING, -EMPTY, -TRUNCATED, -FORMAT."""
    if path.is_dir():
        return DataSource(path, b""), b""
    if not path.is_file():
        raise InputError("E-DATA-MISSING", "no such file", where=str(path), hint=missing_hint(path) or "check the path of the data file")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError("E-DATA-MISSING", f"cannot be read: {error.strerror}", where=str(path), hint="check its rights") from error
    source = DataSource(path, raw)
    if not raw:
        raise source.fail("E-DATA-EMPTY", "the file is empty", "fetch the file again")
    data = _unzip(source) if raw.startswith(_GZIP_MAGIC) else raw
    if not data:
        raise source.fail("E-DATA-EMPTY", "the file is empty once unzipped", "fetch the file again")
    instead = stand_in(data)
    if instead is not None:
        raise source.fail("E-DATA-FORMAT", instead[0], instead[1])
    return DataSource(path, data), raw


def _unzip(source: DataSource) -> bytes:
    try:
        return gzip.decompress(source.data)
    except EOFError as error:
        raise source.fail("E-DATA-TRUNCATED", "the gzip stream ends early", "fetch the file again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise source.fail("E-DATA-FORMAT", f"damaged gzip file: {error}", "fetch the file again") from error


def _format_of(source: DataSource) -> str:
    """The reader's name: the extension before .gz where one is known, else what the first bytes say."""
    if source.path.is_dir():
        return "folder"
    suffixes = [suffix.lower() for suffix in source.path.suffixes]
    suffix = next((s for s in reversed(suffixes) if s != ".gz"), "")
    if suffix in READERS:
        return suffix
    if suffix in CONVERTED:
        what, line = CONVERTED[suffix]
        raise source.fail("E-DATA-FORMAT", f"{what}, which is not read as data", f"convert it: {line}")
    name = format_by_content(source)
    if name is not None:
        return name
    known = f"known: IDX files and {', '.join(READERS.names())}, each also gzipped; --plugin adds formats"
    raise source.fail("E-DATA-FORMAT", f"unknown data format '{suffix or source.path.name}'", known)


def format_by_content(source: DataSource) -> str | None:
    """The reader's name, by the first bytes alone."""
    return next((name for start, name in _SIGNATURES if source.data.startswith(start)), None)


# --- values and labels ----------------------------------------------------------------------------------------------


def check_values(images: AnyArray, source: DataSource) -> None:
    """Nothing where images are (N, *shape) numbers."""
    if images.dtype.kind not in "uifb" or images.dtype.itemsize > 8:
        raise source.fail("E-DATA-FORMAT", f"values of type {images.dtype} are not supported", "store uint8 or float64")
    if images.ndim < 2:
        what = f"inputs of shape {images.shape} have no batch axis" if images.ndim else "the file holds one number"
        raise source.fail("E-DATA-SHAPE", what, "store shape (N, ...), one row an input; a single input is x[None]")
    if images.size == 0:
        raise source.fail("E-DATA-EMPTY", f"the file holds no values (shape {images.shape})", "store one input at least")


def _to_float(images: AnyArray, scale: Fraction | None) -> tuple[FloatArray, tuple[str, ...]]:
    """float64 values and what was done to them. images: (N, *shape)."""
    values: FloatArray = images.astype(np.float64)
    if scale is not None:
        return scaled(values, scale), (f"values multiplied by {scale}",)
    if images.dtype == np.uint8:
        return values / 255.0, ("uint8 values divided by 255",)
    return values, ()


def scaled(values: FloatArray, scale: Fraction) -> FloatArray:
    """Values times a number, in float64: 1/255 divides, as the reader of eight-bit images does."""
    return values / float(scale.denominator) if scale.numerator == 1 else values * float(scale)


def whole_labels(labels: AnyArray, source: DataSource, *, table: bool = False) -> IntArray:
    """(N,) int64, from whole numbers of any dtype or in text, (N,) or (N, 1), or from rows of which each has one 1 among zeros.

    table: whether they are a column of a table, and so may be another one.
    """
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else _one_hot(labels)
    if flat.ndim != 1:
        hint = "store class numbers, or one-hot rows: one 1 among zeros" if flat.ndim == 2 else "store one class number an input"
        raise source.fail("E-DATA-LABELS", f"labels have shape {labels.shape}, expected (N,)", hint)
    if flat.dtype.kind in "US":
        flat = _read_numbers(flat, source)
    if flat.dtype.kind not in "uif":
        raise source.fail("E-DATA-LABELS", f"labels are class numbers, got values of type {flat.dtype}", "number the classes from 0")
    broken = np.flatnonzero(~np.isfinite(flat) | (flat != np.trunc(flat)))
    if broken.size:
        what = f"{broken.size} labels are not whole numbers, first {flat[broken[0]]} of input {broken[0]}"
        raise source.fail("E-DATA-LABELS", what, _COLUMN if table else "labels are class numbers counted from 0")
    return flat.astype(np.int64)


def _read_numbers(labels: AnyArray, source: DataSource) -> AnyArray:
    """Numbers that are written as text. Raises E-DATA-LABELS for the names of classes, whose order nobody states."""
    try:
        return labels.astype(np.float64)
    except ValueError as error:
        what = f"labels are class numbers, got text such as '{labels[0]!s:.30}'"
        raise source.fail("E-DATA-LABELS", what, "number them as the network's outputs are ordered; by the alphabet: "
                          "numpy.unique(labels, return_inverse=True)[1]") from error


def _one_hot(labels: AnyArray) -> AnyArray:
    """The places of the ones; anything else as it is."""
    if labels.ndim != 2 or labels.dtype.kind not in "uifb" or labels.shape[1] < 2:
        return labels
    ones = labels == 1
    return labels if not len(labels) or (ones.sum(1) != 1).any() or not (ones | (labels == 0)).all() else ones.argmax(1)


def _read_labels(path: Path) -> tuple[IntArray, bytes]:
    """(N,) labels of a file of their own, and its bytes: IDX, npy, npz (a label key) or CSV with one label a line."""
    source, raw = opened(path)
    return whole_labels(_label_array(source), source), raw


def _label_array(source: DataSource) -> AnyArray:
    name = _format_of(source)
    if name.startswith(".idx"):
        return _idx_array(source)
    if name == ".npy":
        return npy_array(source)
    if name == ".npz":
        arrays = npz_arrays(source, LABEL_KEYS)
        return arrays[first_key(arrays, LABEL_KEYS, source)]
    if name in (".csv", ".txt"):
        return label_cells(source)
    labels = _read_with(name, source).labels
    if labels is None:
        raise source.fail("E-DATA-LABELS", "the file holds no labels", "give a file that holds labels: IDX, npy, npz or CSV")
    return labels


# --- IDX ------------------------------------------------------------------------------------------------------------


@register_reader(".idx", ".idx3-ubyte", ".idx4-ubyte")
def read_idx(source: DataSource) -> Content:
    """IDX images (big-endian, as MNIST's); the labels lie in a sibling file, which the front end finds by its name."""
    images = _idx_array(source)
    if images.ndim < 2:
        raise source.fail("E-DATA-FORMAT", "this IDX file has one axis: labels, not images",
                          "give the -images- file; its labels are found beside it")
    return Content(images)


def _idx_array(source: DataSource) -> AnyArray:
    """The array of an IDX file. Format: two zero bytes, type, number of axes, their sizes, the values."""
    data = source.data
    if len(data) < 4:
        raise source.fail("E-DATA-TRUNCATED", f"{len(data)} bytes, shorter than an IDX header", "fetch the file again")
    zero, kind, axes = data[:2], data[2], data[3]
    if zero != b"\x00\x00" or kind not in _IDX_TYPES or axes == 0:
        raise source.fail("E-DATA-FORMAT", f"not an IDX file: it starts with {data[:4].hex(' ')}",
                          "give an IDX file, such as MNIST's train-images-idx3-ubyte; other formats go by their endings")
    start = 4 + 4 * axes
    if len(data) < start:
        raise source.fail("E-DATA-TRUNCATED", f"{len(data)} bytes, shorter than its IDX header of {start}", "fetch the file again")
    shape = tuple(int(size) for size in np.frombuffer(data, dtype=">u4", count=axes, offset=4))
    dtype = np.dtype(_IDX_TYPES[kind])
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - start
    if found != expected:
        code = "E-DATA-TRUNCATED" if found < expected else "E-DATA-FORMAT"
        what = f"the header says shape {shape}, {expected} bytes, but {found} bytes follow it"
        raise source.fail(code, what, "fetch the file again")
    return np.frombuffer(data, dtype=dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _idx_sibling(path: Path) -> Path | None:
    """...images-idx3... -> ...labels-idx1... in the same folder, gzipped or not."""
    if "images" not in path.name or not re.search("idx[34]", path.name):
        return None
    name = re.sub("idx[34]", "idx1", path.name.replace("images", "labels"))
    bare = name.removesuffix(".gz")
    found = (path.with_name(candidate) for candidate in (name, bare, f"{bare}.gz"))
    return next((candidate for candidate in found if candidate.is_file()), None)
