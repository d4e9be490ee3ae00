"""Arrays of a Python program are read in the order that the network's operators tell, as files are: no other one is guessed or told."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import build, node, stored, weights

import absint
from absint.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nets")


def channels_last(folder, shape):
    """A convolution of pictures (height, width, channels)."""
    height, width, channels = shape
    nodes = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "c", kernel_shape=[1, 2]), node("Flatten", "c", "f"),
             node("MatMul", "f v", "y")]
    constants = {"w": weights(1, channels, 1, 2), "v": weights(height * (width - 1), 2)}
    return absint.load(stored(folder, build(nodes, ["n", *shape], constants), f"{'x'.join(map(str, shape))}.onnx"))


def asked(folder, shape, **options):
    return absint.verify(channels_last(folder, shape), np.full((1, *shape), 0.5), domain="box", attack=None, **options).run


def test_radii_by_channel_go_along_the_axis_of_the_operators(folder):
    """An outermost axis of size 1 would be guessed to be the channels'."""
    run = asked(folder, (1, 4, 3), eps="0.1,0.2,0.3")
    reach = (run.problem.region.hull.upper - run.problem.region.center)[0].numpy()
    np.testing.assert_allclose(reach, np.broadcast_to([0.1, 0.2, 0.3], (1, 4, 3)))


def test_a_patch_is_said_to_be_of_the_pictures_that_it_is_of(folder):
    assert asked(folder, (1, 4, 3), patch="1x2").header["property"]["region"] == "every patch 1x2 of hwc images"


def test_radii_of_another_axis_are_refused(folder):
    """Three radii fit the height of a picture of four channels; they are no channels'."""
    with pytest.raises(UsageError, match="read as hwc") as caught:
        asked(folder, (3, 4, 4), eps="0.1,0.2,0.3")
    assert caught.value.code == "E-EPS"


@pytest.mark.parametrize("options", [{"eps": "0.1,0.2,0.3"}, {"eps": "0.1"}])
def test_what_is_told_against_the_operators_is_refused(folder, options):
    with pytest.raises(UsageError, match="as hwc, not as chw") as caught:
        asked(folder, (3, 4, 3), layout="chw", **options)
    assert caught.value.code == "E-LAYOUT"
