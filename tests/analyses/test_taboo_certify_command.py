"""`taboo certify` as a command: which detector it takes where none is named, and what it says of an alarm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from taboo_nets import read, rectifier

import absint
from absint.analyses.taboo.traps import read_traps
from absint.cli.main import main
from absint.errors import InputError

KEYS = ("one", "two")


def net(folder: Path) -> str:
    path = folder / "net.onnx"
    read(folder, rectifier(np.random.default_rng(4).standard_normal((2000, 4))), path.name)
    return str(path)


def inputs(count: int) -> np.ndarray:
    return np.random.default_rng(5).random((count, 4)).astype(np.float32).astype(np.float64)


def test_without_arguments_bundled_images_are_certified(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["taboo", "certify", "--index", "0:6"]) == 0
    shown = capsys.readouterr()
    assert "certifying 6 inputs" in shown.err
    assert "6000 training inputs" in shown.out


def test_the_detector_of_the_folder_is_taken(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, path = inputs(30), net(tmp_path)
    absint.taboo_calibrate(path, x, keys=KEYS)
    found = absint.taboo_certify(path, x[:5], eps="0.0001", attack="none")
    assert found.document.summary["quiet"] + found.document.summary["open"] == 5
    traps = read_traps(tmp_path / "taboo.json")
    (tmp_path / "taboo.json").unlink()
    again = absint.taboo_certify(path, x[:5], eps="0.0001", attack="none", detector=traps)
    assert [one.outcome for one in again] == [one.outcome for one in found]
    with pytest.raises(InputError) as none:
        absint.taboo_certify(path, x[:5])
    assert none.value.code == "E-TABOO-FILE"


def test_what_is_proved_of_one_trap_is_said_of_its_alarms_alone(tmp_path: Path) -> None:
    x, path = inputs(30), net(tmp_path)
    absint.taboo_calibrate(path, x, keys=KEYS, detector=tmp_path / "t.json")
    for trap, start in ((None, "an alarm in a float32 execution proves"), (1, "an alarm of trap 1, and of no other one, in a float32")):
        found = absint.taboo_certify(path, x[:5], eps="0.0001", attack="none", detector=tmp_path / "t.json", trap=trap)
        assert found.document.summary["quiet"] > 0
        proved = found.document.summary["proved"]
        assert proved.startswith(start)
        assert "as the float32 numbers that were fed" in proved
