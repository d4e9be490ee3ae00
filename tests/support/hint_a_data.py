"""More calls of `tests/project/test_hints.py`: folders and files of data that others made, or that were cut off on the way."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from hint_calls import rows
from PIL import Image

from absint.frontends.data_source import LAYOUTS, Content, Splits
from absint.model.digest import digest
from absint.problem.data_frontend import Reading, read_data
from absint.problem.training_data import training_data

Call = Callable[[dict[str, str]], Any]
Files = dict[str, bytes]
ROWS, LABELS = np.array([[0.5, 0.25], [0.75, 0.5], [0.25, 1.0], [0.0, 0.5]], "f4"), np.array([0, 1, 1, 0])
PICTURES = np.arange(24, dtype="u1").reshape(4, 1, 2, 3)


def _written(words: dict[str, str], name: str, files: Files) -> Path:
    """A folder of these files, or the one file of no name."""
    place = Path(words["NET"]).with_name("of-data") / name
    for inner, content in files.items():
        path = place / inner if inner else place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if not files:
        place.mkdir(parents=True, exist_ok=True)
    return place


def _read(name: str, files: Files | bytes, labels: str | None = None, **reading: Any) -> Call:
    """Inputs of a folder, or of one file. labels: the file of them, of the same folder."""
    def call(words: dict[str, str]) -> Any:
        place = _written(words, name, files if isinstance(files, dict) else {"": files})
        return read_data(place if labels is None else place / "inputs.npy", None if labels is None else place / labels, Reading(**reading))

    return call


def _train(name: str, files: Files, inner: str = "", test: str | None = None, **options: Any) -> Call:
    """Both parts of a folder, or of a folder or a file in it."""
    def call(words: dict[str, str]) -> Any:
        place = _written(words, name, files)
        return training_data(place / inner, test=None if test is None else place / test, **options)

    return call


# ---- formats --------------------------------------------------------------------------------------------------------


def _bytes(write: Callable[[Any], Any]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _npy(value: Any) -> bytes:
    return _bytes(lambda stream: np.save(stream, value))


def _npz(**arrays: Any) -> bytes:
    return _bytes(lambda stream: np.savez(stream, **arrays))


def _png(grey: int = 90, mode: str = "L") -> bytes:
    value = grey if mode == "L" else (grey, grey, grey, 9)
    return _bytes(lambda stream: Image.new(mode, (3, 2), value).save(stream, "PNG"))


def _idx(values: Any, axes: int | None = None) -> bytes:
    values = np.asarray(values, "u1")
    return bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape) + values.tobytes()


def _csv(shift: float = 0) -> bytes:
    return "".join(f"{label},{one + shift},{two}\n" for label, (one, two) in zip(LABELS, ROWS.tolist(), strict=True)).encode()


def _mat(**arrays: Any) -> bytes:
    return _bytes(lambda stream: scipy.io.savemat(stream, arrays))


_X, _Y = np.arange(36, dtype="u1").reshape(2, 3, 3, 2), np.array([[1], [10]])
_SVHN, _LATER = _mat(X=_X, y=_Y), b"MATLAB 7.3".ljust(124) + b"\x00\x02IM" + bytes(64)


def _cifar(images: Any = None, labels: Any = None) -> bytes:
    held = {"data": np.zeros((2, 3072), "u1") if images is None else images, "labels": labels or [0, 9]}
    return pickle.dumps(held, protocol=2)


def _binary(label: int = 3, length: int = 3073) -> bytes:
    return bytes([label]) + bytes(length - 1)


_IMAGES, _NUMBERS = _idx(PICTURES[:, 0]), _idx(LABELS)
_MNIST = {"train-images-idx3-ubyte": _IMAGES, "train-labels-idx1-ubyte": _NUMBERS,
          "t10k-images-idx3-ubyte": _idx(PICTURES[::-1, 0]), "t10k-labels-idx1-ubyte": _NUMBERS}
_CLASSES = {f"{part}/{name}/a.png": _png(k) for k, (part, name) in enumerate((p, n) for p in ("train", "test") for n in ("cat", "dog"))}
_TEN = {**{f"data_batch_{k}": _cifar(np.full((2, 3072), k, "u1")) for k in range(1, 6)}, "test_batch": _cifar()}
_TEN_BINARY = {**{f"data_batch_{k}.bin": _binary(k) for k in range(1, 6)}, "test_batch.bin": _binary()}
_WHOLE = {"x_train": ROWS, "y_train": LABELS, "x_test": ROWS[::-1], "y_test": LABELS}
_STREET = {"train_32x32.mat": _SVHN, "test_32x32.mat": _mat(X=_X[::-1], y=_Y)}


def _under(files: Files, *folders: str) -> Files:
    return {f"{folder}/{name}": content for folder in folders for name, content in files.items()}


class _Bare:
    """A stranger's layout that reads bytes of its own."""

    wanted = "bytes of a stranger"
    sha256: str | None = None

    def matches(self, place: Path) -> bool:
        """By the name of the folder."""
        return place.name == "a-strangers"

    def read(self, place: Path, extra: bool) -> Splits:
        """Both parts."""
        return Splits(Content(ROWS, LABELS, sha256=self.sha256), Content(ROWS / 2, LABELS, sha256=self.sha256))


