"""The example of taboo traps runs; what it exports answers as the detector does, in an onnxruntime that knows nothing of absint."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from bundled import digits

import absint
from absint import TabooDetector, samples
from absint.errors import UsageError

EXAMPLE = Path(__file__).parents[2] / "examples" / "taboo_detector.py"
ALONE = """
import sys
import numpy
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
logits, alarm, alarms = session.run(None, {session.get_inputs()[0].name: numpy.load(sys.argv[2])})
assert not {"absint", "torch", "onnx"} & set(sys.modules)
assert (alarms.any(1) == alarm).all()
print(*map(int, alarm))
"""


def test_the_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["taboo_detector.py", str(tmp_path / "detector.onnx")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    watched, quiet, loud = capsys.readouterr().out.splitlines()
    assert watched == "8 neurons watched"
    (right, count, alarms), (_, _, more) = ([int(number) for number in re.findall(r"\d+", line)] for line in (quiet, loud))
    assert (right, count) == (99, 100)
    assert alarms <= 3
    assert more > 90
    assert (tmp_path / "detector.onnx").is_file()


def test_the_file_in_plain_onnxruntime(tmp_path: Path) -> None:
    graph = absint.load(samples.network_path("mnist_conv_small"), fold=False)
    x = digits(60)[0].reshape(-1, *graph.input.shape)
    detector = TabooDetector(graph, ["a key", "another one"]).fit(x[:30])
    with pytest.raises(UsageError, match="no thresholds"):
        TabooDetector(graph).export(tmp_path / "detector.onnx")
    notes = detector.export(tmp_path / "detector.onnx")
    assert any("several outputs" in note for note in notes)
    np.save(tmp_path / "images.npy", x.float().numpy())
    command = [sys.executable, "-c", ALONE, tmp_path / "detector.onnx", tmp_path / "images.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alarm = np.array([int(word) for word in done.stdout.split()], dtype=bool)
    assert not alarm[:30].any()
    assert np.array_equal(alarm, detector.detect(x))
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    (logits,) = session.run(["logits"], {session.get_inputs()[0].name: x.float().numpy()})
    assert np.array_equal(logits.argmax(1), detector.predict(x)[0])
