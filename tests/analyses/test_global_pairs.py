"""Pairs that `absint global robustness` reports: a draw that is right, and a latent near it that both files, one after the other, misread.

And what reaches the classifier: images in its range, by evaluation and by proof.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rows_of_networks import files, output

import absint
from absint import samples
from absint.analyses.global_robustness.latents import drawn
from absint.model.ops.affine import Affine

LABEL, RADII = 2, ("0.03", "0.3")


def classes(folder: Path, latents: np.ndarray) -> np.ndarray:
    """By the files, read by nothing of absint."""
    images = output(folder / "G.onnx", latents.astype(np.float32)).astype(np.float64)
    return output(folder / "C.onnx", ((images + 1) / 2).astype(np.float32)).argmax(1)


def test_a_refuted_draw_is_a_pair_of_two_classes(tmp_path: Path) -> None:
    """The draw is of its class, the witness is not, and is no further away than any radius that it refutes."""
    g, c = files(tmp_path)
    found = absint.global_robustness(c, {LABEL: g}, eps=",".join(RADII), draws=20, rescale=True, timeout=None)
    pairs = [one for one in found if one.correct and one.verdicts[RADII[-1]] == "falsified"]
    assert len(pairs) >= 5
    start = np.concatenate([drawn("normal", 0, LABEL, one.draw, 1, 4) for one in pairs]).astype(np.float64)
    end = np.array([one.witness for one in pairs])
    assert (classes(tmp_path, start) == LABEL).all()
    assert (classes(tmp_path, end) == [one.taken for one in pairs]).all()
    assert all(one.taken != LABEL for one in pairs)
    for one, far in zip(pairs, np.abs(start - end).max(1), strict=True):
        refuted = [float(eps) for eps in RADII if one.verdicts[eps] == "falsified"]
        assert 0 < far <= one.distance <= min(refuted)
        assert far <= min(refuted) + 1e-6


def test_a_draw_that_is_misread_itself_is_its_own_witness(tmp_path: Path) -> None:
    g, c = files(tmp_path)
    wrong = [one for one in absint.global_robustness(c, {0: g}, eps="0.03", draws=40, rescale=True, timeout=None) if one.correct is False]
    assert len(wrong) >= 10
    own = np.concatenate([drawn("normal", 0, 0, one.draw, 1, 4) for one in wrong])
    assert (classes(tmp_path, own) != 0).all()
    assert np.array_equal(np.array([one.witness for one in wrong]), own.astype(np.float64))
    assert {one.distance for one in wrong} == {0.0}
    assert {one.verdicts["0.03"] for one in wrong} == {"falsified"}


@pytest.mark.parametrize("digit", samples.digits())
def test_images_reach_the_classifier_in_its_range(digit: str) -> None:
    """By a thousand draws, which use most of it, and by bounds for all latents within 8."""
    graph = absint.load(samples.classifier_path(), compose=samples.generator_path(digit), rescale=True)
    (rescaled,) = (node.name for node in graph.nodes if isinstance(node.op, Affine) and float(node.op.scale.flatten()[0]) == 0.5)
    latents = torch.from_numpy(drawn("normal", 1, int(digit), 0, 1000, 10)).double()
    with torch.no_grad():
        images = graph.evaluate(latents, (rescaled,))[rescaled]
    assert images.shape == (1000, 1, 28, 28)
    assert 0 <= images.min() < 0.01
    assert 0.9 < images.max() <= 1
    own = output(samples.generator_path(digit), latents[:50].float().numpy()).astype(np.float64)
    assert np.allclose(images[:50].numpy(), (own + 1) / 2, atol=1e-6)
    bounds = absint.bounds(graph, np.zeros((1, 10)), 8, clip=None, tensors=[rescaled], domain="box")[rescaled]
    assert -1e-6 <= bounds.lower.min() < 0.01
    assert 0.99 < bounds.upper.max() <= 1 + 1e-6
