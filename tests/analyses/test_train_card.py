"""Model cards: written whole, read back as they were, and refused with every fault named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from absint.analyses.train import card as cards
from absint.analyses.train.card import (
    CardClosing,
    CardData,
    CardErrors,
    CardFile,
    CardMethod,
    CardNetwork,
    CardRun,
    CardSchedule,
    ModelCard,
    changed_files,
    read_card,
    write_card,
)
from absint.analyses.train.record import EpochRecord, Phase
from absint.errors import InputError, ResourceError

SHA = hashlib.sha256(b"").hexdigest()
BEST = CardErrors(97, 0.0277, 10_000, 0.141, 1000, 0.2081, 10_000, 1.75)
CARD = ModelCard(
    CardNetwork("small", None, 329_606, (1, 28, 28), 10, "default"),
    CardData("mnist", SHA, SHA, 60_000, 10_000, 10, augmentation="", notes=("first 10,000 of the test images",)),
    CardMethod("ibp", {"elided": True, "width": 0.05, "layers": "hidden"}),
    CardSchedule(100, 60_000, 100, 2000, 10_000, "linear", 0.4, (1.0, 0.5), "adam", 1e-3, ((15_000, 0.1), (25_000, 0.1))),
    CardRun("absint train --model small", {"all": 0, "evaluation": 1}, 2, "cpu", {"absint": "0.1.0", "torch": "2.13.0"}, 1234.5),
    BEST, replace(BEST, epoch=100, verified_error=0.21),
    CardClosing(replace(BEST, pgd_error=0.1501, pgd_n=10_000, width=None), 0.4, 200, 10, 7919, "box", outward=True),
    (CardFile("best.onnx", SHA, 0),), ("eps 0.4 on inputs of [0, 1]",))


def put(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    write_card(path, CARD)
    row = json.loads(path.read_text())
    change(row)
    path.write_text(json.dumps(row))
    return path


def refused(call: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("card", [CARD, replace(CARD, best=None, last=None, closing=None, files=(), notes=()),
                                  replace(CARD, network=replace(CARD.network, architecture="net.py:build", sha256=SHA)),
                                  replace(CARD, best=replace(BEST, pgd_error=None, pgd_n=0))])
def test_a_card_is_read_back_as_it_was_written(tmp_path: Path, card: ModelCard) -> None:
    write_card(tmp_path / "model-card.json", card)
    assert read_card(tmp_path / "model-card.json") == card
    assert [file.name for file in tmp_path.iterdir()] == ["model-card.json"]


def test_a_card_is_json_with_its_version_first(tmp_path: Path) -> None:
    write_card(tmp_path / "card", CARD)
    row = json.loads((tmp_path / "card").read_text())
    assert next(iter(row)) == "absint_model_card"
    assert row["absint_model_card"] == 1
    assert row["closing"]["errors"]["verified_n"] == 10_000


def test_the_errors_of_a_record_are_a_cards() -> None:
    record = EpochRecord(0, Phase.FULL, 97, 58_200, clean_error=0.0277, clean_n=10_000, pgd_error=0.141, pgd_n=1000, verified_error=0.2081,
                         verified_n=10_000, width=1.75)
    assert CardErrors.of(record) == BEST


def test_a_share_in_single_precision_is_one(tmp_path: Path) -> None:
    write_card(tmp_path / "card", replace(CARD, best=replace(BEST, clean_error=0.027699999511241913)))


def _set(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(row: dict[str, Any]) -> None:
        for name in path[:-1]:
            row = row[name]
        row[path[-1]] = value
    return change


@pytest.mark.parametrize(("change", "word"), [
    (lambda row: row.pop("schedule"), "schedule: is missing"),
    (lambda row: row["data"].pop("test_n"), "data.test_n: is missing"),
    (_set("run", "cats", value=3), "run.cats: is not known"),
    (_set("cats", value=3), "cats: is not known"),
    (_set("network", value=[1]), "network.: no object"),
    (_set("best", "verified_error", value=1.5), "best.verified_error"),
    (_set("best", "verified_n", value=0), "best.verified_error"),
    (_set("best", "clean_error", value=0.12345678), "best.clean_error"),
    (_set("closing", "errors", "pgd_error", value=0.3), "closing.errors.pgd_error: 0.3 is more than verified_error 0.2081"),
    (_set("last", "clean_error", value=0.5), "last.clean_error: 0.5 is more than"),
    (_set("closing", "outward", value=False), "closing.outward"),
    (_set("data", "train_sha256", value="00"), "data.train: no sha256"),
    (_set("files", value=[{"name": "../best.onnx", "sha256": SHA, "bytes": 0}]), "a name with a folder"),
])
def test_what_does_not_hold_together_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], object], word: str) -> None:
    error = refused(lambda: read_card(put(tmp_path / "card", change)))
    assert error.code == "E-CARD-FORMAT"
    assert word in error.render()


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        row["best"]["verified_error"], row["closing"]["outward"] = 2.0, False

    assert len(refused(lambda: read_card(put(tmp_path / "card", change))).details) == 2


def test_errors_on_other_images_are_not_compared(tmp_path: Path) -> None:
    """1,000 images may be harder than all 10,000."""
    write_card(tmp_path / "card", replace(CARD, best=replace(BEST, pgd_error=0.3)))


@pytest.mark.parametrize("change", [
    _set("schedule", "eps", value="much"), _set("schedule", "kappa", value=[1.0]),
    _set("schedule", "kappa", value=[1.0, 0.5, 0.25]), _set("schedule", "drops", value=[[1.5, 0.1]]),
    _set("method", "options", value=[1]), _set("run", "seeds", value={"all": "one"}), _set("files", value=7), _set("best", value=7),
    _set("closing", value={}), _set("network", "parameters", value=True), _set("data", "mean", value=0.5)])
def test_a_field_of_another_kind_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    assert refused(lambda: read_card(put(tmp_path / "card", change))).code == "E-CARD-FORMAT"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"{}", b"\xff\xfe\xff", b"[" * 100_000, b'{"network": {}}'])
def test_what_is_no_card_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card").write_bytes(content)
    assert refused(lambda: read_card(tmp_path / "card")).code == "E-CARD-FORMAT"


def test_a_vast_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(tmp_path / "card", CARD)
    monkeypatch.setattr(cards, "_LARGEST", 100)
    assert refused(lambda: read_card(tmp_path / "card")).code == "E-CARD-FORMAT"


@pytest.mark.parametrize("version", [2, 0, "1", True, None])
def test_another_version_is_said(tmp_path: Path, version: object) -> None:
    assert refused(lambda: read_card(put(tmp_path / "card", _set("absint_model_card", value=version)))).code == "E-CARD-VERSION"


def test_no_file_is_said(tmp_path: Path) -> None:
    assert refused(lambda: read_card(tmp_path / "none")).code == "E-CARD-READ"
    assert refused(lambda: read_card(tmp_path)).code == "E-CARD-READ"


def test_a_card_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    write_card(tmp_path / "card", CARD)
    wrong = replace(CARD, best=replace(BEST, verified_error=0.01))
    assert refused(lambda: write_card(tmp_path / "card", wrong)).code == "E-CARD-FORMAT"
    assert read_card(tmp_path / "card") == CARD
    with pytest.raises(ResourceError):
        write_card(tmp_path / "none" / "card", CARD)


def test_files_that_are_no_longer_those_are_named(tmp_path: Path) -> None:
    for name in ("best.onnx", "last.onnx", "log.csv"):
        (tmp_path / name).write_bytes(name.encode())
    card = replace(CARD, files=tuple(CardFile.of(tmp_path / name) for name in ("best.onnx", "last.onnx", "log.csv")))
    assert card.files[0] == CardFile("best.onnx", hashlib.sha256(b"best.onnx").hexdigest(), 9)
    assert changed_files(card, tmp_path) == []
    (tmp_path / "last.onnx").write_bytes(b"next.onnx")      # of the same size
    (tmp_path / "log.csv").unlink()
    assert [line.partition(":")[0] for line in changed_files(card, tmp_path)] == ["last.onnx", "log.csv"]


def test_the_page_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training_output.md").read_text()
    kinds = (ModelCard, CardNetwork, CardData, CardMethod, CardSchedule, CardRun, CardErrors, CardClosing, CardFile, EpochRecord)
    assert [one.name for kind in kinds for one in fields(kind) if f"`{one.name}`" not in page] == []
