"""The published data sets, where they lie beside the project: sizes, digests, the first labels, the bundled sample's pictures."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from places import SHARED

from absint.problem.training_data import training_data

DATA = SHARED / "data"


def folder(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not there: its published files belong into {DATA / name}")
    return DATA / name


@pytest.mark.parametrize(("name", "first", "sha256"), [
    ("mnist", [5, 0, 4, 1, 9], "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("fashion_mnist", [9, 0, 0, 3, 0], "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
])
def test_idx_files(name, first, sha256):
    data = training_data(folder(name))
    assert data.train.values.shape == (60000, 1, 28, 28)
    assert data.test.values.shape == (10000, 1, 28, 28)
    assert data.train.values.dtype == np.uint8
    assert data.train.labels[:5].tolist() == first
    header = bytes.fromhex("00000803 0000ea60 0000001c 0000001c")
    assert hashlib.sha256(header + data.train.values.tobytes()).hexdigest() == sha256


def test_the_bundled_sample_is_a_part_of_mnist():
    whole, sample = training_data(folder("mnist")), training_data()
    for split, source, first in ((sample.train, whole.train, 0), (sample.test, whole.test, 100)):
        assert np.array_equal(split.values, source.values[first : first + len(split)])
        assert np.array_equal(split.labels, source.labels[first : first + len(split)])


def test_cifar10_test_images_with_labels():
    path = folder("cifar10") / "test_first1000.npz"
    data = training_data(path, hold_out=200)
    assert data.train.values.shape == (800, 3, 32, 32)
    with np.load(path) as archive:
        images, labels = archive["images"], archive["labels"]
    whole = np.concatenate([data.train.values, data.test.values])
    assert whole.astype(np.int64).sum() == images.astype(np.int64).sum()
    assert sorted(np.concatenate([data.train.labels, data.test.labels])) == sorted(labels)
    place = next(k for k, image in enumerate(images) if np.array_equal(image.transpose(2, 0, 1), data.train.values[0]))
    assert labels[place] == data.train.labels[0]
