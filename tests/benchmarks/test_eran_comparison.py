"""The comparison with ERAN: its output read line by line, a stand-in installation run live, stored verdicts beside ours."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from absint import samples
from absint.problem.dataset import Dataset

# As ERAN's command line prints it: the options, bounds of every analysis, a verdict and a line of progress an image.
SAMPLE = """\
{'approx_k': True,
 'domain': 'deeppoly',
 'epsilon': 0.02}
netname  net.onnx  epsilon  0.02  domain  deeppoly  dataset  mnist args complete  False  complete  False  timeout_lp  1
concrete  [-4.1, 0.25, 12.5]
nlb  [-1.5, -3.25, 4.75]  nub  [0.5, 1.0, 9.25] adv labels  None
img 0 Verified 7
progress: 1/8, correct:  1/1, verified: 1/1, unsafe: 0/1,  time: 0.091; 0.091; 0.091
concrete  [-4.1, 0.25, 12.5]
nlb  [-9.5, -3.25, 1.75]  nub  [2.5, 4.0, 9.25] adv labels  [1]
img 1 Failed
progress: 2/8, correct:  2/2, verified: 1/2, unsafe: 0/2,  time: 0.125; 0.108; 0.216
img 2 not considered, incorrectly classified
progress: 3/8, correct:  2/3, verified: 1/2, unsafe: 0/2,  time: 0.050; 0.108; 0.216
img 3 Verified unsafe against label  5 correct label  3
progress: 4/8, correct:  3/4, verified: 1/3, unsafe: 1/3,  time: 7.5; 2.5; 7.716
img 4 Verified as Safe using MILP 4
progress: 5/8, correct:  4/5, verified: 2/4, unsafe: 1/4,  time: 3.000; 2.6; 10.7
img 5 Failed, without a adversarial example
progress: 6/8, correct:  5/6, verified: 2/5, unsafe: 1/5,  time: 1.000; 2.3; 11.7
img 6 Failed with MILP
progress: 7/8, correct:  6/7, verified: 2/6, unsafe: 1/6,  time: 1.500; 2.2; 13.2
"""
END = """\
img 7 verified 9
0.25 seconds
analysis precision  3 /  7
"""


@pytest.fixture
def eran(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("eran")
    for name in ("eran", "measure", "tables"):
        sys.modules.pop(name, None)


def test_every_kind_of_line_is_read(eran):
    run = eran.parse(SAMPLE + END)
    assert run.verdicts == {0: "verified", 1: "failed", 2: "misclassified", 3: "unsafe", 4: "verified", 5: "failed", 6: "failed",
                            7: "verified"}
    assert run.seconds["wall"] == {0: 0.091, 1: 0.125, 3: 7.5, 4: 3.0, 5: 1.0, 6: 1.5, 7: 0.25}
    assert run.finished


@pytest.mark.parametrize("text", [SAMPLE, "", "Traceback (most recent call last):\n", "image 3 Verified 7\nThe img 3 Verified\n"])
def test_a_run_that_broke_off_is_not_taken_for_a_finished_one(eran, text):
    assert not eran.parse(text).finished


def test_stored_verdicts_are_grouped_by_net_domain_and_radius(eran):
    runs = eran.stored()
    run = runs["mnist-net_256x2", "deeppoly", "0.02"]
    assert (len(run.verdicts), list(run.verdicts.values()).count("verified")) == (50, 32)
    assert set(runs["mnist-net_256x2", "deepzono", "0.01"].seconds) == {"glibc", "tcmalloc"}
    assert {domain for _, domain, _ in runs} == {"deepzono", "deeppoly"}
    assert {net for net, _, _ in runs} == {net.name for net in eran.NETS}


def test_disagreements_are_shown_and_contradictions_marked(eran):
    theirs = eran.Run(dict(enumerate(["verified", "verified", "failed", "failed", "unsafe", "misclassified", "misclassified"])))
    theirs.seconds["glibc"] = {0: 2.0, 1: 4.0}
    words = ["verified", "falsified", "verified", "unknown", "verified", "misclassified", "unknown"]
    row, lines = eran.compare("net", "deepzono", "0.1", theirs, eran.Ours(dict(enumerate(words)), 0.003))
    named = dict(zip(eran.HEAD, row, strict=True))
    assert (named["images"], named["verified"], named["contradictions"]) == (7, "2 / 3", 3)
    assert (named["ratio"], named["ERAN s/image"]) == ("1000x", "3.00 (glibc)")
    assert ["CONTRADICTION" in line for line in lines] == [True, False, True, True]
    assert [line.split("image ")[1][0] for line in lines] == ["1", "2", "4", "6"]
    text = eran.report([(row, lines)], "title")
    assert "contradictions 3." in text
    assert "image 1: ERAN verified, absint falsified" in text


def test_the_command_line_of_eran(eran):
    net = eran.Net("c", "c.onnx", "cifar10", (), (0.5, 0.25, 0.5), (0.25, 0.125, 1.0))
    words = eran.command("python3", Path("/nets/c.onnx"), net, "deeppoly", "0.01", 5)
    assert " ".join(words) == ("python3 . --netname /nets/c.onnx --epsilon 0.01 --domain deeppoly --dataset cifar10 --num_tests 5 "
                               "--mean 0.5 0.25 0.5 --std 0.25 0.125 1.0")


@pytest.fixture
def stand_in(tmp_path):
    """A folder that answers as an ERAN repository does, with the first three bundled images."""
    data = samples.data("mnist")
    rows = [",".join(map(str, [label, *np.rint(image.reshape(-1) * 255).astype(int)]))
            for image, label in zip(data.inputs[:3], data.labels[:3], strict=True)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mnist_test.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "tf_verify").mkdir()
    (tmp_path / "tf_verify/__main__.py").write_text(
        "import sys\n"
        "assert sys.argv[sys.argv.index('--epsilon') + 1] == '0.005'\n"
        "if 'deepzono' in sys.argv:\n    print('img 0 Verified 7'); raise RuntimeError('out of luck')\n"
        f"for k, label in enumerate({data.labels[:3].tolist()}):\n"
        "    print('img', k, 'Verified', label); print(f'progress: {k}/3,  time: 0.5; 0.5; 0.5')\n"
        "print('analysis precision  3 /  3')\n"
    )
    return tmp_path


def test_live_beside_a_stand_in(eran, stand_in, monkeypatch, capsys):
    net = str(samples.network_path("mnist_relu_3x50"))
    monkeypatch.setattr(sys, "argv", ["eran.py", "--eran", str(stand_in), "--net", net, "--eps", "0.005"])
    eran.main()
    text = capsys.readouterr().out
    assert "deeppoly / deeppoly: 3 instances, verified 3 by ERAN, 3 by absint; only ERAN 0, only absint 0; contradictions 0." in text
    assert "deepzono / zonotope: 1 instances" in text
    assert "ERAN broke off after 1 images: RuntimeError: out of luck" in text


@pytest.mark.parametrize("words", [[], ["--net", "a.onnx"], ["--nets", ".", "--domains", "box"], ["--eran", ".", "--nets", "."]])
def test_wrong_calls_leave_with_usage(eran, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["eran.py", *words])
    with pytest.raises(SystemExit) as caught:
        eran.main()
    assert caught.value.code == 2


def test_cifar_rows_are_read_height_width_channels(eran, tmp_path):
    (tmp_path / "data").mkdir()
    values = np.arange(12) * 20
    (tmp_path / "data/cifar10_test.csv").write_text("3," + ",".join(map(str, values)) + "\n")
    data = eran.eran_images(tmp_path, "cifar10")
    assert isinstance(data, Dataset)
    shaped = data.shaped_for((3, 2, 2), "hwc:chw")
    assert np.array_equal(shaped.inputs[0] * 255, values.reshape(2, 2, 3).transpose(2, 0, 1))
