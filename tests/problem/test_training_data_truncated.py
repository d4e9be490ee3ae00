"""Every prefix of a file of each kind, and a file with bits turned, gives a coded error or data of the right form: never a traceback."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import scipy.io
from test_training_data_sources import binary_batch, py2_pickle

from absint.errors import AbsintError
from absint.problem.training_data import training_data

IMAGES = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([0, 1, 0, 1], dtype=np.uint8)


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder):
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(IMAGES + (part == "t10k")))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def write_gzip(folder):
    write_idx(folder)
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def write_csv(folder):
    text = "".join(",".join(map(str, [label, *image.reshape(-1)])) + "\n" for label, image in zip(LABELS, IMAGES, strict=True))
    for part in ("train", "test"):
        (folder / f"{part}.csv").write_text(text.replace("23", str(len(part))))
    return ("train.csv",)


def write_pickle(folder):
    """Of a real batch, but the pixels, which are many bytes of one kind."""
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        pixels = np.full((1, 3072), len(name), np.uint8)
        (folder / name).write_bytes(py2_pickle({"labels": [1], "batch_label": "b", "data": pixels, "filenames": ["0.png"]}))
    return ("data_batch_2",)


def write_binary(folder):
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        (folder / f"{name}.bin").write_bytes(binary_batch(np.full((3, 3, 32, 32), len(name), np.uint8), np.arange(3)))
    return ("data_batch_5.bin",)


def write_mat(folder):
    for part in ("train", "test"):
        images = np.full((2, 2, 3, 4), len(part), np.uint8)
        scipy.io.savemat(folder / f"{part}_32x32.mat", {"X": images, "y": np.ones((4, 1), np.uint8)}, do_compression=part == "train")
    return "train_32x32.mat", "test_32x32.mat"


def write_pictures(folder):
    image = pytest.importorskip("PIL.Image")
    for part in ("train", "test"):
        for name in "ab":
            (folder / part / name).mkdir(parents=True)
            image.fromarray(np.full((3, 3, 3), len(part), np.uint8)).save(folder / part / name / "0.png")
    return ("train/a/0.png",)


def write_npz(folder):
    np.savez_compressed(folder / "data.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES + 1, y_test=LABELS)
    return ("data.npz",)


def write_npy(folder):
    np.save(folder / "x.npy", IMAGES)
    np.save(folder / "y.npy", LABELS)
    return "x.npy", "y.npy"


WRITERS = (write_idx, write_gzip, write_csv, write_pickle, write_binary, write_mat, write_pictures, write_npz, write_npy)


def read(folder):
    if (folder / "x.npy").exists():
        np.savez(folder / "whole.npz", images=IMAGES + 1, labels=LABELS)
        return training_data(folder / "x.npy", labels=folder / "y.npy", test=folder / "whole.npz")
    return training_data(folder / "data.npz" if (folder / "data.npz").exists() else folder)


def outcome(folder):
    """What was read, or the code of the error; anything else that is raised is the test's failure."""
    try:
        data = read(folder)
    except AbsintError as error:
        return error.code if error.hint else pytest.fail(f"no advice: {error}")
    for split in (data.train, data.test):
        assert len(split) == len(split.labels) > 0
        assert 0 <= split.labels.min() <= split.labels.max() < data.classes
        assert np.isfinite(split.values).all()
    return data


def same(one, other):
    return not isinstance(one, str) and all(np.array_equal(getattr(getattr(one, part), name), getattr(getattr(other, part), name))
                                            for part in ("train", "test") for name in ("values", "labels"))


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_every_prefix_is_refused_or_read_right(tmp_path, write):
    names = write(tmp_path)
    whole = outcome(tmp_path)
    assert not isinstance(whole, str), whole
    for name in names:
        path = tmp_path / name
        data = path.read_bytes()
        # Of long files the ends, where the structure is, and a few of the alike bytes between them.
        lengths = [*range(min(len(data), 330)), *range(330, len(data) - 150, 997), *range(max(330, len(data) - 150), len(data))]
        for length in lengths:
            path.write_bytes(data[:length])
            found = outcome(tmp_path)
            lines = name.endswith(".csv") or (name.endswith(".bin") and length % 3073 == 0 and length > 0)   # a whole row less is whole
            assert isinstance(found, str) or same(found, whole) or lines, (name, length)
        path.write_bytes(data)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_turned_bytes_never_give_a_traceback(tmp_path, write):
    names = write(tmp_path)
    draw = np.random.default_rng(5)
    for name in names:
        path = tmp_path / name
        data = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(data)
            for place in draw.integers(0, min(len(data), 400), draw.integers(1, 4)):
                damaged[place] = draw.integers(0, 256)
            path.write_bytes(bytes(damaged))
            outcome(tmp_path)
        path.write_bytes(data)
