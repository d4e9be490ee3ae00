"""`absint sweep`: verdicts are those of `verify`; what is skipped follows from what was asked; contradictions end the run."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from journals import kept as kept_records
from onnx_models import build, node, stored

import absint
from absint.analyses.sweep import deciding
from absint.analyses.sweep.grid import AskedRadius, radii_of
from absint.analyses.sweep.record import SweepLine
from absint.contract.analysis import analysis_of
from absint.errors import InputError, InternalError, UsageError
from absint.runs.resolve import resolve
from absint.runs.session import RunSession
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

INPUTS = np.array([[0.9, 0.2], [0.55, 0.3], [0.2, 0.9], [0.5, 0.45]])
LABELS = np.array([0, 0, 0, 0])      # the third one is misclassified
SOUND = Assurance.SOUND


def model(bias: float = 0.0, classes: int = 2):
    """y0 - y1 = x0 - x1 + bias: without one, class 0 within (x0 - x1) / 2 in linf."""
    first = np.array([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]], dtype=np.float32)
    last = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)[:, :classes]
    nodes = [node("MatMul", "x a", "h"), node("Relu", "h", "r"), node("Gemm", "r b c", "y")]
    return build(nodes, ["n", 2], {"a": first, "b": last, "c": np.array([bias, 0.0, 0.0], dtype=np.float32)[:classes]})


@cache
def network(bias: float = 0.0):
    with TemporaryDirectory() as folder:
        return absint.load(stored(Path(folder), model(bias)))


def sweep(**given):
    return absint.sweep(network(), INPUTS, LABELS, **{"eps": ["0.05", "0.1", "0.3"], "domains": "box", **given})


def by_place(found):
    return {(one.index, one.domain, one.eps): one for one in found}


def test_each_row_says_what_became_of_it_whatever_the_line_comes_to() -> None:
    # What is verified at one radius only has no tone as a line; a format that counts must still see the falsified and the unknown one.
    analysis = analysis_of("sweep")
    line = SweepLine(0, "net", "linf", "box", 0, 0)
    results = [InstanceResult(0, Verdict.VERIFIED, assurance=SOUND), InstanceResult(0, Verdict.UNKNOWN, reason=Reason.IMPRECISE),
               InstanceResult(0, Verdict.FALSIFIED), InstanceResult(0, Verdict.VERIFIED, assurance=Assurance.SOLVER)]
    line = replace(line, cells=tuple(line.cell(f"0.{place}", one) for place, one in enumerate(results)))
    assert [analysis.row_tone(line, row) for row in line.cells] == [
        ("good", "verified"), ("open", "unknown"), ("bad", "falsified"), ("good", "verified on a solver's word")]
    rows = list(RunSession(analysis, sweep(eps=["0.05"]).run, None).rows(line))
    assert [row.tone for row in rows] == ["good", "open", "bad", "good"]


# ---- what is asked ---------------------------------------------------------------------------------------------------


class Oracle:
    """In the place of `verify`: verdicts as they are told, and what was asked."""

    def __init__(self, verdict, patch) -> None:
        self.verdict, self.asked = verdict, []
        patch.setattr(deciding, "analysis_of", lambda name: self)

    def decide(self, items, run):
        for item in items:
            self.asked.append((item.index, run.options.domain, run.options.eps))
            verdict = self.verdict(item.index, run.options.domain, float(run.options.eps))
            point = tuple(INPUTS[item.index]) if verdict is Verdict.FALSIFIED else None
            assurance = {Verdict.VERIFIED: SOUND, Verdict.FALSIFIED: Assurance.REPLAYED}.get(verdict, Assurance.NONE)
            reason = Reason.IMPRECISE if verdict is Verdict.UNKNOWN else None
            yield InstanceResult(item.index, verdict, 0, 0, reason, assurance=assurance, witness=point, time_s=1.0, stage="told")


def steps(edge):
    """Verified up to an edge of each input, falsified beyond it."""
    return lambda index, domain, eps: Verdict.VERIFIED if eps <= edge[index] else Verdict.FALSIFIED


def test_of_seven_radii_three_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Oracle(steps({0: 0.0, 1: 0.035, 2: 1.0, 3: 0.06}), monkeypatch)
    found = by_place(sweep(eps="0.01:0.07:7"))
    assert len(told.asked) == 3 * 4
    assert len(found) == 7 * 4
    for (index, _, eps), cell in found.items():
        assert cell.verdict is told.verdict(index, "box", float(eps))
        assert bool(cell.basis) == ((index, "box", eps) not in told.asked)
        assert cell.time_s == (0.0 if cell.basis else 1.0)
    assert found[1, "box", "0.01"].basis == "proof at 0.02"
    assert found[1, "box", "0.05"].basis == "witness at 0.04"


def test_the_end_counts_what_was_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    Oracle(steps({0: 0.0, 1: 0.035, 2: 1.0, 3: 0.06}), monkeypatch)
    document = sweep(eps="0.01:0.07:7").document
    assert document.summary["asked"] == 12
    assert sum(document.summary["skipped"].values()) == 16
    assert "verified at a larger radius of the same input, network, norm and domain" in str(document.sections)


def test_no_domain_lives_on_the_proofs_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def verdict(index, domain, eps):
        return Verdict.VERIFIED if domain == "deeppoly" and eps <= 0.2 else Verdict.UNKNOWN

    told = Oracle(verdict, monkeypatch)
    found = sweep(domains="deeppoly,box")
    assert {one.verdict for one in found if one.domain == "box"} == {Verdict.UNKNOWN}
    assert sum(domain == "box" for _, domain, _ in told.asked) == 12
    shares = {(one["domain"], one["eps"]): one["percent"] for one in found.shares}
    assert shares["box", "0.05"] == 0
    assert shares["deeppoly", "0.1"] == shares["any of these", "0.1"] == 100
    (table,) = next(one for one in found.document.sections if "one domain" in one.title).parts
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["verified by"], row["not by box"], row["not by deeppoly"]) for row in rows if row["eps"] == "0.1"] == [
        ("deeppoly", 4, None), ("box", None, 0)]


def test_unknown_says_nothing_of_other_radii(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Oracle(lambda index, domain, eps: Verdict.UNKNOWN, monkeypatch)
    assert len(sweep()) == len(told.asked) == 12


@pytest.mark.parametrize("broken", ["0.05", "0.1"])
def test_a_witness_within_the_reach_of_a_proof_ends_the_run(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def verdict(index, domain, eps):
        if domain == "box":
            return Verdict.VERIFIED if eps == 0.1 else Verdict.UNKNOWN
        return Verdict.FALSIFIED if index == 1 and eps == float(broken) else Verdict.UNKNOWN

    Oracle(verdict, monkeypatch)
    with pytest.raises(InternalError, match="what is verified is falsified as well") as found:
        sweep(domains="box,deeppoly")
    assert found.value.code == "E-CONTRADICTION"
    assert found.value.details == (f"network 1, input 1, linf: verified at eps 0.1 by box (told), falsified at eps {broken} under deeppoly "
                                   "(told) by the point [0.55, 0.3]",)


def test_a_witness_beyond_a_proof_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def verdict(index, domain, eps):
        return Verdict.VERIFIED if domain == "box" and eps < 0.2 else Verdict.FALSIFIED if eps > 0.2 else Verdict.UNKNOWN

    Oracle(verdict, monkeypatch)
    assert sweep(domains="box,deeppoly").document.error is None


def test_contradictions_of_other_processes_are_found_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Oracle(lambda index, domain, eps: Verdict.VERIFIED if domain == "box" else Verdict.FALSIFIED, monkeypatch)
    monkeypatch.setattr(deciding, "contradiction", lambda details: None)
    with pytest.raises(InternalError, match="E-CONTRADICTION"):
        sweep(domains="box,deeppoly")


def test_what_the_limit_of_the_run_cut_is_none_of_the_journal(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    def late(items, run):
        yield from (InstanceResult(item.index, Verdict.UNKNOWN, reason=Reason.TIMEOUT, cut=item.index == 0) for item in items)

    told = Oracle(None, monkeypatch)
    told.decide = late
    found = sweep(journal=tmp_path / "j.jsonl")
    assert found.document.exit_code == 1
    assert found.document.summary["cut"] == 1
    assert len(kept_records(tmp_path / "j.jsonl")) == 3


# ---- as it is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_verdicts_are_those_of_verify(norm: str) -> None:
    found = by_place(sweep(domains="box,deeppoly", norms=norm))
    for domain in ("box", "deeppoly"):
        for eps in ("0.05", "0.1", "0.3"):
            for one in absint.verify(network(), INPUTS, LABELS, eps, norm=norm, domain=domain):
                assert found[one.index, domain, eps].verdict is one.verdict
    assert {one.basis for one in found.values() if one.index == 2} == {"", "the input"}
    assert any(one.basis.startswith("proof") for one in found.values())


def test_what_is_kept_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    journal = tmp_path / "j.jsonl"
    told = Oracle(steps({0: 0.07, 1: 0.2, 2: 0.0, 3: 1.0}), monkeypatch)
    whole = sweep(journal=journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    told.asked.clear()
    again = sweep(journal=journal, resume=True)
    kept = {json.loads(line)["input"] for line in lines[1:3]}
    assert {index for index, _, _ in told.asked} == {0, 1, 2, 3} - kept
    assert by_place(again) == by_place(whole)


def test_samples_of_several_seeds_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Oracle(steps({0: 0.07, 1: 0.07, 2: 0.0, 3: 1.0}), monkeypatch)
    found = sweep(eps="0.1", sample=2, seeds=[0, 1, 2])
    drawn = found.run.header["samples"]
    assert {index for index, _, _ in told.asked} == {name for one in drawn.values() for name in one}
    assert len(told.asked) == len(set(told.asked))
    (table,) = next(one for one in found.document.sections if "seed" in one.title).parts
    row = dict(zip(table.columns, table.rows[0], strict=True))
    shares = [100 * sum(name == 3 for name in drawn[seed]) / 2 for seed in ("0", "1", "2")]
    assert [row["seed 0"], row["seed 1"], row["seed 2"]] == shares
    assert (row["least"], row["most"]) == (min(shares), max(shares))


def test_curves_fall_below_what_is_not_falsified(monkeypatch: pytest.MonkeyPatch) -> None:
    Oracle(steps({0: 0.07, 1: 0.2, 2: 0.0, 3: 1.0}), monkeypatch)
    (figure,) = sweep().document.figures
    (panel,) = figure.panels
    assert [one.label for one in panel.series] == ["box", "not falsified"]
    assert panel.series[0].x == (0.05, 0.1, 0.3)
    assert panel.series[0].y == panel.series[1].y == (0.75, 0.5, 0.25)


def test_intervals_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    Oracle(steps({0: 0.07, 1: 0.2, 2: 0.0, 3: 1.0}), monkeypatch)
    row = sweep().shares[0]
    assert (row["verified"], row["n"], row["percent"], row["low"], row["high"]) == (3, 4, 75.0, 19.41, 99.37)


def test_misclassified_inputs_are_verified_nowhere_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Oracle(lambda index, domain, eps: Verdict.MISCLASSIFIED if index == 2 else Verdict.VERIFIED, monkeypatch)
    found = sweep()
    assert [index for index, _, _ in told.asked].count(2) == 1
    assert [(row["verified"], row["misclassified"], row["n"], row["percent"]) for row in found.shares] == [(3, 1, 4, 75.0)] * 3
    assert found.document.figures[0].panels[0].series[1].y == (0.75, 0.75, 0.75)


def test_networks_of_other_questions_are_refused_before_any_is_swept(cli, tmp_path) -> None:
    ours, theirs = (stored(tmp_path, model(classes=count), f"{count}.onnx") for count in (2, 3))
    np.savez(tmp_path / "d.npz", images=INPUTS, labels=LABELS)
    done = cli("sweep", ours, theirs, "--data", tmp_path / "d.npz").fails(3, "E-SWEEP-NETS")
    assert "3.onnx has 3 outputs, 2.onnx has 2" in done.err
    assert not done.out


def test_networks_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def decide(items, run):
        asked.append(run.network)
        verdict = Verdict.VERIFIED if run.network is first else Verdict.UNKNOWN
        yield from (InstanceResult(item.index, verdict, assurance=SOUND) for item in items)

    Oracle(None, monkeypatch).decide = decide
    first, second = network(), network(0.5)
    found = absint.sweep([first, second], INPUTS, LABELS, "0.1", domains="box")
    (table,) = next(one for one in found.document.sections if "one network" in one.title).parts
    assert table.rows == (("linf", "box", "0.1", "network 1", 4, None, 4), ("linf", "box", "0.1", "network 2", 0, 0, None))
    assert len({id(one) for one in asked}) == 2


def test_repeated_radii_of_verify_are_told_the_command_that_takes_them(cli) -> None:
    done = cli("verify", "net.onnx", "--eps", "0.01", "--eps", "0.02", "--clip", "0,1").fails(2, "E-USAGE")
    assert "absint sweep net.onnx --eps 0.01 --eps 0.02 --clip 0,1" in done.err
    done = cli("verify", "net.onnx", "--eps", "0.01", "--eps", "0.02", "--patch", "3x3").fails(2, "E-USAGE")
    assert "sweep" not in done.err


@pytest.mark.parametrize("given", [{"seeds": [0, 1]}, {"seeds": [1, 1], "sample": 2}, {"seeds": "a"}, {"eps": []}, {"norms": "l3"},
                                   {"domains": "bocks"}, {"eps": "0.1,0.2", "norms": "l2"}, {"domains": [3]}, {"seeds": [True]}])
def test_bad_values_have_codes(given) -> None:
    if given == {"eps": []}:
        assert len({one.eps for one in sweep(eps=[], index="0:1", attack=None)}) == 4     # the default's
        return
    with pytest.raises(UsageError, match="E-"):
        sweep(**given)


def test_it_stands_on_verify_alone() -> None:
    assert analysis_of("sweep").parts(analysis_of("sweep").resolved(analysis_of("sweep").Options()))[0][0] == "verify"
    assert AskedRadius("0.1", (Fraction(1, 10),)) == radii_of(["0.1"])[0]


# ---- what is kept, and shown again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [{"domains": "deeppoly,box"}, {"net": 1}])
def test_a_journal_is_bound_to_the_order_of_its_lines(monkeypatch: pytest.MonkeyPatch, tmp_path, swapped) -> None:
    """An item's index says where its line stands: in another order it would be the answer of another domain or network."""
    Oracle(steps({0: 0.0, 1: 0.2, 2: 0.0, 3: 1.0}), monkeypatch)
    nets = [stored(tmp_path, model(bias), f"{bias}.onnx") for bias in (0.0, 0.5)]
    given = {"inputs": INPUTS, "labels": LABELS, "eps": "0.1", "domains": "box,deeppoly", "journal": tmp_path / "j.jsonl"}
    absint.sweep(nets, **given)
    other = {**given, **swapped}
    other.pop("net", None)
    with pytest.raises(InputError, match="E-JOURNAL-MISMATCH"):
        absint.sweep(nets[::-1] if "net" in swapped else nets, **other, resume=True)


