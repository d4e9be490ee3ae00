"""The journal: nothing decided is lost, nothing foreign is continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from journals import kept, killed

from absint import samples

pytestmark = pytest.mark.usefixtures("warm")

RELU = samples.network_path("mnist_relu_3x50")


def rows(done):
    return {row["index"]: row["verdict"] for row in map(json.loads, done.out.splitlines())}


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture
def count(monkeypatch):
    """How many instances each run hands to the engine."""
    from absint.analyses.verify import question

    seen = []
    real = question.robustness

    def counting(graph, region, labels, **more):
        seen.append(len(labels))
        return real(graph, region, labels, **more)

    monkeypatch.setattr(question, "robustness", counting)
    return seen


def test_a_resumed_run_repeats_nothing_and_reports_all(verify, journal, count):
    options = ["--format", "jsonl", "--journal", journal]
    first = verify("--index", "0:3", *options)
    whole = verify("--index", "0:6", *options, "--resume")
    again = verify("--index", "0:6", *options, "--resume")
    assert count == [3, 3]
    assert rows(first).items() <= rows(whole).items()
    assert rows(again) == rows(whole) == rows(verify("--index", "0:6", "--format", "jsonl"))
    assert len(kept(journal)) == 6


def test_rows_survive_the_journal_exactly(verify, journal):
    options = ["--index", "7", "--eps", "0.25", "--format", "jsonl", "--journal", journal]
    assert verify(*options, net=RELU).out == verify(*options, "--resume", net=RELU).out


def test_an_existing_journal_is_not_overwritten(verify, journal):
    verify("--index", "0", "--journal", journal)
    before = journal.read_bytes()
    verify("--index", "0", "--journal", journal).fails(3, "E-JOURNAL-EXISTS]")
    assert journal.read_bytes() == before


@pytest.mark.parametrize(("change", "field"), [
    (["--eps", "0.02"], "eps"), (["--domain", "box"], "domain"), (["--max-generators", "9"], "domain_options"),
    (["--clip", "none"], "clip"), (["--std", "2"], "std"), (["--semantics", "float32"], "semantics"), (["--label", "3"], "label"),
    (["--no-rounding"], "rounding"),
])
def test_another_property_is_refused(verify, journal, change, field):
    verify("--index", "0", "--journal", journal)
    before = journal.read_bytes()
    error = verify("--index", "0", "--journal", journal, "--resume", *change).fails(3, "E-JOURNAL-MISMATCH]").err
    assert f"\n  {field}: journal" in error
    assert "eps: journal" not in error or field == "eps"
    assert journal.read_bytes() == before


def test_another_model_data_or_version_is_refused(verify, journal, data_file, monkeypatch):
    verify("--index", "0", "--journal", journal)
    resume = ["--index", "0", "--journal", journal, "--resume"]
    assert "model_sha256" in verify(*resume, net=RELU).fails(3, "E-JOURNAL-MISMATCH]").err
    sample = samples.data("mnist")
    other = data_file(images=sample.inputs, labels=sample.labels)
    assert "data_sha256" in verify(*resume, "--data", other).fails(3, "E-JOURNAL-MISMATCH]").err
    monkeypatch.setattr("absint.runs.header.own_version", lambda: "9.9.9")
    assert "absint: journal" in verify(*resume).fails(3, "E-JOURNAL-MISMATCH]").err


@pytest.mark.parametrize("keep", [5, 60, None])
def test_a_torn_last_line_is_dropped(verify, journal, count, keep):
    """keep: bytes left of the file's last line; None leaves only a torn header."""
    options = ["--index", "0:3", "--format", "jsonl", "--journal", journal]
    whole = rows(verify(*options))
    content = b"".join(killed(journal))
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    journal.write_bytes(content[:20] if keep is None else content[: last + keep])
    assert rows(verify(*options, "--resume")) == whole
    assert count == [3, 3 if keep is None else 1]
    assert [json.loads(line) for line in journal.read_text().splitlines()]


def test_damage_elsewhere_is_named(verify, journal):
    verify("--index", "0:2", "--journal", journal)
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([lines[0], "{", lines[2]]) + "\n")
    assert "line 2" in verify("--index", "0:2", "--journal", journal, "--resume").fails(3, "E-JOURNAL-CORRUPT]").err


@pytest.mark.parametrize("content", ["my notes\n", "my notes", "{}\n", "[1]\n", "{\n"])
def test_a_file_that_is_no_journal_is_left_alone(verify, journal, content):
    journal.write_text(content)
    verify("--index", "0", "--journal", journal, "--resume").fails(3, "E-JOURNAL-FORMAT]")
    assert journal.read_text() == content


def test_a_changed_plugin_is_another_run(verify, plugin, journal):
    text = "from absint.domains.box import Box\nfrom absint.engine.domain import register_domain\n\n"
    text += "@register_domain('mine')\nclass Mine(Box):\n    pass\n"
    options = ["--index", "0", "--journal", journal, "--domain", "mine", "--plugin"]
    verify(*options, plugin("mine", text))
    verify(*options, plugin("mine", text + "# changed\n"), "--resume").fails(3, "E-JOURNAL-MISMATCH]")


SLOW = """
    import time
    from dataclasses import dataclass
    from absint.engine.domain import register_domain
    from absint.domains.box import Box

    @register_domain("slow")
    @dataclass(frozen=True)
    class Slow(Box):
        def start(self, node, ctx):
            time.sleep(0.4)
            return super().start(node, ctx)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_real_signal_loses_nothing_decided(verify, plugin, journal, count, number):
    """Signalled after two rows: the journal holds what was shown, and resuming finishes the rest only."""
    options = ["--plugin", str(plugin("slow", SLOW)), "--domain", "slow", "--index", "0:6", "--batch", "1", "--format", "jsonl",
               "--journal", str(journal), "--dtype", "float32"]
    net = str(samples.network_path("mnist_conv_small"))
    # A background job of a shell ignores Ctrl-C, and so would what it starts.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from absint.cli.main import run; run()"
    command = [sys.executable, "-c", start, "verify", net, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        shown = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(number)
        rest, err = process.communicate(timeout=60)
    shown += map(json.loads, rest.splitlines())
    held = kept(journal)
    assert held[: len(shown)] == shown
    assert "Traceback" not in err
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted: 4 of 6" in err or "interrupted: 3 of 6" in err
    done = verify(*options, "--resume")
    assert done.code == 0
    assert sorted(rows(done)) == list(range(6))
    assert count == [6 - len(held)]
