"""A card that is lost, or whose memory ends, on the way: one coded message, and what was decided before stands in result and journal."""

from __future__ import annotations

import json

import pytest
import torch
from journals import kept

from absint.analyses.verify.portfolio import Portfolio

LOST = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported"
FULL = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


@pytest.fixture
def third_fails(monkeypatch):
    """The third batch meets an error of the card; batches of one."""

    def plant(error):
        real, seen = Portfolio._batch, []

        def batch(self, todo):
            seen.append(todo)
            if len(seen) == 3:
                raise error
            yield from real(self, todo)

        monkeypatch.setattr(Portfolio, "_batch", batch)

    return plant


@pytest.mark.parametrize(("error", "code"), [
    (RuntimeError(LOST), "E-DEVICE-LOST"),
    (RuntimeError(FULL), "E-MEMORY-OUT"),
    (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "E-MEMORY-OUT"),
    *([(torch.AcceleratorError(LOST), "E-DEVICE-LOST")] if hasattr(torch, "AcceleratorError") else []),
], ids=["lost", "no workspace", "no memory", "accelerator"])
def test_what_was_decided_stands(verify, third_fails, tmp_path, error, code):
    third_fails(error)
    out, journal = tmp_path / "r.json", tmp_path / "run.jsonl"
    done = verify("--index", "0:4", "--batch", "1", "--domain", "box", "--out", out, "--journal", journal)
    done.fails(5, f"{code}]")
    assert "2 of 4 items are not decided" in done.err
    result = json.loads(out.read_text())
    assert [row["index"] for row in result["instances"]] == [0, 1]
    assert result["summary"]["remaining"] == [2, 3]
    assert [row["index"] for row in kept(journal)] == [0, 1]


def test_a_resumed_run_goes_on_where_the_card_was_lost(verify, third_fails, monkeypatch, tmp_path):
    journal, out = tmp_path / "run.jsonl", tmp_path / "r.json"
    third_fails(RuntimeError(LOST))
    done = verify("--index", "0:4", "--batch", "1", "--domain", "box", "--journal", journal)
    assert done.code == 5
    assert "E-DEVICE-LOST]" in done.err
    assert "verified 2" in done.out
    monkeypatch.undo()
    verify("--index", "0:4", "--batch", "1", "--domain", "box", "--journal", journal, "--resume", "--out", out)
    assert [row["index"] for row in json.loads(out.read_text())["instances"]] == [0, 1, 2, 3]


def test_a_batch_that_finds_no_workspace_is_halved(verify, monkeypatch, tmp_path):
    real, sizes = Portfolio._batch, []

    def batch(self, todo):
        sizes.append(len(todo))
        if len(todo) > 1:
            raise RuntimeError(FULL)
        yield from real(self, todo)

    monkeypatch.setattr(Portfolio, "_batch", batch)
    out = tmp_path / "r.json"
    done = verify("--index", "0:4", "--batch", "4", "--domain", "box", "--out", out)
    assert "error[" not in done.err
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert len(json.loads(out.read_text())["instances"]) == 4
