"""Runs of `taboo certify`: bad input by code, a journal that goes on, other processes, and what the document claims."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction as F
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from taboo_nets import read, rectifier

import absint
from absint.analyses.taboo import certifying
from absint.analyses.taboo.traps import Trap, Traps, read_traps, write_traps
from absint.cli.main import main
from absint.errors import AbsintError
from absint.model.content_digest import model_digest
from absint.model.watched import Watch

pytestmark = pytest.mark.usefixtures("warm")

HAND = np.array([[1.0, -1.0], [2.0, 0.0]])
BIAS = np.array([0.0, -0.5], dtype=np.float32)
# Quiet up to 1/8 and up to 1/16; alarming itself; on its threshold's far side by 1/32.
POINTS = np.array([[0.5, 0.25], [0.5, 0.125], [1.0, 0.0], [0.515625, 0.046875]])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network followed by hand, its detector of two traps, and inputs."""
    monkeypatch.chdir(tmp_path)
    graph = read(tmp_path, rectifier(HAND, BIAS))
    traps = (Trap((Watch("h", (0, 1)),), (0.5, 1.0), key_id=f"{10:016x}"), Trap((Watch("h", (1,)),), (2.0,), key_id=f"{11:016x}"))
    write_traps(Traps(traps, model_digest(graph), "lite", None, 9), tmp_path / "t.json")
    np.save(tmp_path / "x.npy", POINTS)
    return tmp_path


def certify(place: Path, *words: str, out: str = "out.json") -> tuple[int, dict[str, Any]]:
    """Exit code, and the document."""
    code = main(["taboo", "certify", "net.onnx", "--data", "x.npy", "--detector", "t.json", "--out", out, "--quiet", *words])
    return code, json.loads((place / out).read_text()) if code in (0, 1) else {}


def outcomes(document: dict[str, Any]) -> list[str]:
    return [row["outcome"] for row in document["certificates"]]


def test_the_document_claims_no_more_than_was_proved(place: Path) -> None:
    code, document = certify(place, "--eps", "0.1")
    assert (code, outcomes(document)) == (0, ["quiet", "reachable", "reachable", "reachable"])
    summary = document["summary"]
    assert (summary["quiet"], summary["reachable"], summary["open"], summary["alarms_themselves"]) == (1, 3, 0, 1)
    assert "further than 0.1 from each of the 1 inputs proved quiet (and says nothing of the other 3)" in summary["proved"]
    assert summary["not_claimed"].startswith("no alarm proves nothing")
    low, high = (summary["shares"][0][side] for side in ("low", "high"))
    assert (low, high) == (0.6309, 80.59), "Clopper-Pearson of 1 in 4, outward of 0.63094 and 80.5880"
    _, real = certify(place, "--eps", "0.1", "--semantics", "real")
    assert real["summary"]["proved"].startswith("nothing of executions")
    _, none = certify(place, "--eps", "0.25")
    assert none["summary"]["proved"].startswith("no input was proved quiet")


def test_radii_search_for_no_alarms_unless_asked(place: Path) -> None:
    words = ("--radius", "--upper", "1/2", "--tolerance", "1/64")
    code, plain = certify(place, *words)
    assert code == 0
    assert [row["certified_exact"] for row in plain["certificates"]] == ["0.1171875", "0.0546875", "0", "0.0078125"]
    assert [row["refuted_exact"] for row in plain["certificates"]] == ["inf", "inf", "0", "inf"]
    assert plain["header"]["numerics"]["attack"] is None
    _, searched = certify(place, *words, "--attack", "pgd")
    assert [row["certified_exact"] for row in searched["certificates"]] == [row["certified_exact"] for row in plain["certificates"]]
    assert all(row["refuted"] <= 0.5 for row in searched["certificates"])
    _, alarms = certify(place, *words, "--alarms")
    assert [(row["outcome"], row["certified_exact"]) for row in alarms["certificates"]][2] == ("alarmed", "0.2421875")


def test_open_balls_end_with_one(place: Path) -> None:
    code, document = certify(place, "--eps", "0.06", "--index", "1", "--attack", "none", "--semantics", "real")
    assert (code, outcomes(document)) == (0, ["quiet"])
    code, document = certify(place, "--eps", "0.0625", "--index", "1", "--attack", "none")
    assert (code, outcomes(document)) == (1, ["open"])
    row = document["certificates"][0]
    assert (row["reason"], row["tensor"], row["entry"], row["eps"]) == ("imprecise", "h", 0, "0.0625")


@pytest.mark.parametrize(("trap", "outcome"), [("0", "reachable"), ("1", "quiet"), (f"{10:016x}", "reachable"), (f"{11:016x}", "quiet")])
def test_one_trap_by_number_or_by_key(place: Path, trap: str, outcome: str) -> None:
    assert outcomes(certify(place, "--index", "2", "--trap", trap)[1]) == [outcome]


