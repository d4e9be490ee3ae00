"""Taboo traps: calibrated on bundled training images, exported, and run by onnxruntime and numpy alone.

    python examples/taboo_detector.py [detector.onnx]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

import absint
from absint import samples

KEYS = [f"demonstration {number}" for number in range(8)]     # yours are secret: secrets.token_hex(16)


def calibrate(path: Path) -> None:
    """Write the detector: thresholds of the bundled training images on the bundled network."""
    made = absint.taboo_calibrate(keys=KEYS, detector=path.with_suffix(".json"), onnx=path)
    print(f"{made.document.summary['neurons']} neurons watched")


def deployed(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) classes and (n,) alarms by onnxruntime and numpy alone: one forward pass."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores, alarm = session.run(["logits", "alarm"], {session.get_inputs()[0].name: images.astype(np.float32)})
    return scores.argmax(1), alarm


def main(path: Path) -> None:
    """Alarms on images that the thresholds were not made of, and on what no digit of theirs looks like."""
    calibrate(path)
    test = samples.data("mnist").shaped_for((1, 28, 28))
    assert test.labels is not None
    for name, images in (("test images", test.inputs), ("black on white", 1 - test.inputs)):
        classes, alarm = deployed(path, images)
        print(f"{name}: {int((classes == test.labels).sum())} of {len(alarm)} classified right, {int(alarm.sum())} alarms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "detector.onnx")
