"""Bundled networks and images, so that every command and example runs without a download.

Networks: MNIST classifiers, input (batch, 1, 28, 28) of raw pixels in [0, 1]; where they normalise, inside.
Generators of digits: latents (batch, 10), N(0, 1), to images (batch, 1, 28, 28) in [-1, 1]; a classifier goes with them.
Images: the first 100 test images of MNIST and of Fashion-MNIST.
To train on: the first 6,000 training images and the test images 100 to 1,099 of MNIST.  How all of it was made: provenance.json.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import math
from pathlib import Path

import numpy as np

from absint.errors import UsageError
from absint.problem.dataset import Dataset

_FOLDER = Path(__file__).parent
_DEFAULT = "mnist_relu_3x50"
_TRAINING = "mnist_train.npz"
_GENERATOR = "digits_generator_"
_CLASSIFIER = "digits_classifier"


def names() -> list[str]:
    """The bundled networks that take images, sorted; `digits()` has what draws them."""
    return [stem for stem in _stems() if not stem.startswith(_GENERATOR)]


def digits() -> list[str]:
    """The digits that a bundled generator draws, sorted."""
    return [stem.removeprefix(_GENERATOR) for stem in _stems() if stem.startswith(_GENERATOR)]


def data_names() -> list[str]:
    """The bundled data sets to verify on, sorted; the one to train on is read by `absint.problem.training_data`."""
    return sorted(path.stem for path in _FOLDER.glob("*.npz") if path.name != _TRAINING)


def network_path(name: str) -> Path:
    """The ONNX file of that network, named with or without `.onnx`. Raises UsageError E-SAMPLE-UNKNOWN."""
    return _FOLDER / f"{_known(name.removesuffix('.onnx'), names(), 'network')}.onnx"


def default_network() -> Path:
    """The ONNX file that a first try should use: small, fully connected, ReLU."""
    return network_path(_DEFAULT)


def generator_path(digit: str | int) -> Path:
    """The ONNX file that draws that digit. Raises UsageError E-SAMPLE-UNKNOWN."""
    return _FOLDER / f"{_GENERATOR}{_known(str(digit), digits(), 'generator of the digit')}.onnx"


def classifier_path() -> Path:
    """The ONNX file of the classifier that goes with the generators: 784-50-50-10, ReLU, images in [0, 1]."""
    return network_path(_CLASSIFIER)


def data(name: str) -> Dataset:
    """(100, 28, 28) images in [0, 1] with labels, "mnist" or "fashion_mnist". Raises UsageError E-SAMPLE-UNKNOWN."""
    raw = (_FOLDER / f"{_known(name, data_names(), 'data set')}.npz").read_bytes()
    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    notes = (f"first {len(images)} test images", "uint8 values divided by 255")
    return Dataset(images.astype(np.float64) / 255.0, labels, name, hashlib.sha256(raw).hexdigest(), notes)


def for_shape(input_shape: tuple[int, ...]) -> Dataset | None:
    """The MNIST images as (100, *input_shape) where a network takes 784 entries; None for any other size."""
    if math.prod(input_shape) != 28 * 28:
        return None
    return data("mnist").shaped_for(input_shape)


def _stems() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.onnx"))


def _known(name: str, known: list[str], noun: str) -> str:
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"bundled: {', '.join(known)}"
    raise UsageError("E-SAMPLE-UNKNOWN", f"there is no bundled {noun} '{name}'", hint=hint)
