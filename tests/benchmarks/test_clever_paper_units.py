"""Units of the reproduction of the CLEVER papers: kept, cut, continued, within their share of the time; and what pages make of them."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import pytest

import absint


def test_units_that_fail_are_told_tried_again_and_hold_nothing_up(runner):
    found, visit, run = runner
    calls = []

    def bad(visit, seconds):
        calls.append("bad")
        raise ValueError("a fault")

    units = [found.Unit("one", 1, bad), found.Unit("two", 1, lambda visit, seconds: calls.append("two") or {"x": 1})]
    well, page = run(units)
    assert (well, calls) == (False, ["bad", "two"])
    assert "page: ['two']" in page
    assert "- one: failed: ValueError: a fault" in page
    run(units)
    assert calls == ["bad", "two", "bad"]
    assert found.kept(visit, "two")["x"] == 1


def test_a_unit_that_was_cut_keeps_what_it_had_where_the_next_try_fails(runner):
    found, visit, run = runner
    answers = iter([{"state": found.CUT, "x": 1}, ValueError("a fault"), {"x": 2}])

    def unit(visit, seconds):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    units = [found.Unit("one", 1, unit)]
    for well, state, x in ((True, "cut", 1), (False, "cut", 1), (True, "done", 2)):
        assert run(units)[0] is well
        assert (found.kept(visit, "one")["state"], found.kept(visit, "one")["x"]) == (state, x)


def test_units_share_the_time_that_is_left(runner, clock):
    found, visit, run = runner
    given = []

    def takes(seconds_taken):
        def unit(visit, seconds):
            given.append(seconds)
            clock.sleep(seconds_taken)
            return {}
        return unit

    run([found.Unit("a", 1, takes(10)), found.Unit("b", 3, takes(60)), found.Unit("c", 2, takes(49.5)), found.Unit("d", 1, takes(1))],
        end=found.time.monotonic() + 120)
    assert given == pytest.approx([120 / 7, 110 / 2, 50 / 1.5])
    assert found.kept(visit, "d")["state"] == "no time left"


def test_what_was_cut_goes_on_while_there_is_time(runner, clock):
    found, visit, run = runner
    given = []

    def unit(visit, seconds):
        given.append(seconds)
        clock.sleep(seconds)
        return {"state": found.CUT if len(given) < 4 else found.DONE}

    run([found.Unit("a", 1, unit), found.Unit("b", 1, lambda visit, seconds: {})], end=found.time.monotonic() + 100)
    assert given == pytest.approx([50, 50])
    assert found.kept(visit, "a")["state"] == found.CUT


def test_nothing_is_done_twice_and_scores_go_on_where_they_were_cut(visited, toys):
    code, units, _, out = visited("--only", "norms")
    assert code == 0
    assert units == ["norm-l2", "norm-linf", "norm-l1"]
    before = {path.name: path.read_bytes() for path in out.glob("*.json")}
    assert visited("--only", "norms")[1] == []
    kept = json.loads(before["norm-l2.json"])
    (out / "norm-l2.json").unlink()
    lines = (out / "norm-l2.journal").read_text().splitlines()
    (out / "norm-l2.journal").write_text("\n".join(lines[:2]) + "\n")
    assert visited("--only", "norms")[1] == ["norm-l2"]
    again = json.loads((out / "norm-l2.json").read_text())["rows"]
    assert [row["maximum"] for row in again] == pytest.approx([row["maximum"] for row in kept["rows"]], rel=1e-5)
    assert again[:3] == kept["rows"][:3]


def test_scores_that_a_limit_cut_are_no_result(toys, folder, tmp_path, monkeypatch):
    stages, runner = toys["clever_stages"], toys["clever_runner"]
    visit = runner.Visit(tmp_path, tmp_path / "nets", toys["clever_data"].Data(folder), toys["clever"].SIZES["small"])
    visit.memory = "1MiB"       # many chunks, between which the clock is looked at
    ask = stages.Ask("mnist-mlp", 2, {"batches": 10, "samples": 20})
    real = absint.clever
    monkeypatch.setattr(absint, "clever", lambda *words, **given: real(*words, **{**given, "total_timeout": 1e-9}))
    found = stages.scored(visit, "unit", ask, 100.0)
    assert (found["state"], found["rows"]) == ("cut", [])
    monkeypatch.setattr(absint, "clever", real)
    found = stages.scored(visit, "unit", ask, 100.0)
    assert (found["state"], found["images"], len(found["rows"])) == ("done", 2, 6)


# ---- what pages make of rows --------------------------------------------------------------------------------------------


def found_of(*scores: float, kind: str = "least", **more: object) -> dict:
    return {"state": "done", "rows": [{"index": k, "kind": kind, "score": score, **more} for k, score in enumerate(scores)]}


def test_shares_and_gains_are_those_of_the_papers_tables(papers):
    compared = papers["clever_stages"].compared
    one, two = found_of(2.0, 3.0, 1.0, 1.0, 5.0), found_of(1.0, 2.0, 1.5, 1.0)
    assert compared(one, two, "least") == (50.0, 25.0, pytest.approx(75.0), pytest.approx(50.0))
    assert compared(one, found_of(*[9.0] * 5), "least")[:3] == (0.0, 100.0, None)
    assert compared(one, two, "random") is None
    assert compared(one, None, "least") is None


def test_means_are_over_what_is_finite(papers):
    average = papers["clever_stages"].average
    assert average([{"attacked": 1.0}, {"attacked": inf}, {"attacked": 3.0}, {"attacked": None}], "attacked") == 2.0
    assert average([]) is None


def test_relations_are_told_and_fail_nothing(papers):
    relation = papers["clever_runner"].relation
    assert [relation("a", one) for one in (True, False, None)] == ["- held: a", "- NOT held: a", "- not known: a"]


def test_a_proof_above_an_attack_is_seen(papers, runner):
    _, visit, _ = runner
    rows = [{"index": 0, "kind": "least", "score": 1.0, "certified": 2.0, "attacked": 1.5, "flag": "above an attack"}]
    page = "\n".join(papers["clever_stages"].sandwich_page(visit, {"sandwich-mnist-mlp-l2": {"rows": rows}}))
    assert "- NOT held: no certified radius lies above an attack (1 of 1)" in page


def test_wrong_calls_leave_with_usage(papers, tmp_path):
    with pytest.raises(SystemExit) as caught:
        papers["clever"].main(["--nets", str(tmp_path), "--out", str(tmp_path), "--only", "table"])
    assert caught.value.code == 2


def test_one_unit_can_be_asked_for(visited):
    _, units, page, _ = visited("--only", "net-mnist-mlp,norm-l2")
    assert units == ["net-mnist-mlp", "norm-l2"]
    assert "- norm-l1: not begun" in page
    assert "## tables" not in page


def test_nothing_is_written_where_only_pages_are_asked_for(visited):
    code, _, page, out = visited("--pages")
    assert code == 0
    assert "- order1-mnist-mlp: not begun" in page
    assert sorted(Path(path).name for path in out.iterdir()) == ["clever.md"]
