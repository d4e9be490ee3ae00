"""The bundled generators of digits and their classifier: a pair that fits, small, and as good as it is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import absint
from absint import samples
from absint.errors import UsageError

ULP = 2.0**-22       # of float32 beyond 1: onnxruntime's tanh leaves [-1, 1] by as much
NETWORKS = json.loads((Path(samples.__file__).parent / "provenance.json").read_text(encoding="utf-8"))["networks"]


def outputs(path, inputs):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": inputs.astype(np.float32)})[0]


def drawn(digit, count):
    """(count, 1, 28, 28) in [-1, 1]."""
    return outputs(samples.generator_path(digit), np.random.default_rng(7).standard_normal((count, 10)))


def test_paths():
    assert samples.digits() == ["3", "8"]
    assert samples.generator_path(8) == samples.generator_path("8")
    assert samples.generator_path("3").name == "digits_generator_3.onnx"
    assert samples.classifier_path() == samples.network_path("digits_classifier")
    assert not set(samples.names()) & {samples.generator_path(digit).stem for digit in samples.digits()}
    pair = [samples.classifier_path(), *map(samples.generator_path, samples.digits())]
    assert sum(path.stat().st_size for path in pair) < 2_000_000


@pytest.mark.parametrize("digit", ["4", 10, ""])
def test_digits_that_nothing_draws(digit):
    with pytest.raises(UsageError) as caught:
        samples.generator_path(digit)
    assert caught.value.code == "E-SAMPLE-UNKNOWN"
    assert "3, 8" in caught.value.hint


@pytest.mark.parametrize("digit", samples.digits())
def test_a_network_of_another_training_recognises_what_is_drawn(digit):
    images = drawn(digit, 500)
    assert images.shape == (500, 1, 28, 28)
    assert -1 - ULP <= images.min() < 0 < images.max() <= 1 + ULP
    recognised = (outputs(samples.network_path("mnist_conv_small"), (images + 1) / 2).argmax(1) == int(digit)).mean()
    assert recognised >= 0.9
    data = samples.data("mnist")
    real = data.inputs[data.labels == int(digit)]
    assert ((images + 1) / 2).var(axis=0).mean() >= 0.5 * real.var(axis=0).mean()
    said = NETWORKS[f"digits_generator_{digit}.onnx"]
    assert said["recognised"] >= 0.9
    assert said["variance"] >= 0.5


def test_the_classifier_is_right_on_images_of_the_test_set():
    data = samples.for_shape((1, 28, 28))
    right = outputs(samples.classifier_path(), data.inputs).argmax(1) == data.labels
    assert right.mean() >= 0.95
    assert NETWORKS["digits_classifier.onnx"]["test_accuracy"] >= 0.965


@pytest.mark.parametrize("digit", samples.digits())
def test_absint_reads_them_and_they_fit(digit):
    generator, classifier = absint.load(samples.generator_path(digit)), absint.load(samples.classifier_path())
    assert (generator.input.shape, generator.output.shape) == ((10,), (1, 28, 28))
    assert classifier.input.shape == generator.output.shape
    latents = np.random.default_rng(7).standard_normal((20, 10))
    images = generator(torch.from_numpy(latents))
    assert np.allclose(images.numpy(), outputs(samples.generator_path(digit), latents), atol=1e-5)
    onnx.checker.check_model(onnx.load(samples.generator_path(digit)), full_check=True)
