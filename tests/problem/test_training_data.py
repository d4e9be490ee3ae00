"""Data to train on: every layout gives the same two splits, stored as they are; every fault is one coded error."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from small_data_sets import COLOUR, PIXELS, TEST, TRAIN, Y_TEST, Y_TRAIN, fault, is_the_data, keras, write_idx, write_npz

from absint.errors import UsageError
from absint.problem.training_data import Split, TrainingData, training_data

# --- a split ----------------------------------------------------------------------------------------------------------


def test_inputs_are_float32_in_raw_units_and_no_views():
    split = Split(PIXELS[:, None], 255.0, np.arange(13), "x", "")
    for index in (torch.tensor([4, 4, 0]), slice(2, 5)):
        chosen = PIXELS[index.numpy() if isinstance(index, torch.Tensor) else index]
        inputs = split.inputs(index)
        assert inputs.dtype == torch.float32
        assert inputs.shape == (3, 1, 6, 5)
        assert np.array_equal(inputs.numpy()[:, 0], (chosen / 255.0).astype(np.float32))
        inputs.zero_()
    assert split.targets(torch.tensor([4, 4, 0])).tolist() == [4, 4, 0]
    assert np.array_equal(split.values[:, 0], PIXELS)
    whole = Split(np.arange(256, dtype=np.uint8)[:, None], 255.0, np.zeros(256, np.int64), "x", "")
    assert np.array_equal(whole.inputs(slice(None)).numpy()[:, 0], (np.arange(256) / 255.0).astype(np.float32))


def test_floats_are_not_views_either():
    split = Split(np.ones((2, 3), np.float32), 1.0, np.zeros(2, np.int64), "x", "")
    split.inputs(slice(None)).zero_()
    assert split.values.all()


@pytest.mark.parametrize(("values", "labels", "code"), [
    (np.zeros((2, 3)), np.zeros(2, np.int64), "E-DATA-FORMAT"),
    (np.zeros((0, 3), np.uint8), np.zeros(0, np.int64), "E-DATA-EMPTY"),
    (np.zeros(3, np.uint8), np.zeros(3, np.int64), "E-DATA-EMPTY"),
    (np.zeros((2, 3), np.uint8), np.zeros(3, np.int64), "E-DATA-LABELS"),
    (np.zeros((2, 3), np.uint8), np.zeros(2, np.int32), "E-DATA-LABELS"),
])
def test_a_split_holds_what_it_says(values, labels, code):
    with fault(code):
        Split(values, 1.0, labels, "x", "")


def test_splits_fit_each_other():
    one, other = (Split(np.zeros((2, n), np.uint8), 1.0, np.array([0, 3]), f"part {n}", "") for n in (3, 4))
    with fault("E-DATA-SHAPE", "(3,)", "(4,)"):
        TrainingData(one, other, 4, "x")
    with fault("E-DATA-LABEL", "input 1: label 3", "0..2", "part 3"):
        TrainingData(one, one, 3, "x")


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_the_bundled_sample():
    data = training_data()
    assert (data.train.values.shape, data.test.values.shape, data.classes) == ((6000, 1, 28, 28), (1000, 1, 28, 28), 10)
    assert data.train.values.dtype == np.uint8
    assert np.bincount(data.train.labels).min() > 500


def test_the_bundled_test_part_is_none_of_the_bundled_images():
    from absint import samples

    shown = {image.tobytes() for image in (samples.data("mnist").inputs * 255).round().astype(np.uint8)}
    data = training_data()
    assert not shown & {image.tobytes() for split in (data.train, data.test) for image in split.values}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize(("test", "form"), [("t10k", "idx3"), ("test", "idx3")])
def test_idx_folders(tmp_path, zipped, below, test, form):
    write_idx(tmp_path / below, zipped=zipped, test=test, form=form)
    is_the_data(training_data(tmp_path))


def test_idx_beside_its_gzip_is_read_once(tmp_path):
    write_idx(tmp_path)
    for file in list(tmp_path.iterdir()):
        (tmp_path / f"{file.name}.gz").write_bytes(b"\x1f\x8bdamaged")
    is_the_data(training_data(tmp_path))


@pytest.mark.parametrize("names", [
    ("x_train", "y_train", "x_test", "y_test"), ("X_train", "Y_train", "X_test", "Y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"), ("trainX", "trainY", "testX", "testY"),
    ("images", "labels", "images_test", "labels_test"), ("train_data", "train_targets", "val_data", "val_targets"),
])
def test_npz_by_the_names_of_its_arrays(tmp_path, names):
    is_the_data(training_data(write_npz(tmp_path / "a.npz", **dict(zip(names, (TRAIN, Y_TRAIN, TEST, Y_TEST), strict=True)))))


def test_npz_test_data_comes_before_validation_data_and_others_are_named(tmp_path):
    path = write_npz(tmp_path / "a.npz", **keras(x_val=TRAIN[:2], y_val=Y_TRAIN[:2], mean=np.zeros(3)))
    data = training_data(path)
    is_the_data(data)
    assert any("mean" in note for note in data.notes)


def test_npz_faults(tmp_path):
    path = tmp_path / "a.npz"
    with fault("E-DATA-AMBIGUOUS", "train_images", "x_train"):
        training_data(write_npz(path, **keras(train_images=TRAIN)))
    with fault("E-DATA-FORMAT", "weights"):
        training_data(write_npz(path, weights=TRAIN))
    with fault("E-DATA-LABELS", "x_train"):
        training_data(write_npz(path, x_train=TRAIN, x_test=TEST, y_test=Y_TEST))
    with fault("E-DATA-LABELS", "8 inputs"):
        training_data(write_npz(path, **keras(y_train=Y_TRAIN[:5])))
    with fault("E-DATA-PICKLE", "a.npz"):
        training_data(write_npz(path, **keras(x_train=np.array([{}] * 8, dtype=object))))


def test_two_files(tmp_path):
    train = write_npz(tmp_path / "a.npz", images=TRAIN, labels=Y_TRAIN[:, None])
    test = write_npz(tmp_path / "b.npz", images=TEST, labels=Y_TEST)
    is_the_data(training_data(train, test=test))
    np.save(tmp_path / "x.npy", TRAIN)
    np.save(tmp_path / "y.npy", Y_TRAIN)
    np.save(tmp_path / "u.npy", TEST)
    np.save(tmp_path / "v.npy", Y_TEST)
    data = training_data(tmp_path / "x.npy", labels=tmp_path / "y.npy", test=tmp_path / "u.npy", test_labels=tmp_path / "v.npy")
    is_the_data(data)
    with fault("E-DATA-TEST", "--test-labels", kind=UsageError):
        training_data(train, test_labels=tmp_path / "y.npy")
    with fault("E-DATA-TEST", "training inputs themselves"):
        training_data(train, test=train)


def test_a_test_file_with_both_parts_gives_its_test_part(tmp_path):
    train = write_npz(tmp_path / "a.npz", images=TRAIN, labels=Y_TRAIN)
    is_the_data(training_data(train, test=write_npz(tmp_path / "b.npz", **keras())))


def rows(values, labels):
    return "".join(",".join(map(str, [label, *row])) + "\n" for label, row in zip(labels, values.reshape(len(values), -1), strict=True))


@pytest.mark.parametrize("below", ["", "below"])
def test_pairs_of_csv_files(tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    (folder / "train.csv").write_text(rows(TRAIN, Y_TRAIN))
    (folder / "test.csv.gz").write_bytes(gzip.compress(rows(TEST, Y_TEST).encode()))
    flat = [(part.reshape(len(part), -1) / 255.0).astype(np.float32) for part in (TRAIN, TEST)]
    is_the_data(training_data(tmp_path), *flat)
    (folder / "train.npz").write_bytes(b"")
    with fault("E-DATA-AMBIGUOUS", "train.csv", "train.npz"):
        training_data(tmp_path)


def write_pictures(folder, values, labels, names="abcd"):
    image = pytest.importorskip("PIL.Image")
    for k, (value, label) in enumerate(zip(values, labels, strict=True)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        image.fromarray(value).save(place / f"{k:03}.png")


def turns(labels):
    """Places of the first picture of every class, in the order of the classes, then of every second one, ..."""
    labels = np.asarray(labels)
    turn = [int((labels[:k] == label).sum()) for k, label in enumerate(labels)]
    return np.lexsort((labels, turn))


@pytest.mark.parametrize("names", ["abcd", "0123"])
@pytest.mark.parametrize("words", [("train", "test"), ("training", "testing"), ("train", "val")])
def test_class_folders(tmp_path, names, words):
    for word, values, labels in zip(words, (COLOUR[:8], COLOUR[8:]), (Y_TRAIN, Y_TEST), strict=True):
        write_pictures(tmp_path / word, values, labels, names)
    data = training_data(tmp_path)
    assert np.array_equal(data.train.values, COLOUR[:8][turns(Y_TRAIN)].transpose(0, 3, 1, 2))
    assert np.array_equal(data.test.values, COLOUR[8:][turns(Y_TEST)].transpose(0, 3, 1, 2))
    assert data.test.labels.tolist() == np.asarray(Y_TEST)[turns(Y_TEST)].tolist()
    assert any("'val'" in note for note in data.notes) == ("val" in words)


def test_class_folders_without_a_test_part(tmp_path):
    write_pictures(tmp_path, PIXELS, [0, 1, 2, 3] * 3 + [0])
    with fault("E-DATA-TEST", "--test", "--hold-out"):
        training_data(tmp_path)
    data = training_data(tmp_path, hold_out=4, seed=1)
    assert (len(data.train), len(data.test), data.classes) == (9, 4, 4)


def test_class_folders_must_mean_the_same_in_both_parts(tmp_path):
    """Without class b in the test part its c would count as 1."""
    write_pictures(tmp_path / "train", PIXELS[:4], range(4))
    write_pictures(tmp_path / "test", PIXELS[4:7], (0, 2, 3))
    (tmp_path / "test" / "b").mkdir()
    with fault("E-DATA-LABELS", "only in the training part: b"):
        training_data(tmp_path)
    with fault("E-DATA-LABELS", "only in the training part: b"):
        training_data(tmp_path / "train", test=tmp_path / "test")


def test_numbered_class_folders_may_be_absent_from_the_test_part(tmp_path):
    write_pictures(tmp_path / "train", PIXELS[:4], range(4), "0123")
    write_pictures(tmp_path / "test", PIXELS[4:7], (0, 2, 3), "0123")
    assert training_data(tmp_path).test.labels.tolist() == [0, 2, 3]


# --- what is not found ------------------------------------------------------------------------------------------------


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    wanted = "train-images-idx3-ubyte", "data_batch_1", "train_32x32.mat", "x_train", "train/CLASS", "train.csv"
    with fault("E-DATA-EMPTY", "it is empty", *wanted):
        training_data(tmp_path)
    (tmp_path / "notes.txt").write_text("none")
    with fault("E-DATA-EMPTY", "notes.txt"):
        training_data(tmp_path)


@pytest.mark.parametrize("name", ["absent", "x" * 300, "a\0b"])
def test_a_path_that_is_not_there(tmp_path, name):
    with fault("E-DATA-MISSING"):
        training_data(tmp_path / name)


def test_several_data_sets_are_told_apart_by_the_user(tmp_path):
    write_idx(tmp_path / "mnist")
    write_idx(tmp_path / "fashion")
    with fault("E-DATA-AMBIGUOUS", "mnist", "fashion"):
        training_data(tmp_path)
    is_the_data(training_data(tmp_path / "mnist"))
    for file in (tmp_path / "mnist").iterdir():
        file.rename(tmp_path / "fashion" / f"emnist-{file.name}")
    with fault("E-DATA-AMBIGUOUS", "emnist-train-images-idx3-ubyte"):
        training_data(tmp_path / "fashion")


@pytest.mark.parametrize(("absent", "code"), [("t10k-images-idx3-ubyte", "E-DATA-TEST"), ("train-labels-idx1-ubyte", "E-DATA-LABELS"),
                                              ("t10k-labels-idx1-ubyte", "E-DATA-LABELS")])
def test_idx_parts_that_are_absent(tmp_path, absent, code):
    (write_idx(tmp_path) / absent).unlink()
    with fault(code):
        training_data(tmp_path)
