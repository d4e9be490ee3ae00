"""The queue of trainings behind the reproduction of constrained IBP: done, cut, gone on with, failed, killed; and what it asks for."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from math import inf

import numpy as np
import pytest
from counting import until
from places import ROOT

from absint.analyses.train.options import TrainOptions
from absint.analyses.train.task import schedule_of

MODULES = ("constrained_ibp", "constrained_ibp_pages", "constrained_ibp_queue", "constrained_ibp_data", "constrained_ibp_runs", "measure")
# Counts the steps in its folder; an interrupt ends it with what it has, as trainings do.
TRAINER = """
import signal, sys, time
from pathlib import Path
words = sys.argv[1:]
folder = Path(words[words.index("--save") + 1])
folder.mkdir(exist_ok=True)
(folder / "words").write_text(" ".join(words))
def stop(*_):
    (folder / "stopped").write_text("")
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
(folder / "begun").open("a").write("x")
if "nominal" in words:
    print("error[E-TOY] no such thing")
    sys.exit(3)
if "pgd" in words:
    time.sleep(60)
"""


@pytest.fixture
def modules(monkeypatch):
    """By name, imported afresh."""
    for folder in ("benchmarks/papers", "benchmarks"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    path = list(sys.path)
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.path[:] = path


@pytest.fixture
def queue(modules, tmp_path, monkeypatch):
    """A queue whose trainings are toys, and a run of each method."""
    trainer = tmp_path / "trainer.py"
    trainer.write_text(TRAINER)
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    monkeypatch.setattr(modules["constrained_ibp_queue"], "machine", lambda queue: "here")
    made = modules["constrained_ibp_queue"].Queue(tmp_path / "out", tmp_path / "data", command=(sys.executable, str(trainer)))
    runs = {run.method: run for run in modules["constrained_ibp_runs"].RUNS[:4]}

    def work(*methods, seconds=inf):
        found = modules["constrained_ibp_queue"].work(made, [runs[method] for method in methods], time.monotonic() + seconds, lambda: None)
        states = {method: modules["constrained_ibp_queue"].kept(made.out, runs[method].name) for method in methods}
        return found, states, {method: made.out / runs[method].name for method in methods}

    return work


def test_what_is_done_is_not_done_again(queue):
    for _ in range(2):
        well, states, folders = queue("ibp", "constrained")
        assert well
        assert {state["state"] for state in states.values()} == {"done"}
    assert all((folder / "begun").read_text() == "x" for folder in folders.values())


def test_a_failure_is_told_and_the_next_one_runs(queue):
    well, states, _ = queue("nominal", "ibp")
    assert not well
    assert states["nominal"]["state"] == "failed"
    assert "E-TOY" in states["nominal"]["error"]
    assert states["ibp"]["state"] == "done"


def test_time_over_interrupts_and_the_next_call_goes_on(queue):
    well, states, folders = queue("pgd", "ibp", seconds=2.0)
    assert well
    assert (states["pgd"]["state"], states["pgd"]["exit"]) == ("cut", 130)
    assert (folders["pgd"] / "stopped").exists()
    _, states, folders = queue("pgd", seconds=2.0)
    assert (folders["pgd"] / "begun").read_text() == "xx"
    assert states["pgd"]["seconds"] > 2
    assert "--resume" in (folders["pgd"] / "words").read_text()


def test_absent_data_are_no_failure(queue, modules, tmp_path):
    (tmp_path / "data" / "mnist").rmdir()
    well, states, _ = queue("ibp")
    assert well
    assert states["ibp"]["state"] == "absent"
    assert "no folder mnist" in states["ibp"]["error"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process that its parent died")
def test_a_killed_queue_leaves_no_training_behind(modules, tmp_path):
    stopped, script = tmp_path / "stopped", tmp_path / "sleeper.py"
    script.write_text(f"import signal, sys, time\nfrom pathlib import Path\n"
                      f"signal.signal(signal.SIGINT, lambda *_: (Path({str(stopped)!r}).write_text(''), sys.exit(130)))\n"
                      f"Path({str(tmp_path / 'up')!r}).write_text('')\ntime.sleep(60)\n")
    starter = (f"import os, subprocess, sys, time\nsubprocess.Popen([sys.executable, {modules['constrained_ibp_queue'].__file__!r}, '0', "
               f"str(os.getpid()), sys.executable, {str(script)!r}], start_new_session=True)\ntime.sleep(60)\n")
    parent = subprocess.Popen([sys.executable, "-c", starter], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    until((tmp_path / "up").exists)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(stopped.exists)


def test_two_queues_in_a_folder_are_refused(modules, tmp_path):
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        modules["constrained_ibp_queue"].alone(first)
        with pytest.raises(SystemExit):
            modules["constrained_ibp_queue"].alone(second)


# ---- what is trained ----------------------------------------------------------------------------------------------------


def test_the_queue_holds_the_papers_runs_in_order(modules):
    runs = modules["constrained_ibp_runs"].RUNS
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    assert names[:2] == ["mnist-small-ibp", "mnist-small-constrained"]
    fast = [run for run in runs if run.group == "fast"]
    assert len(fast) == 30
    assert {(run.seed, run.init) for run in fast[:10]} == {(0, "default"), (0, "orthogonal")}
    assert {run.weight for run in fast} == {None, "0.01", "0.05", "0.2", "1"}
    assert all(run.needs == "card" for run in runs if "svhn" in run.name or "large" in run.name)
    assert [run.name for run in modules["constrained_ibp"].chosen([])] == [run.name for run in runs if not run.needs]
    assert [run.name for run in modules["constrained_ibp"].chosen(["svhn-large-*"])] == ["svhn-large-ibp", "svhn-large-constrained"]
    with pytest.raises(SystemExit):
        modules["constrained_ibp"].chosen(["nothing-*"])


@pytest.mark.parametrize(("name", "inputs", "steps", "warm", "ramp", "drops"), [
    ("mnist-small-ibp", 60000, 60000, 2000, 10000, (15000, 25000)),
    ("fast-default-0-w1", 60000, 8000, 2000, 4000, ()),
    ("cifar10-small-constrained", 50000, 70000, 1000, 30000, (40000, 50000, 60000)),
    ("cifar10-large-ibp", 50000, 350000, 5000, 150000, (200000, 250000, 300000)),
])
def test_schedules_are_the_published_ones(modules, name, inputs, steps, warm, ramp, drops):
    run = next(run for run in modules["constrained_ibp_runs"].RUNS if run.name == name)
    given = {key.replace("-", "_"): value for key, value in run.schedule.items()}
    given |= {key: str(given[key]) for key in ("warm_up", "ramp", "drops")}
    schedule = schedule_of(TrainOptions(model=run.model, method=run.method, eps=run.eps, **given), inputs)
    assert (schedule.steps, schedule.warm_up, schedule.ramp, schedule.drops) == (steps, warm, ramp, drops)
    assert schedule.at(warm).eps == 0
    assert schedule.at(warm + ramp // 2).kappa == 0.75
    assert schedule.at(warm + ramp).kappa == 0.5


def test_a_training_of_the_command_itself(modules, tmp_path, folder):
    runs, module = modules["constrained_ibp_runs"], modules["constrained_ibp_queue"]
    short = {"steps": 4, "batch-size": 50, "warm-up": 1, "ramp": 2, "drops": "none", "attacked": 10, "attack-steps": 2, "restarts": 1}
    run = runs.Run("toy", "fast", "mnist", "small", "constrained", "0.1", short, "0.05", elided=False)
    assert module.work(module.Queue(tmp_path / "out", folder, jobs=1), [run], inf, lambda: None), (tmp_path / "out" / "toy.log").read_text()
    card = json.loads((tmp_path / "out" / "toy" / "model-card.json").read_text())
    assert card["method"]["options"]["width_weight"] == 0.05
    assert card["method"]["options"]["elide"] is False
    kept = modules["constrained_ibp_pages"].records(tmp_path / "out" / "toy" / "log.csv")
    assert [record.phase.value for record in kept] == ["full", "final"]


# ---- CIFAR-10 -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sheets(tmp_path):
    """One sheet of 50 x 40 random images, and 7 test images."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(3)
    images, labels = rng.integers(0, 256, (2000, 32, 32, 3), np.uint8), rng.integers(0, 10, 2000).astype(np.uint8)
    place = tmp_path / "data" / "cifar10"
    place.mkdir(parents=True)
    sheet = images.reshape(50, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1600, 1280, 3)
    image.fromarray(sheet).save(place / "train_images_00.webp", lossless=True)
    labels.tofile(place / "train_labels.u8")
    np.savez(place / "test_first1000.npz", images=images[:7], labels=labels[:7])
    return place, images, labels


def test_sheets_become_a_file_that_is_read(modules, sheets, tmp_path):
    place, images, labels = sheets
    made = modules["constrained_ibp_data"].place(place.parent, "cifar10", tmp_path / "build")
    with np.load(made) as found:
        assert np.array_equal(found["x_train"], images)
        assert np.array_equal(found["y_train"], labels)
        assert np.array_equal(found["x_test"], images[:7])


def test_other_images_than_the_published_ones_are_refused(modules):
    images, labels = np.zeros((50000, 32, 32, 3), np.uint8), np.zeros(50000, np.uint8)
    with pytest.raises(modules["constrained_ibp_data"].AbsentError, match="batch 1"):
        modules["constrained_ibp_data"].check(images, labels)