def test_a_journal_is_bound_to_constants_that_were_changed_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    Oracle(lambda index, domain, eps: Verdict.VERIFIED, monkeypatch)
    graph = absint.load(stored(tmp_path, model()))
    journal = tmp_path / "j.jsonl"
    absint.sweep(graph, INPUTS, LABELS, "0.1", domains="box", journal=journal)
    next(node.op for node in graph.nodes if hasattr(node.op, "weight")).weight.mul_(-1)
    with pytest.raises(InputError, match="E-JOURNAL-MISMATCH"):
        absint.sweep(graph, INPUTS, LABELS, "0.1", domains="box", journal=journal, resume=True)


def test_networks_that_print_alike_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    Oracle(lambda index, domain, eps: Verdict.VERIFIED, monkeypatch)
    nets = [torch.nn.Sequential(torch.nn.Linear(2, 2)).eval() for _ in range(2)]
    assert len(absint.sweep(nets, INPUTS, LABELS, "0.1", domains="box")) == 8
    with pytest.raises(UsageError, match="given twice"):
        absint.sweep([nets[0], nets[0]], INPUTS, LABELS, "0.1", domains="box")


def test_a_witness_proves_a_solvers_word_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Oracle(None, monkeypatch)

    def decide(items, run):
        word, witness = (Verdict.VERIFIED, Assurance.SOLVER), (Verdict.FALSIFIED, Assurance.REPLAYED)
        verdict, assurance = word if run.options.domain == "box" else witness
        yield from (InstanceResult(item.index, verdict, 0, 0, assurance=assurance, stage="told", witness=tuple(INPUTS[item.index]))
                    for item in items)

    told.decide = decide
    with pytest.raises(InternalError, match="E-CONTRADICTION") as found:
        sweep(domains="box,deeppoly", eps="0.1", accept_solver=True)
    assert "on a solver's word" in found.value.details[0]


