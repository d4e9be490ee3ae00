"""`absint errors`: every column has its own numbers, their order holds, limits count as errors, and a contradiction ends the run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from journals import killed

import absint
from absint import samples
from absint.analyses.errors import deciding
from absint.analyses.errors.record import ImageErrors
from absint.analyses.errors.summary import Rate, rates
from absint.errors import InternalError
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

NET = samples.network_path("mnist_relu_3x50")
QUICK = {"attack_steps": 20, "restarts": 1}


def errors(**given):
    return absint.error_rates(NET, **{"index": "0:12", "eps": "0.03", "domains": "box,deeppoly", **QUICK, **given})


def record(index: int, *, correct: bool = True, attacked: bool | None = None, **proved: bool | None) -> ImageErrors:
    return ImageErrors(index, 0, 0 if correct else 1, correct, attacked, proved, {}, {})


def percent(found, name: str) -> float:
    return next(row["percent"] for row in found.document.summary["rates"] if row["error"] == name)


def test_each_column_has_the_numbers_of_its_domain() -> None:
    found = errors()
    by_verify = {name: [one.verdict is Verdict.VERIFIED for one in absint.verify(NET, index="0:12", eps="0.03", domain=name, attack=None)]
                 for name in ("box", "deeppoly")}
    images = sorted(found, key=lambda one: one.index)
    assert [one.index for one in images] == list(range(12))
    for name, verified in by_verify.items():
        assert [bool(one.proved[name]) for one in images] == verified
        assert percent(found, f"verified: {name}") == pytest.approx(100 * (1 - np.mean(verified)), abs=1e-3)
    assert not images[8].correct
    assert images[8].proved == {"box": None, "deeppoly": None}
    assert images[8].attacked is None
    assert not any(one.attacked and any(one.proved.values()) for one in images)
    assert percent(found, "clean") <= percent(found, "under attack: 20 steps, 1 starts") <= percent(found, "verified: any of these")
    assert all(row["n"] == 12 for row in found.document.summary["rates"])
    assert found.document.exit_code == 0


def test_only_what_is_open_is_asked() -> None:
    found = errors(domains="deeppoly,zonotope", only_open=True, eps="0.02")
    for one in found:
        assert one.proved["zonotope"] is not True or one.proved["deeppoly"] is False
        assert one.proved["deeppoly"] is not True or one.proved["zonotope"] is None
    assert any(one.proved["deeppoly"] for one in found)
    assert percent(found, "verified: deeppoly or zonotope") <= percent(found, "verified: deeppoly")


def test_what_searches_is_not_asked_about_images_that_are_broken() -> None:
    found = errors(domains="box,exact", eps="0.03", index="5:9")
    broken = [one for one in found if one.attacked]
    assert broken
    for one in broken:
        assert one.reasons["exact"] == "attacked"
        assert one.proved == {"box": False, "exact": False}
        assert "exact" not in one.seconds


def test_without_an_attack_there_is_no_rate_of_it() -> None:
    found = errors(attack_steps=0, index="0:4")
    assert [row["error"] for row in found.document.summary["rates"]] == ["clean", "verified: box", "verified: deeppoly",
                                                                         "verified: any of these"]
    assert all(one.attacked is None for one in found)


def claims(verdict: Verdict, reason: Reason | None = None, *, cut: bool = False):
    """In the place of `decided`: all of one verdict."""
    sound = Assurance.SOUND if verdict is Verdict.VERIFIED else Assurance.NONE

    def stand_in(problem, settings):
        yield from (InstanceResult(name, verdict, assurance=sound, reason=reason, cut=cut, time_s=0.5) for name in problem.index)

    return stand_in


def test_a_proof_of_what_an_attack_broke_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "decided", claims(Verdict.VERIFIED))
    with pytest.raises(InternalError, match="proved robust and misclassified") as found:
        errors(eps="0.2")
    assert found.value.code == "E-CONTRADICTION"


def test_it_does_so_on_the_command_line(monkeypatch: pytest.MonkeyPatch, cli) -> None:
    monkeypatch.setattr(deciding, "decided", claims(Verdict.VERIFIED))
    found = cli("errors", NET, "--index", "0:4", "--eps", "0.2", "--attack-steps", "20", "--restarts", "1", "--quiet", "--out", "/dev/null")
    assert found.code == 70
    assert "E-CONTRADICTION" in found.err


def test_a_witness_of_one_domain_and_a_proof_of_another_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(problem, settings):
        verdict = Verdict.VERIFIED if type(settings.domain).__name__ == "Box" else Verdict.FALSIFIED
        yield from claims(verdict)(problem, settings)

    monkeypatch.setattr(deciding, "decided", stand_in)
    with pytest.raises(InternalError, match="proved robust and misclassified"):
        errors(eps="0.001", attack_steps=0)


def test_what_a_limit_ends_counts_as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "decided", claims(Verdict.UNKNOWN, Reason.TIMEOUT))
    found = errors(attack_steps=0, domains="box")
    assert percent(found, "verified: box") == 100
    assert found.document.exit_code == 1
    assert "11 proofs ended by the limit" in str(found.document.sections)
    assert [row["seconds"] for row in found.document.summary["rates"]] == [None, 5.5]


def test_what_rests_on_a_solver_alone_or_is_likely_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "decided", claims(Verdict.LIKELY, Reason.UNROUNDED))
    assert percent(errors(attack_steps=0, domains="box"), "verified: box") == 100
    monkeypatch.setattr(deciding, "decided", lambda problem, settings: (
        replace(one, assurance=type(one.assurance).SOLVER) for one in claims(Verdict.VERIFIED)(problem, settings)))
    assert percent(errors(attack_steps=0, domains="box"), "verified: box") == 100


def test_the_limit_of_the_run_leaves_the_rest_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "decided", claims(Verdict.UNKNOWN, Reason.TIMEOUT, cut=True))
    found = errors(attack_steps=0, domains="box", index="0:3")
    assert all(one.cut for one in found)
    assert found.document.summary["cut"] == 3
    assert found.document.exit_code == 1
    late = errors(total_timeout=1e-6)
    assert len(late) == 0
    assert all(row["n"] == 0 and row["percent"] is None for row in late.document.summary["rates"])
    assert late.document.exit_code == 1


class Task:
    attack = None
    only_open = False
    domains = ("a", "b")


def counted(records, task=Task) -> dict[str, tuple[int, int]]:
    return {one.name: (one.errors, one.n) for one in rates(records, task)}


def test_rates_are_of_the_images_that_are_decided() -> None:
    records = [record(0, correct=False), record(1, a=True, b=False), record(2, a=False, b=True), record(3, a=False, b=None),
               record(4, a=None, b=None)]
    assert counted(records) == {"clean": (1, 5), "verified: a": (3, 4), "verified: b": (2, 3), "verified: any of these": (1, 3)}


def test_under_attack_what_is_proved_is_unbroken() -> None:
    assert record(0, correct=False).unbroken is False
    assert record(1, attacked=True, a=False).unbroken is False
    assert record(2, attacked=False, a=False).unbroken is True
    assert record(3, a=True).unbroken is True
    assert record(4, a=False).unbroken is None


def test_a_rate_of_nothing_has_no_interval() -> None:
    assert Rate("x", 0, 0).cells == ("x", None, 0, 0, None, None, None)
    assert Rate("x", 5, 100).told(100)[4:6] == Rate("x", 5, 100).cells[4:6] != (None, None)
    assert Rate("x", 5, 100).told(101) == ("x", 5.0, 5, 100, None, None, None), "what is decided first is no random sample"
    low, high = Rate("x", 5, 100).interval or (0, 0)
    assert 0.016 < low < 0.0165
    assert 0.112 < high < 0.114


@pytest.mark.parametrize(("words", "code", "error"), [
    (["--eps", "8"], 2, "E-EPS"), (["--eps", "-0.1"], 2, "E-EPS"), (["--domains", "bocks"], 2, "E-DOMAIN-UNKNOWN"),
    (["--attack-steps", "-1"], 2, "E-ERRORS-ATTACK"), (["--restarts", "0"], 2, "E-ERRORS-ATTACK"), (["--rate", "0"], 2, "E-ERRORS-ATTACK"),
    (["--dtype", "int8"], 2, "E-DTYPE"), (["--timeout", "0"], 2, "E-TIMEOUT"), (["--data", "missing"], 3, "E-")])
def test_bad_options_have_codes(words: list[str], code: int, error: str, cli) -> None:
    cli("errors", NET, *words).fails(code, error)


def test_data_without_labels_is_refused(cli, tmp_path) -> None:
    np.savez(tmp_path / "bare.npz", images=np.zeros((3, 784), dtype=np.float32))
    cli("errors", NET, "--data", tmp_path / "bare.npz").fails(3, "E-DATA-UNLABELLED")


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.astype(np.uint8).tobytes()


def test_of_a_folder_of_training_data_the_test_part_is_meant(cli, tmp_path) -> None:
    sample = samples.data("mnist")
    images, labels = np.rint(sample.inputs * 255), sample.labels
    for name, part in (("train", slice(20, 40)), ("t10k", slice(0, 20))):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(images[part]))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels[part]))
    words = ("--eps", "0.01", "--domains", "deeppoly", "--attack-steps", "0", "--format", "csv", "--quiet")
    ours, theirs = (cli("errors", NET, *more, *words) for more in (("--data", tmp_path), ("--index", "0:20")))
    assert ours.code == theirs.code == 0, ours.err

    def answers(text: str) -> list[list[str]]:
        return sorted(line.split(",")[:5] for line in text.splitlines() if line[:1].isdigit())

    assert answers(ours.out) == answers(theirs.out)
    assert len(answers(ours.out)) == 20


def test_a_killed_run_goes_on_where_it_was(tmp_path, cli) -> None:
    journal = tmp_path / "errors.jsonl"
    words = ("errors", NET, "--eps", "0.02", "--domains", "box,deeppoly", "--attack-steps", "20", "--restarts", "2", "--quiet", "--format",
             "json")
    whole = cli(*words, "--index", "0:20", "--journal", journal)
    assert whole.code == 0, whole.err
    lines = killed(journal)
    assert len(lines) == 21
    journal.write_bytes(b"".join(lines[:8]) + lines[9][:30])
    again = cli(*words, "--index", "0:20", "--journal", journal, "--resume")
    assert again.code == 0, again.err
    for text in ("attacked", "proved"):
        assert again.out.count(f'"{text}"') == whole.out.count(f'"{text}"') > 0
