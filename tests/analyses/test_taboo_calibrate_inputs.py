"""`taboo calibrate`: which inputs make thresholds and which are held out, what is refused, and runs that end early."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from journals import kept, killed
from onnx_models import build, node
from taboo_commands import calibrated, inputs, net, refused
from taboo_nets import convolutional, read

import absint
from absint.cli.main import main
from absint.errors import AbsintError, InputError, UsageError

# ---- data -------------------------------------------------------------------------------------------------------------


def test_inputs_that_are_held_out_make_no_threshold(tmp_path: Path) -> None:
    x = inputs(60)
    document, traps = calibrated(tmp_path, x, hold_out=20)
    assert (traps.inputs, document.summary["held_out"]) == (40, 20)
    _, alone = calibrated(tmp_path, x[:40], held_out=x[40:])
    assert [trap.thresholds for trap in traps.traps] == [trap.thresholds for trap in alone.traps]


def test_an_input_cannot_be_held_out_and_make_thresholds(tmp_path: Path) -> None:
    x = inputs(30)
    error = refused(tmp_path, x, held_out=np.concatenate([inputs(5, 1), x[12:14]]))
    assert error.code == "E-TABOO-OVERLAP"
    assert error.details == ("held-out input 5 is training input 12", "held-out input 6 is training input 13")
    assert refused(tmp_path, np.concatenate([x, x[:1]]), hold_out=3).code == "E-TABOO-OVERLAP"


@pytest.mark.parametrize(("options", "code"), [
    ({"hold_out": 30}, "E-TABOO-HELD-OUT"), ({"hold_out": 0}, "E-TABOO-HELD-OUT"),
    ({"hold_out": 3, "held_out": inputs(3, 1)}, "E-TABOO-HELD-OUT"), ({"held_labels": [0, 1]}, "E-USAGE"), ({"block": 0}, "E-BATCH"),
    ({"held_out": 3 * inputs(4, 1)}, "E-DATA-RANGE"), ({"held_out": np.full((2, 4), np.nan)}, "E-DATA-NAN"),
    ({"held_out": np.zeros((2, 5))}, "E-DATA-SHAPE"), ({"eps": "0.1"}, "E-TABOO-EPS"), ({"rule": "certified", "eps": "0"}, "E-TABOO-EPS"),
    ({"rule": "percentile"}, "E-TABOO-FEW"), ({"share": "0.01"}, "E-TABOO-SHARE"), ({"domain": "cube", "rule": "certified", "eps": "0.1"},
                                                                                 "E-DOMAIN-UNKNOWN"),
])
def test_what_does_not_go_together_is_refused(tmp_path: Path, options: dict[str, object], code: str) -> None:
    assert refused(tmp_path, inputs(30), **options).code == code


def test_inputs_outside_of_the_data_range_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", 2 * inputs(9))
    with pytest.raises(InputError) as error:
        absint.taboo_calibrate(str(net(tmp_path)), tmp_path / "x.npy", detector=tmp_path / "taboo.json")
    assert error.value.code == "E-DATA-RANGE"


def test_a_network_without_rectified_neurons_is_refused(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w", "z"), node("Sigmoid", "z", "y")]
    path = tmp_path / "plain.onnx"
    read(tmp_path, build(nodes, ["n", 4], {"w": np.ones((4, 2), np.float32)}).SerializeToString(), path.name)
    with pytest.raises(AbsintError) as error:
        absint.taboo_calibrate(str(path), inputs(9), detector=tmp_path / "taboo.json")
    assert error.value.code == "E-TABOO-NO-RELU"


def test_a_folder_with_two_parts_trains_on_one_and_holds_out_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for part, count in (("train", 40), ("t10k", 15)):
        for kind, values in (("images-idx3", rng.integers(0, 256, (count, 28, 28))), ("labels-idx1", rng.integers(0, 10, count))):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in values.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())
    found = absint.taboo_calibrate(convolutional(), str(folder), detector=tmp_path / "taboo.json")
    assert found.document.summary["inputs"] == 40
    assert found.document.summary["held_out"] == 15
    assert found.document.summary["accuracy"] is not None


def test_labels_give_the_accuracy_on_held_out_inputs(tmp_path: Path) -> None:
    held = inputs(25, 4)
    graph = absint.load(net(tmp_path), fold=False)
    right = graph(torch.from_numpy(held)).argmax(1).numpy()
    right[:5] = 1 - right[:5]
    document, _ = calibrated(tmp_path, inputs(20), held_out=held, held_labels=right)
    assert document.summary["accuracy"] == 0.8


# ---- runs that end early ----------------------------------------------------------------------------------------------


def test_a_journal_goes_on_and_leads_to_the_same_file(tmp_path: Path) -> None:
    x, journal = inputs(70), tmp_path / "journal"
    options = {"rule": "certified", "eps": "0.05", "block": 15, "journal": journal}
    _, whole = calibrated(tmp_path, x, **options)
    first = (tmp_path / "taboo.json").read_bytes()
    lines = killed(journal)
    assert len(lines) == 6
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    (tmp_path / "taboo.json").unlink()
    calibrated(tmp_path, x, **options, resume=True)
    assert (tmp_path / "taboo.json").read_bytes() == first
    assert len(kept(journal)) == 5
    assert whole.traps[0].thresholds


@pytest.mark.parametrize("other", [{"keys": ("other",)}, {"eps": "0.06"}, {"block": 16}, {"domain": "zonotope"}, {"hold_out": 1}])
def test_a_journal_of_other_neurons_or_thresholds_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    options: dict[str, object] = {"rule": "certified", "eps": "0.05", "block": 15, "journal": tmp_path / "journal"}
    calibrated(tmp_path, inputs(20), **options)
    with pytest.raises(InputError) as error:
        calibrated(tmp_path, inputs(20), **{**options, **other}, resume=True)
    assert error.value.code == "E-JOURNAL-MISMATCH"


def test_a_journal_serves_other_policies_and_held_out_inputs(tmp_path: Path) -> None:
    options: dict[str, object] = {"journal": tmp_path / "journal", "block": 15}
    calibrated(tmp_path, inputs(20), **options)
    document, _ = calibrated(tmp_path, inputs(20), **options, resume=True, held_out=inputs(500, 2), policy="calibrated", exchangeable=True)
    assert document.summary["held_out"] == 500


def test_a_run_that_does_not_end_writes_nothing_and_says_so(tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", inputs(40))
    (tmp_path / "taboo.json").write_text("old")
    words = ["taboo", "calibrate", str(net(tmp_path)), "--data", str(tmp_path / "x.npy"), "--detector", str(tmp_path / "taboo.json"),
             "--onnx", str(tmp_path / "d.onnx"), "--total-timeout", "1e-6", "--journal", str(tmp_path / "journal")]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "not written" in err
    assert "--resume goes on" in err
    assert "none: 1 of 1 blocks" in out
    assert (tmp_path / "taboo.json").read_text() == "old"
    assert not (tmp_path / "d.onnx").exists()


def test_no_input_is_written_over(tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", inputs(9))
    (tmp_path / "keys.txt").write_text("k\n")
    start = ["taboo", "calibrate", str(net(tmp_path)), "--data", str(tmp_path / "x.npy"), "--held-out", str(tmp_path / "x.npy"), "--keys",
             str(tmp_path / "keys.txt")]
    for target in ("x.npy", "keys.txt", "net1.onnx"):
        before = (tmp_path / target).read_bytes()
        for word in ("--detector", "--onnx"):
            assert main([*start, word, str(tmp_path / target)]) == UsageError.exit_code
            assert "E-OUT" in capsys.readouterr().err
            assert (tmp_path / target).read_bytes() == before
