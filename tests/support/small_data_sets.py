"""Small data sets to train on, in the layouts that are read, and what a reader has to make of them."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from absint.errors import AbsintError, InputError

PIXELS = np.random.default_rng(7).integers(0, 256, (13, 6, 5), dtype=np.uint8)
TRAIN, TEST = PIXELS[:8], PIXELS[8:]
Y_TRAIN, Y_TEST = np.array([0, 1, 2, 3, 0, 1, 2, 3]), np.array([3, 2, 1, 0, 3])
COLOUR = np.random.default_rng(8).integers(0, 256, (13, 6, 5, 3), dtype=np.uint8)


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder, *, zipped=False, test="t10k", form="idx3"):
    folder.mkdir(parents=True, exist_ok=True)
    for part, images, labels in (("train", TRAIN, Y_TRAIN), (test, TEST, Y_TEST)):
        for kind, array in ((f"images-{form}", images), (f"labels-{form.replace('3', '1')}", labels)):
            data, ending = idx(array), ".gz" if zipped else ""
            (folder / f"{part}-{kind}-ubyte{ending}").write_bytes(gzip.compress(data) if zipped else data)
    return folder


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def keras(**changes):
    return {"x_train": TRAIN, "y_train": Y_TRAIN, "x_test": TEST, "y_test": Y_TEST} | changes


def is_the_data(data, train=TRAIN[:, None], test=TEST[:, None]):
    for split, values, labels in ((data.train, train, Y_TRAIN), (data.test, test, Y_TEST)):
        assert split.values.dtype == values.dtype
        assert np.array_equal(split.values, values)
        assert split.labels.tolist() == labels.tolist()
        assert split.values.flags.c_contiguous
    assert data.classes == 4


def fault(code, *words, kind=InputError):
    """A context in which one error of that code is raised, whose text holds every word and some advice."""
    class Expected:
        def __enter__(self):
            self.raises = pytest.raises(AbsintError)
            self.caught = self.raises.__enter__()

        def __exit__(self, *error):
            done = self.raises.__exit__(*error)
            assert self.caught.value.code == code, self.caught.value
            assert isinstance(self.caught.value, kind)
            assert self.caught.value.hint
            text = self.caught.value.render()
            assert all(word in text for word in words), text
            return done
    return Expected()
