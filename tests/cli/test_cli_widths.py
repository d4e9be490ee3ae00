"""Widths by layer beside verdicts: of bounds that are stated, of inputs that are named, after everything else, and never a verdict's."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest
from pages import Page
from reported_runs import lines, made, timeless, written

import absint
from absint.analyses.verify import by_layer
from absint.analyses.verify.analysis import Verify
from absint.errors import InternalError, ResourceError
from absint.reports import html
from absint.runs import command

QUIET = ("--eps", "0.1", "--quiet")
TITLE = "Widths by layer: bounds of box, not what each verdict rests on"


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures are named and not drawn: that they can be is another test's."""
    monkeypatch.setattr(html, "can_draw", lambda: False)


def verified(cli, folder, *words, domain="box", data=None):
    """The page, the document and the exit code."""
    page, out = folder / "r.html", folder / "r.json"
    done = cli("verify", made().net, "--data", data or made().data, "--domain", domain, *QUIET, "--out", page, "--out", out, *words)
    return Page(page.read_text()).text, json.loads(out.read_bytes()), done


def rows(document):
    return {(row["tensor"], row["verdict"]): row for row in document["tables"].get("widths", ())}


def test_widths_are_those_of_bounds_of_the_inputs_that_are_named(cli, tmp_path):
    """Five are verified, four of which have the smallest margins; some reach beyond the range of the data, and are narrower."""
    inputs = np.array([[0.9, 0.1, 0.5], [0.7, 0.2, 0.3], [0.6, 0.0, 0.5], [0.55, 0.5, 0.05], [0.85, 0.3, 0.2], [0.9, 0.0, 0.1]])
    np.savez(tmp_path / "x.npz", images=inputs, labels=np.zeros(6, np.int64))
    text, document, _ = verified(cli, tmp_path, data=tmp_path / "x.npz")
    assert TITLE in text
    assert "no verdict rests on these bounds" in text
    assert "falsified 3; verified 1, 4, 2, 0" in text
    found = rows(document)
    groups = {"falsified (1)": [3], "verified (4)": [1, 4, 2, 0]}
    assert set(found) == {(tensor, group) for tensor in ("x", "y") for group in groups}
    for group, index in groups.items():
        bounds = absint.bounds(str(made().net), inputs[index], "0.1", tensors=["x", "y"], domain="box")
        for tensor in ("x", "y"):
            width = np.asarray(bounds[tensor].upper) - np.asarray(bounds[tensor].lower)
            row = found[tensor, group]
            assert (row["mean"], row["max"]) == pytest.approx((width.mean(), width.max()), rel=1e-9)


def test_no_answer_is_another_one_for_it(cli, tmp_path):
    _, document, done = verified(cli, tmp_path)
    alone = json.loads(cli("verify", made().net, "--data", made().data, "--domain", "box", *QUIET, "--format", "json").out)
    assert "widths" not in alone["tables"]
    assert rows(document)
    document["tables"].pop("widths")
    assert timeless(document["instances"]) == timeless(alone["instances"])
    assert timeless(document["tables"]) == timeless(alone["tables"])
    assert timeless(document["summary"]) == timeless(alone["summary"])
    assert done.code == 1


def test_a_journal_keeps_them(cli, tmp_path):
    page = tmp_path / "r.html"
    assert cli("report", written(tmp_path / "j.jsonl"), "--out", page).code == 1
    text = Page(page.read_text()).text
    assert TITLE in text
    assert "Width by layer, by verdict (number of inputs)" in text
    assert rows(made().document)


def test_a_journal_without_them_is_shown_without(cli, tmp_path):
    page = tmp_path / "r.html"
    assert cli("report", written(tmp_path / "j.jsonl", lines()), "--out", page).code == 1
    text = Page(page.read_text()).text
    assert "Widths by layer" not in text
    assert "What the verdicts mean" in text


def test_of_a_limit_that_passed_there_is_a_word(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(by_layer, "SECONDS", 1e-9)
    text, document, done = verified(cli, tmp_path)
    assert "left outbox: the limit of 5 s, or that of the run, passed before any bounds were found" in text.replace("\n", "")
    assert (rows(document), done.code, document["summary"]["complete"]) == ({}, 1, True)


def test_the_first_domain_of_a_strategy_stands_in_where_the_limit_of_its_own_passes(cli, tmp_path, monkeypatch):
    real = by_layer._found

    def found(bounder, *given):
        if bounder.name == "the domain that stands for auto":
            raise ResourceError("E-TIMEOUT", "late")
        return real(bounder, *given)

    monkeypatch.setattr(by_layer, "_found", found)
    text, document, _ = verified(cli, tmp_path, "--index", "0", domain="auto")
    assert "bounds of box, the first domain of auto, not what each verdict rests on" in text
    assert rows(document)


def test_of_a_patch_there_is_a_word(cli, tmp_path):
    page = tmp_path / "r.html"
    cli("verify", made().net, "--data", made().data, "--domain", "box", "--patch", "1x1:1x3", "--quiet", "--out", page)
    assert "of a patch, each position is a region of its own" in Page(page.read_text()).text


def test_what_goes_wrong_there_costs_no_answer_and_is_told(cli, tmp_path, monkeypatch):
    def fails(*given):
        raise InternalError("E-CONTRADICTION", "two bounds contradict each other")

    monkeypatch.setattr(by_layer, "_found", fails)
    text, document, done = verified(cli, tmp_path)
    assert (done.code, document["summary"]["complete"], len(document["instances"])) == (1, True, 6)
    assert "details of the report are left out: two bounds contradict each other" in text
    assert "warning[E-CONTRADICTION]" in done.err


def test_an_interrupt_there_costs_no_answer(cli, tmp_path, monkeypatch):
    def interrupted(self, records, run):
        raise KeyboardInterrupt

    monkeypatch.setattr(Verify, "further", interrupted)
    text, document, done = verified(cli, tmp_path)
    assert (done.code, document["summary"]["complete"], len(document["instances"])) == (command.INTERRUPTED, True, 6)
    assert "interrupted after the last verdict" in text


def test_nothing_is_bounded_once_more_before_everything_is_decided(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(Verify, "further", lambda *given: pytest.fail("something is not decided"))
    real = Verify.decide
    monkeypatch.setattr(Verify, "decide", lambda *given: islice(real(*given), 2))
    text, document, _ = verified(cli, tmp_path)
    assert document["summary"]["complete"] is False
    assert "Widths by layer" not in text
