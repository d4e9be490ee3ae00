"""A run with a Ray of its own that is ended, however it is: no process stays behind, no file of Ray's, and the journal goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from counting import until
from journals import kept as kept_records

from absint import samples

pytest.importorskip("ray", reason="ray is an extra")
NET = str(samples.network_path("mnist_relu_3x50"))
PATIENCE = 240.0    # a busy machine starts Ray and workers in minutes


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files, with a name that is short enough for Ray's sockets: what Ray writes lies there."""
    with tempfile.TemporaryDirectory(prefix="ended-", dir="/tmp", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def alone(journal: Path, folder: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command, in a process that a Ctrl-C reaches whatever started these tests; killed where a test ends before it."""
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from absint.cli.main import run; run()"
    words = ["verify", NET, "--index", "0:60", "--eps", "0.03", "--executor", "ray", "--processes", "2", "--journal", str(journal),
             "--quiet"]
    process = subprocess.Popen([sys.executable, "-c", start, *words, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": str(folder)})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def of_ray(folder: Path) -> list[str]:
    """Processes that were started with this folder for Ray's files."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process_and_can_go_on(tmp_path, folder, number):
    journal = tmp_path / "run.jsonl"
    with alone(journal, folder) as process:
        until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 5, PATIENCE)
        assert any("raylet" in one for one in of_ray(folder))
        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == (-number if number is signal.SIGKILL else 130), told
    until(lambda: not of_ray(folder), PATIENCE)     # Ray's agents end by themselves, within a minute or two of it
    if number is not signal.SIGKILL:    # nobody is left to remove what Ray wrote
        assert list(folder.glob("absint-*")) == []
    kept = journal.read_bytes().count(b"\n")
    with alone(journal, folder, "--resume") as resumed:
        resumed.communicate(timeout=PATIENCE)
    rows = [row["index"] for row in kept_records(journal)]
    assert sorted(rows) == list(range(60))
    assert len(rows) + 1 > kept > 5
