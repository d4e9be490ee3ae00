"""Ctrl-C in the middle, closed pipes, poor terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from absint import samples
from absint.runs.output import interrupts_deferred

NET = str(samples.network_path("mnist_conv_small"))
RUN = [sys.executable, "-c", "from absint.cli.main import run; run()", "verify", NET]


@pytest.fixture
def interrupted(verify, monkeypatch):
    """`absint verify` whose engine is interrupted after k results."""
    from absint.analyses.verify import question

    real = question.decided

    def run(k, *options):
        def stopping(problem, settings):
            for given, result in enumerate(real(problem, settings)):
                if given == k:
                    raise KeyboardInterrupt
                yield result

        monkeypatch.setattr(question, "decided", stopping)
        return verify("--index", "0:6", "--batch", "1", *options)

    return run


def test_json_reports_what_there_is(interrupted):
    done = interrupted(2, "--format", "json")
    assert done.code == 130
    document = json.loads(done.out)
    assert len(document["instances"]) == 2
    assert document["summary"].items() >= {"complete": False, "remaining": [2, 3, 4, 5], "unknown_reasons": {"interrupted": 4}}.items()
    assert document["summary"]["counts"]["unknown"] == 4
    assert "Traceback" not in done.err


def test_text_says_how_many_are_missing(interrupted):
    done = interrupted(2)
    assert done.code == 130
    assert "interrupted 4" in done.out
    assert "4 of 6 items are not decided" in done.err


def test_jsonl_has_no_row_for_what_is_not_decided(interrupted):
    done = interrupted(3, "--format", "jsonl")
    assert done.code == 130
    assert [json.loads(line)["index"] for line in done.out.splitlines()] == [0, 1, 2]


def test_before_the_first_result(interrupted):
    assert json.loads(interrupted(0, "--format", "json").out)["summary"]["remaining"] == [0, 1, 2, 3, 4, 5]


def test_while_the_model_loads(verify, monkeypatch):
    def stop(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("absint.runs.inputs.stated_graph", stop)
    verify().fails(130, "E-INTERRUPTED]")


@pytest.mark.usefixtures("interruptible")
def test_a_signal_waits_for_the_end_of_a_line():
    done = []

    def write():
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("the line")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["the line"]


def shell(command, **environment):
    return subprocess.run(["bash", "-c", command], capture_output=True, check=False, env={**os.environ, **environment})


def test_a_closed_pipe_is_no_error():
    words = " ".join(f"'{word}'" for word in RUN)
    done = shell(f"{words} --format csv --batch 1 --domain box --index 0:60 | head -1; exit ${{PIPESTATUS[0]}}")
    assert done.stdout.startswith(b"index,label")
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode == 141


def test_a_full_disk_behind_stdout_is_a_coded_error():
    words = " ".join(f"'{word}'" for word in RUN)
    done = shell(f"{words} --index 0 --domain box --quiet > /dev/full")
    assert done.returncode == 5
    assert done.stderr.startswith(b"error[E-OUTPUT]")
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_the_c_locale_gets_ascii():
    words = " ".join(f"'{word}'" for word in RUN)
    done = shell(f"{words} --index 0:2 --domain box", LC_ALL="C", NO_COLOR="1")
    assert done.returncode == 0
    done.stdout.decode("ascii")
    assert b"\x1b" not in done.stdout + done.stderr
    help_page = shell(f"{words} --help", LC_ALL="C", NO_COLOR="1")
    help_page.stdout.decode("ascii")