@pytest.mark.parametrize(("words", "code"), [
    (("--eps", "0"), "E-TABOO-EPS"), (("--eps", "-1"), "E-EPS"), (("--eps", "1.5"), "E-EPS"), (("--eps", "wide"), "E-EPS"),
    (("--trap", "2"), "E-TABOO-TRAP"), (("--trap", "-1"), "E-TABOO-TRAP"), (("--trap", f"{12:016x}"), "E-TABOO-TRAP"),
    (("--radius", "--upper", "0"), "E-RADIUS"), (("--radius", "--tolerance", "1e-40"), "E-RADIUS"), (("--attack", "none such"), "E-ATTACK"),
    (("--domain", "leen"), "E-DOMAIN-UNKNOWN"), (("--semantics", "float16"), "E-SEMANTICS"),
])
def test_bad_options_are_refused_by_code(place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: str) -> None:
    assert certify(place, *words)[0] == 2
    assert f"error[{code}" in capsys.readouterr().err


def test_a_detector_of_another_network_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(place, rectifier(HAND + 1, BIAS))
    assert certify(place)[0] == 3
    assert "error[E-TABOO-MODEL]" in capsys.readouterr().err


@pytest.mark.parametrize(("bad", "code"), [(np.array([[0.5, np.nan]]), "E-DATA-NAN"), (np.array([[0.5, 1.5]]), "E-REGION")])
def test_inputs_that_are_none_are_refused(place: Path, bad: np.ndarray, code: str) -> None:
    with pytest.raises(AbsintError) as refused:
        list(absint.taboo_certify("net.onnx", bad, detector="t.json"))
    assert refused.value.code == code


def test_no_inputs_prove_nothing(place: Path) -> None:
    found = absint.taboo_certify("net.onnx", np.zeros((0, 2)), detector=read_traps("t.json"))
    assert (len(found), found.document.summary["quiet"]) == (0, 0)
    assert found.document.summary["shares"][0]["percent"] is None
    assert found.document.summary["proved"].startswith("no input was proved quiet")


def test_what_is_decided_first_is_no_random_sample(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(row["low"] is not None for row in certify(place, "--eps", "0.1")[1]["summary"]["shares"])
    real = certifying.certificates

    def ends(*given: Any) -> Iterator[Any]:
        yield from islice(real(*given), 2)
        raise MemoryError

    monkeypatch.setattr("absint.analyses.taboo.asking.certificates", ends)
    assert certify(place, "--eps", "0.1", out="part.json")[0] == 5
    found = json.loads((place / "part.json").read_text(encoding="utf-8"))
    assert {row["n"] for row in found["summary"]["shares"]} == {2}
    assert all(row["low"] is None and row["high"] is None for row in found["summary"]["shares"])


def test_a_journal_cut_short_goes_on_with_what_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--eps", "0.1", "--journal", "j.jsonl")
    _, whole = certify(place, *words)
    lines = (place / "j.jsonl").read_bytes().splitlines(keepends=True)
    (place / "j.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2])
    asked: list[int] = []
    real = certifying.certificates
    monkeypatch.setattr("absint.analyses.taboo.asking.certificates",
                        lambda question, center, names: asked.extend(names) or real(question, center, names))
    code, again = certify(place, *words, "--resume")
    kept = {json.loads(line)["index"] for line in lines[1:3]}
    assert (code, set(asked)) == (0, set(range(4)) - kept)
    rows = [[{**row, "time_s": 0} for row in one["certificates"]] for one in (whole, again)]
    assert rows[0] == rows[1]
    traps = read_traps("t.json")
    write_traps(Traps(traps.traps[:1], traps.model_sha256, "lite", None, 9), "t.json")
    assert certify(place, *words, "--resume")[0] == 3, "the journal belongs to other traps"


def test_other_processes_say_the_same(place: Path) -> None:
    _, here = certify(place, "--eps", "0.1", "--index", "1")
    _, there = certify(place, "--eps", "0.1", "--index", "1", "--executor", "processes", out="there.json")
    rows = [[{**row, "time_s": 0} for row in one["certificates"]] for one in (here, there)]
    assert rows[0] == rows[1]


def test_radii_bound_what_one_radius_says(place: Path) -> None:
    """A ball within the certified radius is quiet, and one beyond the refuted radius is not."""
    found = absint.taboo_certify("net.onnx", POINTS, detector="t.json", radius=True, upper="1/2", tolerance="1/64", attack="pgd")
    for one in found:
        for eps, quiet in ((one.certified, True), (one.refuted, False)):
            if eps and eps != float("inf"):
                (again,) = absint.taboo_certify("net.onnx", POINTS[[one.index]], detector="t.json", eps=F(eps), attack="none")
                assert (again.outcome.value == "quiet") == quiet
