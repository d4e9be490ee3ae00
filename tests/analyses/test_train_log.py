"""The log of a training and its curves for TensorBoard: every epoch once, whatever was killed when; and the live table."""

from __future__ import annotations

import io
import math
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from absint.analyses.train import tensorboard
from absint.analyses.train.log import COLUMNS, EpochLog, read_log, text_of
from absint.analyses.train.progress import EpochProgress, told
from absint.analyses.train.record import EpochRecord, Phase, per_cent
from absint.analyses.train.tensorboard import CLOSING, TAGS, Board, check_tensorboard, scalars
from absint.contract.document import Heading, Row
from absint.contract.record import columns_of, lines_of, record_of, row_of, shown_of
from absint.contract.whole_files import write_whole
from absint.errors import InputError, ResourceError, UnsupportedError
from absint.reports.text import Text
from absint.runs.progress import Tally


def record(epoch: int, **more: object) -> EpochRecord:
    made = EpochRecord(
        epoch - 1, Phase.RAMP, epoch, 600 * epoch, 0.1 + epoch / 3, 0.0625, 0.1, 0.75, 1e-3, 0.0277, 10_000, 0.141, 1000, 0.2081, 10_000,
        2150.25, 0.03, 0.15, 0.25, 61.7)
    return replace(made, **more)


FINAL = record(3, index=3, phase=Phase.FINAL, loss=None, train_error=None, rate=None, kappa=None, pgd_n=10_000, mean_clean=None)
RECORDS = (record(1, pgd_error=None, pgd_n=0), record(2, width=math.nan, loss=math.inf), record(3), FINAL)


def same(ones: object, others: object) -> bool:
    return repr(ones) == repr(others)   # NaN is NaN


# ---- records ---------------------------------------------------------------------------------------------------------


def test_a_record_is_read_back_as_it_was_written() -> None:
    assert same([record_of(EpochRecord, row_of(one)) for one in RECORDS], list(RECORDS))


@pytest.mark.parametrize("one", [*RECORDS, record(3200, step=320_000, loss=1.234e-5, width=1.23e-12, seconds=12_345.0, eps=8.8 / 255,
                                                   clean_error=1.0, pgd_error=1.0, verified_error=1.0, rate=1.25e-5)])
def test_a_row_of_the_live_table_fits_eighty_characters(one: EpochRecord) -> None:
    shown = shown_of(EpochRecord)
    for cells in ({name: name for name in shown}, *lines_of(one)):
        assert set(cells) == set(shown)
        assert len("  ".join(f"{cells[name]:<{width}}" for name, width in shown.items()).rstrip()) <= 80


def test_numbers_of_the_live_table_are_short() -> None:
    cells = lines_of(record(1, loss=math.nan, eps=8.8 / 255, width=29_123.4, rate=1.25e-5, seconds=8.04))[0]
    assert [cells[name] for name in ("loss", "eps", "width", "rate", "s")] == ["nan", "0.0345", "2.91e4", "1.25e-5", "8.0"]
    assert lines_of(record(1, width=-1.234e-120, loss=0.0004236))[0]["width"] == "-1.2e-120"


def test_what_was_not_measured_is_empty_and_errors_are_per_cent() -> None:
    cells = lines_of(RECORDS[0])[0]
    assert (cells["clean%"], cells["pgd%"], cells["verif%"]) == ("2.8", "", "20.9")
    assert lines_of(FINAL)[0]["loss"] == ""


@pytest.mark.parametrize(("wrong", "n", "nearest", "upward"), [
    (0, 10_000, "0.0", "0.0"), (1, 10_000, "0.01", "0.1"), (10_000, 10_000, "100.0", "100.0"), (123, 1000, "12.3", "12.3"),
    (2081, 10_000, "20.8", "20.9"), (9999, 10_000, "99.99", "99.99"), (1, 3, "33.3", "33.4"), (7, 1000, "0.7", "0.7")])
def test_an_unproved_image_is_never_rounded_away(wrong: int, n: int, nearest: str, upward: str) -> None:
    assert (per_cent(wrong / n, n), per_cent(wrong / n, n, upward=True)) == (nearest, upward)


def test_what_has_no_images_has_no_error() -> None:
    assert (per_cent(None, 100), per_cent(0.0, 0), per_cent(math.nan, 10)) == ("", "", "")


