"""Where every test starts, whatever ran before it and whatever runs beside it.

One thread: the networks are tiny, waiting threads cost more than they compute, and the cores belong to the other workers.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; programs that tests start inherit it

import gc
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from exporter import read_once
from hand_clock import Clock
from warm import Popen

import absint.model.ops  # noqa: F401  # registers the operators
from absint.analyses.train.method import METHODS
from absint.attacks import ATTACKS
from absint.cli.main import main
from absint.contract.analysis import ANALYSES
from absint.engine.domain import DOMAINS
from absint.frontends.data_source import READERS
from absint.model.frontend import FRONTENDS
from absint.model.op import OPS
from absint.numeric.backend import numeric_mode
from absint.problem.data_frontend import DATA
from absint.problem.query import QUERIES
from absint.problem.transforms import TRANSFORMS
from absint.reports.interface import FORMATS
from absint.runs.executors import EXECUTORS
from absint.search.strategy import STRATEGIES
from absint.solvers import SOLVERS

# What the entry points name is loaded before the first test: no test sees more of it than another.
REGISTRIES = (ANALYSES, ATTACKS, DATA, DOMAINS, EXECUTORS, FORMATS, FRONTENDS, METHODS, OPS, QUERIES, READERS, SOLVERS, STRATEGIES,
              TRANSFORMS)
for _registry in REGISTRIES:
    _registry.load_all()
for _name in [name for name in os.environ if name.startswith("ABSINT_")]:    # whoever runs the tests has options of their own
    del os.environ[_name]
_TO_THE_DISK = os.fsync


def _kept_in_memory(descriptor: int) -> None:
    """No test cuts the power: files and folders need not wait for the disk. What is neither is refused as ever."""
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        _TO_THE_DISK(descriptor)


os.fsync = _kept_in_memory


def pytest_collection_finish() -> None:
    """All that was imported and collected stays until the end: looked through at every collection of garbage, it costs 7 % of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    """One thread, torch's own generator (it initialises layers) at one place, and no plug-in stays behind."""
    torch.set_num_threads(1)
    torch.default_generator.manual_seed(0)      # of the CPU alone: `torch.manual_seed` looks at every kind of device there may be
    before = [dict(registry._entries) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry._entries.clear()
        registry._entries.update(entries)


@pytest.fixture
def numerics() -> Iterator[None]:
    """In the mode that every analysis switches on, for tests of what runs inside one."""
    with numeric_mode():
        yield


@pytest.fixture
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In the place of `time.monotonic`, which all time limits are counted on, and of `time.sleep`."""
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts, also through absint, are forks of one that has imported torch: a tenth of the time."""
    monkeypatch.setattr(subprocess, "Popen", Popen)


@pytest.fixture(scope="session")
def exporter() -> Iterator[None]:
    """Of torch to ONNX, for tests that export often: it reads its own sources once."""
    with read_once():
        yield


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Started in the background of a shell, tests inherit an ignored SIGINT; a user's terminal delivers it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def fails(self, code: int, error: str) -> Outcome:
        """One coded message on stderr, no traceback, nothing on stdout."""
        assert self.code == code, self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        assert self.err.count("error[") == 1
        assert f"error[{error}" in self.err
        return self


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
