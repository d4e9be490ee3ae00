"""The script on global robustness: units kept and continued, what is absent is said, tables and relations of what was counted.

absint's two calls are replaced by counts that are known: the tables are held to those.
"""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from types import SimpleNamespace

import pytest
from places import ROOT
from rows_of_networks import files

import absint

MODULES = ("global_calls", "global_stages", "global_attacks", "global_robustness", "clever_runner", "clever_nets", "clever_data")
RIGHT = {"G8": 9900, "G8-augmented": 9300, "G8-first-half": 9880, "G8-second-half": 9500, "G3": 9990}


@pytest.fixture
def papers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "papers"))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


class Records(list):
    """At every radius: 30 draws that are verified, 30 that are refuted but right themselves, and 30 that are wrong, in no order."""

    def __init__(self, document, radii=()):
        self.document = document
        super().__init__(SimpleNamespace(draw=k, margin=1 + k % 30 - 100 * (k >= 60), correct=k < 60,
                                         verdicts=dict.fromkeys(radii, "verified" if k < 30 else "falsified"))
                         for k in (37 * one % 90 for one in range(90)))


def images(folder):
    """Two test images, of an 8 and a 3."""
    folder.mkdir(parents=True)
    for kind, content in (("images-idx3", bytes(16 + 2 * 784)), ("labels-idx1", bytes(8) + bytes([8, 3]))):
        (folder / f"t10k-{kind}-ubyte.gz").write_bytes(gzip.compress(content))


@pytest.fixture
def visited(papers, tmp_path, monkeypatch, capsys):
    """Run the script on files that are names alone; exit code, what was asked of absint, the page."""
    nets, asked = tmp_path / "nets", []
    nets.mkdir()
    for name in (*RIGHT, "C-small", "C-small-augmented"):
        (nets / f"{name}.onnx").write_bytes(b"")
    said = {"G8.onnx": {"class": 8, "part": "all", "epochs": 100, "training_cpu_s": 335, "recognised": 0.95, "variance": 0.8},
            "C-small.onnx": {"augmented": False, "epochs": 3}, "C-small-augmented.onnx": {"augmented": True, "epochs": 3}}
    (nets / "provenance.json").write_text(json.dumps({"networks": said}))
    images(tmp_path / "data" / "mnist")

    def document(rows, radii=(), **summary):
        return Records(SimpleNamespace(values={"classes": rows}, summary=summary), radii)

    def right_on(path, pixels, labels):
        assert (tuple(pixels.shape), labels.tolist()) == ((2, 1, 28, 28), [8, 3])
        return {"3": [97, 100], "8": [99, 100] if path.stem == "C-small" else [197, 200], "9": [96, 100]}

    def correctness(classifier, generator, *, rescale, as_is, draws, level, seed, grid):
        assert rescale != as_is
        assert grid.parent.name == "grids"
        ((label, drawing),) = generator.items()
        asked.append((drawing.stem, label, classifier.stem, as_is))
        right = RIGHT[drawing.stem] - 100 * (classifier.stem == "C-small-augmented")
        share = right / draws
        return document([{"draws": draws, "right": right, "wrong": draws - right, "low": share - 0.01, "high": share + 0.005}])

    def robustness(classifier, generator, *, rescale, as_is, draws, level, eps, seed, timeout, journal, resume, grid, total_timeout):
        asked.append(("robust", classifier.stem, eps))
        assert rescale
        assert not as_is
        assert level == "0.99"
        assert resume
        assert timeout == 1.0
        rows = [{"draws": draws, "verified": 90 - 10 * k, "falsified": k, "correct": 90 - (classifier.stem == "C-small"), "low": 0.5,
                 "high": 0.75, "eps": radius} for k, radius in enumerate(eps.split(","))]
        return document(rows, eps.split(","), complete=classifier.stem == "C-small")

    def attacked_row(pair, eps, verdict, draws, grids):
        assert (pair.fit, draws) == ("rescaled", [k + 30 * (verdict == "falsified") for k in range(20)])
        return {"eps": eps, "verdict": verdict, "latents": 20, "points": 24_000, "lead": 0.125,
                "misread": int(verdict == "falsified" or (pair.generator.stem, eps) == ("G3", "0.003"))}

    monkeypatch.setattr(absint, "global_correctness", correctness, raising=False)
    monkeypatch.setattr(absint, "global_robustness", robustness, raising=False)
    monkeypatch.setattr(papers["global_stages"], "right_on", right_on)
    monkeypatch.setattr(papers["global_attacks"], "Attack", lambda pair: pair)
    monkeypatch.setattr(papers["global_attacks"], "attacked_row", attacked_row)

    def run(*words):
        asked.clear()
        folders = ["--nets", str(nets), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
        code = papers["global_robustness"].main([*folders, *words])
        capsys.readouterr()
        return code, list(asked), (tmp_path / "out" / "small" / "global.md").read_text()

    return run


def rows(page, first):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith(f"| {first} |")]


