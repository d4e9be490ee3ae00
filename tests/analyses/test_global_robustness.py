"""`absint global robustness`: verdicts and probabilities that are known, proofs under attack, radii in order, stopped runs, refusals."""

from __future__ import annotations

import json
from fractions import Fraction
from math import inf
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from known_pairs import SLOPE, draw, identity_generator, probability, sign_classifier
from rows_of_networks import files, output
from test_global_correctness import stopping

import absint
from absint.analyses.global_robustness import deciding
from absint.analyses.global_robustness.deciding import Radii
from absint.analyses.global_robustness.latents import drawn
from absint.cli.main import main
from absint.contract.analysis import Failure, analysis_of
from absint.errors import InputError, UsageError
from absint.numeric.statistics import clopper_pearson, confidence_sequence
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

pytestmark = pytest.mark.usefixtures("warm")

NONE = {"classifier_range": "none"}
RADII = "0,0.001,0.1,0.4"


def known(folder: Path, shift: float = 6.0, **given):
    nets = {"classifier": sign_classifier(folder, shift), "generator": {0: identity_generator(folder)}}
    return absint.global_robustness(**{**nets, "eps": RADII, "draws": 120, **NONE, **given})


def rows(found, label: int = 0) -> dict[str, dict]:
    return {one["eps"]: one for one in found.document.values["classes"] if one["class"] == label}


def pair(folder: Path, **given):
    """Two classes of a small generator."""
    g, c = files(folder)
    return absint.global_robustness(c, {0: g, 2: g}, **{"eps": "0.003,0.03,0.3", "draws": 12, "rescale": True, "timeout": None, **given})


def scores(latents: np.ndarray, shift: float) -> list[Fraction]:
    """3 z1 - 4 z2 + shift, exact."""
    return [sum((Fraction(float(z)) * Fraction(s) for z, s in zip(row, SLOPE, strict=True)), Fraction(shift)) for row in latents]


def test_every_verdict_is_the_true_one(tmp_path: Path) -> None:
    """Within eps the score falls by 7 eps: a network without a nonlinear operator leaves nothing open."""
    found = known(tmp_path)
    exact = scores(drawn("normal", 0, 0, 0, 120, 2), 6.0)
    for one in found:
        score = exact[one.draw]
        assert one.correct is (score > 0)
        assert {eps: verdict == "verified" for eps, verdict in one.verdicts.items()} == {
            eps: score > 7 * Fraction(eps) for eps in ("0", "0.001", "0.1", "0.4")}
        assert "unknown" not in one.verdicts.values()
    counted = rows(found)
    for eps, p in ((eps, probability(6.0, float(eps))) for eps in counted):
        assert counted[eps]["low"] <= p <= counted[eps]["high"]
        assert counted[eps]["verified"] + counted[eps]["falsified"] == 120
        assert (counted[eps]["low"], counted[eps]["high"]) == pytest.approx(clopper_pearson(counted[eps]["verified"], 120, 0.99), abs=1e-12)


def test_witnesses_are_within_the_radius_and_misread_by_both_models(tmp_path: Path) -> None:
    found = known(tmp_path)
    fallen = [one for one in found if one.witness is not None]
    assert fallen
    for one in fallen:
        latent = drawn("normal", 0, 0, one.draw, 1, 2)[0].astype(np.float64)
        far = max(abs(Fraction(a) - Fraction(float(b))) for a, b in zip(one.witness, latent, strict=True))
        assert one.distance is not None
        assert far <= Fraction(one.distance)
        fallen_at = {eps for eps, verdict in one.verdicts.items() if verdict == "falsified"}
        assert fallen_at >= {eps for eps in one.verdicts if Fraction(eps) >= far}
        assert one.verdicts["0"] == ("falsified" if far == 0 else "verified")
        images = output(tmp_path / "G.onnx", np.array([one.witness], dtype=np.float32))
        assert output(tmp_path / "C.onnx", images).argmax() == one.taken == 1


def test_at_radius_zero_verified_is_correct(tmp_path: Path) -> None:
    robust = rows(known(tmp_path))["0"]
    right = absint.global_correctness(tmp_path / "C.onnx", {0: tmp_path / "G.onnx"}, draws=120, **NONE).document.values["classes"][0]
    assert robust["verified"] == robust["correct"] == right["right"]
    assert robust["falsified"] == right["wrong"]


