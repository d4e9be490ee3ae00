"""Dataset: where inputs came from survives every change, and no wrong shape, value or label passes silently."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from absint.errors import InputError, UsageError
from absint.model.layout import Layout
from absint.problem.dataset import Dataset


def make(shape=(28, 28), count=4, labels=True, values=None):
    size = count * int(np.prod(shape))
    inputs = (np.arange(size) / max(size, 1) if values is None else np.asarray(values)).reshape(count, *shape)
    return Dataset(inputs, np.arange(count) % 10 if labels else None, "toy", "0" * 64)


def code_of(call, *arguments, **named):
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    assert caught.value.where == "toy"
    assert caught.value.hint is None or caught.value.hint
    return caught.value


def test_values_are_float64_and_index_counts_all_inputs():
    data = Dataset(np.ones((3, 2), dtype=np.float32), np.array([1, 2, 3], dtype=np.uint8), "toy", "")
    assert data.inputs.dtype == np.float64
    assert data.labels.dtype == np.int64
    assert data.index.tolist() == [0, 1, 2]
    assert len(data) == 3
    assert data.shape == (2,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


def test_construction_faults():
    def build(inputs, labels):
        return Dataset(np.asarray(inputs), labels, "toy", "")

    assert code_of(build, 1.0, None).code == "E-DATA-SHAPE"
    error = code_of(build, np.zeros((3, 2)), np.zeros(4, dtype=int))
    assert error.code == "E-DATA-LABELS"
    assert "3 inputs" in error.what
    assert "(4,)" in error.what
    assert code_of(build, np.zeros((2, 2)), np.array([0.5, 1.0])).code == "E-DATA-LABELS"


def test_select_keeps_original_positions_through_two_selections():
    data = make(count=6).select([5, 3, 1]).select(np.array([2, 0]))
    assert data.index.tolist() == [1, 5]
    assert data.labels.tolist() == [1, 5]
    assert np.array_equal(data.inputs, make(count=6).inputs[[1, 5]])
    assert len(make().select([])) == 0
    assert make(labels=False).select(range(2)).labels is None


@pytest.mark.parametrize("indices", [[0, 4], [-1], np.array([7, 8, 9])])
def test_select_outside_is_an_error(indices):
    error = code_of(make().select, indices)
    assert error.code == "E-DATA-INDEX"
    assert "0 to 3" in error.hint


def test_select_by_mask_is_an_error():
    assert code_of(make().select, np.array([True, False, True, True])).code == "E-DATA-INDEX"


def test_equal_shape_is_the_same_object():
    data = make((3, 5, 7))
    assert data.shaped_for((3, 5, 7)) is data


@pytest.mark.parametrize("target", [(1, 28, 28), (784,), (28, 28, 1), (1, 784)])
def test_same_size_is_reshaped_in_order_and_noted(target):
    data = make().shaped_for(target)
    assert data.inputs.shape == (4, *target)
    assert np.array_equal(data.inputs.reshape(-1), make().inputs.reshape(-1))
    assert len(data.notes) == 1
    assert data.index.tolist() == [0, 1, 2, 3]


def test_channels_last_images_are_transposed_and_noted():
    data = make((5, 7, 3))
    shaped = data.shaped_for((3, 5, 7))
    assert np.array_equal(shaped.inputs[2, 1, 4, 6], data.inputs[2, 4, 6, 1])
    assert np.array_equal(shaped.inputs, np.moveaxis(data.inputs, 3, 1))
    assert "channels" in shaped.notes[-1]


def test_flat_rows_follow_the_layout():
    flat = make((105,))
    chw, hwc = (flat.shaped_for((3, 5, 7), layout, Layout.CHW) for layout in ("chw", "hwc"))
    assert np.array_equal(flat.shaped_for((3, 5, 7)).inputs, chw.inputs)
    assert np.array_equal(chw.inputs, flat.inputs.reshape(4, 3, 5, 7))
    assert np.array_equal(hwc.inputs, np.moveaxis(flat.inputs.reshape(4, 5, 7, 3), 3, 1))
    assert np.array_equal(flat.shaped_for((105,), "hwc").inputs, flat.inputs)
    assert np.array_equal(make((784,)).shaped_for((1, 28, 28), "hwc").inputs, make().inputs[:, None])


@pytest.mark.parametrize(("shape", "target"), [((32, 3, 32), (3, 32, 32)), ((3, 32, 16), (3, 16, 32)),
                                               ((20, 28), (1, 28, 20)), ((2, 3, 2), (2, 2, 3))])
def test_a_reshape_that_would_scramble_is_refused(shape, target):
    error = code_of(make(shape).shaped_for, target)
    assert error.code == "E-DATA-SHAPE"
    assert "axes" in error.what


def test_an_ambiguous_order_is_settled_by_the_layout():
    data = make((2, 3, 2))
    assert np.array_equal(data.shaped_for((2, 2, 3), "hwc").inputs, np.moveaxis(data.inputs, 3, 1))


@pytest.mark.parametrize(("shape", "target"), [((28, 28), (3, 32, 32)), ((785,), (784,)), ((784,), (1, 28, 29))])
def test_wrong_size_names_both_shapes(shape, target):
    error = code_of(make(shape).shaped_for, target)
    assert error.code == "E-DATA-SHAPE"
    assert str(shape) in error.what
    assert str(target) in error.what
    assert ("label" in error.hint) == (shape == (785,))


def test_unknown_layout():
    with pytest.raises(UsageError) as caught:
        make().shaped_for((784,), "nchw")
    assert caught.value.code == "E-DATA-LAYOUT"


def test_an_empty_selection_can_be_shaped_and_checked():
    data = make().select([]).shaped_for((1, 28, 28))
    assert data.inputs.shape == (0, 1, 28, 28)
    data.check_range(0, 1)
    data.check_labels(10)


def test_range_accepts_its_ends():
    make((2,), 1, values=[0.0, 1.0]).check_range(0.0, 1.0)


def test_range_counts_and_points_at_the_source_position():
    data = make((2,), 3, values=[0, 1, 0, 255, 7, 3]).select([2, 1])
    error = code_of(data.check_range, 0.0, 1.0)
    assert error.code == "E-DATA-RANGE"
    assert "3 entries" in error.what
    assert "0 to 255" in error.details[0]
    assert "input 2" in error.details[1]
    assert error.hint.startswith("divide by 255: --scale 1/255")


def test_range_hint_for_normalised_data():
    error = code_of(make((2,), 1, values=[-0.4, 1.9]).check_range, 0, 1)
    assert "normalised" in error.hint
    assert "1 entry" in code_of(make((2,), 1, values=[-0.4, 0.9]).check_range, 0, 1).what
    assert "state the range" in code_of(make((2,), 1, values=[1, 1.5]).check_range, 0, 1).hint


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_non_finite_inputs_are_named_even_in_an_infinite_range(broken):
    values = np.zeros((9, 2))
    values[[1, 3, 4, 5, 6, 7], 1] = broken
    error = code_of(make((2,), 9, values=values).check_range, -np.inf, np.inf)
    assert error.code == "E-DATA-NAN"
    assert "6 inputs" in error.what
    assert "1, 3, 4, 5, 6, ... and 1 more" in error.what


def test_labels_out_of_range_are_listed_with_a_count():
    data = Dataset(np.zeros((9, 1)), np.array([0, 10, -1, 11, 12, 13, 14, 15, 9]), "toy", "")
    error = code_of(data.check_labels, 10)
    assert error.code == "E-DATA-LABEL"
    assert "7 labels" in error.what
    assert error.details[:2] == ("input 1: label 10", "input 2: label -1")
    assert error.details[-1] == "... and 2 more"
    make().check_labels(10)
    make(labels=False).check_labels(1)
