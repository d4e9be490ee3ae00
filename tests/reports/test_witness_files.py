"""Counterexample files: complete, reloadable, whole or absent, and never over those of another run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import absint
from absint import samples
from absint.attacks import prove_witness
from absint.attacks import witness_files as module
from absint.attacks.panels import panels_of
from absint.attacks.witness_files import Saved, WitnessInfo, check_folder, counterexample_text, save_witnesses
from absint.errors import InputError, ResourceError, UsageError
from absint.model.graph import Graph
from absint.model.layout import Axes, Known, Layout
from absint.numeric.backend import numeric_mode
from absint.numeric.decimal import parse_eps
from absint.problem.dataset import Dataset
from absint.problem.regions.region import LinfBall
from absint.problem.spec import Spec
from absint.verdict import InstanceResult, Verdict

EPS = "0.1"
PROVENANCE = {"data_sha256": "abc", "property": {"eps": EPS}}


@pytest.fixture(scope="module")
def mnist() -> tuple[Graph, Dataset]:
    graph = absint.load(samples.default_network())
    return graph, samples.data("mnist").shaped_for(graph.input.shape)


@pytest.fixture(scope="module")
def rows(mnist: tuple[Graph, Dataset]) -> list[InstanceResult]:
    graph, data = mnist
    assert data.labels is not None
    found = absint.verify(graph, data.inputs[:6], data.labels[:6], EPS, domain="box")
    assert sum(r.verdict is Verdict.FALSIFIED for r in found) >= 2
    return [*found, InstanceResult(77, Verdict.UNKNOWN), InstanceResult(78, Verdict.FALSIFIED)]


def info(mnist: tuple[Graph, Dataset]) -> WitnessInfo:
    return WitnessInfo(dict(enumerate(mnist[1].inputs[:6])), PROVENANCE)


def saved(folder: Path, mnist: tuple[Graph, Dataset], rows: list[InstanceResult]) -> Saved:
    return save_witnesses(folder, mnist[0], rows, info(mnist))


def test_every_counterexample_gets_its_files_and_nothing_else(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    out = saved(tmp_path / "new" / "folder", mnist, rows)
    falsified = [r.index for r in rows if r.witness is not None]
    expected = {f"witness_{k:05d}{s}" for k in falsified for s in (".npz", ".json", ".txt", ".png")}
    assert {p.name for p in out.files} == expected
    assert {p.name for p in (tmp_path / "new" / "folder").iterdir()} == expected
    assert out.notes == ()


def test_the_npz_reloads_to_a_point_that_replays(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    graph, data = mnist
    saved(tmp_path, mnist, rows)
    for row in rows:
        if row.witness is None:
            continue
        with np.load(tmp_path / f"witness_{row.index:05d}.npz") as stored:
            point, output = stored["input"], stored["output"]
            assert int(stored["index"]) == row.index
            assert tuple(stored["input_shape"]) == graph.input.shape == point.shape
            assert tuple(stored["output_shape"]) == graph.output.shape
        assert point.reshape(-1).tolist() == list(row.witness)
        ball = LinfBall(torch.from_numpy(data.inputs[row.index])[None], parse_eps(EPS))
        assert ball.contains(0, point)
        with numeric_mode(), torch.no_grad():
            again = prove_witness(graph, ball, Spec.robust(torch.tensor([row.label]), 10), 0, point)
        assert again is not None
        assert again.point == row.witness
        assert list(again.output) == output.tolist()


def test_the_json_says_what_happened(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    graph, data = mnist
    saved(tmp_path, mnist, rows)
    for row in rows:
        if row.witness is None:
            continue
        facts = json.loads((tmp_path / f"witness_{row.index:05d}.json").read_text())
        with np.load(tmp_path / f"witness_{row.index:05d}.npz") as stored:
            output, point = stored["output"], stored["input"]
        assert facts["index"] == row.index
        assert facts["label"] == row.label
        assert facts["predicted"] == int(output.argmax()) != row.label
        assert facts["margin"] == output[row.label] - max(np.delete(output, row.label)) <= 0
        assert facts["model"]["sha256"] == graph.source.sha256
        assert facts["provenance"] == PROVENANCE
        assert facts["moved"]["linf"] == np.abs(point - data.inputs[row.index]).max() <= 0.1 + 1e-9
        assert facts["float_distance"] == np.abs(point.astype(np.float32).astype(float) - point).max()
        assert facts["replayed"] is True


def test_the_text_is_that_of_the_competition_and_exact(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    saved(tmp_path, mnist, rows)
    row = next(r for r in rows if r.witness is not None)
    text = (tmp_path / f"witness_{row.index:05d}.txt").read_text()
    assert text.startswith("((X_0 ")
    assert text.endswith("))\n")
    pairs = re.findall(r"\(([XY])_(\d+) ([^()\s]+)\)", text)
    assert [int(k) for kind, k, _ in pairs if kind == "X"] == list(range(784))
    assert [int(k) for kind, k, _ in pairs if kind == "Y"] == list(range(10))
    assert tuple(float(v) for kind, _, v in pairs if kind == "X") == row.witness
    assert counterexample_text(np.array([0.1, 1e-300]), np.array([-2.0])) == "((X_0 0.1)\n (X_1 1e-300)\n (Y_0 -2.0))\n"


def test_the_picture_shows_three_panels(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    saved(tmp_path, mnist, rows)
    row = next(r for r in rows if r.witness is not None)
    with image_module.open(tmp_path / f"witness_{row.index:05d}.png") as picture:
        pixels = np.asarray(picture).astype(float) / 255
    original, point = mnist[1].inputs[row.index][0], np.array(row.witness).reshape(28, 28)
    factor, gap = 5, 4
    assert pixels.shape == (28 * factor, 3 * 28 * factor + 2 * gap, 3)
    panels = [pixels[2::factor, k * (28 * factor + gap) + 2 :: factor][:, :28, 0] for k in range(3)]
    assert np.abs(panels[0] - original).max() <= 0.5 / 255 + 1e-9
    assert np.abs(panels[1] - point).max() <= 0.5 / 255 + 1e-9
    moved = point - original
    assert np.abs(panels[2] - (0.5 + moved / (2 * np.abs(moved).max()))).max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize(("shape", "axes", "image"), [
    ((3, 8, 8), Layout.CHW, True), ((8, 8, 3), Layout.HWC, True), ((8, 8, 3), Layout.CHW, False),
    ((1, 5, 7), None, True), ((5, 7, 1), None, True),
    ((2, 8, 8), Layout.CHW, False), ((12,), None, False), ((48,), Axes((3, 4, 4), 0), True), ((1, 1, 5), None, False),
    ((3, 0, 4), Layout.CHW, False), ((8, 8), None, True)])
def test_images_are_told_by_shape_and_layout(shape: tuple[int, ...], axes: Known, image: bool) -> None:
    panels = panels_of(np.zeros(shape), np.ones(shape) * 3, axes)
    assert (panels is not None) == image
    if panels is not None:
        assert [float(p.min()) for p in panels] == [1.0, 0.0, 0.0]


def test_colours_stay_in_place_in_both_orders() -> None:
    image = np.random.default_rng(0).random((3, 6, 5))
    first, last = panels_of(image, image, Layout.CHW), panels_of(np.moveaxis(image, 0, 2), None, Layout.HWC)
    assert first is not None
    assert last is not None
    assert len(first) == 3
    assert len(last) == 1
    assert np.array_equal(first[1], last[0])
    assert np.array_equal(first[0][:, :, 1], image[1])


def test_points_between_float32_numbers_keep_all_digits(tmp_path: Path, mnist: Any) -> None:
    point = np.full(784, 0.1)
    save_witnesses(tmp_path, mnist[0], [InstanceResult(3, Verdict.FALSIFIED, label=0, witness=tuple(point.tolist()))])
    with np.load(tmp_path / "witness_00003.npz") as stored:
        assert np.array_equal(stored["input"].reshape(-1), point)
    facts = json.loads((tmp_path / "witness_00003.json").read_text())
    assert facts["float_distance"] == abs(float(np.float32(0.1)) - 0.1)


def test_without_pillow_the_rest_is_written_with_a_note(tmp_path: Path, mnist: Any, rows: list[InstanceResult],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    out = saved(tmp_path, mnist, rows)
    assert {p.suffix for p in out.files} == {".npz", ".json", ".txt"}
    assert any("pillow" in note for note in out.notes)


def test_the_same_question_again_replaces_its_files(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    first = saved(tmp_path, mnist, rows)
    row = next(r for r in rows if r.witness is not None)
    (tmp_path / f"witness_{row.index:05d}.npz").unlink()
    assert saved(tmp_path, mnist, rows).files == first.files


@pytest.mark.parametrize("change", ["provenance", "unreadable", "missing"])
def test_files_of_another_run_stay(tmp_path: Path, mnist: Any, rows: list[InstanceResult], change: str) -> None:
    saved(tmp_path, mnist, rows)
    row = next(r for r in rows if r.witness is not None)
    facts = tmp_path / f"witness_{row.index:05d}.json"
    other = info(mnist)
    if change == "provenance":
        other = replace(other, provenance={"data_sha256": "another"})
    elif change == "unreadable":
        facts.write_text("{")
    else:
        facts.unlink()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError) as caught:
        save_witnesses(tmp_path, mnist[0], rows, other)
    assert caught.value.code == "E-WITNESS-EXISTS"
    assert any(f"witness_{row.index:05d}" in line for line in caught.value.details)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_told_before(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    file = tmp_path / "file"
    file.write_text("here")
    for place in (file, file / "below"):
        with pytest.raises(InputError) as caught:
            check_folder(place)
        assert caught.value.code == "E-WITNESS"
        with pytest.raises(InputError):
            saved(place, mnist, rows)
    check_folder(tmp_path / "fine")
    assert list((tmp_path / "fine").iterdir()) == []


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, mnist: Any, rows: list[InstanceResult], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(ResourceError) as caught:
        saved(tmp_path, mnist, rows)
    assert caught.value.code == "E-WITNESS-WRITE"
    assert list(tmp_path.iterdir()) == []


def test_a_property_of_its_own_gives_its_own_margin(tmp_path: Path, mnist: Any, rows: list[InstanceResult]) -> None:
    save_witnesses(tmp_path, mnist[0], rows, WitnessInfo(margin=lambda index, output: -float(index) - 0.5))
    row = next(r for r in rows if r.witness is not None)
    facts = json.loads((tmp_path / f"witness_{row.index:05d}.json").read_text())
    assert facts["margin"] == -row.index - 0.5
    assert facts["moved"] is None


def test_the_command_line_writes_them(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    command = ["verify", samples.default_network(), "--domain", "box", "--eps", EPS, "--index", "0:4", "--format", "jsonl", "--witness"]
    done = cli(*command, folder)
    assert done.code == 1, done.err
    results = [json.loads(line) for line in done.out.splitlines()]
    found = [row["index"] for row in results if row.get("verdict") == "falsified"]
    assert found
    assert sorted(folder.glob("*.npz")) == [folder / f"witness_{k:05d}.npz" for k in sorted(found)]
    assert f"{4 * len(found)} counterexample files" in done.err
    blocked = tmp_path / "file"
    blocked.write_text("")
    cli(*command, blocked).fails(3, "E-WITNESS")
