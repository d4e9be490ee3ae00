"""`absint global correctness`: probabilities that are known, stopped and continued runs, several networks, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from known_pairs import identity_generator, probability, sign_classifier
from onnx_models import build, node, stored, weights
from rows_of_networks import classifier, files, generator

import absint
from absint import samples
from absint.analyses.global_robustness.latents import drawn
from absint.cli.main import main
from absint.errors import AbsintError, InputError, UsageError
from absint.numeric.statistics import clopper_pearson, confidence_sequence
from absint.runs import session as session_room

NONE = {"classifier_range": "none"}


def known(folder: Path, shift: float = 6.0, **given):
    nets = {"classifier": sign_classifier(folder, shift), "generator": {0: identity_generator(folder)}}
    return absint.global_correctness(**{**nets, **NONE, **given})


def row(found, label: int = 0) -> dict:
    return next(one for one in found.document.values["classes"] if one["class"] == label)


def test_a_known_probability_is_within_three_deviations(tmp_path: Path) -> None:
    p, found = probability(6.0), row(known(tmp_path, draws=10_000, seed=2))
    assert found["right"] + found["wrong"] == found["counted"] == 10_000
    assert abs(found["share"] - p) <= 3 * (p * (1 - p) / 10_000) ** 0.5
    assert found["low"] <= p <= found["high"]
    assert (found["low"], found["high"]) == pytest.approx(clopper_pearson(found["right"], 10_000, 0.99), abs=1e-12)


def test_right_and_wrong_are_those_of_the_networks(tmp_path: Path) -> None:
    """Of both classes, by the very draws; a latent draws one class's images whoever asks."""
    g, c = files(tmp_path)
    found = absint.global_correctness(c, {0: g, 2: g}, draws=300, block=128, rescale=True)
    graph = absint.load(c, compose=g, rescale=True)
    for label in (0, 2):
        latents = torch.from_numpy(drawn("normal", 0, label, 0, 300, 4)).double()
        with torch.no_grad():
            predicted = graph(latents).argmax(1)
        mine = [block for block in found if block.label == label]
        assert [block.first for block in mine] == [0, 128, 256]
        assert sum(block.right for block in mine) == int((predicted == label).sum())
        mistaken = {int(k): taken for block in mine for k, taken in block.mistaken.items()}
        assert mistaken == {k: int(one) for k, one in enumerate(predicted) if one != label}


def test_the_worst_class_is_said(tmp_path: Path) -> None:
    g, c = files(tmp_path)
    found = absint.global_correctness(c, {0: g, 1: g, 2: g}, draws=200, rescale=True, level="0.97")
    rows = found.document.values["classes"]
    assert [one["low"] for one in rows] == sorted(one["low"] for one in rows)
    for one in rows:
        assert (one["low"], one["high"]) == pytest.approx(clopper_pearson(one["right"], 200, 0.99), abs=1e-12)      # 3 classes share 0.03
    (worst,) = found.document.summary["worst"]
    assert (worst["low"], worst["high"]) == (min(one["low"] for one in rows), min(one["high"] for one in rows))
    assert worst["class"] == rows[0]["class"]
    assert worst["delta"] == pytest.approx(max(1 - one["low"] for one in rows))


def test_one_seed_has_one_result(tmp_path: Path) -> None:
    def kept(**given) -> list[dict]:
        return [{**vars(one), "time_s": 0} for one in known(tmp_path, draws=600, **given)]

    assert kept(block=200) == kept(block=200) == kept(block=200, batch=17)
    assert kept(block=200) != kept(block=200, seed=1)
    assert sum(one["right"] for one in kept(block=200)) == sum(one["right"] for one in kept(block=77))


def test_networks_side_by_side_see_the_same_draws(tmp_path: Path) -> None:
    nets = [sign_classifier(tmp_path, shift, f"C{shift:g}.onnx") for shift in (2.0, 6.0)]
    g = identity_generator(tmp_path)
    both = absint.global_correctness(nets, {0: g}, draws=500, **NONE)
    alone = [absint.global_correctness(net, {0: g}, draws=500, **NONE) for net in nets]
    rows = both.document.values["classes"]
    assert [one["classifier"] for one in rows] == ["C2", "C6"]
    assert [one["right"] for one in rows] == [row(one)["right"] for one in alone]
    assert [one["low"] for one in rows] == [row(one)["low"] for one in alone], "pointwise: each stands for itself"
    joint = absint.global_correctness(nets, {0: g}, draws=500, simultaneous=True, level=0.98, **NONE)
    assert [one[end] for one in joint.document.values["classes"] for end in ("low", "high")] == pytest.approx(
        [one[end] for one in rows for end in ("low", "high")], abs=1e-12)
    assert "simultaneous" in joint.run.header["intervals"]["over"]
    assert "pointwise" in both.run.header["intervals"]["over"]