def test_counts_are_in_order_of_the_radii(tmp_path: Path) -> None:
    counted = rows(pair(tmp_path, eps="0,0.003,0.03,0.3"))
    order = list(counted.values())
    assert [one["eps"] for one in order] == ["0", "0.003", "0.03", "0.3"]
    assert [one["verified"] for one in order] == sorted((one["verified"] for one in order), reverse=True)
    assert [one["falsified"] for one in order] == sorted(one["falsified"] for one in order)
    for one in order:
        assert one["verified"] + one["falsified"] + one["unknown"] == one["counted"] == 12
        assert one["low"] <= one["verified"] / 12 <= (12 - one["falsified"]) / 12 <= one["high"]
    assert order[0]["verified"] == order[0]["correct"]


def test_proofs_survive_attacks(tmp_path: Path) -> None:
    """1,000 random latents and 20 steps of descent within each verified radius, evaluated by onnxruntime."""
    found = pair(tmp_path, eps="0.03,0.3")
    sessions = [onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"]) for name in ("G.onnx", "C.onnx")]
    graph = absint.load(tmp_path / "C.onnx", compose=tmp_path / "G.onnx", rescale=True)

    def classes(latents: np.ndarray) -> np.ndarray:
        images = sessions[0].run(None, {sessions[0].get_inputs()[0].name: latents.astype(np.float32)})[0]
        unit = ((images.astype(np.float64) + 1) / 2).astype(np.float32)
        return sessions[1].run(None, {sessions[1].get_inputs()[0].name: unit})[0].argmax(1)

    random, proved = np.random.default_rng(4), 0
    for one in found:
        reach = max((float(eps) for eps, verdict in one.verdicts.items() if verdict == "verified"), default=0.0)
        if reach:
            proved += 1
            latent = drawn("normal", 0, one.label, one.draw, 1, 4).astype(np.float64)
            inside = reach * (1 - 1e-6)
            assert (classes(latent + random.uniform(-inside, inside, (1000, 4))) == one.label).all()
            x = torch.from_numpy(latent + random.uniform(-inside, inside, (10, 4)))
            for _ in range(20):
                x.requires_grad_()
                y = graph(x)
                lead = y[:, one.label] - y.index_fill(1, torch.tensor([one.label]), -inf).amax(1)
                (gradient,) = torch.autograd.grad(lead.sum(), x)
                x = (x.detach() - reach / 5 * gradient.sign()).clamp(torch.from_numpy(latent) - inside, torch.from_numpy(latent) + inside)
            assert (classes(x.detach().numpy()) == one.label).all()
    assert proved >= 10


def test_what_a_larger_radius_says_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    real = deciding.decided

    def counting(problem, settings):
        asked.append((problem.eps, len(problem.index)))
        return real(problem, settings)

    monkeypatch.setattr(deciding, "decided", counting)
    monkeypatch.setattr(deciding, "_ROUND", 120)
    found = known(tmp_path, eps="0.001,0.1,0.4")
    right = [one for one in found if one.correct]
    left = [one for one in right if one.verdicts["0.4"] != "verified"]
    assert asked[0] == ("0.4", len(right))
    assert all(count <= len(left) for eps, count in asked[1:] if eps != "0.4")


def test_a_near_witness_of_a_large_radius_counts_for_small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was open there is falsified, too."""
    def near(problem, settings):
        for k, name in enumerate(problem.index):
            if problem.eps == "0.1":
                center = problem.region.center[k].flatten().tolist()
                yield InstanceResult(name, Verdict.FALSIFIED, assurance=Assurance.REPLAYED, witness=(center[0] + 0.0009, center[1]))
            else:
                yield InstanceResult(name, Verdict.UNKNOWN, reason=Reason.IMPRECISE)

    monkeypatch.setattr(deciding, "decided", near)
    for one in known(tmp_path, shift=100.0, draws=5, eps="0.0001,0.001,0.1,0.4"):
        assert one.verdicts == {"0.0001": "unknown", "0.001": "falsified", "0.1": "falsified", "0.4": "falsified"}
        assert one.reasons == {"0.0001": "imprecise"}


def test_a_solvers_word_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def word(problem, settings):
        yield from (InstanceResult(name, Verdict.VERIFIED, assurance=Assurance.SOLVER) for name in problem.index)

    monkeypatch.setattr(deciding, "decided", word)
    assert all(one.verdicts == {"0.1": "unknown"} for one in known(tmp_path, shift=100.0, draws=3, eps="0.1"))


def test_without_an_answer_a_draw_is_unknown_in_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_(problem, settings):
        yield from (InstanceResult(name, Verdict.UNKNOWN, reason=Reason.TIMEOUT) for name in problem.index)

    monkeypatch.setattr(deciding, "decided", open_)
    found = known(tmp_path, draws=40, eps="0.1")
    counted = rows(found)["0.1"]
    wrong = 40 - counted["correct"]
    assert (counted["verified"], counted["falsified"], counted["unknown"]) == (0, wrong, counted["correct"])
    assert (counted["low"], counted["high"]) == pytest.approx((0.0, clopper_pearson(40 - wrong, 40, 0.99)[1]), abs=1e-12)
    assert found.document.summary["unknown_reasons"] == {"timeout": counted["correct"]}
    assert found.document.exit_code == 0


# ---- stopped, continued, elsewhere -------------------------------------------------------------------------------------------


def test_what_the_limit_of_the_run_cut_is_not_drawn(tmp_path: Path) -> None:
    """Whatever was decided after it."""
    task = known(tmp_path, draws=6, eps="0.1").run.problem
    assert isinstance(task, Radii)
    records = {k: draw(k, {"0.1": "verified"}, cut=k == 3) for k in range(6) if k != 5}
    assert [one.index for one in deciding.of_pair(records, task.task.pairs[0], task)] == [0, 1, 2]


@pytest.mark.parametrize("sequential", [False, True])
def test_a_stopped_run_counts_its_prefix_and_goes_on(tmp_path: Path, sequential: bool) -> None:
    g, c = identity_generator(tmp_path), sign_classifier(tmp_path, 6.0)
    words = ["global", "robustness", str(c), "--generator", f"0={g}", "--generator", f"1={g}", "--classifier-range", "none",
             "--draws", "40", "--eps", "0.1", "--quiet", "--format", "json", *(["--sequential"] if sequential else [])]

    def document(name: str, *more: str) -> dict:
        assert main([*words, "--out", str(tmp_path / name), *more]) in (0, 1, 130)
        return json.loads((tmp_path / name).read_text())

    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 30)
        stopped = document("stopped.json", "--journal", str(tmp_path / "j"))
    kept = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()[1:31]]     # before the run that goes on
    found = {one["index"] for one in kept}
    assert len(found) == 30
    for one in stopped["classes"]:
        first = next(k for k in range(40) if 2 * k + one["class"] not in found)
        assert one["counted"] == first
        mine = [record["verdicts"]["0.1"] for record in kept if record["label"] == one["class"] and record["draw"] < first]
        assert (one["verified"], one["falsified"]) == (mine.count("verified"), mine.count("falsified"))
        low, high = ((confidence_sequence(one["verified"], first, 0.995)) if sequential else
                     (clopper_pearson(one["verified"], 40, 0.995)[0], clopper_pearson(40 - one["falsified"], 40, 0.995)[1]))
        assert (one["low"], one["high"]) == pytest.approx((low, high), abs=1e-12)
    assert len(found) > sum(one["counted"] for one in stopped["classes"]), "the wrong ones are told first: there is more than the prefix"
    resumed, whole = document("resumed.json", "--journal", str(tmp_path / "j"), "--resume"), document("whole.json")
    for one in (*resumed["draws"], *whole["draws"]):
        del one["time_s"]
    assert resumed["draws"] == whole["draws"]
    assert resumed["classes"] == whole["classes"]


def test_a_class_that_is_narrow_enough_is_asked_no_more(tmp_path: Path) -> None:
    found = known(tmp_path, shift=40.0, draws=400, eps="0.1", stop_width="0.1")
    counted = rows(found)["0.1"]
    assert counted["counted"] < 400
    assert counted["counted"] % 64 == 0, "rounds"
    assert counted["high"] - counted["low"] <= 0.1
    assert found.document.exit_code == 0
    assert found.document.summary["stopped_early"]


def test_processes_give_the_same(tmp_path: Path) -> None:
    local, apart = (known(tmp_path, draws=2, eps="0.1", timeout=None, executor=executor) for executor in ("local", "processes"))
    assert [{**vars(one), "time_s": 0} for one in local] == [{**vars(one), "time_s": 0} for one in apart]


def test_a_draw_that_met_an_error_is_unknown(tmp_path: Path) -> None:
    """It is a draw: leaving it out would be biased, too."""
    found = known(tmp_path, draws=3, eps="0.001,0.1")
    analysis = analysis_of("global.robustness")
    item = analysis.items(found.run)[2]
    for code, reason in (("E-TIMEOUT", "timeout"), ("E-WORKER-DIED", "E-WORKER-DIED")):
        made = analysis.failed(item, Failure(item.index, item.name, code, "gone", 2.0))
        assert (made.index, made.draw, made.correct) == (2, 2, None)
        assert made.verdicts == {"0.001": "unknown", "0.1": "unknown"}
        assert set(made.reasons.values()) == {reason}


def test_one_seed_has_one_result(tmp_path: Path) -> None:
    def kept(**given) -> list[tuple]:
        found = sorted(pair(tmp_path, draws=4, eps="0.03", **given), key=lambda one: one.index)
        return [(one.index, one.correct, one.verdicts) for one in found]

    assert kept() == kept() == kept(batch=2)
    assert kept() != kept(seed=3)


# ---- what is written, and what is refused ------------------------------------------------------------------------------------


def test_worst_classes_and_curves(tmp_path: Path) -> None:
    found = pair(tmp_path)
    worst = {one["eps"]: one for one in found.document.summary["worst"]}
    for eps in ("0.003", "0.03", "0.3"):
        both = [rows(found, label)[eps] for label in (0, 2)]
        assert (worst[eps]["low"], worst[eps]["high"]) == (min(one["low"] for one in both), min(one["high"] for one in both))
        assert worst[eps]["delta"] == pytest.approx(max(1 - one["low"] for one in both))
    (figure,) = found.document.figures
    assert figure.panels[0].names == ("0.003", "0.03", "0.3")
    joint = pair(tmp_path, simultaneous=True)
    for label in (0, 2):
        for eps, one in rows(joint, label).items():
            apart = rows(found, label)[eps]
            assert one["low"] < apart["low"] or one["verified"] == 0
            assert one["verified"] == apart["verified"]


def test_pictures(tmp_path: Path) -> None:
    g, c = files(tmp_path)
    said = tmp_path / "grid"
    assert main(["global", "robustness", str(c), "--generator", f"0={g}", "--rescale", "--draws", "4", "--eps", "0.3", "--quiet", "--grid",
                 str(said), "--plot", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert list(said.iterdir()) == [], "six values are no image"


BAD = [({"eps": "-1"}, "E-EPS"), ({"eps": "some"}, "E-EPS"), ({"eps": []}, "E-GLOBAL-EPS"), ({"eps": "0.1,,0.2"}, "E-EPS"),
       ({"attack": "none at all"}, "E-ATTACK-UNKNOWN"), ({"dtype": "int8"}, "E-DTYPE"), ({"domain": "no such"}, "E-DOMAIN-UNKNOWN"),
       ({"draws": 0}, "E-GLOBAL-DRAWS"), ({"level": 1.5}, "E-GLOBAL-LEVEL"), ({"timeout": 0}, "E-TIMEOUT")]


@pytest.mark.parametrize(("given", "code"), BAD)
def test_options_that_are_refused_before_anything_is_read(given: dict, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        absint.global_robustness(**{"classifier": "missing.onnx", "generator": "0=missing.onnx", **given})
    assert caught.value.code == code


def test_a_radius_without_another_latent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        known(tmp_path, eps="0.1,1e-9")
    assert caught.value.code == "E-GLOBAL-EPS"
    assert known(tmp_path, draws=2, eps="0.000001").document.exit_code == 0


def test_another_runs_journal_is_refused(tmp_path: Path) -> None:
    known(tmp_path, draws=3, eps="0.1", journal=tmp_path / "j")
    for other in ({"eps": "0.2"}, {"seed": 1}, {"shift": 5.0}, {"latent": "uniform"}, {"draws": 4}):
        with pytest.raises(InputError) as caught:
            known(tmp_path, **{"draws": 3, "eps": "0.1", "journal": tmp_path / "j", "resume": True, **other})
        assert caught.value.code == "E-JOURNAL-MISMATCH"
    again = known(tmp_path, draws=3, eps="0.10", level="0.9", journal=tmp_path / "j", resume=True)
    assert len(again) == 3