class _Hashed(_Bare):
    """The same, which says of what bytes."""

    sha256 = digest(ROWS.tobytes())


def _stranger(layout: type[_Bare]) -> Call:
    def call(words: dict[str, str]) -> Any:
        LAYOUTS.register("a-strangers")(layout)
        try:
            return training_data(_written(words, "a-strangers", {"any": b""}))
        finally:
            del LAYOUTS._entries["a-strangers"]

    return call


# ---- rows -----------------------------------------------------------------------------------------------------------

_GOOD_NPZ = _read("good.npz", _npz(images=ROWS, labels=LABELS))
_GOOD_IDX = _read("good-images-idx3-ubyte", _IMAGES)
_GOOD_MAT = _read("good.mat", _SVHN)
_GOOD_BATCH = _read("good.pickle", _cifar())
_AGAIN = "fetch the file again"
_PLAIN = "get the original files; the binary version of CIFAR and an .npz hold no code at all"
_OTHER = "other data is read from .npz files: numpy.savez(path, images=..., labels=...)"
_SAVE = "in MATLAB: save data.mat X y -v7, or in Python: scipy.io.savemat('data.mat', {'X': ..., 'y': ...})"
_TABLE = {"a.png": _png(), "b.png": _png(8)}

FOLDERS = [
    *rows("E-DATA-AMBIGUOUS",
          ("give the path of one of them", _train("two", _under(_MNIST, "a", "b")), _train("two", {}, "a")),
          ("keep each in a folder of its own, and give the path of one of them",
           _train("mixed", {f"{prefix}{name}": content for prefix in ("", "fashion-") for name, content in _MNIST.items()}),
           _train("apart", _under(_MNIST, "digits", "fashion"), "digits")),
          ("keep one, or give both parts: DATA and --test FILE",
           _train("stems", {"train.csv": _csv(), "train.npz": _npz(images=ROWS / 2, labels=LABELS)}),
           _train("stems", {}, "train.csv", "train.npz"))),
    *rows("E-DATA-EMPTY",
          ("put pictures into it, alone, in a folder a class, or beside a {} of them", _read("no-pictures", {}),
           _read("pictures", {"a.png": _png()})),
          ("the folder itself and {} levels below are searched; a single file is given by its own path",
           _train("deep", {"a/b/c/train.csv": _csv(), "a/b/c/test.csv": _csv(0.1)}), _train("deep", {}, "a/b/c/train.csv", hold_out=1)),
          (_AGAIN, _read("empty.npz", b""), _GOOD_NPZ),
          (_AGAIN, _read("empty.csv.gz", gzip.compress(b"")), _read("whole.csv.gz", gzip.compress(_csv())))),
    *rows("E-DATA-FORMAT",
          ("move every image into a class folder, or write {}", _read("beside", {"a.png": _png(), "0/b.png": _png(), "1/c.png": _png()}),
           _read("inside", {"0/a.png": _png(), "0/b.png": _png(), "1/c.png": _png()})),
          ("store it as UTF-8 text, a line an image: its path, comma, its class number",
           _read("latin", {**_TABLE, "labels.csv": b"\xe4.png,0\n"}), _read("utf8", {**_TABLE, "labels.csv": b"a.png,0\n"})),
          ("the plug-in's layout returns Content(..., sha256=...): absint.model.digest.digest(the bytes) makes one", _stranger(_Bare),
           _stranger(_Hashed)),
          ("write it with numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)",
           _train("unnamed", {"a.npz": _npz(first=ROWS, second=LABELS)}, "a.npz"), _train("named", {"a.npz": _npz(**_WHOLE)}, "a.npz")),
          (_AGAIN, _train("hundred", {"train": _cifar(), "meta": b"", "test": _cifar()}),
           _train("ten", {**_TEN}))),
    *rows("E-DATA-LABELS",
          ("labels count the folders' sorted names: give both parts the same folders, each with a picture at least",
           _train("names", {**_CLASSES, "test/bird/b.png": _png()}), _train("same-names", _CLASSES)),
          ("one image a line: path in this folder, comma, class number", _read("cells", {**_TABLE, "labels.csv": b"a.png\n"}),
           _read("lines", {**_TABLE, "labels.csv": b"a.png,0\nb.png,1\n"})),
          ("name each by a number of its own", _read("noughts", {"0/a.png": _png(), "00/b.png": _png()}),
           _read("numbers", {"0/a.png": _png(), "1/b.png": _png()}))),
    *rows("E-DATA-MISSING",
          ("fetch it, or leave out --extra", _train("street", _STREET, extra=True), _train("street", {})),
          ("fetch it, or leave out --extra", _train("street", _STREET, extra=True),
           _train("streets", {**_STREET, "extra_32x32.mat": _SVHN}, extra=True)),
          ("fetch them, or move the batches that are meant into one .npz file", _train("some", {"data_batch_1.bin": _binary()}),
           _train("moved", {"all.npz": _npz(images=ROWS, labels=LABELS)}, "all.npz", hold_out=1)),
          ("fetch them, or move the batches that are meant into one .npz file", _train("some", {"data_batch_1.bin": _binary()}),
           _train("whole", _TEN_BINARY))),
    *rows("E-DATA-SHAPE",
          (_AGAIN, _train("widths", {**_STREET, "extra_32x32.mat": _mat(X=_X[:1], y=_Y)}, extra=True),
           _train("streets", {**_STREET, "extra_32x32.mat": _SVHN}, extra=True))),
]