def test_a_second_generator_of_a_class_is_of_a_second_set(tmp_path: Path) -> None:
    g, h = identity_generator(tmp_path, "G.onnx"), identity_generator(tmp_path, "H.onnx")
    found = absint.global_correctness(sign_classifier(tmp_path, 6.0), (f"0={g}", f"0={h}", f"1={g}"), draws=200, **NONE)
    rows = {(one["set"], one["class"]): one for one in found.document.values["classes"]}
    assert set(rows) == {(1, 0), (1, 1), (2, 0)}
    assert rows[1, 0]["right"] == rows[2, 0]["right"]
    assert rows[1, 0]["low"] < rows[2, 0]["low"], "two classes share what the first set may miss"


def test_a_conditional_generator(tmp_path: Path) -> None:
    joined = build([node("Gemm", "x w b", "h", transB=1), node("Sigmoid", "h", "y")], ["n", 5], {"w": weights(6, 5), "b": weights(6)})
    g, c = stored(tmp_path, joined, "G.onnx"), stored(tmp_path, classifier(), "C.onnx")
    found = absint.global_correctness(c, conditional=g, draws=100)
    assert sorted(one["class"] for one in found.document.values["classes"]) == [0, 1, 2]
    some = absint.global_correctness(c, conditional=g, classes="2", draws=100, one_hot="first")
    whole, before = absint.load(g), absint.load(c)
    latents = torch.from_numpy(drawn("normal", 0, 2, 0, 100, 2)).double()
    one_hot = torch.tensor([[0.0, 0, 1]], dtype=torch.float64).expand(100, 3)
    with torch.no_grad():
        right = before(whole(torch.cat([one_hot, latents], 1))).argmax(1) == 2
    assert row(some, 2)["right"] == int(right.sum())


# ---- stopped, continued, sequential ----------------------------------------------------------------------------------------


