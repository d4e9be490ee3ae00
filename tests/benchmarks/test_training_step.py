"""The benchmark of a training step: what it times computes gradients of the networks named, and its verdicts follow from the figures."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from places import ROOT


@pytest.fixture
def bench(monkeypatch):
    """The module, imported afresh."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("training_step")
    for name in ("training_step", "measure"):
        sys.modules.pop(name, None)


def test_steps_take_their_gradients_at_full_eps(bench, tmp_path, monkeypatch):
    seen = []
    real = bench.Trainer._add
    monkeypatch.setattr(bench.Trainer, "_add", lambda self, batch, value, count: (seen.append((batch.eps, batch.kappa, count)),
                                                                                   real(self, batch, value, count)))
    net = bench.Net("mnist-small-3")
    for name in bench.STEPS:
        bench.step(net, name, tmp_path)()
    assert seen == [(0.4, 0.5, 3)] * len(bench.STEPS)


def test_a_step_without_adam_changes_nothing(bench, tmp_path, monkeypatch):
    made = []
    real = bench.Trainer
    monkeypatch.setattr(bench, "Trainer", lambda *words, **given: made.append(real(*words, **given)) or made[-1])
    bench.step(bench.Net("mnist-small-3"), "IBP, loss and backward", tmp_path)()
    (trainer,) = made
    assert all(torch.equal(value.detach(), trainer.task.network.parameters[name]) for name, value in trainer.parameters.items())
    assert all(bool(value.grad.abs().sum() > 0) for value in trainer.parameters.values())


def test_times_are_taken_in_turns_and_an_absent_peer_says_why(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "STEPS", {"IBP step": bench.STEPS["IBP step"]})
    monkeypatch.setitem(sys.modules, "auto_LiRPA", None)
    spent, said = bench.timed(bench.Net("mnist-small-2"), 0.0, tmp_path)
    assert set(spent) == {bench.PLAIN, "IBP step"}
    assert {len(own) for own in spent.values()} == {5}
    assert said.startswith("not run: ModuleNotFoundError: ")


def test_memory_is_measured_in_a_process_of_its_own(bench, monkeypatch, capsys):
    def run(words, **given):
        assert words[:2] == [sys.executable, bench.__file__]
        bench.main(words[2:])
        return subprocess.CompletedProcess(words, 0, capsys.readouterr().out, "")

    monkeypatch.setattr(bench, "subprocess", SimpleNamespace(run=run))
    threads = torch.get_num_threads()
    try:
        allocated, resident = bench.grown(bench.Net("mnist-small-50"), "IBP step")
    finally:
        torch.set_num_threads(threads)
    assert resident >= 0
    assert allocated > bench.allocated(bench.plain(bench.Net("mnist-small-50"))) > 50 * 16 * 13 * 13 * 4 / 2**20


def test_verdicts_follow_from_the_figures(bench):
    one = {"ms": {bench.PLAIN: [10.0] * 3, "IBP step": [29.0] * 3, "IBP, loss and backward": [28.0] * 3, bench.PEER: [27.0] * 3},
           "mib": {bench.PLAIN: (10.0, 20.0), "IBP step": (31.0, 80.0)}}
    text = bench.page({"machine": "here", "peer": "1.0", "nets": {"mnist-small-100": one}})
    assert "| mnist-small-100 | IBP step | 29.0 | 29.0 | 2.90 | 2.90 | 31.0 | 3.10 | 4.00 |" in text
    assert "- held: a step of IBP in at most 3 plain passes (2.90 to 2.90)" in text
    assert "- NOT held: its memory at most 3 times a plain pass's (3.10 to 3.10)" in text
    assert "- NOT held: its loss and backward pass in at most auto_LiRPA's time (1.04 to 1.04)" in text
