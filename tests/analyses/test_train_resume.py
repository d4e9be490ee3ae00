"""A training that ended early goes on to the same bits; what is of another training is refused by name."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import torch
from journals import kept
from trainings import data_file, options_in, trainer_in, words_in

from absint.analyses.train import checkpoint
from absint.analyses.train.task import task_of
from absint.analyses.train.trainer import Trainer
from absint.cli.main import main
from absint.errors import InputError
from absint.numeric.backend import numeric_mode

pytestmark = pytest.mark.usefixtures("warm")

FILES = ("best.onnx", "best.safetensors", "last.onnx")
CLOCK = ("seconds", "time_s", "started", "command")
# Started in the background of a shell, tests inherit an ignored SIGINT.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from absint.cli.main import run; run()"


def bits(folder):
    """What a training leaves, without what the clock says."""
    found = {name: (folder / name).read_bytes() for name in FILES}
    rows = kept(folder / "journal.jsonl")
    found["journal"] = sorted(json.dumps({k: v for k, v in row.items() if k not in CLOCK}) for row in rows)
    return found | {"checkpoint": state(folder)}


def state(folder):
    """Of a checkpoint: all numbers, and what is said beside them."""
    text = (folder / "checkpoint.safetensors").read_bytes()
    size = int.from_bytes(text[:8], "little")
    said = json.loads(json.loads(text[8 : 8 + size])["__metadata__"]["state"])
    for one in (said["sums"], *said["records"]):
        one.pop("seconds", None)
    return text[8 + size :], said


def process(words, *, stop=None, kind=signal.SIGKILL, until=None):
    """A command in a process of its own. stop: seconds until it gets the signal; until: a file that must be there first."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", START, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                          start_new_session=True) as running:
        while until is not None and not until.exists() and running.poll() is None:
            time.sleep(0.02)
        if stop is not None:
            try:
                running.wait(stop)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, kind)
        out, err = running.communicate()
    return running.returncode, out.decode(), err.decode()