def test_the_papers_table_beside_ours(visited):
    code, asked, page = visited()
    assert code == 0
    assert ["C-small", "98.89", "92.82", "99.79", "99.00", "99.00", "93.00", "93.00", "99.00"] in rows(page, "C-small")
    assert rows(page, "Madry") == [["Madry", "98.87", "93.17", "99.60", "-", "-", "-", "-", "-"]]
    assert ["G8", "C-small-augmented", "as-is", "10000", "98.00", "97.00 .. 98.50"] in [row[:6] for row in rows(page, "G8")]
    assert ("G3", 3, "C-small", False) in asked
    assert "- correct-G8-C-ibp-as-is: absent: --nets has no C-ibp.onnx" in page


def test_relations_are_said_as_found(visited):
    """By the counts above: first and fourth differ by 6 and 3.8 points, and the second is the wrong way round."""
    page = visited()[2]
    assert "- held: as-is: a classifier of plain training" in page
    assert "- NOT held: rescaled: over the augmented generator" in page
    assert "- held: on the test set" in page
    assert "- held: as-is: the two classifiers differ more over" in page
    assert "- held: robust-G8-C-small-augmented: at radius 0" in page
    assert "- NOT held: robust-G8-C-small: at radius 0" in page
    assert "- NOT held: as-is: generators from disjoint halves" in page
    assert "- held: robust-G8-C-small: no more is verified at" in page
    assert "- NOT held: robust-G8-C-small: no more is verified than" in page


def test_robustness_has_a_row_a_radius_and_what_was_cut_is_run_again(visited):
    _, _, page = visited("--only", "robustness")
    wanted = [["G8", "C-small", radius, "100", "89.00", f"{90 - 10 * k}.00", f"{k}.00", f"{10 + 9 * k}.00", "50.00 .. 75.00"]
              for k, radius in enumerate(("0", "0.001", "0.003", "0.01", "0.03"))]
    assert [row[:-2] for row in rows(page, "G8") if row[1] == "C-small"] == wanted
    assert "robust-G8-C-small-augmented: cut" in page
    _, asked, _ = visited("--only", "robustness")
    assert [one[1] for one in asked] == ["C-small-augmented", "C-small-augmented"]


def test_proofs_that_the_files_deny_are_said(visited):
    _, _, page = visited()
    assert rows(page, "G8-C-small")[1:] == [["G8-C-small", "0.01", "20 verified", "24000", "0", "0.125"],
                                            ["G8-C-small", "0.03", "20 falsified", "24000", "1", "0.125"]]
    assert "- NOT held: no verified latent is misread anywhere" in page, "two of G3's are"
    assert "- attack-G8-C-ibp: absent: robust-G8-C-ibp is not done" in page


EPS = "0.3"


# ---- the attack itself -------------------------------------------------------------------------------------------------------


def attacked(papers, folder, tmp_path):
    """Latents of a small pair by their verdicts, and the attack on them."""
    g, c = files(folder)
    pair = papers["global_calls"].Pair(g, 2, c, "rescaled", 0)
    found = [one for one in absint.global_robustness(c, {2: g}, eps=EPS, draws=40, rescale=True, timeout=None) if one.correct]
    attack = papers["global_attacks"].Attack(pair)
    right = {verdict: [one.draw for one in found if one.verdicts[EPS] == verdict] for verdict in ("verified", "falsified")}
    return right, lambda draws: papers["global_attacks"].attacked_row(attack, EPS, "verified", draws, tmp_path)


def test_no_verified_latent_is_misread_and_what_is_refuted_is_found(papers, tmp_path):
    """Every point is within the ball, or the attack itself raises."""
    right, row = attacked(papers, tmp_path, tmp_path)
    assert min(len(draws) for draws in right.values()) >= 3
    proved, refuted = row(right["verified"]), row(right["falsified"])
    assert (proved["latents"], proved["misread"]) == (len(right["verified"]), 0)
    assert proved["points"] == 1200 * proved["latents"]
    assert proved["lead"] > 0 > refuted["lead"]
    assert refuted["misread"] >= 0.9 * refuted["latents"]
    assert row([])["lead"] is None


def test_pages_count_nothing(visited):
    code, asked, page = visited("--pages")
    assert (code, asked) == (0, [])
    assert "networks: not begun" in page
    with pytest.raises(SystemExit) as left:
        visited("--only", "nothing")
    assert left.value.code == 2
