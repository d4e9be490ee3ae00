"""Values, labels, axes and held-out parts of data to train on: what is kept, and what is refused by a coded error."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from small_data_sets import COLOUR, PIXELS, TEST, TRAIN, Y_TEST, Y_TRAIN, fault, is_the_data, keras, write_npz

from absint.errors import UsageError
from absint.problem.training_data import training_data

# --- values -----------------------------------------------------------------------------------------------------------


def test_floats_in_the_unit_range_are_kept(tmp_path):
    values = np.linspace(0, 1, 13 * 4).reshape(13, 4)
    data = training_data(write_npz(tmp_path / "a.npz", **keras(x_train=values[:8], x_test=values[8:])))
    assert data.train.values.dtype == np.float32
    assert np.array_equal(data.train.values, values[:8].astype(np.float32))
    assert data.train.divisor == 1
    assert any("rounded to float32" in note for note in data.notes)


@pytest.mark.parametrize(("least", "most", "dtype", "word"), [(0, 255, np.float64, "--divide 255"), (0, 255, np.int64, "--divide 255"),
                                                              (-2, 2, np.float32, "normalised")])
def test_values_beyond_the_unit_range_are_refused_unless_told(tmp_path, least, most, dtype, word):
    values = np.linspace(least, most, 13 * 4).reshape(13, 4).astype(dtype)
    path = write_npz(tmp_path / "a.npz", **keras(x_train=values[:8], x_test=values[8:]))
    with fault("E-DATA-RANGE", word, "--clip none"):
        training_data(path)
    for clip in (None, (-2, 255)):
        assert np.array_equal(training_data(path, clip=clip).train.values, values[:8].astype(np.float32))
    if least == 0:
        assert np.array_equal(training_data(path, divide=255).train.values, (values[:8] / 255).astype(np.float32))


def test_only_the_test_part_beyond_the_range(tmp_path):
    values = np.ones((13, 4))
    with fault("E-DATA-RANGE", "x_test"):
        training_data(write_npz(tmp_path / "a.npz", **keras(x_train=values[:8], x_test=values[8:] * 2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["x_train", "x_test"])
def test_values_that_are_no_numbers(tmp_path, bad, part):
    arrays = keras(x_train=np.zeros((8, 4)), x_test=np.ones((5, 4)))
    arrays[part][3, 1] = bad
    path = write_npz(tmp_path / "a.npz", **arrays)
    for clip in ((0, 1), None):
        with fault("E-DATA-NAN", ": 3", part):
            training_data(path, clip=clip)


def test_other_faults_of_values(tmp_path):
    path = tmp_path / "a.npz"
    with fault("E-DATA-FORMAT", "float32", "uint8"):
        training_data(write_npz(path, **keras(x_test=TEST / 255)))
    with fault("E-DATA-SHAPE", "(1, 6, 5)", "(1, 6, 4)"):
        training_data(write_npz(path, **keras(x_test=TEST[:, :, :4])))
    with fault("E-DATA-SHAPE", "neither rows nor pictures"):
        training_data(write_npz(path, **keras(x_train=TRAIN[:, None, None])))
    with fault("E-DATA-EMPTY"):
        training_data(write_npz(path, **keras(x_test=TEST[:0], y_test=Y_TEST[:0])))
    with fault("E-DATA-RANGE", "float32"):
        training_data(write_npz(path, **keras(x_train=np.full((8, 4), 1e300), x_test=np.ones((5, 4)))), clip=None)
    dark = training_data(write_npz(path, **keras(x_train=TRAIN // 255, x_test=TEST // 255)))
    assert any("--divide 1" in note for note in dark.notes)


@pytest.mark.parametrize(("options", "code"), [
    ({"divide": 0.0}, "E-DATA-OPTION"), ({"divide": float("nan")}, "E-DATA-OPTION"), ({"seed": -1}, "E-DATA-OPTION"),
    ({"clip": (1.0, 0.0)}, "E-DATA-OPTION"), ({"hold_out": 0}, "E-DATA-TEST"), ({"hold_out": 8}, "E-DATA-TEST"),
    ({"layout": "nhwc"}, "E-DATA-LAYOUT"), ({"hold_out": 1, "test": "a.npz"}, "E-DATA-TEST"),
])
def test_bad_options(tmp_path, options, code):
    with fault(code, kind=UsageError):
        training_data(write_npz(tmp_path / "a.npz", **keras()), **options)


def test_one_hot_labels_are_read_as_classes(tmp_path):
    path = write_npz(tmp_path / "a.npz", **(keras() | {"y_train": np.eye(4)[Y_TRAIN]}))
    assert training_data(path).train.labels.tolist() == Y_TRAIN.tolist()


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "code", "words"), [
    ({"y_test": np.array([0, 1, 2, 3, 4])}, "E-DATA-LABEL", ("input 4: label 4", "0..3", "y" "")),
    ({"y_train": Y_TRAIN - 1}, "E-DATA-LABEL", ("input 0: label -1",)),
    ({"y_train": Y_TRAIN + 10**6}, "E-DATA-LABEL", ("1000003",)),
    ({"y_train": Y_TRAIN + 0.5}, "E-DATA-LABELS", ("whole",)),
    ({"y_train": np.array(list("abcdabcd"))}, "E-DATA-LABELS", ("text such as",)),
])
def test_labels_that_are_no_class_numbers(tmp_path, changes, code, words):
    with fault(code, *words):
        training_data(write_npz(tmp_path / "a.npz", **keras(**changes)))


def test_classes_without_inputs_are_named(tmp_path):
    data = training_data(write_npz(tmp_path / "a.npz", **keras(y_train=Y_TRAIN + 1, y_test=Y_TEST + 1)))
    assert data.classes == 5
    assert any("counted from 1" in note for note in data.notes)


# --- the order of axes ------------------------------------------------------------------------------------------------


def test_channels_come_first_whatever_the_file(tmp_path):
    first = COLOUR.transpose(0, 3, 1, 2)
    for values in (COLOUR, first):
        data = training_data(write_npz(tmp_path / "a.npz", **keras(x_train=values[:8], x_test=values[8:])))
        is_the_data(data, first[:8], first[8:])
        assert any("reordered" in note for note in data.notes) == (values is COLOUR)


@pytest.mark.parametrize("shape", [(13, 3, 4, 3), (13, 7, 6, 9)])
def test_an_ambiguous_order_is_asked_for(tmp_path, shape):
    values = np.random.default_rng(1).random(shape).astype(np.float32)
    path = write_npz(tmp_path / "a.npz", **keras(x_train=values[:8], x_test=values[8:]))
    with fault("E-LAYOUT", "ambiguous", "--layout hwc", kind=UsageError):
        training_data(path)
    is_the_data(training_data(path, layout="chw"), values[:8], values[8:])
    is_the_data(training_data(path, layout="hwc"), *(part.transpose(0, 3, 1, 2) for part in (values[:8], values[8:])))


# --- a held-out part --------------------------------------------------------------------------------------------------


def test_hold_out_parts_the_training_inputs(tmp_path):
    path = write_npz(tmp_path / "a.npz", images=PIXELS, labels=np.arange(13))
    one, again, other = (training_data(path, hold_out=5, seed=seed) for seed in (3, 3, 4))
    assert (len(one.train), len(one.test)) == (8, 5)
    together = np.concatenate([one.train.labels, one.test.labels])
    assert sorted(together) == list(range(13))
    for split in (one.train, one.test):
        assert np.array_equal(split.values[:, 0], PIXELS[split.labels])
    assert one.test.labels.tolist() == again.test.labels.tolist() != other.test.labels.tolist()
    assert one.test.sha256 == again.test.sha256
    assert len({one.test.sha256, one.train.sha256, other.test.sha256}) == 3


def test_hold_out_leaves_the_own_test_part_alone_and_says_so(tmp_path):
    data = training_data(write_npz(tmp_path / "a.npz", **keras()), hold_out=3)
    assert len(data.test) == 3
    assert any("not used" in note for note in data.notes)
    assert set(data.test.values.tobytes()[:30]) <= set(TRAIN.tobytes())


def test_digests_are_those_of_the_files(tmp_path):
    path = write_npz(tmp_path / "a.npz", **keras())
    data = training_data(path)
    assert data.train.sha256 == data.test.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# --- strangers --------------------------------------------------------------------------------------------------------


def test_a_strangers_layout_is_one_class(tmp_path):
    from absint.frontends.data_source import LAYOUTS, Content, Splits, register_layout

    @register_layout("halves")
    class Halves:
        wanted = "a file of the suffix .halves"

        def matches(self, place):
            return place.suffix == ".halves"

        def read(self, place, extra):
            parts = [Content(images, labels, sha256="s", name=str(place)) for images, labels in ((TRAIN, Y_TRAIN), (TEST, Y_TEST))]
            return Splits(*parts)

    try:
        (tmp_path / "a.halves").write_bytes(b"x")
        is_the_data(training_data(tmp_path / "a.halves"))
        with fault("E-DATA-EMPTY", ".halves"):
            (tmp_path / "empty").mkdir()
            training_data(tmp_path / "empty")
    finally:
        del LAYOUTS._entries["halves"]


def test_the_layout_that_the_documentation_shows(tmp_path):
    from places import ROOT

    from absint.frontends.data_source import LAYOUTS
    from absint.registry import load_plugin

    load_plugin(ROOT / "tests/plugins/files/four_arrays.py")
    try:
        for name, array in keras().items():
            np.save(tmp_path / f"{name}.npy", array)
        is_the_data(training_data(tmp_path))
        (tmp_path / "y_test.npy").unlink()
        with fault("E-DATA-MISSING", "y_test.npy"):
            training_data(tmp_path)
        (tmp_path / "x_test.npy").unlink()
        with fault("E-DATA-TEST", "x_train.npy"):
            training_data(tmp_path)
    finally:
        del LAYOUTS._entries["four-arrays"]