LONG = ("--epochs", "10", "--checkpoint", "0.01", "--every", "10", "--threads", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training of 30 steps that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(words_in(folder, *LONG)) == 0
    return bits(folder / "out")


def test_a_killed_training_goes_on_to_the_same_bits(cli, tmp_path, whole):
    """kill -9 at a random moment of the steps; another process goes on."""
    rng, kept = random.Random(os.urandom(8)), tmp_path / "out" / "checkpoint.safetensors"
    words = words_in(tmp_path, *LONG)
    code, _, err = process(words, stop=rng.uniform(0.0, 0.4), until=kept)
    assert code in (0, -signal.SIGKILL), err
    again = cli(*words, "--resume")
    assert again.code == 0, again.err
    assert bits(tmp_path / "out") == whole


def test_an_interrupted_training_keeps_what_is_done(cli, tmp_path, whole):
    words = words_in(tmp_path, *LONG)
    code, _, err = process(words, stop=0.1, kind=signal.SIGINT, until=tmp_path / "out" / "checkpoint.safetensors")
    assert code in (0, 130), err
    assert "Traceback" not in err
    assert code == 0 or state(tmp_path / "out")[1]["step"] > 0
    again = cli(*words, "--resume")
    assert again.code == 0, again.err
    assert bits(tmp_path / "out") == whole


def test_a_training_whose_time_is_over_goes_on(cli, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    first = cli(*words_in(tmp_path / "a", "--epochs", "3"))
    assert first.code == 0, first.err
    words = words_in(tmp_path / "b", "--epochs", "3")
    over = cli(*words, "--total-timeout", "0.01")
    assert over.code == 1, over.err
    again = cli(*words, "--resume")
    assert again.code == 0, again.err
    left, right = bits(tmp_path / "a" / "out"), bits(tmp_path / "b" / "out")
    assert left == right


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_a_state_of_any_step_goes_on_to_the_same_bits(tmp_path, steps):
    """Adam's moments, sums, the order of the epoch and the streams of attack and augmentation: none is lost."""
    given = {"method": "pgd:steps=2", "width_weight": 0.1, "augment": "crop-flip"}
    one = trainer_in(tmp_path, save=tmp_path / "a", **given)
    with numeric_mode():
        for number in range(2):
            one.epoch(number)
        cut = trainer_in(tmp_path, save=tmp_path / "b", **given)
        if steps >= 3:
            cut.epoch(0)
        begin = 3 * (steps // 3)
        cut._steps(steps // 3, range(begin, steps), begin)
        cut.keep()
        again = trainer_in(tmp_path, save=tmp_path / "b", resume=True, **given)
        assert again.done == steps
        for number in range(2):
            again.epoch(number)
    assert all(torch.equal(one.parameters[name], value) for name, value in again.parameters.items())
    assert state(tmp_path / "a") == state(tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


CHANGES = [
    ({"eps": "0.2"}, "eps"), ({"seed": 1}, "seed"), ({"method": "nominal"}, "method"), ({"width_weight": 0.5}, "width"),
    ({"batch_size": 6}, "batch"),
    ({"rate": 0.5}, "schedule"), ({"elide": False}, "elide"), ({"domain": "zonotope"}, "domain"), ({"augment": "crop-flip"}, "augmented"),
    ({"clip": "none"}, "clip"), ({"init": "orthogonal"}, "weights"), ({"model": "lenet5"}, "network"), ({"width_layers": "all"}, "layers"),
]


@pytest.mark.parametrize(("change", "field"), CHANGES)
def test_a_checkpoint_of_another_training_is_refused_and_the_field_named(tmp_path, change, field):
    trainer_in(tmp_path).keep()
    if change.get("model") == "lenet5":
        change = {"model": lambda shape, classes: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(25, 3))}
    with pytest.raises(InputError) as caught:
        trainer_in(tmp_path, resume=True, **change)
    assert caught.value.code == "E-CHECKPOINT-OTHER"
    assert any(line.startswith(f"{field}: ") for line in caught.value.details), caught.value.details


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    trainer_in(tmp_path).keep()
    with pytest.raises(InputError) as caught:
        trainer_in(tmp_path, resume=True, data=data_file(tmp_path, train=30))
    assert any(line.startswith("train: ") for line in caught.value.details)


def test_another_option_is_refused_on_the_command_line(cli, tmp_path):
    assert cli(*words_in(tmp_path)).code == 0
    again = cli(*words_in(tmp_path, "--resume", "--eps", "0.2"))
    again.fails(3, "E-")
    assert "eps" in again.err


def test_without_resume_nothing_is_written_over(cli, tmp_path):
    assert cli(*words_in(tmp_path)).code == 0
    before = bits(tmp_path / "out")
    again = cli(*words_in(tmp_path))
    assert again.code in (2, 3)
    assert "--resume" in again.err
    assert bits(tmp_path / "out") == before
    with pytest.raises(InputError, match="E-CHECKPOINT-EXISTS"):
        trainer_in(tmp_path)


def test_parameters_of_another_network_are_refused(tmp_path):
    """The same words around them: a file that was put together."""
    trainer = trainer_in(tmp_path)
    trainer.keep()
    path = tmp_path / "out" / "checkpoint.safetensors"
    held = checkpoint.read_state(path, trainer.task.bound)
    checkpoint.write_state(path, checkpoint.State({"w": torch.zeros(2)}, held.means, held.squares, 0, held.sums, (), trainer.task.bound))
    with pytest.raises(InputError, match="another network"):
        trainer_in(tmp_path, resume=True)


def test_a_torn_checkpoint_is_an_error_wherever_it_is_torn(tmp_path):
    trainer = trainer_in(tmp_path)
    with numeric_mode():
        trainer.epoch(0)
    path = tmp_path / "out" / "checkpoint.safetensors"
    content, torn = path.read_bytes(), tmp_path / "torn.safetensors"
    assert checkpoint.read_state(path, trainer.task.bound).step == 3
    for size in range(0, len(content), 10):
        torn.write_bytes(content[:size])
        with pytest.raises(InputError) as caught:
            checkpoint.read_state(torn, trainer.task.bound)
        assert caught.value.code == "E-CHECKPOINT-FORMAT", size


def test_a_damaged_description_is_an_error(tmp_path):
    """Each byte of the header in turn, in steps: a coded error, or a state that is as it was."""
    task = task_of(options_in(tmp_path))
    trainer_in(tmp_path).keep()
    path = tmp_path / "out" / "checkpoint.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    for place in range(0, 8 + size, 17):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
        with suppress(InputError):
            Trainer(task, lambda text: None, 0.0, lambda text: None, resume=True)