def test_time_is_over_when_it_is_for_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker on another machine sets the run's end by its own clock; a network's own run knows the other one's."""
    analysis, run = resolve("sweep", replace(analysis_of("sweep").Options(), net=(network(),), data=INPUTS, labels=LABELS, eps=("0.1",),
                                             domain=("box",), total_timeout=1000.0))
    told = Oracle(lambda index, domain, eps: Verdict.UNKNOWN, monkeypatch)
    ends, decide = [], told.decide
    told.decide = lambda items, one: (ends.append((one.begin, one.end)), decide(items, one))[1]
    list(analysis.decide(analysis.items(run), replace(run, begin=5.0, end=1e12)))
    assert ends == [(5.0, 1e12)]


@pytest.mark.parametrize("wrong", [False, True])
def test_the_journal_of_a_killed_sweep_is_summed_up(monkeypatch: pytest.MonkeyPatch, tmp_path, cli, wrong: bool) -> None:
    """With the contradictions that its lines hold: a run of several processes meets them at its end alone."""
    Oracle(lambda index, domain, eps: Verdict.FALSIFIED if wrong and domain == "box" and index == 1 else Verdict.VERIFIED, monkeypatch)
    monkeypatch.setattr(deciding, "contradiction", lambda details: None)
    np.savez(tmp_path / "data.npz", images=INPUTS, labels=LABELS)
    journal = tmp_path / "j.jsonl"
    ended = cli("sweep", stored(tmp_path, model()), "--data", tmp_path / "data.npz", "--eps", "0.1", "--eps", "0.05",
                "--domain", "box,deeppoly", "--journal", journal, "--format", "json", "--index", "0:2", "--quiet")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if not line.startswith(b'{"absint_end')))
    done = cli("report", journal, "--format", "json")
    if wrong:
        assert "E-CONTRADICTION" in ended.err
        assert "input 1, linf: verified at eps 0.1 by deeppoly" in done.err
        assert done.code == 70
        return
    one, two = json.loads(ended.out), json.loads(done.out)
    assert (done.code, two["shares"], two["summary"]["cells"]) == (0, one["shares"], one["summary"]["cells"])
