"""What the page of the reproduction of constrained IBP makes of trainings that are done, begun and not begun."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace

import pytest
from places import ROOT

from absint.analyses.train.log import text_of
from absint.analyses.train.record import EpochRecord, Phase

MODULES = ("constrained_ibp", "constrained_ibp_pages", "constrained_ibp_queue", "constrained_ibp_data", "constrained_ibp_runs")


@pytest.fixture
def modules(monkeypatch):
    """By name, imported afresh."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "papers"))
    path = list(sys.path)
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.path[:] = path


def epochs(widths, *, clean=0.05, pgd=0.15, verified=0.25):
    """A warm-up, an epoch of the ramp for each width, and the closing evaluation."""
    phases = [Phase.WARM_UP, *[Phase.RAMP] * len(widths), Phase.FULL]
    found = [EpochRecord(k, phase, k + 1, 600 * (k + 1), eps=0.4, clean_error=clean, clean_n=10000, pgd_error=pgd, pgd_n=1000,
                         verified_error=verified, verified_n=10000, width=width, seconds=36.0)
             for k, (phase, width) in enumerate(zip(phases, [100.0, *widths, 1.0], strict=True))]
    return [*found, replace(found[-1], index=len(found), phase=Phase.FINAL, pgd_n=10000)]


@pytest.fixture
def page(modules, tmp_path):
    """The page when these runs are done, or in the state given."""

    def made(runs, state="done"):
        for name, records in runs.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "log.csv").write_text(text_of(records))
            (tmp_path / f"{name}.json").write_text(json.dumps({"state": state, "seconds": 1.0, "machine": "here"}))
        assert modules["constrained_ibp"].main(["--out", str(tmp_path), "--report", "--page", str(tmp_path / "page" / "training.md")]) == 0
        return (tmp_path / "page" / "training.md").read_text()

    return made


def test_nothing_done_is_said(page):
    text = page({})
    assert "| mnist | small | 0.4 | IBP | paper | 2.62 | 14.14 | 20.74 |" in text
    assert "| mnist | small | 0.4 | IBP | ours | not begun |" in text
    assert "| svhn | large | 8/255 | constrained IBP | ours | prepared for a card |" in text
    assert "held: " not in text
    assert text.count("- not known: ") == 4 + 4 + 2


def test_the_papers_table_beside_ours(page, tmp_path):
    text = page({"mnist-small-ibp": epochs([10.0, 8.0]), "mnist-small-constrained": epochs([0.9, 0.4], clean=0.12)})
    assert "| mnist | small | 0.4 | IBP | ours | 5.0 | 15.0 | 25.0 | 25.0 | 10000 | 4 | 2400 | 0.05 |" in text
    assert "- held: clean <= PGD <= verified error in every closing evaluation (2 of 2)" in text
    assert "- held: mnist small, IBP: 15 to 30 % verified error, clean error under 10 %" in text
    assert "- NOT held: mnist small, constrained IBP: 15 to 30 % verified error, clean error under 10 %" in text
    assert "Run on: here." in text
    kept = json.loads((tmp_path / "records.json").read_text())
    assert len(kept["mnist-small-ibp"]["records"]) == 5


def test_errors_out_of_order_are_told(page):
    assert "- NOT held: clean <= PGD <= verified error in every closing evaluation (0 of 1)" in page({
        "mnist-small-ibp": epochs([1.0], pgd=0.3)})


def test_widths_are_compared_at_the_same_step_of_the_ramp(page):
    text = page({"mnist-small-ibp": epochs([10.0, 8.0]), "mnist-small-constrained": epochs([0.9, 0.4])})
    assert "| mnist small | 2 | 0.05 | 0.07 | 0.09 |" in text
    assert "- held: at most 0.1 with weight 1, in every epoch of the ramp and every pair (most 0.09)" in text
    assert "| 3 | 1800 | 0.4 | 8 | 0.4 | 0.05 |" in text


def test_widths_that_are_too_large_are_told(page):
    text = page({"mnist-small-ibp": epochs([10.0, 8.0]), "mnist-small-constrained": epochs([0.9, 4.0])})
    assert "- NOT held: at most 0.1 with weight 1, in every epoch of the ramp and every pair (most 0.5)" in text


def test_the_short_ramp_has_medians_over_seeds_and_weights_at_first(page):
    text = page({
        "fast-default-0-ibp": epochs([10.0], verified=0.3), "fast-default-1-ibp": epochs([10.0], verified=0.4),
        "fast-orthogonal-0-ibp": epochs([10.0], verified=0.5), "fast-default-0-w0.05": epochs([1.0], verified=0.35)})
    assert "| IBP | 3 of 6 | 5.0 | 15.0 | 40.0 | 30.0 to 50.0 | 1 |" in text
    assert "- held: median verified error below IBP's with weight 0.05" in text
    assert "- not known: median verified error below IBP's with weight 1" in text
    assert "Not done: fast-default-0-w1 (not begun)" in text


def test_a_training_that_was_cut_is_no_result(page):
    text = page({"mnist-small-ibp": epochs([10.0])[:-1], "fast-default-0-ibp": epochs([10.0])[:-1]}, "cut")
    assert "| mnist | small | 0.4 | IBP | ours | cut, 1800 steps done |" in text
    assert "| IBP | 0 of 6 | - | - | - | - | - |" in text


def test_pictures_lie_beside_the_page(page, tmp_path):
    pytest.importorskip("matplotlib")
    text = page({"mnist-small-ibp": epochs([10.0, 8.0]), "mnist-small-constrained": epochs([0.9, 0.4])})
    assert "![training-mnist-small-widths](training-mnist-small-widths.png)" in text
    assert (tmp_path / "page" / "training-mnist-small-widths.png").stat().st_size > 10_000


def test_the_list_says_how_far_each_is(page, modules, capsys, tmp_path):
    page({"mnist-small-ibp": epochs([10.0])[:-1]}, "cut")
    capsys.readouterr()
    assert modules["constrained_ibp"].main(["--out", str(tmp_path), "--list", "--only", "mnist-small-*"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["mnist-small-ibp cut, 1800 steps done", "mnist-small-constrained not begun"]
