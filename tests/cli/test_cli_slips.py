"""What cannot be parsed is told with what was probably meant: one coded message, and a command that works where it is followed."""

from __future__ import annotations

import re
import shlex

import pytest

from absint import samples
from absint.cli.main import main
from absint.contract.analysis import ANALYSES

NET = str(samples.network_path("mnist_relu_3x50"))
CONV = str(samples.network_path("mnist_conv_small"))
SLIPS = [
    ("verify NET CONV", "absint sweep NET CONV --eps 0.01", "absint verify CONV --compose NET"),
    ("verify NET CONV --eps 2/255", "absint sweep NET CONV --eps 2/255"),
    ("bounds NET CONV", "repeat the command", "absint bounds CONV --compose NET"),
    ("verify NET images.npz --eps 0.1", "absint verify NET --eps 0.1 --data images.npz"),
    ("verify NET q.vnnlib --timeout 5", "absint query q.vnnlib --network NET --timeout 5"),
    ("query q.vnnlib NET", "absint query q.vnnlib --network NET"),
    ("verify NET --spec q.vnnlib", "absint query q.vnnlib --network NET"),
    ("NET --eps 0.1", "absint verify NET --eps 0.1"),
    ("q.vnnlib --network NET", "absint query q.vnnlib --network NET"),
    ("run.jsonl", "absint report run.jsonl"),
    ("verify NET --epsilon 0.1", "--eps", "absint verify NET --eps 0.1"),
    ("verify NET --epsilon=0.1", "absint verify NET --eps=0.1"),
    ("verify NET -e 0.1", "absint verify NET --eps 0.1"),
    ("verify --model NET --eps 0.1", "absint verify NET --eps 0.1"),
    ("verify NET --network_model NET", "--network"),
    ("--net NET", "absint verify NET"),
    ("verify NET --dataset d.npz", "absint verify NET --data d.npz"),
    ("verify NET -o a.json", "absint verify NET --out a.json"),
    ("verify NET --batch_size 3", "absint verify NET --batch 3"),
    ("verify NET --json", "--format json"),
    ("verify NET --eqs 1", "--eps"),
    ("sweep NET --epsilons 0.1", "absint sweep NET --eps 0.1"),
    ("report run.jsonl --output a.html", "did you mean --out?"),
    ("report --journal run.jsonl --out a.html", "absint report run.jsonl --out a.html"),
    ("merge a.jsonl --journal b.jsonl --out c.jsonl", "absint merge b.jsonl a.jsonl --out c.jsonl"),
    ("errors NET --norm l2", "is an option of absint", "verify"),
    ("errors NET --domain box", "--domains"),
    ("verify NET --nonsense", "see absint verify --help"),
    ("verify NET --eps", "see absint verify --help"),
    ("--verify NET", "absint verify"),
    ("verfy NET", "absint verify"),
    ("taboo certfy", "absint taboo certify"),
    ("certify NET", "absint taboo certify"),
    ("attack NET", "verify", "see absint --help"),
    ("taboo", "calibrate", "see absint taboo --help"),
    ("help verify", "absint verify --help"),
    ("version", "absint --version"),
    ("verify", "absint verify net.onnx"),
]


def spelt(text: str) -> str:
    return re.sub("CONV", CONV, re.sub("NET", NET, text))


@pytest.mark.parametrize(("words", "hints"), [(words, hints) for words, *hints in SLIPS], ids=[words for words, *_ in SLIPS])
def test_a_slip_is_told_with_what_was_meant(capsys, words, hints):
    code = main(shlex.split(spelt(words)))
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith("error[E-USAGE]")
    assert said.count("\n") == 2, said
    hint = said.splitlines()[1]
    for one in hints:
        assert spelt(one) in hint, hint
    assert "  " not in hint.strip()


def test_the_advice_can_be_followed_to_the_letter(capsys, monkeypatch):
    ran = []
    monkeypatch.setattr("absint.runs.command.execute", lambda name, options, *rest: ran.append((name, options)) or 0)
    for words, *_ in SLIPS:
        main(shlex.split(spelt(words)))
        for line in re.findall(r"absint ((?:verify|query|sweep|bounds) [^;?\n]*\S)", capsys.readouterr().err.partition("hint:")[2]):
            if not re.search(r"--help|^verify or |^verify net.onnx$", line) and "; see" not in line and "," not in line:
                before = len(ran)
                assert main(shlex.split(line)) == 0, (words, line)
                assert len(ran) == before + 1
    assert len(ran) > 12


def test_no_command_but_its_own_is_named(capsys):
    main(["nonsense-without-a-neighbour"])
    hint = capsys.readouterr().err.splitlines()[1]
    assert {name.partition(".")[0] for name in ANALYSES} < set(re.findall(r"[a-z]+", hint))