def test_the_live_table_shows_each_record_when_it_comes() -> None:
    stream = io.StringIO()
    table = Text(stream)
    table.begin(Heading("train", {}, "records", tuple(column.name for column in columns_of(EpochRecord)), shown_of(EpochRecord)))
    for count, one in enumerate(RECORDS, 2):
        table.row(Row(row_of(one), lines_of(one)[0]))
        assert stream.getvalue().count("\n") == count
    first, *_, last = stream.getvalue().splitlines()
    assert first.split() == list(shown_of(EpochRecord))
    assert last.split() == ["3", "final", "0.1", "2.8", "14.1", "20.9", "2.15e3", "62"]


# ---- log.csv ---------------------------------------------------------------------------------------------------------


def test_the_log_is_the_records_whenever_it_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    with EpochLog(path) as log:
        for count in range(len(RECORDS) + 1):
            assert same(read_log(path), RECORDS[:count])
            if count < len(RECORDS):
                log.append(RECORDS[count])
    assert path.read_text() == text_of(RECORDS)


@pytest.mark.parametrize("known", range(4))
@pytest.mark.parametrize("torn", [0, 1, 17])
def test_a_killed_run_goes_on_without_a_row_twice_or_by_half(tmp_path: Path, known: int, torn: int) -> None:
    """The file may hold more than the journal, or less, and end in half a row."""
    path = tmp_path / "log.csv"
    whole = text_of(RECORDS[:3])
    path.write_text(whole[: len(whole) - torn])
    with EpochLog(path, RECORDS[:known]) as log:
        for one in RECORDS[known:]:
            log.append(one)
    assert path.read_text() == text_of(RECORDS)
    assert os.listdir(tmp_path) == ["log.csv"]


def test_half_a_row_is_left_out_by_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text_of(RECORDS[:2])[:-3])
    assert same(read_log(path), RECORDS[:1])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", ",".join(COLUMNS[:-1]) + "\n", text_of(RECORDS[:1]).replace("ramp", "climb"),
                                  text_of(RECORDS[:1]) + "1,2\n", text_of(RECORDS[:1]).replace("600", "many")])