def stopping(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A run that is interrupted once so many records are kept."""
    real = session_room.RunSession._kept

    def kept(self, record, asked):
        made = real(self, record, asked)
        if len(self.found) >= after:
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(session_room.RunSession, "_kept", kept)


def stopped_and_whole(folder: Path, words: list[str], after: int) -> tuple[dict, dict, dict]:
    """The documents of a run that was stopped, of the one that goes on from there, and of one that never was."""
    def document(name: str, *more: str) -> dict:
        assert main([*words, "--quiet", "--format", "json", "--out", str(folder / name), *more]) in (0, 1, 130)
        return json.loads((folder / name).read_text())

    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, after)
        stopped = document("stopped.json", "--journal", str(folder / "j"))
    return stopped, document("resumed.json", "--journal", str(folder / "j"), "--resume"), document("whole.json")


def plain(document: dict) -> list[dict]:
    return [{key: value for key, value in one.items() if key != "time_s"} for one in document["blocks"]]


@pytest.mark.parametrize("sequential", [False, True])
def test_a_stopped_run_counts_its_prefix_and_goes_on(tmp_path: Path, sequential: bool) -> None:
    g, c = identity_generator(tmp_path), sign_classifier(tmp_path, 6.0)
    words = ["global", "correctness", str(c), "--generator", f"0={g}", "--generator", f"1={g}", "--classifier-range", "none",
             "--draws", "500", "--block", "100", *(["--sequential"] if sequential else [])]
    stopped, resumed, whole = stopped_and_whole(tmp_path, words, after=5)
    by_class = {one["class"]: one for one in stopped["classes"]}
    assert (by_class[0]["counted"], by_class[1]["counted"]) == (300, 200)
    for one in by_class.values():
        assert one["draws"] == 500
        low, high = ((confidence_sequence(one["right"], one["counted"], 0.995)) if sequential else
                     (clopper_pearson(one["right"], 500, 0.995)[0], clopper_pearson(500 - one["wrong"], 500, 0.995)[1]))
        assert (one["low"], one["high"]) == pytest.approx((low, high), abs=1e-12)
    assert not stopped["summary"]["complete"]
    assert plain(resumed) == plain(whole)
    assert resumed["classes"] == whole["classes"]


def test_a_sequential_run_goes_on_with_more_draws_and_a_fixed_one_does_not(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    more = known(tmp_path, draws=200, block=100, sequential=True, journal=journal)
    assert [one.first for one in more] == [0, 100]
    longer = known(tmp_path, draws=400, block=100, sequential=True, journal=journal, resume=True)
    assert row(longer)["counted"] == 400
    assert row(longer)["right"] == row(known(tmp_path, draws=400))["right"]
    known(tmp_path, draws=200, block=100, journal=tmp_path / "k")
    with pytest.raises(InputError) as caught:
        known(tmp_path, draws=400, block=100, journal=tmp_path / "k", resume=True)
    assert caught.value.code == "E-JOURNAL-MISMATCH"


def test_a_class_that_is_narrow_enough_is_drawn_no_more(tmp_path: Path) -> None:
    found = known(tmp_path, shift=20.0, draws=5000, block=100, stop_width="0.05")
    counted = row(found)
    assert 100 <= counted["counted"] < 2000
    assert counted["high"] - counted["low"] <= 0.05
    assert (counted["low"], counted["high"]) == pytest.approx(confidence_sequence(counted["right"], counted["counted"], 0.99), abs=1e-12)
    before = counted["counted"] - 100
    low, high = confidence_sequence(sum(one.right for one in found[: before // 100]), before, 0.99)
    assert high - low > 0.05, "and not before"
    assert found.document.exit_code == 0
    assert found.document.summary["complete"]
    assert found.document.summary["stopped_early"]


def test_time_ends_between_batches(tmp_path: Path) -> None:
    found = known(tmp_path, draws=10**7, block=10**6, total_timeout=1e-9)
    assert not len(found)
    assert row(found)["counted"] == 0
    assert (row(found)["low"], row(found)["high"]) == (0.0, 1.0)
    assert found.document.exit_code == 1


# ---- what is written, and what is refused ------------------------------------------------------------------------------------


def test_without_arguments_it_is_the_bundled_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "grid"
    assert main(["global", "correctness", "--draws", "400", "--quiet", "--grid", str(grid)]) == 0
    text = capsys.readouterr().out
    assert "worst class of each classifier" in text
    assert "pointwise" in text
    assert len(list(grid.glob("*.png"))) == len(samples.digits())


def test_ends_are_rounded_outward_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g, c = identity_generator(tmp_path), sign_classifier(tmp_path, 6.0)
    assert main(["global", "correctness", str(c), "--generator", f"0={g}", "--as-is", "--draws", "700", "--quiet"]) == 0
    found = row(known(tmp_path, draws=700))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:4] == ["C", "1", "0", "G"])
    low, high = (float(word) for word in line.split()[-4:-2])      # before "1 (80)", what the wrong ones are taken for
    assert low <= found["low"] < low + 1e-5
    assert high - 1e-5 < found["high"] <= high


BAD = [
    ({"draws": 0}, "E-GLOBAL-DRAWS"), ({"draws": -3}, "E-GLOBAL-DRAWS"), ({"seed": -1}, "E-GLOBAL-DRAWS"),
    ({"level": "1"}, "E-GLOBAL-LEVEL"), ({"level": 0}, "E-GLOBAL-LEVEL"), ({"level": "many"}, "E-GLOBAL-LEVEL"),
    ({"level": float("nan")}, "E-GLOBAL-LEVEL"), ({"stop_width": "0"}, "E-GLOBAL-WIDTH"), ({"latent": "cauchy"}, "E-GLOBAL-LATENT"),
    ({"block": 0}, "E-BATCH"), ({"batch": 0}, "E-BATCH"), ({"sequential": True, "draws": 1500, "block": 1000}, "E-GLOBAL-DRAWS"),
    ({"generator": "G.onnx"}, "E-GLOBAL-GENERATOR"), ({"generator": "eight=G.onnx"}, "E-GLOBAL-GENERATOR"),
    ({"generator": {-1: "G.onnx"}}, "E-GLOBAL-GENERATOR"), ({"generator": 8}, "E-GLOBAL-GENERATOR"), ({"one_hot": "middle"}, "E-USAGE"),
    ({"classes": "3"}, "E-USAGE"), ({"rescale": True, "as_is": True}, "E-USAGE"), ({"classifier_range": "1"}, "E-CLIP"),
]


@pytest.mark.parametrize(("given", "code"), BAD)
def test_options_that_are_refused_before_anything_is_read(given: dict, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        absint.global_correctness(**{"classifier": "missing.onnx", "generator": "0=missing.onnx", **given})
    assert caught.value.code == code


def test_networks_that_are_refused(tmp_path: Path) -> None:
    g, c = files(tmp_path)
    other = stored(tmp_path, generator(latent=5), "H.onnx")
    cases = [({0: g, 1: other}, {"rescale": True}, "E-GLOBAL-LATENT"), ({7: g}, {"rescale": True}, "E-GLOBAL-CLASS"),
             ({0: g}, {}, "E-COMPOSE-RANGE"), ({0: tmp_path / "none.onnx"}, {}, "E-MODEL-MISSING"), ({0: c}, {"as_is": True}, "E-SHAPE")]
    for named, given, code in cases:
        with pytest.raises(AbsintError) as caught:
            absint.global_correctness(c, named, **given)
        assert caught.value.code == code
        assert caught.value.hint


def test_a_generator_is_not_written_over(tmp_path: Path) -> None:
    g, c = files(tmp_path)
    before = g.read_bytes()
    assert main(["global", "correctness", str(c), "--generator", f"0={g}", "--rescale", "--out", str(g), "--quiet"]) == 2
    assert g.read_bytes() == before


def test_uniform_latents(tmp_path: Path) -> None:
    """Class 0 where 3 z1 - 4 z2 + 7 > 0: always, but at one corner."""
    found = row(known(tmp_path, shift=7.0, latent="uniform", draws=2000))
    assert found["right"] == 2000
    half = row(known(tmp_path, shift=0.0, latent="uniform", draws=2000))
    assert abs(half["share"] - 0.5) < 0.04
    assert np.isfinite(half["low"])