FILES = [
    *rows("E-DATA-FORMAT",
          ("convert it to an 8-bit RGB or grayscale PNG", _read("clear.png", _png(mode="RGBA")), _read("grey.png", _png())),
          (_AGAIN, _read("damaged.csv.gz", gzip.compress(_csv())[:12] + bytes(20)), _read("whole.csv.gz", gzip.compress(_csv()))),
          (_AGAIN, _read("long-images-idx3-ubyte", _IMAGES + b"more"), _GOOD_IDX),
          ("give the -images- file; its labels are found beside it", _read("t-labels.idx", _NUMBERS),
           lambda words: read_data(_written(words, "mnist", _MNIST) / "t10k-images-idx3-ubyte").labels.tolist()),
          ("give an IDX file, such as MNIST's train-images-idx3-ubyte; other formats go by their endings", _read("words.idx", b"P6 33"),
           _read("images.idx", _IMAGES)),
          (_SAVE, _read("later.mat", _LATER), _GOOD_MAT),
          (_SAVE, _read("words.mat", bytes(200)), _GOOD_MAT),
          ("say which holds the inputs: --key NAME, or --key NAME,LABELS; it holds {}", _read("own.mat", _mat(rows=ROWS, kinds=LABELS)),
           _read("own.mat", _mat(rows=ROWS, kinds=LABELS), key="rows,kinds")),
          ("write numbers without quotes, and separate cells by commas", _read("quotes.csv", b'0,"1"2,3\n'),
           _read("bare.csv", b"0,12,3\n"))),
    *rows("E-DATA-LABEL",
          ("SVHN counts its digits from 1, and 10 stands for 0; --key X,y takes labels as they are stored",
           _read("nought.mat", _mat(X=_X, y=np.array([[0], [1]]))), _read("nought.mat", _mat(X=_X, y=np.array([[0], [1]])), key="X,y")),
          ("fetch the file again; other data is read from .npz files: numpy.savez(path, images=..., labels=...)",
           _read("label.bin", _binary(11)), _GOOD_NPZ)),
    *rows("E-DATA-LABELS",
          (_AGAIN, _read("words.pickle", _cifar(labels=["cat", "dog"])), _GOOD_BATCH),
          (_AGAIN, _read("alone.mat", _mat(X=_X)), _GOOD_MAT),
          (_AGAIN, _read("fewer.mat", _mat(X=_X, y=_Y[:1])), _GOOD_MAT),
          ("give a file that holds labels: IDX, npy, npz or CSV",
           _read("of", {"inputs.npy": _npy(ROWS[:1]), "labels.png": _png()}, "labels.png"),
           _read("of", {"labels.npy": _npy(LABELS[:1])}, "labels.npy"))),
    *rows("E-DATA-PICKLE",
          (_PLAIN, _read("path.pickle", pickle.dumps({"data": Path("x")}, protocol=2)), _GOOD_BATCH),
          (_PLAIN, _read("path.pickle", pickle.dumps({"data": Path("x")}, protocol=2)), _GOOD_NPZ),
          (_OTHER, _read("other.pickle", pickle.dumps({"rows": [1]}, protocol=2)), _GOOD_NPZ)),
    *rows("E-DATA-RANGE",
          ("scale the data with --scale, or state the range it has: --clip LOW,HIGH, or --clip none",
           lambda words: _read("wide.npy", _npy(ROWS * 1.5))(words).check_range(0, 1),
           lambda words: _read("wide.npy", _npy(ROWS * 1.5), scale=Fraction(1, 2))(words).check_range(0, 1)),
          ("scale the data with --scale, or state the range it has: --clip LOW,HIGH, or --clip none",
           lambda words: _read("wide.npy", _npy(ROWS * 1.5))(words).check_range(0, 1),
           lambda words: _read("wide.npy", _npy(ROWS * 1.5))(words).check_range(0, 2))),
    *rows("E-DATA-SHAPE",
          (_AGAIN, _read("narrow.pickle", _cifar(np.zeros((2, 9), "u1"))), _GOOD_BATCH),
          ("store rows (N, values), or pictures (height, width, N) or (height, width, channels, N)",
           _read("five.mat", _mat(X=np.zeros((2, 2, 2, 2, 2))), key="X"), _read("four.mat", _mat(X=np.zeros((2, 2, 2, 2))), key="X"))),
    *rows("E-DATA-TRUNCATED",
          ("write or fetch it again", _read("cut.npz", _npz(images=ROWS)[:-30]), _GOOD_NPZ),
          (_AGAIN, _read("cut.csv.gz", gzip.compress(_csv())[:-10]), _read("whole.csv.gz", gzip.compress(_csv()))),
          (_AGAIN, _read("cut-images-idx3-ubyte", _IMAGES[:-2]), _GOOD_IDX),
          (_AGAIN, _read("cut.idx", _IMAGES[:3]), _read("images.idx", _IMAGES)),
          (_AGAIN, _read("header.idx", _IMAGES[:9]), _read("images.idx", _IMAGES)),
          (_AGAIN, _read("short.mat", _SVHN[:100]), _GOOD_MAT),
          (_AGAIN, _read("cut.mat", _SVHN[:-9]), _GOOD_MAT),
          (_AGAIN, _read("cut.pickle", _cifar()[:-40]), _GOOD_BATCH),
          ("fetch the file again; only CIFAR's binary version is read from .bin files", _read("length.bin", _binary(3, 3000)),
           _read("length.bin", _binary(3)))),
]