def test_another_table_is_no_log(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_log(path)
    assert caught.value.code == "E-LOG-FORMAT"


def test_no_file_and_no_text_are_said(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, code in (("none", "E-LOG-READ"), ("bytes", "E-LOG-FORMAT")):
        with pytest.raises(InputError) as caught:
            read_log(tmp_path / name)
        assert caught.value.code == code


def test_a_full_disk_keeps_the_old_file_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    write_whole(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError) as caught:
        write_whole(path, b"new")
    assert (caught.value.code, path.read_bytes(), os.listdir(tmp_path)) == ("E-OUT-WRITE", b"old", ["log.csv"])
    monkeypatch.undo()
    with EpochLog(path) as log:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError):
            log.append(RECORDS[0])


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        EpochLog(tmp_path / "none" / "log.csv")


def test_others_may_read_what_is_written_whole(tmp_path: Path) -> None:
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.write_bytes(b"")
    write_whole(whole, b"")
    assert whole.stat().st_mode == plain.stat().st_mode
    whole.chmod(0o640)
    write_whole(whole, b"again")
    assert whole.stat().st_mode & 0o777 == 0o640


# ---- TensorBoard -----------------------------------------------------------------------------------------------------


def events(file: Path) -> list[object]:
    """The events of a file of TensorBoard: length, checksum, content, checksum; read by the format's own words."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    content, found = file.read_bytes(), []
    while content:
        length, check = struct.unpack("<QI", content[:12])
        body = content[12 : 12 + length]
        assert check == masked_crc32c(content[:8])
        assert struct.unpack("<I", content[12 + length : 16 + length])[0] == masked_crc32c(body)
        found.append(Event.FromString(body))
        content = content[16 + length :]
    return found


def read_back(folder: Path) -> dict[tuple[str, int], list[float]]:
    """Scalars by tag and step, of all files."""
    found: dict[tuple[str, int], list[float]] = {}
    for event in (event for file in folder.iterdir() for event in events(file)):
        for value in event.summary.value:
            found.setdefault((value.tag, event.step), []).append(value.simple_value)
    return found


def test_every_scalar_of_every_epoch_is_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    board = Board(tmp_path / "tensorboard")
    for one in RECORDS:
        board.add(one)
    found = read_back(tmp_path / "tensorboard")         # before it is closed
    board.close()
    wanted = {(tag, one.epoch): getattr(one, name) for one in RECORDS[:3] for tag, name in TAGS.items()}
    wanted |= {(tag, 3): getattr(FINAL, name) for tag, name in CLOSING.items()}
    wanted = {key: value for key, value in wanted.items() if value is not None and math.isfinite(value)}
    assert {key: len(values) for key, values in found.items()} == dict.fromkeys(wanted, 1)
    assert {key: values[0] for key, values in found.items()} == pytest.approx(wanted, rel=1e-6)
    assert ("error/pgd", 1) not in found
    assert ("bounds/width", 2) not in found


def test_a_run_that_goes_on_has_each_epoch_once(tmp_path: Path) -> None:
    """Its file begins with a start at step 0, from which readers drop older files, and then has the records that are kept."""
    pytest.importorskip("tensorboardX")
    first = Board(tmp_path)
    first.add(RECORDS[0])
    first.add(record(2, loss=9.0))
    first.close()
    old = set(tmp_path.iterdir())
    again = Board(tmp_path, RECORDS[:1])
    again.add(record(2))
    again.close()
    [new] = set(tmp_path.iterdir()) - old
    version, start, *epochs = events(new)
    assert version.file_version == "brain.Event:2"
    assert (start.session_log.status, start.step) == (1, 0)
    assert [event.step for event in epochs] == [1, 2]
    assert epochs[0].wall_time <= epochs[1].wall_time
    assert dict(scalars(record(2)))["training/loss"] == pytest.approx(
        next(value.simple_value for value in epochs[1].summary.value if value.tag == "training/loss"))


def test_a_missing_package_is_said_before_any_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    for call in (check_tensorboard, lambda: Board(tmp_path / "board")):
        with pytest.raises(UnsupportedError) as caught:
            call()
        assert caught.value.code == "E-PACKAGE-MISSING"
        assert "pip install 'absint[tensorboard]'" in caught.value.render()
    assert not (tmp_path / "board").exists()


def test_a_full_disk_stops_the_board_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboardX")
    board = Board(tmp_path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError) as caught:
        board.add(RECORDS[0])
    assert caught.value.code == "E-OUT-WRITE"
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.undo()
    with pytest.raises(ResourceError):
        Board(tmp_path / "file")


# ---- within an epoch -------------------------------------------------------------------------------------------------


def test_what_is_told_of_a_step() -> None:
    assert told(1200, 60_000, loss=0.4217, eps=0.21, left=700.0) == "step 1200/60000 ETA 12 min loss 0.422 eps 0.21"
    assert told(0, 10, loss=2.0, eps=0.0) == "step 0/10 loss 2 eps 0"
    assert "ETA 2.0 h" in told(1, 9, loss=1.0, eps=0.0, left=7200.0)
    assert "ETA 1 s" in told(1, 9, loss=1.0, eps=0.0, left=0.0)


def test_a_whole_text_fits_the_line_of_the_first_epoch() -> None:
    text = told(12_000, 60_000, loss=0.4217, eps=0.2134, left=700.0)
    assert text in Tally(101).line(text, 79)


def test_step_and_loss_fit_the_line_of_later_epochs(clock) -> None:
    tally = Tally(101)
    for _ in range(21):
        clock.now += 61.0
        tally.add("epochs")
    line = tally.line(told(12_600, 60_000, loss=0.4217, eps=0.4), 79)
    assert "step 12600/60000 loss 0.422" in line
    assert line.endswith("21 epochs  21/101  about 81 min left")


def test_steps_are_told_once_a_second_and_the_loss_is_asked_only_then(clock) -> None:
    texts: list[str] = []
    asked: list[int] = []
    progress = EpochProgress(texts.append, 1000, done=100)
    for step in range(101, 141):
        clock.now += 0.125
        progress.step(1, step, lambda step=step: float(asked.append(step) or step), 0.1)
    assert asked == [101, 109, 117, 125, 133]
    assert texts[-1] == "step 133/1000 ETA 2 min loss 133 eps 0.1"     # 867 steps of an eighth of a second
    clock.now += 1.0
    progress.step(2, 141, lambda: 0.5, 0.2)                                   # the line says how long the other epochs may take
    assert texts[-1] == "step 141/1000 loss 0.5 eps 0.2"
    progress.doing("epoch 1: PGD on 1000 images")
    assert texts[-1] == "epoch 1: PGD on 1000 images"
