"""What cannot be trained is said in one coded message, and what was done before is kept."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from trainings import arrays, data_file, trainer_in, words_in

from absint.contract import whole_files
from absint.errors import ResourceError
from absint.numeric.backend import numeric_mode


@pytest.fixture
def refused(cli, tmp_path):
    """A training with these words ends with the code and leaves no network."""

    def run(code, error, *words):
        done = cli(*words_in(tmp_path, *words)).fails(code, error)
        assert not (tmp_path / "out" / "best.onnx").exists()
        return done.err

    return run


def archive(folder, **found):
    path = folder / "own.npz"
    np.savez(path, **found)
    return path


# ---- options -------------------------------------------------------------------------------------------------------------


def test_a_radius_of_the_wrong_scale(refused):
    assert "8/255" in refused(2, "E-EPS", "--eps", "8")
    refused(2, "E-EPS", "--eps", "0.5")
    refused(2, "E-EPS", "--eps-train", "8")


@pytest.mark.parametrize(("words", "error", "said"), [
    (("--kappa", "1.5"), "E-TRAIN-OPTION", "--kappa"), (("--rate", "0"), "E-TRAIN-OPTION", "--rate"), (("--rate", "nan"), "E-", "--rate"),
    (("--epochs", "0"), "E-TRAIN-OPTION", "--epochs"), (("--batch-size", "0"), "E-TRAIN-OPTION", "--batch-size"),
    (("--width-weight", "-1"), "E-TRAIN-OPTION", "--width-weight"), (("--curve", "wavy"), "E-TRAIN-OPTION", "linear, smooth"),
    (("--init", "zero"), "E-TRAIN-OPTION", "orthogonal"), (("--ramp", "soon"), "E-TRAIN-OPTION", "5ep"),
    (("--ramp", "-3"), "E-TRAIN-OPTION", "--ramp"),
    (("--drops", "1,x"), "E-TRAIN-OPTION", "--drops"), (("--ramp-speed", "0"), "E-TRAIN-OPTION", "--ramp-speed"),
    (("--width-layers", "some"), "E-TRAIN-OPTION", "hidden, all"), (("--augment", "mixup"), "E-TRAIN-OPTION", "crop-flip"),
    (("--method", "magic"), "E-TRAIN-METHOD", "constrained-ibp"), (("--method", "pgd:stepz=3"), "E-TRAIN-METHOD", "steps, rate"),
    (("--method", "pgd:steps=many"), "E-TRAIN-METHOD", "int"), (("--method", "pgd:steps=0"), "E-TRAIN-METHOD", "at least 1"),
    (("--method", "ibp:steps=3"), "E-TRAIN-METHOD", "known: none"), (("--mean", "0.1,0.2"), "E-NUMBERS", "2 numbers for 1 channels"),
    (("--mean", "0.1", "--std", "0"), "E-NUMBERS", "positive"), (("--mean", "none", "--std", "1"), "E-NUMBERS", "--mean"),
    (("--clip", "1,0"), "E-CLIP", "clip"),
])
def test_options_that_mean_nothing(refused, words, error, said):
    assert said in refused(2, error, *words)


def test_epochs_rest_on_those_before(refused):
    """So no executor may decide them beside each other."""
    refused(2, "E-EXECUTOR", "--executor", "processes")


def test_domains_that_do_not_train(refused):
    refused(4, "E-GRADIENT", "--domain", "auto")
    refused(4, "E-GRADIENT", "--domain", "exact")
    refused(2, "E-", "--domain", "no-such")


# ---- data ----------------------------------------------------------------------------------------------------------------


def test_data_without_labels(refused, tmp_path):
    x, _ = arrays(12)
    assert "label" in refused(3, "E-DATA", "--data", archive(tmp_path, x_train=x, x_test=x)).lower()


def test_data_that_is_not_there(refused, tmp_path):
    refused(3, "E-DATA", "--data", tmp_path / "nothing.npz")


def test_data_without_a_test_part_names_the_option(refused, tmp_path):
    x, y = arrays(12)
    assert "--hold-out" in refused(3, "E-DATA", "--data", archive(tmp_path, images=x, labels=y))


def test_values_outside_the_data_range(refused, tmp_path):
    x, y = arrays(12)
    refused(3, "E-DATA", "--data", archive(tmp_path, x_train=3 * x, y_train=y, x_test=x, y_test=y))


def test_a_batch_that_is_larger_than_the_data_is_all_of_it(cli, tmp_path):
    done = cli(*words_in(tmp_path, "--batch-size", "1000", "--epochs", "3"))
    assert done.code == 0, done.err


def test_one_class_alone_is_refused_or_trained(cli, tmp_path):
    """There is nothing to confuse it with: no traceback, whatever is said."""
    x, y = arrays(12)
    done = cli(*words_in(tmp_path, "--data", archive(tmp_path, x_train=x, y_train=0 * y, x_test=x, y_test=0 * y)))
    assert done.code in (0, 3), done.err
    assert "Traceback" not in done.err
    assert done.code == 0 or "class" in done.err


# ---- networks ------------------------------------------------------------------------------------------------------------

UNKNOWN = "from torch import nn, linalg\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n" \
    "        self.a, self.b = nn.Linear(25, 9), nn.Linear(1, 3)\n    def forward(self, x):\n" \
    "        return self.b(linalg.det(self.a(x.flatten(1)).reshape(-1, 3, 3)).reshape(-1, 1))\n" \
    "def build(shape, classes):\n    return Net()\n"
TIED = "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n" \
    "        self.a, self.s = nn.Linear(25, 3), nn.Parameter(__import__('torch').ones(3))\n    def forward(self, x):\n" \
    "        return self.a(x.flatten(1)) * self.s.exp()\ndef build(shape, classes):\n    return Net()\n"


@pytest.mark.parametrize(("text", "code", "error"), [
    ("def build(shape, classes):\n    raise ValueError('no idea')\n", 4, "E-PLUGIN-RAISED"),
    ("1 / 0\n", 4, "E-PLUGIN-RAISED"),
    ("def build(shape, classes):\n    return 7\n", 3, "E-TRAIN-MODEL"),
    ("def construct(shape, classes):\n    return 7\n", 2, "E-TRAIN-MODEL"),
    ("from torch import nn\ndef build(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(25, 5))\n", 3, "E-TRAIN-MODEL"),
    ("from torch import nn\ndef build(shape, classes):\n    return nn.Sequential(nn.Flatten())\n", 3, "E-TRAIN-MODEL"),
    ("from torch import nn\ndef build(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(7, 3))\n", 3, "E-"),
    ("def build():\n    return 7\n", 4, "E-PLUGIN-RAISED"), (UNKNOWN, 4, "E-"), (TIED, 4, "E-TRAIN-PARAMETER"),
])
def test_builders_that_build_nothing(cli, tmp_path, text, code, error):
    words = words_in(tmp_path)
    (tmp_path / "net.py").write_text(text)
    cli(*words).fails(code, error)
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists(), "said before the first step"


def test_a_builder_that_is_not_there(refused, tmp_path):
    refused(3, "E-TRAIN-MODEL", "--model", f"{tmp_path / 'no.py'}:build")
    assert "FILE.py:build" in refused(2, "E-TRAIN-MODEL", "--model", "huge")


def test_images_that_are_too_small_for_a_network(refused):
    assert "small" in refused(2, "E-TRAIN-MODEL", "--model", "medium")


def test_rows_have_no_convolutions(refused, tmp_path):
    path = data_file(tmp_path, shape=(5,), train=9, test=6)
    assert "FILE.py:build" in refused(2, "E-TRAIN-MODEL", "--data", path, "--model", "small")


# ---- while it runs -------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_and_names_the_step(cli, tmp_path):
    """The state before it is intact, and a smaller rate begins anew."""
    done = cli(*words_in(tmp_path, "--rate", "1e30", "--epochs", "8", "--checkpoint", "0.000001"))
    assert done.code == 5, done.err
    assert "error[E-TRAIN-NAN]" in done.err
    assert "Traceback" not in done.err
    assert "of 24" in done.err
    assert "--rate" in done.err
    trainer = trainer_in(tmp_path, model=_own(tmp_path), resume=True, rate=1e30, epochs=8)
    assert 0 < trainer.done < 24
    assert f"step {trainer.done + 1} " in done.err
    assert all(value.isfinite().all() for value in trainer.parameters.values())


def _own(folder):
    return f"{folder / 'net.py'}:build"


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    trainer = trainer_in(tmp_path)
    with numeric_mode():
        trainer.epoch(0)
        files = {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()}

        def full(handle):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(whole_files.os, "fsync", full)
        with pytest.raises(ResourceError) as caught:
            trainer.epoch(1)
    assert caught.value.code == "E-OUT-WRITE"
    assert "No space" in str(caught.value)
    assert {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()} == files, "also no half of a new one"
    monkeypatch.undo()
    assert trainer_in(tmp_path, resume=True).done == 3


def test_an_interrupt_while_a_file_is_written_keeps_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_files.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whole_files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_may_not_grow_end_in_a_message(tmp_path):
    """A real limit of the system, in a process of its own."""
    words = words_in(tmp_path)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    start = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from absint.cli.main import run; run()"
    done = subprocess.run([sys.executable, "-c", start, *words], capture_output=True, text=True, check=False, preexec_fn=limited,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"})   # half a .pyc would break later ones
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert "error[E-" in done.stderr
    assert "File too large" in done.stderr
