"""Help, version, and usage errors of the parser."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from absint.cli import derived
from absint.cli.main import BROKEN_PIPE, main

PROGRAM = """
import sys
from absint.cli.main import main
code = main(sys.argv[1:])
sys.exit(code or (9 if {"torch", "numpy", "onnx"} & set(sys.modules) else 0))
"""


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"], ["domains", "--help"], ["doctor", "--help"], ["--version"],
                                   ["config", "verify"], ["init", "--help"]])
def test_help_answers_without_loading_torch(words):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr == ""


def test_no_words_print_the_help(cli):
    done = cli()
    assert done.code == 0
    assert "verify" in done.out


def test_version(cli):
    assert cli("--version").out.startswith("absint 0.")


@pytest.mark.parametrize("words", [
    ["verfy"], ["verify"], ["verify", "a.onnx", "--epsilon", "1"], ["verify", "a.onnx", "--batch", "many"],
    ["verify", "a.onnx", "b.onnx"], ["verify", "a.onnx", "--eps"], ["verify", "a.onnx", "--eps", "0.1", "--eps=0.2"],
])
def test_usage_errors_are_coded(cli, words):
    error = cli(*words).fails(2, "E-USAGE]").err
    assert "absint " in error.partition("hint: ")[2] or "twice" in error


def test_a_limit_is_a_number_or_none(cli):
    cli("verify", "a.onnx", "--timeout", "soon").fails(2, "E-TIMEOUT]")


def test_near_words_are_suggested(cli):
    assert "did you mean absint verify" in cli("verfy").err


@pytest.mark.parametrize(("given", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_idle_threads_sleep_unless_the_user_says_otherwise(given, kept):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    code = ("import os, sys; from absint.cli import main; assert 'torch' not in sys.modules\n"
            "main.main = lambda *_: sys.stdout.write(os.environ['OMP_WAIT_POLICY']) * 0; main.run()")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == kept


@pytest.mark.parametrize("words", [
    [], ["--help"], ["verify", "--help"], ["validate", "--help"], ["supports", "--onnx-operators"], ["domains"]])
def test_a_closed_pipe_ends_quietly(capsys, monkeypatch, words):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(words) == BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_a_command_makes_no_others(monkeypatch, cli):
    """What takes long is to make a command of every analysis; --help of the whole makes them all, whatever stands behind it."""
    made = []
    monkeypatch.setattr(derived, "function", lambda name, analysis, *, everything, of=derived.function: made.append(name) or of(
        name, analysis, everything=everything))
    assert cli("taboo", "certify", "--help").code == 0
    assert {name.partition(".")[0] for name in made} == {"taboo"}
    assert "radius" in cli("--help", "verify").out
    assert {"verify", "radius"} <= set(made)
